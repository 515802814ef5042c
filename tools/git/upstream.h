// Remotes, and what branches follow. libgit2 1.5 looks for them by patterns in the configuration,
// and loses 20 KB for each entry that does not fit one: a MB at every `git status`.
#pragma once

#include <string>
#include <vector>

#include <git2.h>

namespace lares::tools::git {

std::vector<std::string> remote_names(git_repository* repo);  // in order

// The ref that this branch (refs/heads/...) follows, by its full name; it need not be there. Empty:
// none. branch.NAME.remote and .merge, and the remote's fetch, of git-config(1).
std::string upstream_of(git_repository* repo, const std::string& branch);
// False: it could not be written; last_error() says why.
bool follow(git_repository* repo, const std::string& branch, const std::string& remote,
            const std::string& merge);

}  // namespace lares::tools::git
