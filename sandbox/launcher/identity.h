// Whose rights a command has. Inside it never is uid 0, and what it writes in the worktree belongs
// to the worktree's owner.
//
//   laresd runs as     worktree of    the command runs as
//   an ordinary user   anyone         that user; a user namespace with the identity map of length 1
//   root               a user         the worktree's owner
//   root               root           uid 65534, which owns nothing on the host; the worktree is
//                                     mounted through an id map that swaps 0 and 65534, so that
//                                     files there look and become root's own ("id-mapped mount")
//   root               root, on a     host uid 0 without any capability, seen inside as uid 1000
//                      file system    ("root's files"): what is root's is then protected by
//                      without id     read-only mounts alone, so files that only root may read are
//                      maps           masked as well
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "sandbox/launcher/sources.h"
#include "sandbox/launcher/sys.h"
#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

struct Identity {
  uid_t uid = 0, inside_uid = 0;
  gid_t gid = 0, inside_gid = 0;
  bool roots_files = false;  // the last row
  // Cloned with root's rights; empty: they are to be cloned in the new mount namespace
  std::vector<Source> sources;
  std::string fact;  // for people
  pid_t ended = 0;   // a killed child that is yet to be waited for; 0: none
};

// Finds the row and takes on its uid; with root's rights gone the worktree may no longer be
// reachable by path.
Identity take_identity(const Spec& spec);

}  // namespace lares::sandbox::launcher
