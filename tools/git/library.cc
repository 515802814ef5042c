#include "tools/git/library.h"

#include <git2.h>

#include <array>

namespace lares::tools::git {
namespace {

// What git itself notes in the configuration of a repository of format 1, and what libgit2 1.5
// refuses the whole repository for. None changes how files, index and objects are read: of a
// partial clone (`git clone --filter`) objects that were not fetched are missing, and that is said
// where one is needed; nothing here removes objects; a sparse checkout's own settings is_sparse()
// looks up.
constexpr std::array<const char*, 4> kHarmless = {"partialclone", "preciousobjects",
                                                  "relativeworktrees", "worktreeconfig"};

}  // namespace

bool start_library() {
  // What runs on a thread may outlive everything else, so it is never shut down.
  static const bool started = [] {
    if (git_libgit2_init() < 0) return false;
    auto extensions = kHarmless;
    git_libgit2_opts(GIT_OPT_SET_EXTENSIONS, extensions.data(), extensions.size());
    return true;
  }();
  return started;
}

}  // namespace lares::tools::git
