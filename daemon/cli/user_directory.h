// Where below the top of the repository a person stands, and what a prompt that comes from there
// says.
#pragma once

#include <string>
#include <string_view>

namespace lares::cli {

// The current directory, relative to `root`: "src/util". Empty: it is the root itself, or nowhere
// below it, or cannot be told.
std::string directory_below(const std::string& root);

// `prompt`, written in `directory` below `root`: `@f.py`, `@"a name.py"` are the files of that name
// there, where there are such, and get their paths from the root. An empty directory changes
// nothing. Blocks.
std::string names_from(std::string_view prompt, const std::string& root,
                       const std::string& directory);

// And with a last sentence that says where the person stands, unless it has that, or calls a skill,
// whose arguments it would be.
std::string told_from(const std::string& prompt, const std::string& directory);

}  // namespace lares::cli
