// Pieces of text that git's commands have in common.
#pragma once

#include <git2.h>

#include <string>
#include <string_view>
#include <vector>

namespace lares::tools::git {

struct Request;

// At most kOutputBytesMax of it, whole lines, and then what was cut and what to do.
std::string bounded(std::string text, std::string_view advice);

// Where it was written, strftime's format
std::string date(const git_time& when, const char* format);

// "ahead 1, behind 2", or "".
std::string distance(git_repository* repo, const git_oid* ours, const git_oid* theirs);

// What to do about a change that only git itself can make: `command`, in bash, or where commands
// cannot write to .git, by the user.
std::string by_git(const Request& request, std::string_view command);
std::string under_way(const Request& request);  // why it cannot be done in the middle of a merge

// "a/b.cc, c.cc and 3 more"
std::string few_of(const std::vector<std::string>& names);

// What libgit2 1.5 says of an index that only git can read, in words that say what to do; "" where
// `reason` is another one.
std::string of_index(std::string_view reason);

}  // namespace lares::tools::git
