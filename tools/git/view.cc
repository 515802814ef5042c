#include "tools/git/view.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <git2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "tools/git/impatience.h"
#include "tools/git/index.h"
#include "tools/git/index_file.h"
#include "tools/git/library.h"
#include "tools/git/objects.h"
#include "tools/git/opened_stamp.h"
#include "tools/git/owner.h"
#include "tools/git/repo.h"
#include "tools/workspace/file_stamp.h"

namespace lares::tools {
namespace {

constexpr off_t kRuleFileBytesMax = 4 << 20;

std::string git_reason() {
  const git_error* error = git_error_last();
  return error && error->message ? error->message : "unknown reason";
}
tl::unexpected<Error> broken(std::string message) {
  return tl::unexpected(Error{Errc::broken, std::move(message)});
}

std::string real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&::free)> real(::realpath(path.c_str(), nullptr), ::free);
  return real ? real.get() : path;
}

Says says(const char* value) {
  switch (git_attr_value(value)) {
    case GIT_ATTR_VALUE_TRUE:
      return Says::yes;
    case GIT_ATTR_VALUE_FALSE:
      return Says::no;
    case GIT_ATTR_VALUE_STRING:  // linguist-generated=true
      return std::string_view(value) == "true"    ? Says::yes
             : std::string_view(value) == "false" ? Says::no
                                                  : Says::nothing;
    default:
      return Says::nothing;
  }
}

std::uint64_t stamp(std::uint64_t hash, const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 ? mixed(hash, stamp_of(st)) : mixed(hash, 1);
}

// Where git looks when the configuration names no file: $XDG_CONFIG_HOME/git/ignore.
std::string users_own(git_repository* repository, const char* key, const char* name) {
  git_config* config = nullptr;
  std::string out;
  if (git_repository_config_snapshot(&config, repository) == 0) {
    git_buf path = GIT_BUF_INIT;
    if (git_config_get_path(&path, config, key) == 0 && path.ptr) out = path.ptr;
    git_buf_dispose(&path);
    git_config_free(config);
  }
  if (!out.empty()) return out;
  const char *xdg = std::getenv("XDG_CONFIG_HOME"), *home = std::getenv("HOME");
  if (xdg && *xdg) return fmt::format("{}/git/{}", xdg, name);
  return home ? fmt::format("{}/.config/git/{}", home, name) : "";
}

// Of the root inside the worktree, the top first; none when the root is the top.
std::vector<std::string> directories_above(const GitView& view) {
  std::vector<std::string> out;
  for (std::size_t end = 0; end < view.prefix().size(); end = view.prefix().find('/', end) + 1) {
    out.push_back(git_repository_workdir(view.repository()) + view.prefix().substr(0, end));
  }
  return out;
}

}  // namespace

// Nothing confines this as the git tool is (confined.h), though a job in the background may lead a
// repository that a command has made elsewhere between two looks at it. It writes nothing, and of
// what it reads elsewhere only answers about names get out that the worktree has itself: whether
// another's index holds such a name, and whether a line there, taken as a pattern, is one. Whoever
// wants a secret line out of that has to know the line. What would wait for ever is interrupted.
struct GitView::Handle {
  explicit Handle(git_repository* opened) : repository(opened, git_repository_free) {}
  const std::unique_ptr<git_repository, decltype(&git_repository_free)> repository;
  std::uint64_t stamp = 0;               // of what it was opened with
  bool index_is_for_attributes = false;  // as it is now
};

git_repository* GitView::repository() const {
  return handle_ ? handle_->repository.get() : nullptr;
}

Result<GitView> GitView::open(const std::string& root) {
  git::start_library();
  const git::Impatience here;  // what a command made may be a pipe: its configuration, say
  GitView view;
  view.root_ = root;
  git_repository* raw = nullptr;
  const int opened = git_repository_open_ext(&raw, root.c_str(), 0, nullptr);
  if (opened == GIT_ENOTFOUND) return view;
  if (opened != 0) return broken(fmt::format("list {}: {}", root, git_reason()));
  auto handle = std::make_shared<Handle>(raw);
  git::read_worktree_config(raw);
  const std::string real_root = real_path(root) + "/";
  const char* workdir = git_repository_workdir(raw);
  if (!workdir) {
    const std::string git_directory = real_path(git_repository_path(raw)) + "/";
    if (real_root.starts_with(git_directory)) {
      return broken(fmt::format("list {}: the repository is bare; give its worktree", root));
    }
    return view;  // a folder that only lies in a bare repository
  }
  const std::string top = real_path(workdir) + "/";
  if (!real_root.starts_with(top)) return view;
  if (const auto owned = git::check_owner(raw); !owned)
    return broken(fmt::format("list {}: {}", root, owned.error()));
  if (const auto bounded = git::bound_reads(raw, {}); !bounded)
    return broken(fmt::format("list {}: {}", root, bounded.error()));
  view.handle_ = std::move(handle);
  view.prefix_ = real_root.substr(top.size());
  view.handle_->stamp = git::opened_stamp(raw, root);
  return view.checked();
}

Result<GitView> GitView::again() const {
  const git::Impatience here;
  if (!handle_ || handle_->stamp != git::opened_stamp(repository(), root_)) return open(root_);
  handle_->index_is_for_attributes = false;
  return checked();
}

// Where the rules can be read, and are this root's.
Result<GitView> GitView::checked() const {
  for (const std::string& file : rule_files_outside()) {
    if (can_read_rules(AT_FDCWD, file.c_str())) continue;
    return broken(fmt::format(
        "list {}: {} is no plain file of at most {} bytes; remove it, or the setting that names it",
        root_, file, kRuleFileBytesMax));
  }
  if (prefix_.empty() || !ignored("", true)) return *this;
  // A root that the repository around it ignores (a build folder, say) is listed for itself.
  const auto known = tracked();
  if (!known) return tl::unexpected(known.error());
  if (!known->files.empty()) return *this;
  GitView none;
  none.root_ = root_;
  return none;
}

Result<TrackedFiles> GitView::tracked() const {
  TrackedFiles out;
  if (!handle_) return out;
  auto entries = git::read_index_file(repository());
  if (!entries) {
    out.unread = std::move(entries.error());
    return out;
  }
  std::vector<Tracked>& files = out.files;
  files.reserve(entries->size());
  for (const git::IndexEntry& entry : *entries) {
    if (!entry.path.starts_with(prefix_) || entry.is_directory()) continue;
    Tracked file{entry.path.substr(prefix_.size()), entry.about.mode == GIT_FILEMODE_COMMIT};
    // A conflict has up to three entries of one path.
    if (files.empty() || files.back().path != file.path) files.push_back(std::move(file));
  }
  return out;
}

std::string GitView::index_path() const {
  return handle_ ? std::string(git_repository_path(repository())) + "index" : "";
}

bool GitView::ignored(const std::string& path, bool directory) const {
  if (!handle_) return false;
  std::string asked = prefix_ + path;
  if (directory && !asked.ends_with('/')) asked += '/';
  const git::Impatience here;  // what was looked at may be another thing by now
  int ignored = 0;
  return git_ignore_path_is_ignored(&ignored, repository(), asked.c_str()) == 0 && ignored;
}

Attributes GitView::attributes(const std::string& path) const {
  if (!handle_) return {};
  const git::Impatience here;
  if (!std::exchange(handle_->index_is_for_attributes, true))
    git::read_for_attributes(repository());
  const char* names[] = {"linguist-generated", "linguist-vendored"};
  const char* values[] = {nullptr, nullptr};
  if (git_attr_get_many(values, repository(), GIT_ATTR_CHECK_FILE_THEN_INDEX,
                        (prefix_ + path).c_str(), 2, names) != 0) {
    return {};
  }
  return {says(values[0]), says(values[1])};
}

std::vector<std::string> GitView::rule_files_outside() const {
  std::vector<std::string> out;
  git_repository* repository = this->repository();
  for (const char* name : {"info/exclude", "info/attributes", "config"}) {
    out.push_back(std::string(git_repository_commondir(repository)) + name);
  }
  out.push_back(users_own(repository, "core.excludesfile", "ignore"));
  out.push_back(users_own(repository, "core.attributesfile", "attributes"));
  for (const std::string& above : directories_above(*this)) {
    out.push_back(above + ".gitignore");
    out.push_back(above + ".gitattributes");
  }
  return out;
}

std::uint64_t GitView::rules_stamp() const {
  if (!handle_) return 0;
  std::uint64_t hash = 2;
  for (const std::string& file : rule_files_outside()) hash = stamp(hash, file);
  return hash;
}

bool GitView::can_read_rules(int directory, const char* name) {
  struct stat st {};
  if (::fstatat(directory, name, &st, 0) != 0 || S_ISDIR(st.st_mode)) return true;
  return S_ISREG(st.st_mode) && st.st_size <= kRuleFileBytesMax;
}

bool GitView::attributes_outside() const {
  if (!handle_) return false;
  const auto exists = [](const std::string& path) { return ::access(path.c_str(), F_OK) == 0; };
  if (exists(std::string(git_repository_commondir(repository())) + "info/attributes")) return true;
  return std::ranges::any_of(directories_above(*this), [&](const std::string& above) {
    return exists(above + ".gitattributes");
  });
}

}  // namespace lares::tools
