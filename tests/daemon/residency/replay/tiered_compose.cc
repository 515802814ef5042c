#include "tests/daemon/residency/replay/tiered_compose.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

namespace lares::daemon {
namespace {

using tools::Shown;

struct Candidate {
  const tools::SourceFile* source;
  std::int64_t n_tokens;
  double rate;  // changes per token
  int tier = 0;
};

// Sorts by tier and path: a tier is a share of the tokens, the coldest first.
void put_in_order(std::vector<Candidate>& files) {
  std::sort(files.begin(), files.end(), [](const Candidate& a, const Candidate& b) {
    return a.rate != b.rate ? a.rate < b.rate : a.source->path < b.source->path;
  });
  std::int64_t all = 1, before = 0;
  for (const Candidate& file : files) all += file.n_tokens;
  for (Candidate& file : files) {
    file.tier = static_cast<int>(kTiers * before / all);
    before += file.n_tokens;
  }
  std::stable_sort(files.begin(), files.end(), [](const Candidate& a, const Candidate& b) {
    return a.tier != b.tier ? a.tier < b.tier : a.source->path < b.source->path;
  });
}

// Those that change most per token, as far as the budget goes; moves the rest to `over`.
void keep_within(std::vector<Candidate>& files, std::int64_t budget, std::vector<Candidate>& over) {
  std::sort(files.begin(), files.end(), [](const Candidate& a, const Candidate& b) {
    return a.rate != b.rate ? a.rate > b.rate : a.source->path < b.source->path;
  });
  std::vector<Candidate> kept;
  for (Candidate& file : files) {
    const bool fits = file.n_tokens <= budget;
    if (fits) budget -= file.n_tokens;
    (fits ? kept : over).push_back(file);
  }
  files = std::move(kept);
}

void add_listed(Base& out, tools::SourceFile source, Shown shown, std::string reason) {
  source.shown = shown;
  source.reason = std::move(reason);
  out.files.push_back({.source = std::move(source), .start = out.files_end});
}

Base compose(const TieredOptions& options, const tools::Workspace& now, const Base* before, std::size_t n_kept) {
  Base out;
  std::set<std::string, std::less<>> kept;
  if (n_kept > 0) {
    out.files.assign(before->files.begin(), before->files.begin() + static_cast<std::ptrdiff_t>(n_kept));
    out.files_end = n_kept < before->files.size() ? before->files[n_kept].start : before->files_end;
    for (const BaseFile& file : out.files) kept.insert(file.source.path);
  }
  std::vector<Candidate> files, over;
  std::int64_t tree = kPromptHeadTokens;
  for (const auto& [path, source] : now) {
    tree += options.count(path) + 1;
    if (kept.contains(path)) continue;
    if (source.shown == Shown::full && source.text) {
      const std::int64_t n = options.count(*source.text) + kFileHeaderTokens;
      files.push_back({&source, n, (options.changes(path) + 0.05) / static_cast<double>(std::max<std::int64_t>(n, 50))});
    } else if (n_kept == 0) {
      add_listed(out, source, source.shown, source.reason);
    }
  }
  if (n_kept == 0) {
    out.files_end = tree;
    for (BaseFile& file : out.files) file.start = tree;
    keep_within(files, options.budget_tokens - tree, over);
    for (const Candidate& file : over) {
      out.files.push_back({.source = *file.source, .start = tree});
      out.files.back().source.shown = Shown::path;
      out.files.back().source.reason = "over budget";
    }
  }
  put_in_order(files);
  for (const Candidate& file : files) {
    out.files.push_back({*file.source, file.tier, out.files_end, file.n_tokens});
    out.files_end += file.n_tokens;
  }
  return out;
}

}  // namespace

Composer tiered_composer(TieredOptions options) {
  return [options = std::move(options)](const tools::Workspace& now, const Base* before, std::size_t n_kept) {
    return compose(options, now, before, n_kept);
  };
}

}  // namespace lares::daemon
