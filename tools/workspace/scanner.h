// What the working tree holds now, as far as the model may know it. A rescan of an unchanged tree
// reads no file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tools/tool.h"
#include "tools/workspace/source_file.h"

namespace lares::tools {

struct ScanLimits {
  std::size_t files_max = 200'000;             // the first ones in bytewise path order
  int depth_max = 64;                          // components of a path
  std::size_t entries_max = 1'000'000;         // directory entries looked at, ignored ones included
  std::uint64_t file_bytes_max = 256 << 10;    // 64k tokens; of a larger file only the head is read
  std::uint64_t text_bytes_max = 64ull << 20;  // of all files together, held in memory
};

struct ScanOptions {
  std::string root;  // absolute
  ScanLimits limits;
};

// Of the last scan.
struct ScanFigures {
  std::size_t n_files = 0, n_read = 0;
  std::uint64_t bytes_read = 0, bytes_held = 0;
};

// One thread at a time; blocks on the disk.
class Scanner {
 public:
  explicit Scanner(ScanOptions options);
  ~Scanner();
  Scanner(Scanner&&) noexcept;
  Scanner& operator=(Scanner&&) noexcept;

  // Looks at every file git would track (tools/workspace/tree_listing.h).
  Result<> scan();

  // Of the last scan that succeeded. `shown` is full where there is a text, and
  // path with the reason where there is none: "binary", "not UTF-8", "secret", "lock file",
  // "minified", "generated", "vendored", "data", "too large", "over budget" (of text_bytes_max),
  // "symlink", "submodule", "unreadable", "not a regular file".
  const Workspace& files() const;
  // What came, went or is another file than in the scan before, in bytewise order.
  const std::vector<std::string>& changed() const;
  // A line for each bound that was met, for people and for the model.
  const std::vector<std::string>& left_out() const;
  // The directories whose files it saw, for the watcher; "" is the root.
  const std::vector<std::string>& directories() const;
  const ScanFigures& figures() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lares::tools
