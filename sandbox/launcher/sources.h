// The host's trees that a command is shown below the directories that are otherwise private or
// covered.
#pragma once

#include <string>
#include <vector>

#include "sandbox/launcher/sys.h"
#include "sandbox/launcher/toolchains.h"
#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

struct Source {
  std::string path;  // on the host, and inside
  Fd tree;           // detached, and writable only if it is the worktree
  Toolchain::Kind kind = Toolchain::Kind::programs;
};

// The worktree first, then the git directories of a linked worktree, then the home directory's
// toolchains; cloned through `idmap` when there is one. Empty with errno set when the worktree
// itself cannot be cloned or id-mapped.
std::vector<Source> collect_sources(const Spec& spec, const Fd& idmap);

// The git directory and the common directory that `root`/.git points to, when they lie outside
// `root` and point back to it. The way back matters: the file can be written by a command, and must
// not open up whatever it names.
std::vector<std::string> linked_git_dirs(const std::string& root);

// Paths of Unix sockets on the host. Read before the network namespace changes.
std::vector<std::string> host_socket_paths();

}  // namespace lares::sandbox::launcher
