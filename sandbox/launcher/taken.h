// What a worktree's files take that commands may have written: looked at before they are blamed for
// a file system that others write to as well.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lares::sandbox::launcher {

struct Taken {
  std::uint64_t bytes = 0, inodes = 0;
};

// Of the files of `root` (open as `worktree`) that have changed since then, and of those without a
// name that `processes` hold open: never less than the commands have taken, in place of
// /proc/PID/io, which knows nothing of fallocate() and of children that nobody waits for. Reads the
// tree, seconds for a million files. nullopt when something is kept from being looked at: then they
// may have taken anything.
std::optional<Taken> taken_since(time_t since, int worktree, const std::string& root,
                                 const std::vector<pid_t>& processes);

}  // namespace lares::sandbox::launcher
