// What a worktree holds that a command must not read or not write, when a sandbox begins and as
// long as it lives. Whatever cannot be looked at is hidden or refused, never passed over.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "sandbox/sandbox.h"

namespace lares::sandbox {

// Far above what repositories hold; at one of them there is no sandbox, and the error says so.
struct SensitiveLimits {
  // Files and directories, those of git and of fetched code aside; a million take seconds
  std::size_t entries_max = 5'000'000;
  std::size_t path_bytes_max = 3'800;  // of a directory: what cannot be named cannot be hidden
};

// For Policy::hidden and Policy::readonly; absolute paths, in order.
struct Sensitive {
  // By sandbox/secret_names.h; sockets; directories that we may not read and a command perhaps may,
  // and those with kOwnMark
  std::vector<std::string> hidden;
  // Git's own of submodules, linked worktrees and repositories below, which programs outside obey,
  // and git_named.h's
  std::vector<std::string> readonly;
};

// Of one sandbox. Blocks on the disk, so not for the io thread; one call at a time. The first look
// reads the tree, the later ones only the directories that have changed: 1 us for each that has
// not.
class SensitivePaths {
 public:
  using Cancelled = std::atomic<bool>;  // looked at now and then
  // `writes_nothing`: of a sandbox with a read-only worktree. FIFOs are hidden in it too, for what
  // is written to one somebody outside may read, and no socket is its own.
  explicit SensitivePaths(std::string root, SensitiveLimits limits = {},
                          bool writes_nothing = false);
  ~SensitivePaths();

  // All there is, for a sandbox that begins now.
  Result<Sensitive> begin(const Cancelled& cancelled);
  struct Appeared {
    std::vector<std::string> hidden;  // absolute; outside of the root sockets of the host's
    std::vector<std::string> fresh;   // those of them that were not hidden before, relative
    // Absolute: not read-only, or without credentials, any more or as yet
    std::vector<std::string> replaced;
  };
  // A command is about to run: what has appeared or changed since the last call, while none ran, is
  // somebody else's. To be hidden in the sandbox too, also where it was before: a file that takes
  // the place of a hidden one is not. `idle`: no job of an earlier command runs either; what they
  // listen on is theirs.
  Result<Appeared> before_command(bool idle, const Cancelled& cancelled);
  // It has ended. What has appeared is taken for its work, which it may read: so is what somebody
  // else put there meanwhile, for nobody can tell the two apart.
  Result<> after_command(const Cancelled& cancelled);

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

// For a sandbox that runs one command.
Result<Sensitive> find_sensitive(const std::string& root, SensitiveLimits limits = {},
                                 const SensitivePaths::Cancelled& cancelled = false);

}  // namespace lares::sandbox
