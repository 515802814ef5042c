// Pieces of text that git's commands have in common.
#pragma once

#include <git2.h>

#include <string>
#include <string_view>
#include <vector>

namespace lares::tools::git {

// At most kOutputBytesMax of it, whole lines, and then what was cut and what to do.
std::string bounded(std::string text, std::string_view advice);

// Where it was written, strftime's format
std::string date(const git_time& when, const char* format);

// "ahead 1, behind 2", or "".
std::string distance(git_repository* repo, const git_oid* ours, const git_oid* theirs);

// "a/b.cc, c.cc and 3 more"
std::string few_of(const std::vector<std::string>& names);

// What libgit2 1.5 says of an index that only git can read, in words that say what to do; "" where
// `reason` is another one.
std::string of_index(std::string_view reason);

}  // namespace lares::tools::git
