#include "tools/shell/explain.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "sandbox/control_paths.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

constexpr std::size_t kNamed = 4;    // of each kind
constexpr std::size_t kBefore = 3;   // cargo names the path so many lines before the error
constexpr std::size_t kLines = 200;  // with such an error, looked at

// What its client says, old and new.
constexpr std::array<std::string_view, 2> kNoDocker = {"Cannot connect to the Docker daemon",
                                                       "failed to connect to the docker API"};

// And of a full file system; "ENOSPC" alone is as often a want of watches.
constexpr std::array<std::string_view, 2> kNoSpace = {"No space left on device",
                                                      "no space left on device"};

enum class Failure { busy, read_only, denied };

// As libc says it, and as Node.js, Python, Go and Rust do.
std::optional<Failure> failure_in(std::string_view line) {
  std::string lower(line);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (lower.find("resource busy") != lower.npos) return Failure::busy;
  if (lower.find("read-only file system") != lower.npos) return Failure::read_only;
  if (lower.find("permission denied") != lower.npos) return Failure::denied;
  return std::nullopt;
}

std::vector<std::string_view> parts_of(std::string_view path) {
  std::vector<std::string_view> out;
  while (!path.empty()) {
    const auto end = std::min(path.find('/'), path.size());
    const auto part = path.substr(0, end);
    if (!part.empty() && part != "." && part != "..") out.push_back(part);
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return out;
}

// Whether `word` may mean the path with the parts `kept` or what lies in it; with `above` also a
// directory that it is in.
bool means(std::string_view word, const std::string& root,
           const std::vector<std::string_view>& kept, bool above) {
  const bool absolute = word.starts_with('/');
  if (absolute) {
    if (!word.starts_with(root + "/")) return false;
    word.remove_prefix(root.size());
  }
  const auto parts = parts_of(word);
  if (parts.empty()) return false;
  for (std::size_t from = 0; from < (absolute ? 1 : kept.size()); ++from) {
    const auto n = std::min(parts.size(), kept.size() - from);
    const bool same = std::equal(parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(n),
                                 kept.begin() + static_cast<std::ptrdiff_t>(from));
    if (same && (above || from + n == kept.size())) return true;
  }
  return false;
}

std::vector<std::string_view> words_of(std::string_view line) {
  constexpr std::string_view kBetween = " \t'\"`:,;()[]<>=";
  constexpr std::array<std::string_view, 4> kOfTheError = {"Device", "device", "resource", "file"};
  std::vector<std::string_view> out;
  while (!line.empty()) {
    const auto end = std::min(line.find_first_of(kBetween), line.size());
    const auto word = line.substr(0, end);
    if (!word.empty() && std::ranges::find(kOfTheError, word) == kOfTheError.end())
      out.push_back(word);
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return out;
}

struct Complaint {
  Failure failure;
  std::vector<std::string_view> words;  // of its line and those before
};

std::vector<Complaint> complaints_in(std::string_view output) {
  std::vector<Complaint> out;
  const auto lines = split_lines(output);
  for (std::size_t i = 0; i < lines.size() && out.size() < kLines; ++i) {
    const auto failure = failure_in(lines[i]);
    if (!failure) continue;
    out.push_back({*failure, {}});
    for (std::size_t at = i - std::min(i, kBefore); at <= i; ++at) {
      if (at < i && failure_in(lines[at])) continue;  // has words of its own
      const auto words = words_of(lines[at]);
      out.back().words.insert(out.back().words.end(), words.begin(), words.end());
    }
  }
  return out;
}

std::string listed(const std::vector<std::string>& paths) {
  const auto n = std::min(paths.size(), kNamed);
  std::string out;
  for (std::size_t i = 0; i < n; ++i) out += (i ? ", " : "") + to_utf8(paths[i]);
  if (paths.size() > n) out += fmt::format(" and {} more", paths.size() - n);
  return out;
}

}  // namespace

std::string explained(std::string_view output, const std::string& root,
                      const sandbox::Sensitive& kept, Ran ran) {
  const bool writes_nothing = ran == Ran::reading;
  std::string out;
  const auto add = [&](const std::string& line) { out += (out.empty() ? "" : "\n") + line; };
  const auto says = [&](const auto& texts) {
    return std::ranges::any_of(texts, [&](auto text) { return output.find(text) != output.npos; });
  };
  if (says(kNoSpace))
    add(fmt::format("[/tmp, the home directory and caches are small here and in memory.{}]",
                    writes_nothing ? ""
                                   : " What needs more can have TMPDIR or its cache in the "
                                     "repository."));
  if (says(kNoDocker))
    add("[Docker may well run, but no command can reach it from the sandbox; the user can.]");
  const auto complaints = complaints_in(output);
  if (complaints.empty()) return out;
  const auto named = [&](const std::string& path, bool hidden) {
    const auto parts = parts_of(path);
    return std::ranges::any_of(complaints, [&](const Complaint& one) {
      if (one.failure == Failure::denied && !hidden) return false;
      return std::ranges::any_of(one.words, [&](auto word) {
        return means(word, root, parts, one.failure == Failure::busy);
      });
    });
  };
  const auto relative = [&](const std::string& path) {
    return path.starts_with(root + "/") ? path.substr(root.size() + 1) : path;
  };
  std::vector<std::string> hidden, readonly;
  for (const auto& path : kept.hidden)
    if (named(relative(path), true)) hidden.push_back(relative(path));
  // Of a linked worktree it lies elsewhere.
  const bool elsewhere = std::ranges::any_of(complaints, [&](const Complaint& one) {
    return one.failure == Failure::read_only && std::ranges::any_of(one.words, [&](auto word) {
             return word.starts_with('/') && !word.starts_with(root + "/") &&
                    word.find(".git/") != word.npos;
           });
  });
  const bool git = elsewhere || named(".git", false);
  for (const char* path : sandbox::kObeyedOutside)
    if (path != std::string_view(".git") && named(path, false)) readonly.emplace_back(path);
  for (const auto& path : kept.readonly)
    if (named(relative(path), false)) readonly.push_back(relative(path));
  if (!hidden.empty())
    add(
        fmt::format("[hidden, for it may hold secrets: {}. No command can read, change, move or "
                    "remove it, nor move or remove a directory that holds it; the user can.]",
                    listed(hidden)));
  if (!hidden.empty() && ran == Ran::alone)
    add("[What a command of `bash` has made of them, that shell can read and change: where the "
        "tests need it, run them with `bash`.]");
  if (writes_nothing) return out;  // nor is anything else written
  if (git)
    add("[.git is read-only for commands. The `git` tool can add, commit, branch and switch.]");
  if (!readonly.empty())
    add(fmt::format("[read-only for commands, for programs outside the sandbox obey it: {}]",
                    listed(readonly)));
  return out;
}

}  // namespace lares::tools
