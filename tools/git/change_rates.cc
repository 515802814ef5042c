#include "tools/git/change_rates.h"

#include <git2.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tools/git/repo.h"
#include "tools/git/view.h"

namespace lares::tools {
namespace {

using Clock = std::chrono::steady_clock;
// Rates are rounded to 2^-20: math libraries differ in the last bit of exp2
constexpr double kGrain = 1 << 20;

struct Touched {
  std::vector<std::string> paths;
  std::vector<std::pair<std::string, std::string>> renames;  // from, to: the same blob
  bool known = true;
};

struct Collected {
  std::vector<std::string> modified;
  std::unordered_map<std::string, std::string> deleted;    // blob: path
  std::vector<std::pair<std::string, std::string>> added;  // path, blob
};

Touched touched_by(const Collected& all) {
  Touched out;
  out.paths = all.modified;
  auto deleted = all.deleted;
  for (const auto& [path, blob] : all.added) {
    if (const auto from = deleted.find(blob); from != deleted.end()) {
      out.renames.emplace_back(from->second, path);
      deleted.erase(from);
    } else {
      out.paths.push_back(path);
    }
  }
  return out;
}

// Files below the prefix that the commit changed against its first parent. `known` is false for a
// root commit (the files came, they did not change) and where a shallow clone ends.
Touched touched(git_repository* repository, git_commit* commit, git_commit* parent,
                const std::string& prefix) {
  git_tree *raw = nullptr, *raw_parent = nullptr;
  if (!parent || git_commit_tree(&raw, commit) != 0) return {.known = false};
  const git::Tree tree(raw);
  if (git_commit_tree(&raw_parent, parent) != 0) return {.known = false};
  const git::Tree parent_tree(raw_parent);
  git_diff_options options = GIT_DIFF_OPTIONS_INIT;
  options.flags = GIT_DIFF_DISABLE_PATHSPEC_MATCH | GIT_DIFF_SKIP_BINARY_CHECK;
  options.ignore_submodules = GIT_SUBMODULE_IGNORE_ALL;
  std::string spec = prefix;
  char* specs[] = {spec.data()};
  if (!spec.empty()) {
    spec.pop_back();
    options.pathspec = {specs, 1};
  }
  git_diff* raw_diff = nullptr;
  if (git_diff_tree_to_tree(&raw_diff, repository, raw_parent, raw, &options) != 0)
    return {.known = false};
  const git::Diff diff(raw_diff);
  Collected all;
  for (std::size_t i = 0; i < git_diff_num_deltas(raw_diff); ++i) {
    const git_diff_delta* delta = git_diff_get_delta(raw_diff, i);
    const std::string_view path = delta->new_file.path;
    if (!path.starts_with(prefix)) continue;
    std::string name(path.substr(prefix.size()));
    if (delta->status == GIT_DELTA_DELETED) {
      all.deleted.emplace(git_oid_tostr_s(&delta->old_file.id), std::move(name));
    } else if (delta->status == GIT_DELTA_ADDED) {
      all.added.emplace_back(std::move(name), git_oid_tostr_s(&delta->new_file.id));
    } else {
      all.modified.push_back(std::move(name));
    }
  }
  return touched_by(all);
}

class Counter {
 public:
  explicit Counter(const ChangeRateOptions& options) : options_(options) {}

  void count(const Touched& touched, int age) {
    if (!touched.known || touched.paths.size() + touched.renames.size() > options_.bulk_files_min)
      return;
    const double weight = std::exp2(-age / options_.half_life);
    for (const std::string& path : touched.paths) rates_[name_now(path)] += weight;
    // From here on the walk goes further back, where the file had its old name.
    std::vector<std::pair<std::string, std::string>> renamed;
    for (const auto& [from, to] : touched.renames) renamed.emplace_back(from, name_now(to));
    for (auto& [from, now] : renamed) now_.insert_or_assign(from, std::move(now));
  }
  std::map<std::string, double> rates() const {
    auto out = rates_;
    for (auto& [path, rate] : out) rate = std::round(rate * kGrain) / kGrain;
    return out;
  }

 private:
  std::string name_now(const std::string& path) const {
    const auto found = now_.find(path);
    return found == now_.end() ? path : found->second;
  }
  const ChangeRateOptions& options_;
  std::map<std::string, double> rates_;
  // What the file of an old name is called at the head
  std::unordered_map<std::string, std::string> now_;
};

git::Commit head_commit(git_repository* repository) {
  git_oid id;
  git_commit* raw = nullptr;
  if (git_reference_name_to_id(&id, repository, "HEAD") != 0) return {};
  return git::Commit(git_commit_lookup(&raw, repository, &id) == 0 ? raw : nullptr);
}

}  // namespace

ChangeRates change_rates(const std::string& root, const ChangeRateOptions& options) {
  const auto deadline = Clock::now() + options.time_max;
  const auto git = GitView::open(root);
  if (!git || !git->has_repository()) return {};
  git::Commit commit = head_commit(git->repository());
  if (!commit) return {};
  ChangeRates out;
  out.head = git_oid_tostr_s(git_commit_id(commit.get()));
  Counter counter(options);
  int age = 0;
  for (int kept = 1; commit && age < options.commits_max; ++age) {
    if (Clock::now() > deadline) {
      out.cut_short = true;
      return out;  // as of the last power of two
    }
    git_commit* raw = nullptr;
    const bool has_parent = git_commit_parentcount(commit.get()) > 0 &&
                            git_commit_parent(&raw, commit.get(), 0) == 0;
    git::Commit parent(has_parent ? raw : nullptr);
    counter.count(touched(git->repository(), commit.get(), parent.get(), git->prefix()), age);
    commit = std::move(parent);
    if (age + 1 == kept) {
      out.of = counter.rates();
      out.n_commits = age + 1;
      kept *= 2;
    }
  }
  out.of = counter.rates();
  out.n_commits = age;
  return out;
}

std::map<std::string, int> volatility_tiers(const ChangeRates& rates, const Workspace& files) {
  struct Heat {
    double per_byte;
    const std::string* path;
    std::size_t n_bytes;
  };
  std::map<std::string, int> out;
  std::vector<Heat> changed;
  std::size_t total = 0;
  for (const auto& [path, file] : files) {
    out.emplace_hint(out.end(), path, 0);
    if (!file.text) continue;
    const std::size_t n = file.text->size() + 1;  // 1: an empty file is hot, not infinitely so
    total += n;
    const auto rate = rates.of.find(path);
    if (rate != rates.of.end() && rate->second > 0)
      changed.push_back({rate->second / static_cast<double>(n), &path, n});
  }
  std::ranges::sort(changed, [](const Heat& a, const Heat& b) {
    return a.per_byte != b.per_byte ? a.per_byte > b.per_byte : *a.path < *b.path;
  });
  std::size_t hotter = 0;  // bytes of the files before this one and of itself
  for (const Heat& file : changed) {
    hotter += file.n_bytes;
    out[*file.path] = hotter <= total / 16 ? 3 : hotter <= total / 4 ? 2 : 1;
  }
  return out;
}

}  // namespace lares::tools
