// Where the full text of a clipped result goes: numbered files below the session's state directory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tools/workspace/rooted_fs.h"

namespace lares::tools {

// The directory that the `view` command may read beside the worktree.
std::string outputs_dir(const std::string& state_dir);

class SpillFile {
 public:
  // Of one file; what follows is dropped and counted
  static constexpr std::uint64_t kBytesMax = 64 << 20;
  static constexpr int kFilesMax = 40;  // of one session; the oldest goes

  // Fails silently into "": a result without its full text is still a result. `tool` begins the
  // name.
  static SpillFile make(const std::string& state_dir, std::string_view tool);

  void append(std::string_view text);
  const std::string& path() const { return path_; }
  std::uint64_t n_dropped() const { return n_dropped_; }

 private:
  Fd fd_;
  std::string path_;
  std::uint64_t n_written_ = 0, n_dropped_ = 0;
};

}  // namespace lares::tools
