// Directories that a command has to itself, in memory: where people keep what is theirs, and where
// daemons keep sockets. Of both backends.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

struct Private {
  const char* path;
  const char* mode;
  std::uint64_t bytes_min, memory_share;  // of what commands may use, if that is more; 0: none
};
// Package managers unpack in /tmp, and keep their caches in the home directory where the user has
// none: gigabytes, of a large project.
inline constexpr std::array kPrivate = {Private{"/tmp", "1777", 512 << 20, 4},
                                        Private{"/var/tmp", "1777", 64 << 20, 0},
                                        Private{"/run", "0755", 1 << 20, 0}};
inline constexpr Private kHome = {"", "0700", 256 << 20, 8};
inline constexpr Private kSharedMemory = {"/dev/shm", "1777", 256 << 20, 0};

inline std::uint64_t bytes_of(const Private& place, const Spec& spec) {
  const auto share = place.memory_share == 0 ? 0 : spec.memory_bytes / place.memory_share;
  return std::max(place.bytes_min, share);
}

// Empty ones, in which nearly nothing is ever written.
inline constexpr std::array kEmptied = {"/root",
                                        "/home",
                                        "/mnt",
                                        "/media",
                                        "/srv",
                                        "/boot",
                                        "/var/mail",
                                        "/var/spool",
                                        "/var/backups",
                                        "/var/lib/docker",
                                        "/var/lib/containerd"};
inline constexpr std::uint64_t kEmptiedBytes = 1 << 20;

}  // namespace lares::sandbox::launcher
