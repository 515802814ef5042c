#include "tools/git/worktree_files.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "tools/git/index_file.h"

namespace lares::tools::git {
namespace {

namespace fs = std::filesystem;

class KeptOutOf {
 public:
  static GitResult<KeptOutOf> open(git_repository* repo) {
    auto entries = read_index_file(repo);
    if (!entries) return tl::unexpected(entries.error());
    return KeptOutOf(git_repository_workdir(repo), std::move(*entries));
  }
  bool has(const std::string& path) const {
    if (const IndexEntry* known = find(path)) return known->is_marked_out() && !is_there(path);
    for (std::size_t slash = path.find('/'); slash != std::string::npos;
         slash = path.find('/', slash + 1))
      if (find(path.substr(0, slash + 1))) return !is_there(path);
    return false;
  }

 private:
  KeptOutOf(std::string worktree, std::vector<IndexEntry> entries)
      : worktree_(std::move(worktree)), entries_(std::move(entries)) {}
  const IndexEntry* find(const std::string& path) const {
    const auto at = std::ranges::lower_bound(entries_, path, {}, &IndexEntry::path);
    return at != entries_.end() && at->path == path ? &*at : nullptr;
  }
  bool is_there(const std::string& path) const {
    struct stat st {};
    return ::lstat((worktree_ + path).c_str(), &st) == 0;
  }

  std::string worktree_;
  std::vector<IndexEntry> entries_;
};

GitResult<Index> index_in_memory() {
  git_index* raw = nullptr;
  if (git_index_new(&raw) != 0) return tl::unexpected(last_error());
  return Index(raw);
}

GitResult<Index> index_of_head(git_repository* repo) {
  auto out = index_in_memory();
  if (!out) return out;
  const auto tree = head_tree(repo);
  if (!tree) return tl::unexpected(tree.error());
  if (git_index_read_tree(out->get(), tree->get()) != 0) return tl::unexpected(last_error());
  return out;
}

constexpr const char *kPatterns = "info/sparse-checkout", *kSettings = "config.worktree";

GitResult<> copy_setting(const fs::path& from, const fs::path& to) {
  std::error_code failed;
  if (!fs::exists(from, failed)) return {};
  fs::create_directories(to.parent_path(), failed);
  fs::copy_file(from, to, fs::copy_options::overwrite_existing, failed);
  if (!failed) return {};
  return tl::unexpected(
      fmt::format("copy {} to {}: {}", from.native(), to.native(), failed.message()));
}

// Git leaves out the two that can hold for one worktree only.
GitResult<> copy_settings(const fs::path& from, const fs::path& to) {
  for (const char* name : {kPatterns, kSettings})
    if (auto copied = copy_setting(from / name, to / name); !copied) return copied;
  git_config* raw = nullptr;
  if (::access((to / kSettings).c_str(), F_OK) != 0) return {};
  if (git_config_open_ondisk(&raw, (to / kSettings).c_str()) != 0)
    return tl::unexpected(last_error());
  const Owned<git_config, git_config_free> config(raw);
  for (const char* key : {"core.bare", "core.worktree"}) {
    const int failed = git_config_delete_entry(raw, key);
    if (failed != 0 && failed != GIT_ENOTFOUND) return tl::unexpected(last_error());
  }
  return {};
}

}  // namespace

bool has_settings_of_its_own(git_repository* worktree) {
  const std::string settings = std::string(git_repository_path(worktree)) + kSettings;
  return is_sparse(worktree) || ::access(settings.c_str(), F_OK) == 0;
}

GitResult<> fill_worktree(git_repository* from, git_repository* made) {
  if (auto copied = copy_settings(git_repository_path(from), git_repository_path(made)); !copied)
    return copied;
  read_worktree_config(made);
  const auto kept_out = KeptOutOf::open(from);
  if (!kept_out) return tl::unexpected(kept_out.error());
  const auto all = index_of_head(made);
  if (!all) return tl::unexpected(all.error());
  const auto here = index_in_memory(), nothing = index_in_memory();
  if (!here) return tl::unexpected(here.error());
  if (!nothing) return tl::unexpected(nothing.error());
  std::vector<git_index_entry> away;
  for (std::size_t i = 0; i < git_index_entrycount(all->get()); ++i) {
    const git_index_entry* entry = git_index_get_byindex(all->get(), i);
    if (kept_out->has(entry->path))
      away.push_back(*entry);
    else if (git_index_add(here->get(), entry) != 0)
      return tl::unexpected(last_error());
  }
  git_checkout_options options = GIT_CHECKOUT_OPTIONS_INIT;
  options.checkout_strategy = GIT_CHECKOUT_FORCE;
  options.baseline_index = nothing->get();
  if (git_checkout_index(made, here->get(), &options) != 0) return tl::unexpected(last_error());
  git_index* raw = nullptr;
  if (git_repository_index(&raw, made) != 0) return tl::unexpected(last_error());
  const Index index(raw);
  for (git_index_entry& entry : away) {
    entry.flags_extended |= GIT_INDEX_ENTRY_SKIP_WORKTREE;
    if (git_index_add(raw, &entry) != 0) return tl::unexpected(last_error());
  }
  if (git_index_write(raw) != 0) return tl::unexpected(last_error());
  return {};
}

}  // namespace lares::tools::git
