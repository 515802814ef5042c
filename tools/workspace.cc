#include "tools/workspace.h"

#include <dirent.h>
#include <fcntl.h>
#include <git2.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

#include <fmt/format.h>

#include "tools/rooted_fs.h"
#include "tools/text.h"
#include "tools/workspace_rules.h"

namespace lares::tools {
namespace {

constexpr std::size_t kFilesMax = 200'000;
constexpr int kDepthMax = 64;

struct GitLibrary {
  GitLibrary() { git_libgit2_init(); }
  ~GitLibrary() { git_libgit2_shutdown(); }
};

template <auto free>
struct Free {
  template <class T>
  void operator()(T* p) const {
    free(p);
  }
};
using Repository = std::unique_ptr<git_repository, Free<git_repository_free>>;
using StatusList = std::unique_ptr<git_status_list, Free<git_status_list_free>>;

std::string git_reason() {
  const git_error* error = git_error_last();
  return error && error->message ? error->message : "unknown reason";
}

tl::unexpected<Error> broken(std::string message) { return tl::unexpected(Error{Errc::broken, std::move(message)}); }

bool is_our_temporary(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') == std::string_view::npos ? 0 : path.rfind('/') + 1);
  return name.starts_with(".lares-") && name.ends_with(".tmp");
}

// Untracked files below such a directory are products that nobody wrote a .gitignore for.
bool below_product_directory(std::string_view path) {
  while (true) {
    const std::size_t slash = path.find('/');
    if (slash == std::string_view::npos) return false;
    if (is_product_directory(path.substr(0, slash))) return true;
    path.remove_prefix(slash + 1);
  }
}

// Tracked, or untracked and not ignored; relative to `root`, which may lie below the repository's top.
Result<std::set<std::string>> paths_of_repository(git_repository* repository, const std::string& real_root) {
  const char* workdir = git_repository_workdir(repository);
  if (!workdir) return broken(fmt::format("list {}: the repository is bare; give its worktree", real_root));
  const std::string top(workdir), root = real_root + "/";
  const std::string prefix = root.starts_with(top) ? root.substr(top.size()) : "";

  git_status_options options = GIT_STATUS_OPTIONS_INIT;
  options.show = GIT_STATUS_SHOW_WORKDIR_ONLY;
  options.flags = GIT_STATUS_OPT_INCLUDE_UNTRACKED | GIT_STATUS_OPT_RECURSE_UNTRACKED_DIRS |
                  GIT_STATUS_OPT_INCLUDE_UNMODIFIED | GIT_STATUS_OPT_EXCLUDE_SUBMODULES |
                  GIT_STATUS_OPT_DISABLE_PATHSPEC_MATCH | GIT_STATUS_OPT_SORT_CASE_SENSITIVELY;
  std::string spec = prefix;
  char* specs[] = {spec.data()};
  if (!spec.empty()) {
    spec.pop_back();
    options.pathspec = {specs, 1};
  }
  git_status_list* raw = nullptr;
  if (git_status_list_new(&raw, repository, &options) != 0) {
    return broken(fmt::format("list {}: {}; git status must work there", real_root, git_reason()));
  }
  const StatusList list(raw);
  std::set<std::string> out;
  for (std::size_t i = 0; i < git_status_list_entrycount(list.get()); ++i) {
    const git_status_entry* entry = git_status_byindex(list.get(), i);
    const git_diff_delta* delta = entry->index_to_workdir ? entry->index_to_workdir : entry->head_to_index;
    if (!delta || (entry->status & GIT_STATUS_WT_DELETED)) continue;
    std::string path = delta->new_file.path ? delta->new_file.path : delta->old_file.path;
    if (!path.starts_with(prefix) || path.ends_with('/')) continue;
    path.erase(0, prefix.size());
    if ((entry->status & GIT_STATUS_WT_NEW) && below_product_directory(path)) continue;
    out.insert(std::move(path));
  }
  return out;
}

void walk(int dir_fd, const std::string& prefix, int depth, std::set<std::string>& out) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(dir_fd), ::closedir);
  if (!dir) return;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == ".." || out.size() > kFilesMax) continue;
    struct stat st {};
    if (::fstatat(::dirfd(dir.get()), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISDIR(st.st_mode)) {
      if (is_product_directory(name) || depth >= kDepthMax) continue;
      const int fd = ::openat(::dirfd(dir.get()), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (fd >= 0) walk(fd, prefix + name + "/", depth + 1, out);
    } else {
      out.insert(prefix + name);
    }
  }
}

Result<std::set<std::string>> paths_below(const std::string& root) {
  static const GitLibrary library;
  git_repository* raw = nullptr;
  const int opened = git_repository_open_ext(&raw, root.c_str(), 0, nullptr);
  if (opened == 0) {
    const Repository repository(raw);
    const std::unique_ptr<char, decltype(&::free)> real(::realpath(root.c_str(), nullptr), ::free);
    auto paths = paths_of_repository(repository.get(), real ? real.get() : root);
    // A root that the repository around it ignores (a build folder, say) is listed for itself.
    const bool ignored_root = paths && paths->empty();
    if (!ignored_root) return paths;
  } else if (opened != GIT_ENOTFOUND) {
    const std::string reason = git_reason();
    // What libgit2 says when another user owns the repository.
    if (reason.find("safe.directory") != std::string::npos || opened == GIT_EOWNER) {
      return broken(fmt::format("list {}: the repository belongs to another user; run as its owner, or "
                                "git config --global --add safe.directory {}",
                                root, root));
    }
    return broken(fmt::format("list {}: {}", root, reason));
  }
  const int fd = ::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return broken(fmt::format("list {}: {}", root, std::strerror(errno)));
  std::set<std::string> out;
  walk(fd, "", 0, out);
  return out;
}

// Attribute values must stay on one line and inside their quotes, whatever a file is called.
std::string escaped(std::string_view path) {
  std::string out;
  for (char c : to_utf8(path)) {
    switch (c) {
      case '"': out += "&quot;"; break;
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) out += fmt::format("&#{};", static_cast<int>(c));
        else out += c;
    }
  }
  return out;
}

void load(const RootedFs& fs, const WorkspaceOptions& options, File& file) {
  struct stat st {};
  if (!fs.lstat(file.path, st)) {
    file.skipped = "unreadable";
    return;
  }
  file.n_bytes = static_cast<std::uint64_t>(st.st_size);
  if (!S_ISREG(st.st_mode)) {
    file.skipped = S_ISLNK(st.st_mode) ? "symlink" : "not a regular file";
    return;
  }
  file.skipped = skipped_by_name(file.path);
  if (!file.skipped.empty()) return;
  if (file.n_bytes > options.file_bytes_max) {
    file.skipped = "too large";
    return;
  }
  auto data = fs.read(file.path, options.file_bytes_max);
  if (!data) {
    file.skipped = "unreadable";
    return;
  }
  file.n_bytes = data->bytes.size();
  file.skipped = skipped_by_content(file.path, data->bytes);
  if (file.skipped.empty()) file.content = shown_text(data->bytes);
}

}  // namespace

Result<std::vector<File>> list_files(const WorkspaceOptions& options) {
  const auto fs = RootedFs::open(options.root);
  if (!fs) return broken(fs.error());
  auto paths = paths_below(options.root);
  if (!paths) return tl::unexpected(std::move(paths.error()));
  if (paths->size() > kFilesMax) {
    return broken(fmt::format("list {}: more than {} files; open a smaller directory", options.root, kFilesMax));
  }
  std::vector<File> out;
  std::uint64_t total = 0;
  for (const std::string& path : *paths) {  // std::set<std::string> is in bytewise order
    struct stat st {};
    if (is_our_temporary(path) || !fs->lstat(path, st) || S_ISDIR(st.st_mode)) continue;
    File file{path, "", "", 0};
    load(*fs, options, file);
    if (file.skipped.empty() && total + file.content.size() > options.total_bytes_max) {
      file.content.clear();
      file.skipped = "over budget";
    }
    total += file.content.size();
    out.push_back(std::move(file));
  }
  return out;
}

std::string render_file(const File& file) {
  if (!file.skipped.empty()) {
    return fmt::format("<file path=\"{}\" skipped=\"{}\"/>\n", escaped(file.path), file.skipped);
  }
  std::string out = fmt::format("<file path=\"{}\" lines=\"{}\" sha=\"{}\">\n", escaped(file.path),
                                split_lines(file.content).size(), blob_sha(file.content).substr(0, 8));
  out += file.content;
  if (!file.content.empty() && !file.content.ends_with('\n')) out += '\n';
  return out + "</file>\n";
}

std::string render_repository(const std::vector<File>& files) {
  std::vector<const File*> order;
  for (const File& file : files) order.push_back(&file);
  std::sort(order.begin(), order.end(), [](const File* a, const File* b) { return a->path < b->path; });
  std::string out = fmt::format("<repository files=\"{}\">\n", files.size());
  for (const File* file : order) out += render_file(*file);
  return out + "</repository>\n";
}

}  // namespace lares::tools
