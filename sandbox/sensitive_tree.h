// The directories of a worktree and what in them may be sensitive, followed by their stamps.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sandbox/sensitive_paths.h"

namespace lares::sandbox {

struct Noted {
  enum class Kind {
    secret,    // by its name
    socket,    // somebody outside may listen, and a read-only mount does not keep anyone from
               // connecting
    fifo,      // so may somebody outside read
    by_text,   // a file whose text decides
    link,      // named as a secret: that is what it leads to
    git,       // a .git directory or file below the root's
    git_file,  // a .git file: where it leads
  };
  Kind kind;
  std::string name;
};

struct SensitiveTree {
  struct Directory {
    dev_t device = 0;
    ino_t inode = 0;
    std::int64_t changed_ns = 0;  // 0: not read yet, or it changed as it was read
    bool out_of_sight = false;    // not to be read by us, perhaps by a command
    bool own = false;             // by its kOwnMark, not the root; nothing in it is noted
    std::size_t n_entries = 0;
    std::vector<Noted> noted;
  };
  std::map<std::string, Directory> directories;  // relative; "" is the root
  std::size_t n_entries = 0;
};

// Reads the directories below `root` that are new or have another stamp. What vanishes meanwhile is
// no error.
Result<> follow(int root, const std::string& root_path, const SensitiveLimits& limits,
                const SensitivePaths::Cancelled& cancelled, SensitiveTree& tree);

}  // namespace lares::sandbox
