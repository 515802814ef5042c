// Which paths are read-only or hidden inside the view.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "sandbox/launcher/mounts.h"
#include "sandbox/spec.h"

namespace lares::sandbox::launcher {

// Names in a worktree of what programs outside obey: git's hooks and configuration, and the
// others'. Read-only where they are there.
inline constexpr std::array kObeyedOutside = {".git",
                                              ".envrc",
                                              ".mcp.json",
                                              ".vscode",
                                              ".idea",
                                              ".husky",
                                              ".pre-commit-config.yaml",
                                              "lefthook.yml",
                                              ".lefthook.yml",
                                              ".claude/settings.json",
                                              ".cursor/mcp.json",
                                              ".devcontainer/devcontainer.json"};

// kObeyedOutside, files that other programs outside would execute later, the policy's own lists,
// and sockets on which the host listens.
void cover_worktree(View& view, const Spec& spec, const std::vector<std::string>& sockets);

// For a command that is the host's root by number: everything in /etc and near the top of /var that
// only root may read.
void cover_roots_files(View& view);

}  // namespace lares::sandbox::launcher
