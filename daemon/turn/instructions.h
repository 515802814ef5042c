// What the repository, and the user for all repositories, ask of agents that work there: AGENTS.md
// files, the nearest one first.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/residency/view.h"
#include "tools/workspace/source_file.h"

namespace lares::daemon {

inline constexpr std::size_t kInstructionFilesMax = 64;  // named
// Of text, where the prompt does not show it already
inline constexpr std::size_t kInstructionBytesMax = 32u << 10;

struct Instructions {
  std::string text;  // for the model, ending with a line break; empty: nobody asks anything
  std::vector<std::string> files;  // for people: which are followed
  std::string unreadable;  // for people: why the user's own is not; empty: it is, or there is none
};

bool may_instruct(std::string_view path);  // by its name
// `files`: at least those that may instruct, in full. `users_file`: the user's own AGENTS.md; it
// need not exist. A directory without an AGENTS.md may have a CLAUDE.md. Files whose text the
// session is shown are only named.
Instructions instructions(const tools::Workspace& files, const View& view,
                          const std::string& users_file);

}  // namespace lares::daemon
