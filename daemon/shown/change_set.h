// What there is to review: a diff of this repository, as git tells it, bounded.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/shown/git.h"

namespace lares::shown {

// About 80k tokens; whole files, as far as they fit
inline constexpr std::size_t kReviewDiffBytesMax = 256 << 10;
inline constexpr std::size_t kUntrackedFilesMax = 200;  // of new files as many are shown

struct ChangeSet {
  std::string what;  // "the uncommitted changes", "commit 1a2b3c4d5e6f", "main...HEAD"
  std::string log;   // of its commits, an entry each; empty where nothing is committed
  std::string diff;
  std::vector<std::string> left_out;  // paths that did not fit
};

// `range` is empty (what is not committed, new files included), a commit, or A..B and A...B: what B
// has that A has not, from where they parted, as a pull request shows it. `only`: paths in the
// repository; empty: all.
Result<ChangeSet> change_set(const std::string& root, const std::string& range,
                             const std::vector<std::string>& only);

// What a person is told before the model is asked: of what did not fit, if anything ("--only PATH"
// is `how` to have it reviewed), and where nothing is changed.
std::string left_out_told(const ChangeSet& changes, const std::string& how);
std::string nothing_told(const ChangeSet& changes);

// How a model is asked for findings in it.
std::string review_prompt(const ChangeSet& changes);
// Whether a session of that title, which is its first prompt's first line, began so.
bool is_review(std::string_view title);

}  // namespace lares::shown
