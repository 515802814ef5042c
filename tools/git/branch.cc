// branch and switch. Nothing is deleted, and no change of the worktree is overwritten, not even of
// a file that git ignores.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "tools/git/index.h"
#include "tools/git/repo.h"
#include "tools/git/switch_check.h"
#include "tools/git/text.h"
#include "tools/git/upstream.h"
#include "tools/text.h"

namespace lares::tools::git {
namespace {

constexpr int kBranchesMax = 500;
using Branches = Owned<git_branch_iterator, git_branch_iterator_free>;

std::string tracking(git_repository* repo, git_reference* branch) {
  const std::string name = upstream_of(repo, git_reference_name(branch));
  if (name.empty()) return "";
  std::string shown = name;
  for (const std::string_view begin : {"refs/remotes/", "refs/heads/"}) {
    if (shown.starts_with(begin)) shown.erase(0, begin.size());
  }
  git_reference* raw = nullptr;
  if (git_reference_lookup(&raw, repo, name.c_str()) != 0) return fmt::format("[{}: gone] ", shown);
  const Reference upstream(raw);
  const git_oid *ours = git_reference_target(branch), *theirs = git_reference_target(raw);
  const std::string apart = ours && theirs ? distance(repo, ours, theirs) : "";
  return fmt::format("[{}{}{}] ", shown, apart.empty() ? "" : ": ", apart);
}

GitResult<std::string> list(git_repository* repo) {
  git_branch_iterator* raw = nullptr;
  if (git_branch_iterator_new(&raw, repo, GIT_BRANCH_ALL) != 0)
    return tl::unexpected("branch: " + last_error());
  const Branches branches(raw);
  // Local ones first, each kind by name
  std::vector<std::tuple<bool, std::string, std::string>> lines;
  git_reference* next = nullptr;
  git_branch_t kind{};
  int n = 0;
  while (git_branch_next(&next, &kind, raw) == 0) {
    const Reference branch(next);
    if (git_reference_type(next) == GIT_REFERENCE_SYMBOLIC) continue;  // origin/HEAD
    if (++n > kBranchesMax) continue;
    git_object* object = nullptr;
    if (git_reference_peel(&object, next, GIT_OBJECT_COMMIT) != 0) continue;
    const Object commit(object);
    const char* summary = git_commit_summary(reinterpret_cast<git_commit*>(object));
    const bool local = kind == GIT_BRANCH_LOCAL;
    const std::string name = (local ? "" : "remotes/") + std::string(git_reference_shorthand(next));
    lines.emplace_back(
        !local, name,
        fmt::format("{} {} {} {}{}\n", git_branch_is_head(next) == 1 ? '*' : ' ', name,
                    short_id(object), local ? tracking(repo, next) : "", summary ? summary : ""));
  }
  std::ranges::sort(lines);
  std::string text;
  if (git_repository_head_unborn(repo) == 1)
    text = fmt::format("* {} (no commits yet)\n", head_name(repo));
  else if (head_name(repo).empty())
    text = "* (no branch)\n";
  for (const auto& [remote, name, line] : lines) text += line;
  if (n > kBranchesMax)
    text += fmt::format("[{} more branches; list them with git branch in bash]\n",
                        n - kBranchesMax);
  return bounded(to_utf8(text), "list them with git branch in bash");
}

GitResult<> valid_name(const std::string& command, const std::string& name) {
  int valid = 0;
  if (git_branch_name_is_valid(&valid, name.c_str()) == 0 && valid && !name.starts_with('-'))
    return {};
  return tl::unexpected(
      fmt::format("{}: `{}` is no name for a branch; use letters, digits, - and /", command, name));
}

Reference local_branch(git_repository* repo, const std::string& name) {
  git_reference* raw = nullptr;
  return Reference(git_branch_lookup(&raw, repo, name.c_str(), GIT_BRANCH_LOCAL) == 0 ? raw
                                                                                      : nullptr);
}

GitResult<Object> head_commit(git_repository* repo, const std::string& command) {
  git_object* raw = nullptr;
  if (git_repository_head_unborn(repo) == 1)
    return tl::unexpected(
        fmt::format("{}: there are no commits yet; make the first with commit", command));
  if (git_revparse_single(&raw, repo, "HEAD^{commit}") != 0)
    return tl::unexpected(fmt::format("{}: {}", command, last_error()));
  return Object(raw);
}

// That no branch is made that has the name of something else: git would ask for --detach, and from
// then on the name would be ambiguous.
GitResult<> check_free(git_repository* repo, const Request& request) {
  git_object* raw = nullptr;
  if (git_revparse_single(&raw, repo, request.rev.c_str()) != 0) return {};
  const Object found(raw);
  const git_object_t type = git_object_type(raw);
  git_reference* raw_named = nullptr;
  const Reference named(git_reference_dwim(&raw_named, repo, request.rev.c_str()) == 0 ? raw_named
                                                                                       : nullptr);
  // Words of a, b, c, d, e and f name some content in any large repository.
  if (!named && type != GIT_OBJECT_COMMIT && type != GIT_OBJECT_TAG) return {};
  const std::string begin = fmt::format("{} is no branch but {} {}", request.rev,
                                        !named                               ? "the commit"
                                        : git_reference_is_tag(raw_named)    ? "the tag"
                                        : git_reference_is_remote(raw_named) ? "the remote branch"
                                                                             : "the name of",
                                        named ? git_reference_name(raw_named) : short_id(raw));
  if (named && git_reference_is_branch(raw_named))
    return tl::unexpected(
        fmt::format("{}: {}; give {}", request.command, begin, git_reference_shorthand(raw_named)));
  return tl::unexpected(
      fmt::format("{}: {}; to begin a branch there, {}", request.command, begin,
                  by_git(request, fmt::format("git switch -c NAME {}", request.rev))));
}

// What a branch that is not there yet begins at: the one remote branch of its name, which it then
// follows, or HEAD.
struct Start {
  Object commit;
  Reference follows;
  std::string remote;  // whose branch that is
};
GitResult<Start> start_of(git_repository* repo, const Request& request) {
  const std::string& name = request.rev;
  Start out;
  for (const std::string& remote : remote_names(repo)) {
    git_reference* raw = nullptr;
    if (git_branch_lookup(&raw, repo, fmt::format("{}/{}", remote, name).c_str(),
                          GIT_BRANCH_REMOTE) != 0)
      continue;
    Reference found(raw);
    if (out.follows)
      return tl::unexpected(fmt::format(
          "switch: several remotes have a branch {}; ask the user which one is meant", name));
    out.follows = std::move(found);
    out.remote = remote;
  }
  git_object* raw = nullptr;
  if (out.follows) {
    if (git_reference_peel(&raw, out.follows.get(), GIT_OBJECT_COMMIT) != 0)
      return tl::unexpected("switch: " + last_error());
    out.commit.reset(raw);
    return out;
  }
  if (auto free = check_free(repo, request); !free) return tl::unexpected(free.error());
  auto head = head_commit(repo, "switch");
  if (!head) return tl::unexpected(head.error());
  out.commit = std::move(*head);
  return out;
}

int note_conflict(git_checkout_notify_t, const char* path, const git_diff_file*,
                  const git_diff_file*, const git_diff_file*, void* payload) {
  static_cast<std::vector<std::string>*>(payload)->emplace_back(path);
  return 0;
}

// All or nothing: libgit2 looks at every file before it writes the first.
GitResult<> check_out(git_repository* repo, git_tree* from, const git_object* commit,
                      IndexToWrite& index) {
  std::vector<std::string> conflicts;
  git_checkout_options options = GIT_CHECKOUT_OPTIONS_INIT;
  options.checkout_strategy = GIT_CHECKOUT_SAFE | GIT_CHECKOUT_DONT_OVERWRITE_IGNORED |
                              GIT_CHECKOUT_NO_REFRESH | GIT_CHECKOUT_DONT_WRITE_INDEX;
  options.baseline = from;  // without an index on disk it would begin with nothing
  options.notify_flags = GIT_CHECKOUT_NOTIFY_CONFLICT;
  options.notify_cb = note_conflict;
  options.notify_payload = &conflicts;
  const int failed = git_checkout_tree(repo, commit, &options);
  if (failed == 0) return index.write();
  if (!conflicts.empty()) {
    return tl::unexpected(
        fmt::format("switch: changes to {} would be overwritten, nothing was done; commit them "
                    "first, or put them aside",
                    few_of(conflicts)));
  }
  return tl::unexpected("switch: " + last_error());
}

}  // namespace

GitResult<std::string> branch(const Opened& opened, const Request& request) {
  git_repository* repo = opened.repo.get();
  if (request.rev.empty()) return list(repo);
  if (auto valid = valid_name("branch", request.rev); !valid) return tl::unexpected(valid.error());
  if (local_branch(repo, request.rev))
    return tl::unexpected(
        fmt::format("branch: {} is there already; switch goes to it", request.rev));
  const auto head = head_commit(repo, "branch");
  if (!head) return tl::unexpected(head.error());
  if (auto free = check_free(repo, request); !free) return tl::unexpected(free.error());
  git_reference* raw = nullptr;
  if (git_branch_create(&raw, repo, request.rev.c_str(),
                        reinterpret_cast<const git_commit*>(head->get()), 0) != 0) {
    return tl::unexpected(fmt::format("branch: {}", last_error()));
  }
  const Reference made(raw);
  return fmt::format("made the branch {} at {}; switch goes to it\n", request.rev,
                     short_id(head->get()));
}

GitResult<std::string> switch_to(const Opened& opened, const Request& request) {
  git_repository* repo = opened.repo.get();
  const std::string& name = request.rev;
  if (name.empty())
    return tl::unexpected(
        std::string("switch: `rev` is missing; give the name of a branch, branch lists them"));
  if (auto valid = valid_name("switch", name); !valid) return tl::unexpected(valid.error());
  if (head_name(repo) == name) return tl::unexpected(fmt::format("switch: already on {}", name));
  if (git_repository_state(repo) != GIT_REPOSITORY_STATE_NONE) {
    return tl::unexpected(under_way(request));
  }
  const auto head = head_commit(repo, "switch");
  if (!head) return tl::unexpected(head.error());
  Reference target = local_branch(repo, name);
  if (target && git_branch_is_checked_out(target.get()) == 1)
    return tl::unexpected(fmt::format("switch: {} is checked out in another worktree", name));
  Start start;
  if (target) {
    git_object* raw = nullptr;
    if (git_reference_peel(&raw, target.get(), GIT_OBJECT_COMMIT) != 0)
      return tl::unexpected("switch: " + last_error());
    start.commit.reset(raw);
  } else {
    auto begin = start_of(repo, request);
    if (!begin) return tl::unexpected(begin.error());
    start = std::move(*begin);
  }
  const auto from = tree_of(repo, git_oid_tostr_s(git_object_id(head->get()))),
             to = tree_of(repo, git_oid_tostr_s(git_object_id(start.commit.get())));
  if (!from) return tl::unexpected("switch: " + from.error());
  if (!to) return tl::unexpected("switch: " + to.error());
  const auto n_changed = check_way(opened, request, from->get(), to->get());
  if (!n_changed) return tl::unexpected(n_changed.error());
  if (*n_changed > 0) {
    // libgit2 would write the files that are to stay away, and take those that are away for
    // changed.
    if (is_sparse(repo)) {
      return tl::unexpected(
          fmt::format("switch: this is a sparse checkout, which is not switched here; {}",
                      by_git(request, "git switch " + name)));
    }
    auto index = IndexToWrite::open(repo);
    if (!index) return tl::unexpected("switch: " + index.error());
    if (auto kept = check_staged(repo, index->get(), from->get(), to->get()); !kept)
      return tl::unexpected(kept.error());
    if (auto done = check_out(repo, from->get(), start.commit.get(), *index); !done)
      return tl::unexpected(done.error());
  }
  std::string made;
  if (!target) {
    git_reference* raw = nullptr;
    if (git_branch_create(&raw, repo, name.c_str(),
                          reinterpret_cast<const git_commit*>(start.commit.get()), 0) != 0)
      return tl::unexpected("switch: " + last_error());
    target.reset(raw);
    made = start.follows
               ? fmt::format(", made from {}", git_reference_shorthand(start.follows.get()))
               : ", made here";
    if (start.follows && !follow(repo, git_reference_name(raw), start.remote, "refs/heads/" + name))
      made += fmt::format(
          ", which it does not follow ({}; {})", last_error(),
          by_git(request, fmt::format("git branch -u {} {}",
                                      git_reference_shorthand(start.follows.get()), name)));
  }
  if (git_repository_set_head(repo, git_reference_name(target.get())) != 0)
    return tl::unexpected("switch: " + last_error());
  std::string text = fmt::format("switched to {}{}: {} file{} changed\n", name, made, *n_changed,
                                 *n_changed == 1 ? "" : "s");
  const std::string hook = std::string(git_repository_commondir(repo)) + "hooks/post-checkout";
  if (::access(hook.c_str(), X_OK) == 0) text += "[hooks were not run: post-checkout]\n";
  Request all = request;
  all.path.clear();
  const auto left = status(opened, all);
  return left ? text + *left : text;
}

}  // namespace lares::tools::git
