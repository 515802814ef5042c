// Reading and writing a repository's objects with a bound. libgit2 1.5 waits for ever for the rest
// of a loose object that was cut short (by a full disk, by a crash of the machine), so loose
// objects are read here; and every read, and every piece of a file that is stored, asks first
// whether there is time left.
#pragma once

#include <chrono>
#include <string>

#include <tl/expected.hpp>

#include "tools/git/stop.h"

struct git_repository;

namespace lares::tools::git {

// Of one call that only reads: a blame of a long history
inline constexpr auto kReadTimeMax = std::chrono::seconds(20);

struct ReadBound {
  const Stop* stop = nullptr;  // outlives the repository
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
};

// From here on libgit2 reads this repository's loose objects through us, and stores files through
// us. A damaged object is an error that names its file; so is any read after the bound.
tl::expected<void, std::string> bound_reads(git_repository* repository, ReadBound bound);

// Why a read failed since this thread last called bound_reads, or "": libgit2 puts its own words
// over it ("cannot be peeled").
std::string read_failure();

}  // namespace lares::tools::git
