// libgit2 goes the worktree by paths, as the user, outside of any sandbox. What runs in a sandbox
// meanwhile (a server in the background) could put a link in a directory's place and have it read
// or write elsewhere. So it works where nothing else can be reached.
#pragma once

#include <functional>
#include <string>

#include "tools/git/repo.h"

namespace lares::tools::git {

// Runs `work` on a thread of its own, which opens no file but the repository's, its worktree's and
// what git's configuration names to be read. Refused where the kernel has nothing for that
// (Landlock as of Linux 5.19) and commands run in `root`. What waits for ever, as whoever opens a
// pipe in the place of .gitignore, is interrupted once `given_up` says so.
GitResult<std::string> confined(const Opened& opened, const std::string& root,
                                const std::function<bool()>& given_up,
                                const std::function<GitResult<std::string>()>& work);

}  // namespace lares::tools::git
