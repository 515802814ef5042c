#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "tools/git/repo.h"
#include "tools/git/shallow.h"
#include "tools/git/text.h"
#include "tools/text.h"

namespace lares::tools::git {
namespace {

constexpr int kLogDefault = 10, kLogMax = 200;
constexpr int kCommitsWalkedMax = 100'000;

// Where git itself sees another history.
std::string unlike_git(git_repository* repo) {
  const std::string common = git_repository_commondir(repo);
  git_reference_iterator* raw = nullptr;
  git_reference* replaced = nullptr;
  if (git_reference_iterator_glob_new(&raw, repo, "refs/replace/*") != 0) return "";
  const Owned<git_reference_iterator, git_reference_iterator_free> replacements(raw);
  const bool replaces = git_reference_next(&replaced, raw) == 0;
  git_reference_free(replaced);
  if (!replaces && ::access((common + "info/grafts").c_str(), F_OK) != 0) return "";
  return fmt::format("[{} not heeded here; git log in bash heeds {}]\n",
                     replaces ? "git's replacements (refs/replace) are" : "info/grafts is",
                     replaces ? "them" : "it");
}

// 1: the commit's version of `path` differs from every parent's; 0: it does not; < 0: it cannot be
// said.
int touches(git_commit* commit, const std::string& path) {
  const auto entry_id = [&](git_commit* of, git_oid& id) {
    id = git_oid{};
    git_tree* raw_tree = nullptr;
    if (const int failed = git_commit_tree(&raw_tree, of); failed != 0) return failed;
    const Tree tree(raw_tree);
    git_tree_entry* raw = nullptr;
    const int failed = git_tree_entry_bypath(&raw, raw_tree, path.c_str());
    if (failed == GIT_ENOTFOUND) return 0;
    if (failed != 0) return failed;
    id = *git_tree_entry_id(raw);
    git_tree_entry_free(raw);
    return 0;
  };
  git_oid here{}, there{};
  if (const int failed = entry_id(commit, here); failed != 0) return failed;
  const unsigned n = git_commit_parentcount(commit);
  if (n == 0) return !git_oid_is_zero(&here);
  for (unsigned i = 0; i < n; ++i) {
    git_commit* raw = nullptr;
    const int failed = git_commit_parent(&raw, commit, i);
    if (failed == GIT_ENOTFOUND) {  // a shallow clone ends here
      there = git_oid{};
      if (git_oid_equal(&here, &there)) return 0;
      continue;
    }
    if (failed != 0) return failed;
    const Commit parent(raw);
    if (const int unread = entry_id(raw, there); unread != 0) return unread;
    if (git_oid_equal(&here, &there)) return 0;
  }
  return 1;
}

}  // namespace

GitResult<std::string> log(const Opened& opened, const Request& request,
                           const Cancelled& cancelled) {
  git_repository* repo = opened.repo.get();
  const auto path = path_in_repository(opened, request.root, request.path);
  if (!path) return path;
  if (git_repository_head_unborn(repo) == 1) return std::string("no commits yet\n");
  git_revwalk* raw = nullptr;
  if (git_revwalk_new(&raw, repo) != 0) return tl::unexpected(last_error());
  const Owned<git_revwalk, git_revwalk_free> walk(raw);
  git_revwalk_sorting(raw,
                      GIT_SORT_NONE);  // git's own order; by time alone, equal seconds are shuffled
  const auto ends = shallow_commits(repo);
  ShallowWalk shallow(repo, ends);
  const bool is_range = request.rev.find("..") != std::string::npos;
  if (is_range) {
    if (git_revwalk_push_range(raw, request.rev.c_str()) != 0) {
      return tl::unexpected(fmt::format("log {}: {}", request.rev, last_error()));
    }
  } else {
    const auto start = resolve(repo, request.rev.empty() ? "HEAD" : request.rev);
    if (!start) return tl::unexpected(start.error());
    git_object* tip = nullptr;
    if (git_object_peel(&tip, start->get(), GIT_OBJECT_COMMIT) != 0) {
      return tl::unexpected(fmt::format(
          "log: {} is not a commit; give a branch or a commit, and a file as `path`", request.rev));
    }
    const Object commit(tip);
    git_revwalk_push(raw, git_object_id(tip));
    if (!ends.empty() && shallow.push(*git_object_id(tip)) != 0)
      return tl::unexpected(fmt::format("log: {}", last_error()));
  }
  const auto next_commit = [&](git_oid* id) {
    return ends.empty() || is_range ? git_revwalk_next(id, raw) : shallow.next(id);
  };
  const int n = request.n > 0 ? std::min(request.n, kLogMax) : kLogDefault;
  std::string text;
  git_oid id;
  int next = 0;
  for (int shown = 0, walked = 0; shown < n && (next = next_commit(&id)) == 0; ++walked) {
    if (cancelled.load()) break;
    if (walked == kCommitsWalkedMax) {
      text += fmt::format("[stopped after {} commits]\n", walked);
      break;
    }
    git_commit* raw_commit = nullptr;
    if ((next = git_commit_lookup(&raw_commit, repo, &id)) != 0) break;
    const Commit commit(raw_commit);
    if (!path->empty()) {
      const auto touched = touches(raw_commit, *path);
      next = touched < 0 ? touched : 0;
      if (next != 0) break;
      if (!touched) continue;
    }
    const git_signature* author = git_commit_author(raw_commit);
    const char* summary = git_commit_summary(raw_commit);
    text += fmt::format("{} {} {}  {}\n", short_id(reinterpret_cast<git_object*>(raw_commit)),
                        date(author->when, "%Y-%m-%d"), author->name, summary ? summary : "");
    ++shown;
  }
  if (next != 0 && next != GIT_ITEROVER) {
    if (text.empty()) return tl::unexpected(fmt::format("log: {}", last_error()));
    text += fmt::format("[not all: {}]\n", last_error());
  }
  if (next == GIT_ITEROVER && !ends.empty())
    text += "[older commits are not here, for this is a shallow clone]\n";
  text += unlike_git(repo);
  if (text.empty())
    return fmt::format("no commits{}{}\n", request.path.empty() ? "" : " that touch ",
                       request.path);
  return bounded(to_utf8(text), "give a smaller n");
}

}  // namespace lares::tools::git
