// git, run as a program without a shell.
#pragma once

#include <string>
#include <vector>

#include <tl/expected.hpp>

namespace lares::shown {

template <class T = void>
using Result = tl::expected<T, std::string>;  // the error is one line

struct GitOutput {
  std::string out, err;  // err: its first lines
  int status = 0;
  bool cut = false;  // there was more than asked for
};

// Runs `git ARGUMENTS` in `directory` and waits for its end; of its output at most `bytes_max` are
// kept, the rest is read and dropped. An error: git could not be run at all.
Result<GitOutput> run_git(const std::string& directory, const std::vector<std::string>& arguments,
                          std::size_t bytes_max);

}  // namespace lares::shown
