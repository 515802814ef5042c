#include "tools/git/view.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <git2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "tools/git/library.h"
#include "tools/git/objects.h"
#include "tools/git/text.h"
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

Result<GitView> GitView::open(const std::string& root) {
  git::start_library();
  GitView view;
  git_repository* raw = nullptr;
  const int opened = git_repository_open_ext(&raw, root.c_str(), 0, nullptr);
  if (opened == GIT_ENOTFOUND) return view;
  if (opened != 0) {
    const std::string reason = git_reason();
    // The second is what libgit2 says when another user owns the repository.
    if (opened == GIT_EOWNER || reason.find("safe.directory") != std::string::npos) {
      return broken(
          fmt::format("list {}: the repository belongs to another user; run as its owner, or "
                      "git config --global --add safe.directory {}",
                      root, root));
    }
    return broken(fmt::format("list {}: {}", root, reason));
  }
  std::shared_ptr<git_repository> repository(raw, git_repository_free);
  if (const auto bounded = git::bound_reads(raw, {}); !bounded)
    return broken(fmt::format("list {}: {}", root, bounded.error()));
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
  view.repository_ = std::move(repository);
  view.prefix_ = real_root.substr(top.size());
  for (const std::string& file : view.rule_files_outside()) {
    if (can_read_rules(AT_FDCWD, file.c_str())) continue;
    return broken(fmt::format(
        "list {}: {} is no plain file of at most {} bytes; remove it, or the setting that names it",
        root, file, kRuleFileBytesMax));
  }
  if (view.prefix_.empty() || !view.ignored("", true)) return view;
  // A root that the repository around it ignores (a build folder, say) is listed for itself.
  const auto tracked = view.tracked();
  if (!tracked) return tl::unexpected(tracked.error());
  if (tracked->files.empty()) return GitView();
  return view;
}

Result<TrackedFiles> GitView::tracked() const {
  TrackedFiles out;
  if (!repository_) return out;
  git_index* raw = nullptr;
  if (git_repository_index(&raw, repository_.get()) != 0) {
    const std::string reason = git_reason();
    out.unread = git::of_index(reason);
    if (!out.unread.empty()) return out;
    return broken(fmt::format("list {}: {}; git status must work there",
                              git_repository_workdir(repository_.get()), reason));
  }
  const std::unique_ptr<git_index, decltype(&git_index_free)> index(raw, git_index_free);
  const std::size_t n = git_index_entrycount(raw);
  std::vector<Tracked>& files = out.files;
  files.reserve(n);
  for (std::size_t i = 0; i < n; ++i) {
    const git_index_entry* entry = git_index_get_byindex(raw, i);
    const std::string_view path = entry->path;
    if (!path.starts_with(prefix_) || path.ends_with('/'))
      continue;  // '/': a sparse index's folder
    Tracked file{std::string(path.substr(prefix_.size())), entry->mode == GIT_FILEMODE_COMMIT};
    // A conflict has up to three entries of one path.
    if (files.empty() || files.back().path != file.path) files.push_back(std::move(file));
  }
  // With core.ignorecase the index has an order of its own.
  std::ranges::sort(files, {}, &Tracked::path);
  return out;
}

std::string GitView::index_path() const {
  return repository_ ? std::string(git_repository_path(repository_.get())) + "index" : "";
}

bool GitView::ignored(const std::string& path, bool directory) const {
  if (!repository_) return false;
  std::string asked = prefix_ + path;
  if (directory && !asked.ends_with('/')) asked += '/';
  int ignored = 0;
  return git_ignore_path_is_ignored(&ignored, repository_.get(), asked.c_str()) == 0 && ignored;
}

Attributes GitView::attributes(const std::string& path) const {
  if (!repository_) return {};
  const char* names[] = {"linguist-generated", "linguist-vendored"};
  const char* values[] = {nullptr, nullptr};
  if (git_attr_get_many(values, repository_.get(), GIT_ATTR_CHECK_FILE_THEN_INDEX,
                        (prefix_ + path).c_str(), 2, names) != 0) {
    return {};
  }
  return {says(values[0]), says(values[1])};
}

std::vector<std::string> GitView::rule_files_outside() const {
  std::vector<std::string> out;
  git_repository* repository = repository_.get();
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
  if (!repository_) return 0;
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
  if (!repository_) return false;
  const auto exists = [](const std::string& path) { return ::access(path.c_str(), F_OK) == 0; };
  if (exists(std::string(git_repository_commondir(repository_.get())) + "info/attributes"))
    return true;
  return std::ranges::any_of(directories_above(*this), [&](const std::string& above) {
    return exists(above + ".gitattributes");
  });
}

}  // namespace lares::tools
