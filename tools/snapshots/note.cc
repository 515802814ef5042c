// What a snapshot says about itself, as its commit's message: the label, an empty line, then a
// field a line. A tab parts reason and path; control characters and '%' in both are written %0a.
#include <fmt/format.h>

#include <charconv>

#include "tools/snapshots/store.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

constexpr std::string_view kFiles = "files ", kNew = "bytes-new ", kTime = "time-ms ",
                           kLeftOut = "left-out ", kIncomplete = "incomplete ",
                           kKeptOut = "kept-out ", kWorktreeName = "worktree ",
                           kUsualMode = "directory-mode ", kDirectory = "directory ",
                           kEmptyDirectory = "empty-directory ",
                           kModesLeftOut = "directory-modes-left-out", kFile = "- ";

std::string escaped(std::string_view text) {
  std::string out;
  for (const unsigned char c : text) {
    if (c < 0x20 || c == 0x7f || c == '%')
      out += fmt::format("%{:02x}", c);
    else
      out += static_cast<char>(c);
  }
  return out;
}
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned char c = 0;
    const char* digits = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(digits, digits + 2, c, 16).ptr == digits + 2) {
      out += static_cast<char>(c);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

template <class T>
bool number(std::string_view text, T& out, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return error == std::errc() && end == text.data() + text.size();
}

// Permissions in octal and a path. Written in path order, and looked for in it.
bool read_directory(std::string_view line, bool empty, SnapshotDirectories& out) {
  const std::size_t space = line.find(' ');
  SnapshotDirectory directory{.path = {}, .mode = 0, .empty = empty};
  if (space == std::string_view::npos || !number(line.substr(0, space), directory.mode, 8))
    return false;
  directory.path = unescaped(line.substr(space + 1));
  if (!out.named.empty() && out.named.back().path >= directory.path) return false;
  out.named.push_back(std::move(directory));
  return true;
}

bool read_field(std::string_view line, Snapshot& out, SnapshotDirectories& directories) {
  const auto takes = [&](std::string_view key) {
    if (!line.starts_with(key)) return false;
    line.remove_prefix(key.size());
    return true;
  };
  if (takes(kFiles)) return number(line, out.n_files);
  if (takes(kNew)) return number(line, out.bytes_new);
  if (takes(kTime)) return number(line, out.time_ms);
  if (takes(kLeftOut)) return number(line, out.n_left_out);
  if (takes(kIncomplete)) return out.incomplete = unescaped(line), true;
  if (takes(kWorktreeName)) return out.worktree = unescaped(line), true;
  if (takes(kKeptOut)) return out.kept_out.push_back(unescaped(line)), true;
  if (takes(kUsualMode)) return number(line, directories.usual_mode, 8);
  if (takes(kModesLeftOut)) return directories.modes_left_out = true;
  if (takes(kDirectory)) return read_directory(line, false, directories);
  if (takes(kEmptyDirectory)) return read_directory(line, true, directories);
  if (!takes(kFile)) return true;  // a later version's
  const std::size_t tab = line.find('\t');
  if (tab == std::string_view::npos) return false;
  out.left_out.push_back({unescaped(line.substr(tab + 1)), unescaped(line.substr(0, tab))});
  return true;
}

}  // namespace

std::string write_note(const Snapshot& s, const SnapshotDirectories& directories) {
  std::string out = fmt::format("{}\n\n{}{}\n{}{}\n{}{}\n{}{}\n", escaped(s.label), kFiles,
                                s.n_files, kNew, s.bytes_new, kTime, s.time_ms, kLeftOut,
                                s.n_left_out);
  if (!s.incomplete.empty()) out += fmt::format("{}{}\n", kIncomplete, escaped(s.incomplete));
  if (!s.worktree.empty()) out += fmt::format("{}{}\n", kWorktreeName, escaped(s.worktree));
  for (const std::string& name : s.kept_out) out += fmt::format("{}{}\n", kKeptOut, escaped(name));
  if (directories.known()) out += fmt::format("{}{:o}\n", kUsualMode, directories.usual_mode);
  if (directories.modes_left_out) out += fmt::format("{}\n", kModesLeftOut);
  for (const auto& [path, mode, empty] : directories.named)
    out += fmt::format("{}{:o} {}\n", empty ? kEmptyDirectory : kDirectory, mode, escaped(path));
  for (const PathReason& file : s.left_out)
    out += fmt::format("{}{}\t{}\n", kFile, escaped(file.why), escaped(file.path));
  return out;
}

bool read_note(std::string_view message, Snapshot& out, SnapshotDirectories& directories) {
  const std::vector<std::string_view> lines = split_lines(message);
  if (lines.size() < 2 || !lines[1].empty()) return false;
  out.label = unescaped(lines[0]);
  for (std::size_t i = 2; i < lines.size(); ++i) {
    if (!read_field(lines[i], out, directories)) return false;
  }
  return out.time_ms > 0;
}

}  // namespace lares::tools
