#include "tools/outline/listing.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "tools/git/impatience.h"
#include "tools/outline/syntax.h"
#include "tools/text.h"
#include "tools/workspace/kept_back.h"
#include "tools/workspace/own_files.h"
#include "tools/workspace/rules.h"

namespace lares::tools {
namespace {

constexpr std::size_t kEntriesPerFile = 50;  // of directories that are looked at
constexpr std::size_t kFileBytesMax = 2 << 20;
// Longer lines are minified or generated: slow, and nobody edits them
constexpr std::size_t kLineBytesMax = 20'000;

// What git ignores; without a repository, the directories that tools fill.
class Ignored {
 public:
  Ignored(const RootedFs& fs, KeptView& kept) : fs_(fs), kept_(kept), git_(kept.take()) {}
  Ignored(const Ignored&) = delete;
  Ignored& operator=(const Ignored&) = delete;
  ~Ignored() {
    if (git_) kept_.give_back(std::move(*git_));
  }

  // Whether git can be asked about what lies in a directory: of one and those above it, each file
  // of rules can be read.
  bool can_ask_in(const std::string& directory) const {
    if (!git_ || !git_->has_repository()) return false;
    for (std::size_t end = 0;; end = directory.find('/', end + 1)) {
      const std::string above = directory.substr(0, end);
      const std::string rules = (above.empty() ? fs_.root() : fs_.root() + "/" + above) +
                                "/.gitignore";
      if (!GitView::can_read_rules(AT_FDCWD, rules.c_str())) return false;
      if (end == std::string::npos || directory.empty()) return true;
    }
  }
  bool operator()(const std::string& path, bool directory, bool can_ask) const {
    const auto name = std::string_view(path).substr(path.rfind('/') + 1);
    if (name == ".git" || name == "node_modules" || name == "__pycache__") return true;
    return can_ask && git_->ignored(path, directory);
  }

 private:
  const RootedFs& fs_;
  KeptView& kept_;
  Result<GitView> git_;
};

std::string skip_reason(std::string_view bytes) {
  if (is_binary(bytes)) return "is binary";
  for (const auto line : split_lines(bytes)) {
    if (line.size() > kLineBytesMax)
      return fmt::format("has a line of {} bytes, so it is minified or generated", line.size());
  }
  return "";
}

}  // namespace

// Symlinks are not followed: what they name is listed where it lies, or lies outside. Only names
// come from here; the contents are opened beneath the root, so a directory swapped for a symlink
// meanwhile gives no file away.
Listing list_sources(const RootedFs& fs, const std::string& path, std::size_t files_max,
                     KeptView& git) {
  const git::Impatience here;  // where a pipe took the place of rules that were looked at
  const Ignored ignored(fs, git);
  Listing out;
  std::vector<std::string> pending{path};
  while (!pending.empty()) {
    const std::string directory = std::move(pending.back());
    pending.pop_back();
    const auto absolute = directory.empty() ? fs.root() : fs.root() + "/" + directory;
    const int fd = ::open(absolute.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR* entries = fd < 0 ? nullptr : ::fdopendir(fd);
    if (!entries) {
      if (fd >= 0) ::close(fd);
      continue;
    }
    const bool can_ask = ignored.can_ask_in(directory);
    while (const dirent* entry = ::readdir(entries)) {
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (++out.n_entries > kEntriesPerFile * files_max || out.files.size() >= files_max) {
        out.complete = false;
        break;
      }
      const auto inner = directory.empty() ? std::string(name)
                                           : directory + "/" + std::string(name);
      struct stat st {};
      if (!fs.lstat(inner, st)) continue;
      if (S_ISDIR(st.st_mode)) {
        if (!ignored(inner, true, can_ask)) pending.push_back(inner);
      } else if (S_ISREG(st.st_mode) && can_outline(name) && skipped_by_name(inner).empty() &&
                 !ignored(inner, false, can_ask)) {
        out.files.push_back(inner);
      }
    }
    ::closedir(entries);
  }
  std::ranges::sort(out.files);
  return out;
}

Source read_source(const RootedFs& fs, const std::string& path) {
  const auto data = fs.read(path, kFileBytesMax);
  if (!data) return {.text = {}, .path = {}, .skipped = data.error()};
  if (lies_in_own(fs, data->path))
    return {.text = {}, .path = {}, .skipped = "is kept from you: Lares keeps it for itself"};
  if (is_kept_back(fs, data->path))
    return {.text = {}, .path = {}, .skipped = "is kept from you: it may hold secrets"};
  return {.text = shown_text(data->bytes), .path = data->path, .skipped = skip_reason(data->bytes)};
}

std::string files_text(std::size_t n) { return n == 1 ? "1 file" : fmt::format("{} files", n); }

}  // namespace lares::tools
