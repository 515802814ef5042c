// The repository that one call of the git tool leaves to the next: libgit2 1.5 loses memory
// whenever it opens one of format 1, some 4 KB for each setting (400 KB a call where there are a
// hundred). Nothing else is left: what was read of it is let go of, so that all is read anew.
#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "tools/git/repo.h"

namespace lares::tools::git {

// On any thread.
class KeptRepository {
 public:
  explicit KeptRepository(std::string root) : root_(std::move(root)) {}

  // As open_repository(). Whoever asks while another call has it gets one of its own.
  GitResult<Opened> take();
  void give_back(Opened opened);

 private:
  const std::string root_;
  std::mutex mutex_;
  std::optional<Opened> kept_;
};

}  // namespace lares::tools::git
