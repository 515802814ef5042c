#include "tools/git/shallow.h"

#include <algorithm>
#include <fstream>
#include <string>

namespace lares::tools::git {
namespace {

bool is_less(const git_oid& a, const git_oid& b) { return git_oid_cmp(&a, &b) < 0; }

}  // namespace

std::vector<git_oid> shallow_commits(git_repository* repo) {
  std::vector<git_oid> out;
  std::ifstream file(std::string(git_repository_commondir(repo)) + "shallow");
  git_oid id;
  for (std::string line; std::getline(file, line);)
    if (git_oid_fromstr(&id, line.c_str()) == 0) out.push_back(id);
  std::ranges::sort(out, is_less);
  return out;
}

int ShallowWalk::push(const git_oid& id) {
  const auto seen = std::ranges::lower_bound(seen_, id, is_less);
  if (seen != seen_.end() && git_oid_equal(&*seen, &id)) return 0;
  git_commit* raw = nullptr;
  if (const int failed = git_commit_lookup(&raw, repo_, &id); failed != 0) return failed;
  const Commit commit(raw);
  seen_.insert(seen, id);
  const Waiting one{git_commit_time(raw), id};
  // Of equal times the one that came first goes first.
  const auto at = std::ranges::lower_bound(waiting_, one.time, {}, &Waiting::time);
  waiting_.insert(at, one);
  return 0;
}

int ShallowWalk::next(git_oid* out) {
  if (waiting_.empty()) return GIT_ITEROVER;
  *out = waiting_.back().id;
  waiting_.pop_back();
  if (std::ranges::binary_search(ends_, *out, is_less)) return 0;
  git_commit* raw = nullptr;
  if (const int failed = git_commit_lookup(&raw, repo_, out); failed != 0) return failed;
  const Commit commit(raw);
  for (unsigned i = 0; i < git_commit_parentcount(raw); ++i)
    if (const int failed = push(*git_commit_parent_id(raw, i)); failed != 0) return failed;
  return 0;
}

}  // namespace lares::tools::git
