// What the kernel's words for a command's failure do not say: that it is the sandbox, and what to
// do.
#pragma once

#include <string>
#include <string_view>

#include "sandbox/sensitive_paths.h"

namespace lares::tools {

enum class Ran {
  in_shell,
  reading,  // in a shell whose worktree is read-only
  alone,    // tests: in a sandbox that hides what the shell's own commands have made, too
};

// Lines for the model about errors in `output`: of paths in `kept` and those that are read-only in
// every sandbox, relative to whatever directory; of Docker, which is out of reach; and of the
// private directories, which are small. "" when there are none.
std::string explained(std::string_view output, const std::string& root,
                      const sandbox::Sensitive& kept, Ran ran = Ran::in_shell);

}  // namespace lares::tools
