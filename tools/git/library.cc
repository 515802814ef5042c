#include "tools/git/library.h"

#include <git2.h>

#include <array>

namespace lares::tools::git {
namespace {

// What git itself notes in the configuration of a repository of format 1, and what libgit2 1.5
// refuses the whole repository for. Most change nothing of how files, index and objects are read:
// of a partial clone (`git clone --filter`) objects that were not fetched are missing, and that is
// said where one is needed; nothing here removes objects; a sparse checkout's own settings
// is_sparse() looks up. With the last two objects and refs are not read, as why_only_git() says;
// the ignore rules are, and read_index_file() reads the index.
constexpr std::array<const char*, 6> kKnown = {"partialclone",      "preciousobjects",
                                               "relativeworktrees", "worktreeconfig",
                                               "objectformat",      "refstorage"};

}  // namespace

bool start_library() {
  // What runs on a thread may outlive everything else, so it is never shut down.
  static const bool started = [] {
    if (git_libgit2_init() < 0) return false;
    auto extensions = kKnown;
    git_libgit2_opts(GIT_OPT_SET_EXTENSIONS, extensions.data(), extensions.size());
    // It would refuse to stage beside a file that was not fetched, and to commit it again as it is.
    git_libgit2_opts(GIT_OPT_ENABLE_STRICT_OBJECT_CREATION, 0);
    // owner.h. A switch of the process's: now, before another thread opens a repository.
    git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
    return true;
  }();
  return started;
}

}  // namespace lares::tools::git
