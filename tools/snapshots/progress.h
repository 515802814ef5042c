// How far the looks at worktrees are: the first one reads and keeps every file, and whoever waits
// for it is told. For all of them, like stop.h: a look belongs to whichever of those who want one
// had it begun.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace lares::tools {

struct ScanProgress {
  std::size_t done = 0, total = 0;  // files; total 0: they are being listed
};

// Of the look that is taken at this worktree now; none: nobody looks. Any thread.
std::optional<ScanProgress> scan_progress(const std::string& root);

// The look itself, while it lives.
class ScanTold {
 public:
  explicit ScanTold(std::string root);
  ~ScanTold();
  ScanTold(const ScanTold&) = delete;
  ScanTold& operator=(const ScanTold&) = delete;

  void at(std::size_t done, std::size_t total);

 private:
  const std::string root_;
};

}  // namespace lares::tools
