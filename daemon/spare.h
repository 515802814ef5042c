// What is evaluated and kept for whoever comes, in the order in which it is given up for those who
// are there.
#pragma once

#include "engine/shrinker.h"

namespace lares::daemon {

enum SpareRank : int {
  kSpareRequests,      // a conversation's next request evaluates it again
  kSpareRepositories,  // every session begins with it, and it is brought back from disk
};

}  // namespace lares::daemon
