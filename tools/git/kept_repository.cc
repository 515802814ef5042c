#include "tools/git/kept_repository.h"

#include <git2/sys/repository.h>

#include <utility>

namespace lares::tools::git {

GitResult<Opened> KeptRepository::take() {
  std::optional<Opened> kept;
  {
    const std::lock_guard lock(mutex_);
    kept.swap(kept_);
  }
  if (kept) {
    const auto stamp = kept->stamp;
    auto again = checked(std::move(kept->repo), root_);
    if (again && again->stamp == stamp) return again;
  }
  return open_repository(root_);
}

void KeptRepository::give_back(Opened opened) {
  git_repository__cleanup(opened.repo.get());  // index, objects, refs, settings, rules
  const std::lock_guard lock(mutex_);
  kept_ = std::move(opened);
}

}  // namespace lares::tools::git
