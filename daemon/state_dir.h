// The directory where a daemon keeps its sessions: one daemon at a time.
#pragma once

#include <string>

#include <tl/expected.hpp>

#include "daemon/file_lock.h"

namespace lares::daemon {

// What to do where the state directory cannot be made or written.
inline constexpr const char* kAnotherStateDir =
    "name a directory that you may write to with --state-dir or LARES_STATE_DIR";

// Makes it (0700) and the directories above it. The error says in one line what could not be made,
// why, and what to do.
tl::expected<void, std::string> make_state_dir(const std::string& path);

class StateDir {
 public:
  // Makes it (0700) with what belongs in it, and locks it; another daemon that wants it is told
  // `socket`. The error is one line.
  static tl::expected<StateDir, std::string> open(const std::string& path,
                                                  const std::string& socket);
  const std::string& path() const { return path_; }
  const std::string& id() const { return id_; }  // the same for every daemon that ever opened it

 private:
  StateDir(std::string path, std::string id, FileLock lock)
      : path_(std::move(path)), id_(std::move(id)), lock_(std::move(lock)) {}
  std::string path_, id_;
  FileLock lock_;
};

std::string random_hex(std::size_t n);

}  // namespace lares::daemon
