#include "tools/git/worktree.h"

#include <fmt/format.h>

#include <filesystem>

#include "tools/git/index.h"
#include "tools/git/library.h"
#include "tools/git/repo.h"
#include "tools/git/worktree_files.h"

namespace lares::tools {
namespace {

namespace fs = std::filesystem;
using git::Free;
using git::last_error;
using git::Owned;
using Worktree = Owned<git_worktree, git_worktree_free>;

git::GitResult<git::Repository> opened(const std::string& path) {
  if (!git::start_library()) return tl::unexpected(last_error());
  auto repository = git::open_repository(path);
  if (!repository) return tl::unexpected(repository.error());
  return std::move(repository->repo);
}

git::GitResult<git::Commit> head_commit(git_repository* repo, const std::string& path) {
  if (git_repository_head_unborn(repo) == 1)
    return tl::unexpected(fmt::format("{} has no commit yet; make one first", path));
  git_object* raw = nullptr;
  if (git_revparse_single(&raw, repo, "HEAD^{commit}") != 0)
    return tl::unexpected(fmt::format("read HEAD of {}: {}", path, last_error()));
  return git::Commit(reinterpret_cast<git_commit*>(raw));
}

git::GitResult<> fill_worktree(git_repository* from, git_worktree* made) {
  git_repository* raw = nullptr;
  if (git_repository_open_from_worktree(&raw, made) != 0) return tl::unexpected(last_error());
  const git::Repository worktree(raw);
  return git::fill_worktree(from, raw);
}

void add_submodules(git_repository* repo, git_index* index, std::vector<std::string>* out) {
  const fs::path root = git_repository_workdir(repo);
  std::error_code ec;
  for (std::size_t i = 0; i < git_index_entrycount(index); ++i) {
    const git_index_entry* entry = git_index_get_byindex(index, i);
    if (out->size() < kUncommittedNamedMax && entry->mode == GIT_FILEMODE_COMMIT &&
        fs::exists(root / entry->path / ".git", ec))
      out->push_back(std::string(entry->path) + "/");
  }
}

}  // namespace

tl::expected<std::string, std::string> add_worktree(const WorktreePlan& plan) {
  const std::string what = fmt::format("make a worktree of {}", plan.repository);
  const auto repo = opened(plan.repository);
  if (!repo) return tl::unexpected(fmt::format("{}: {}", what, repo.error()));
  const auto head = head_commit(repo->get(), plan.repository);
  if (!head) return tl::unexpected(fmt::format("{}: {}", what, head.error()));
  git_reference* raw_branch = nullptr;
  if (git_branch_create(&raw_branch, repo->get(), plan.branch.c_str(), head->get(), 0) != 0)
    return tl::unexpected(
        fmt::format("{}: make the branch {}: {}", what, plan.branch, last_error()));
  const git::Reference branch(raw_branch);
  git_worktree_add_options options = GIT_WORKTREE_ADD_OPTIONS_INIT;
  options.ref = raw_branch;
  const bool own = git::has_settings_of_its_own(repo->get());
  options.checkout_options.checkout_strategy = own ? GIT_CHECKOUT_DONT_WRITE_INDEX
                                                   : GIT_CHECKOUT_FORCE;
  git_worktree* raw = nullptr;
  git::GitResult<> made;
  if (git_worktree_add(&raw, repo->get(), plan.name.c_str(), plan.path.c_str(), &options) != 0)
    made = tl::unexpected(last_error());
  const Worktree known(raw);
  if (made && own) made = fill_worktree(repo->get(), raw);
  if (!made) {
    (void)remove_worktree(plan.repository, plan.name, plan.path);
    git_branch_delete(raw_branch);
    return tl::unexpected(fmt::format("{} at {}: {}", what, plan.path, made.error()));
  }
  char text[GIT_OID_HEXSZ + 1];
  return std::string(git_oid_tostr(text, sizeof text, git_commit_id(head->get())));
}

tl::expected<WorktreeLook, std::string> look_at_worktree(const std::string& path) {
  const auto repo = opened(path);
  if (!repo) return tl::unexpected(repo.error());
  const auto head = head_commit(repo->get(), path);
  if (!head) return tl::unexpected(head.error());
  if (auto heeded = git::heed_files_that_are_there(repo->get()); !heeded)
    return tl::unexpected(fmt::format("read the state of {}: {}", path, heeded.error()));
  WorktreeLook out;
  if (git_repository_head_detached(repo->get()) != 1) out.branch = git::head_name(repo->get());
  char text[GIT_OID_HEXSZ + 1];
  out.commit = git_oid_tostr(text, sizeof text, git_commit_id(head->get()));
  git_status_options options = GIT_STATUS_OPTIONS_INIT;
  options.flags = GIT_STATUS_OPT_INCLUDE_UNTRACKED | GIT_STATUS_OPT_EXCLUDE_SUBMODULES;
  git_status_list* raw = nullptr;
  if (git_status_list_new(&raw, repo->get(), &options) != 0)
    return tl::unexpected(fmt::format("read the state of {}: {}", path, last_error()));
  const Owned<git_status_list, git_status_list_free> list(raw);
  const auto index = git::index_of(repo->get());
  if (!index) return tl::unexpected(fmt::format("read the index of {}: {}", path, index.error()));
  const std::size_t n = git_status_list_entrycount(raw);
  for (std::size_t i = 0; i < n && out.paths.size() < kUncommittedNamedMax; ++i) {
    const git_status_entry* entry = git_status_byindex(raw, i);
    const git_diff_delta* const delta = entry->index_to_workdir ? entry->index_to_workdir
                                                                : entry->head_to_index;
    if (entry->status != GIT_STATUS_WT_DELETED ||
        !git::is_kept_out(repo->get(), index->get(), delta->old_file.path))
      out.paths.emplace_back(delta->new_file.path);
  }
  add_submodules(repo->get(), index->get(), &out.paths);
  out.uncommitted = !out.paths.empty();
  return out;
}

tl::expected<void, std::string> remove_worktree(const std::string& repository,
                                                const std::string& name, const std::string& path) {
  std::error_code ec;
  // What a command left unwritable is still its owner's to remove.
  for (fs::recursive_directory_iterator at(path, fs::directory_options::skip_permission_denied, ec),
       end;
       !ec && at != end; at.increment(ec)) {
    if (at->is_directory(ec) && !at->is_symlink(ec))
      fs::permissions(at->path(), fs::perms::owner_all, fs::perm_options::add, ec);
    ec.clear();
  }
  fs::remove_all(path, ec);
  if (ec) return tl::unexpected(fmt::format("remove the worktree {}: {}", path, ec.message()));
  if (!fs::exists(repository, ec)) return {};
  const auto repo = opened(repository);
  if (!repo) return {};
  git_worktree* raw = nullptr;
  if (git_worktree_lookup(&raw, repo->get(), name.c_str()) != 0) return {};  // git has forgotten it
  const Worktree known(raw);
  git_worktree_prune_options options = GIT_WORKTREE_PRUNE_OPTIONS_INIT;
  options.flags = GIT_WORKTREE_PRUNE_VALID | GIT_WORKTREE_PRUNE_LOCKED;
  if (git_worktree_prune(raw, &options) != 0)
    return tl::unexpected(
        fmt::format("forget the worktree {} of {}: {}", path, repository, last_error()));
  return {};
}

tl::expected<bool, std::string> branch_has_commits(const std::string& repository,
                                                   const std::string& branch,
                                                   const std::string& since) {
  const auto repo = opened(repository);
  if (!repo) return tl::unexpected(repo.error());
  git_reference* raw = nullptr;
  if (git_branch_lookup(&raw, repo->get(), branch.c_str(), GIT_BRANCH_LOCAL) != 0) return false;
  const git::Reference found(raw);
  const git_oid* tip = git_reference_target(raw);
  git_oid began, head;
  if (!tip) return false;
  const bool knows_since = git_oid_fromstr(&began, since.c_str()) == 0;
  const auto has = [&](const git_oid& commit) {
    return git_oid_equal(tip, &commit) || git_graph_descendant_of(repo->get(), &commit, tip) == 1;
  };
  if (knows_since && has(began)) return false;
  return git_reference_name_to_id(&head, repo->get(), "HEAD") != 0 || !has(head);
}

tl::expected<void, std::string> remove_branch(const std::string& repository,
                                              const std::string& branch) {
  const auto repo = opened(repository);
  if (!repo) return tl::unexpected(repo.error());
  git_reference* raw = nullptr;
  if (git_branch_lookup(&raw, repo->get(), branch.c_str(), GIT_BRANCH_LOCAL) != 0) return {};
  const git::Reference found(raw);
  if (git_branch_delete(raw) != 0)
    return tl::unexpected(
        fmt::format("remove the branch {} of {}: {}", branch, repository, last_error()));
  return {};
}

}  // namespace lares::tools
