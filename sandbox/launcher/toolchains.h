// What builds need of the home directory, which is otherwise empty inside: programs, packages and
// caches, and nothing that holds credentials.
#pragma once

#include <string>
#include <vector>

#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

struct Toolchain {
  enum class Kind {
    programs,  // read-only
    packages,  // what is written stays in the sandbox, in a layer of its own; where the kernel has
               // no such layers read-only, for offline builds find all they need here
    cache,  // the same; where there are no layers not shown, for its users fail on a read-only one
  };
  std::string path;  // relative to the home directory
  Kind kind = Kind::programs;
};

// Those that builds use by themselves, and the directories that variables of `spec.env`
// (VIRTUAL_ENV, CONDA_PREFIX, ...) name below the home directory. Whether they are there is not
// looked at; none is named twice, or lies in a directory of programs before it.
std::vector<Toolchain> toolchains(const Spec& spec);

}  // namespace lares::sandbox::launcher
