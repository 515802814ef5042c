// Whose a repository is. libgit2 1.5 tells of another user's that "config value 'safe.directory'
// was not found", and whether it looks at all is one switch for the whole process. So it never does
// (library.cc), and whoever opens a repository asks here.
#pragma once

#include <string>

#include <tl/expected.hpp>

struct git_repository;

namespace lares::tools::git {

// Refused as git does: one that belongs to another user than the one who runs this, unless
// safe.directory names it. The reason is a sentence for the model.
tl::expected<void, std::string> check_owner(git_repository* repository);

}  // namespace lares::tools::git
