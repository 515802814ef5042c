// Repositories of a form that libgit2 1.5 does not read: their objects' names, or how their
// branches are kept.
#pragma once

#include <string>

namespace lares::tools {

// Why only git itself reads the history of the repository around `directory`, a sentence's rest;
// "" where it is read here too, or where there is none. What then does without: the git tool, and
// worktrees for sessions.
std::string why_only_git_reads(const std::string& directory);

}  // namespace lares::tools
