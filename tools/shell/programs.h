// What programs, builtins and variables do with the words they are given, by their names. Private
// to what judges a command.
#pragma once

#include <string_view>

namespace lares::tools {

template <class... T>
bool one_of(std::string_view word, const T&... words) {
  return ((word == words) || ...);
}

inline std::string_view base_name(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

// It runs a command that stands somewhere behind it, and has subcommands or scripts of its own:
// npx, docker.
bool is_carrier(std::string_view program);
// It does little else; where the command begins depends on its options: perf, bwrap.
bool is_launcher(std::string_view program);
// It runs none of the words it is given, however they read: echo, grep.
bool is_talker(std::string_view program);
// It takes its arguments for names of variables, or for arithmetic: let, read.
bool is_evaluator(std::string_view builtin);
// A shell or git runs its value in the course of another command: PAGER, GIT_SSH.
bool is_run_variable(std::string_view name);

}  // namespace lares::tools
