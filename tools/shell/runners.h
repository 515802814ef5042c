// The programs that run another: what stands before its name, and how a shell is called. Private to
// what judges a command.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lares::tools {

bool is_shell(std::string_view name);
// sudo, env, timeout, ...: what only runs the command behind its own options.
bool is_runner(std::string_view name);
bool any_runner(const std::function<bool(std::string_view)>& matches);

// The place of the command that `words` run in the end, behind all runners; `adds_words` is set
// where it is run with more than they say. 0 where that is not there: `env`, `time` alone.
std::size_t skip_runners(const std::vector<std::string>& words, bool& adds_words);

// A script of its own: the value of `env -S`, and what stands behind it; "": there is none.
std::string env_script(const std::vector<std::string>& words);

// How a shell is called: places among its words, 0 where it is not given.
struct ShellCall {
  std::optional<std::string> text;  // behind -c
  std::size_t arguments = 0;        // of that text, from $0 on
  std::size_t file = 0;             // of the script to run
  std::size_t startup = 0;          // of a script that is run before
  bool only_looks = false;          // -n, --version: it runs nothing
};
ShellCall shell_call(const std::vector<std::string>& words);

}  // namespace lares::tools
