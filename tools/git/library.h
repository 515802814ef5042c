// libgit2, set up in one way for all who use it. On any thread, as often as anybody likes.
#pragma once

namespace lares::tools::git {

bool start_library();  // for good; false: it cannot be used

}  // namespace lares::tools::git
