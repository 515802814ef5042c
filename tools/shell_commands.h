// What a bash script would run, as far as its text says, by tree-sitter. For judging a command before it runs: where the text does
// not say, that is said.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lares::tools {

inline constexpr std::size_t kShellCommandsMax = 1000;  // of one script; beyond, it does not count as understood

struct ShellCommand {
  // Without quotes, and without what stands before it: assignments, and programs that only run another (sudo, env, xargs, timeout, ...).
  std::vector<std::string> words;
  bool certain = true;  // false: some word is known only when it runs ($x, $(...), a pattern)
  std::string text;     // the words with blanks between, for patterns and people
};

struct ShellScript {
  std::vector<ShellCommand> commands;  // in loops, functions, substitutions and `sh -c '...'` too, in order of their text
  bool understood = true;              // false: it does not parse, or runs text that is made when it runs (eval "$x", source, a shell's input)
  // It does more than its commands say: writes a file by redirection, sets variables that programs heed, or runs a command by another
  // (sudo, xargs, find -exec, ...).
  bool does_more = false;
  bool names_git = false;  // somewhere in its text
};

ShellScript shell_commands(std::string_view script);

// Why running this would lose work or history that only git has: "git reset --hard throws away uncommitted changes"; nullopt: it would
// not, as far as the text says. A git command whose words are not known counts as one that would, and so does a script that names git and
// is not understood. `is_path`: whether the worktree has a file or directory of that name; null: none.
std::optional<std::string> destructive_git(const ShellScript& script, const std::function<bool(const std::string&)>& is_path = nullptr);

}  // namespace lares::tools
