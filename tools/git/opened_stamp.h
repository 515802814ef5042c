// What a repository was opened with: with another stamp it may be another repository, lie
// elsewhere, or be of another configuration, and has to be opened anew.
#pragma once

#include <cstdint>
#include <string>

struct git_repository;

namespace lares::tools::git {

// `root` is the directory that it was opened for, whose own repository or one above it is.
std::uint64_t opened_stamp(git_repository* repository, const std::string& root);

}  // namespace lares::tools::git
