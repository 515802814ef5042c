#include "daemon/turn/instructions.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include <fmt/format.h>

#include "tools/text.h"
#include "tools/workspace/workspace.h"

namespace lares::daemon {
namespace {

constexpr std::string_view kName = "AGENTS.md", kOtherName = "CLAUDE.md";

struct Place {
  std::string directory;  // "" or "docs/"
  const tools::SourceFile* file = nullptr;
};

std::string_view name_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// By directory; of two names the first.
std::vector<Place> places(const tools::Workspace& files) {
  std::map<std::string, const tools::SourceFile*> by_directory;
  for (const auto& [path, file] : files) {
    const std::string_view name = name_of(path);
    const auto slash = path.rfind('/');
    const std::string directory = slash == std::string::npos ? "" : path.substr(0, slash + 1);
    if (!file.text || file.text->empty()) continue;
    if (name == kName)
      by_directory[directory] = &file;
    else if (name == kOtherName)
      by_directory.try_emplace(directory, &file);
  }
  std::vector<Place> out;
  for (const auto& [directory, file] : by_directory) out.push_back({directory, file});
  return out;
}

std::string bounded(std::string_view text, std::size_t n_max) {
  if (text.size() <= n_max) return std::string(text);
  return std::string(text.substr(0, tools::utf8_floor(text, n_max))) +
         "\n[what follows is left out]";
}

// As much of it as can be quoted, and a byte more.
std::string read_users(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (path.empty() || !file) return "";
  std::string text(kInstructionBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return tools::to_utf8(text);
}

}  // namespace

bool may_instruct(std::string_view path) {
  return name_of(path) == kName || name_of(path) == kOtherName;
}

Instructions instructions(const tools::Workspace& files, const View& view,
                          const std::string& users_file) {
  Instructions out;
  std::size_t left = kInstructionBytesMax;
  const auto quote = [&](const std::string& text) {
    const std::string shown = bounded(text, left);
    left -= std::min(left, shown.size());
    return shown + (shown.ends_with('\n') ? "" : "\n");
  };
  if (const std::string own = read_users(users_file); !own.empty()) {
    out.text += "The user asks this of agents in all repositories:\n" + quote(own) + "\n";
    out.files.push_back(users_file);
  } else if (std::error_code ec; !users_file.empty() && std::filesystem::exists(users_file, ec) &&
                                 ::access(users_file.c_str(), R_OK) != 0)
    out.unreadable = fmt::format("{} is not followed, for it cannot be read; make it readable",
                                 users_file);
  const auto all = places(files);
  if (all.empty()) return out;
  out.text +=
      "Follow what this repository asks of agents. The file nearest to what you work on holds, and "
      "the user's word over all of them:\n";
  std::string texts;
  for (std::size_t i = 0; i < all.size() && i < kInstructionFilesMax; ++i) {
    const auto& [directory, file] = all[i];
    out.text +=
        "- " + tools::attribute_text(file->path) +
        (directory.empty() ? "" : fmt::format(", for {}", tools::attribute_text(directory))) + "\n";
    out.files.push_back(file->path);
    if (view.seen(file->path).state != Seen::State::text && left > 0)
      texts += fmt::format("{}:\n", tools::attribute_text(file->path)) + quote(*file->text);
  }
  if (all.size() > kInstructionFilesMax)
    out.text += fmt::format("- and {} more, deeper in the tree\n",
                            all.size() - kInstructionFilesMax);
  out.text += texts + "\n";
  return out;
}

}  // namespace lares::daemon
