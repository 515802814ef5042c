#include "tools/testing/project.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>

namespace lares::tools {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kConfigBytesMax = 1 << 20, kHeadBytes = 64 << 10;
constexpr int kEntriesMax = 2000;  // of one directory that are looked at

}  // namespace

std::string Project::pattern() const {
  for (const char* sign : {"^", "$", "|", "\\", ".*", ".+"})
    if (filter.find(sign) != std::string::npos) return filter;
  std::string out;
  for (const char c : filter) {
    if (std::string_view(".()[]{}+*?").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}
std::string Project::text(const std::string& name) const {
  auto data = files->read(dir + name, kConfigBytesMax);
  return data ? std::move(data->bytes) : std::string();
}
std::string Project::head(const std::string& name) const {
  auto data = files->read_head(dir + name, kHeadBytes);
  return data ? std::move(data->bytes) : std::string();
}
bool Project::has(const std::string& name) const {
  struct stat st {};
  return files->lstat(dir + name, st);
}
std::vector<std::string> Project::names(const std::string& below) const {
  std::vector<std::string> out;
  if (!files->is_directory(dir + below)) return out;
  std::error_code ec;
  const fs::path path_here = fs::path(files->root()) / (dir + below);
  for (auto it = fs::directory_iterator(path_here, ec); !ec && it != fs::directory_iterator();
       it.increment(ec)) {
    out.push_back(it->path().filename().string());
    if (out.size() > kEntriesMax) break;
  }
  std::sort(out.begin(), out.end());
  return out;
}
std::string Project::cwd() const {
  std::string out = files->root() + (dir.empty() ? "" : "/" + dir);
  if (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}
Runner Project::runner(RunnerKind kind, std::vector<std::string> argv) const {
  Runner out{kind, "", std::move(argv), cwd(), "", false, !filter.empty(), ""};
  for (const std::string& word : out.argv) {
    const bool plain = word.find_first_of(" \t\n'\"$&|;<>()*?[]\\`") == std::string::npos &&
                       !word.empty();
    out.shown += (out.shown.empty() ? "" : " ") + (plain ? word : "'" + word + "'");
  }
  return out;
}

}  // namespace lares::tools
