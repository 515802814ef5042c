// find_sensitive(): what a command must not read, by secret_names.h; and where
// git keeps what runs outside.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include "sandbox/sandbox.h"
#include "sandbox/secret_names.h"

namespace lares::sandbox {
namespace {

namespace fs = std::filesystem;

constexpr int kDepthMax = 24;
constexpr std::size_t kEntriesMax = 400'000;  // of the walk; a bigger tree is searched in part
constexpr std::size_t kSecretsMax = 1024;

constexpr std::size_t kGitDirsMax = 512;
constexpr std::size_t kPointerBytes = 8192;  // of a .git file

// Built or fetched by tools, large, and full of test keys.
constexpr std::array kSkippedDirs = {"node_modules", "target", ".venv", "venv",
                                     "__pycache__",  ".tox",   ".cache"};

bool is_one_of(const auto &dirs, const std::string &name) {
  return std::any_of(dirs.begin(), dirs.end(), [&](const char *dir) { return name == dir; });
}

// Where the .git file `path` leads, when that is below `root`: a bare
// repository with its worktrees beside it, for one.
std::string git_dir_inside(const fs::path &path, const std::string &root) {
  std::ifstream file(path);
  std::string line(kPointerBytes, '\0');
  file.read(line.data(), static_cast<std::streamsize>(line.size()));
  line.resize(static_cast<std::size_t>(file.gcount()));
  line.resize(std::min(line.find('\n'), line.size()));
  if (!line.starts_with("gitdir: ")) return {};
  std::error_code failed;
  const auto target = fs::canonical(path.parent_path() / line.substr(8), failed).native();
  if (failed || !target.starts_with(root + "/") || target.starts_with(root + "/.git/"))
    return {};  // that is read-only as a whole
  // Of a linked worktree the repository itself matters,
  // <repository>/worktrees/<name>.
  const auto worktrees = target.rfind("/worktrees/");
  return worktrees == target.npos || worktrees <= root.size() ? target
                                                              : target.substr(0, worktrees);
}

bool text_has_mark(const fs::path &path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (fd < 0)
    return errno == EACCES || errno == EPERM;  // unreadable to us, perhaps not
                                               // to whom the command runs as
  std::string text(kSecretMarkBytes, '\0');
  const auto n = ::read(fd, text.data(), text.size());
  ::close(fd);
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return holds_secret_mark(text);
}

bool is_secret(const fs::directory_entry &entry, const std::string &name) {
  const auto says = secret_name(name);
  return says == SecretName::yes || (says != SecretName::no && text_has_mark(entry.path()));
}

}  // namespace

Sensitive find_sensitive(const std::string &root) {
  Sensitive out;
  std::error_code failed;
  std::size_t n_entries = 0;
  const auto add_git = [&](std::string path) {
    if (!path.empty() && out.readonly.size() < kGitDirsMax) out.readonly.push_back(std::move(path));
  };
  fs::recursive_directory_iterator entry(root, fs::directory_options::skip_permission_denied,
                                         failed);
  for (; !failed && entry != fs::recursive_directory_iterator(); entry.increment(failed)) {
    if (++n_entries > kEntriesMax || out.hidden.size() >= kSecretsMax) break;
    const auto name = entry->path().filename().native();
    std::error_code ignored;
    if (entry->is_symlink(ignored)) {
      // The secret is what the link leads to; outside the root it is another's
      // to hide.
      if (secret_name(name) != SecretName::yes) continue;
      const auto target = fs::canonical(entry->path(), ignored);
      if (!ignored && target.native().starts_with(root + "/") &&
          fs::is_regular_file(target, ignored))
        out.hidden.push_back(target);
    } else if (entry->is_directory(ignored)) {
      const bool is_git = name == ".git", is_hidden = is_secret_directory(name);
      if (is_git && entry.depth() > 0) add_git(entry->path());
      if (is_hidden) out.hidden.push_back(entry->path());
      if (is_one_of(kSkippedDirs, name) &&
          fs::exists(fs::symlink_status(entry->path() / ".git", ignored)))
        add_git(entry->path() / ".git");
      if (is_git || is_hidden || entry.depth() >= kDepthMax || is_one_of(kSkippedDirs, name))
        entry.disable_recursion_pending();
    } else if (entry->is_socket(ignored)) {
      out.hidden.push_back(entry->path());  // somebody outside may listen, and a read-only mount
                                            // does not keep anyone from connecting
    } else if (entry->is_regular_file(ignored)) {
      if (name == ".git") {
        if (entry.depth() > 0) add_git(entry->path());
        add_git(git_dir_inside(entry->path(), root));
      } else if (is_secret(*entry, name)) {
        out.hidden.push_back(entry->path());
      }
    }
  }
  for (auto *paths : {&out.hidden, &out.readonly}) {
    std::sort(paths->begin(), paths->end());
    paths->erase(std::unique(paths->begin(), paths->end()), paths->end());
  }
  return out;
}

}  // namespace lares::sandbox
