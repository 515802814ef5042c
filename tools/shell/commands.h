// What a bash script would run, as far as its text says, by tree-sitter. For judging a command
// before it runs: where the text does not say, that is said.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lares::tools {

// Of one script; beyond, it does not count as understood
inline constexpr std::size_t kShellCommandsMax = 1000;

// Bytes and nodes that are looked at to read a script. What people write takes a few for each of
// its bytes; one that takes more is given up, and may be anything.
inline constexpr std::size_t kShellEffortMax = 16 << 20;

// A command with the script's own variables put in place; a mark (words.h) stands where the
// text does not say what does.
struct ShellReading {
  std::vector<std::string> words;  // one at least
  bool certain = true;             // no marks, and nothing is added to its words
  // The program's name is made when it runs, and could be git, a shell or one that runs another
  bool hidden = false;
};

struct ShellCommand {
  // Without quotes, and without what stands before it: assignments, and programs that only run
  // another (sudo, env, xargs, timeout, ...).
  std::vector<std::string> words;
  bool certain = true;  // false: some word is known only when it runs ($x, $(...), a pattern)
  std::string text;     // the words with blanks between, for patterns and people
  std::vector<ShellReading> readings;  // several where a variable has several values
};

struct ShellScript {
  // In loops, functions, substitutions and `sh -c '...'` too, in order of their text
  std::vector<ShellCommand> commands;
  // false: it does not parse, or runs what its text does not say ($x, eval "$x", source, a shell's
  // input); no rule allows it
  bool understood = true;
  // It does more than its commands say: writes a file by redirection, sets variables that programs
  // heed, or runs a command by another (sudo, xargs, find -exec, ...).
  bool does_more = false;
  bool names_git = false;  // somewhere in its text
  // Parts of it were not read (it does not parse, is too long, or nests too deep), and may be a git
  // command
  bool hides_git = false;
  bool given_up = false;  // hides_git, because it takes too much to read
  std::string made;       // a command that runs text which is made when it runs: eval "$x", x | sh
  std::vector<std::string> written;  // the files it redirects into
  std::size_t effort = 0;            // see kShellEffortMax
};

ShellScript shell_commands(std::string_view script);

// Why running this would lose work or history that only git has: "git reset --hard throws away
// uncommitted changes"; nullopt: it would not, as far as the text says. A git command whose words
// are not known counts as one that would, and so does a program whose name is made when it runs and
// could be git's, text that is made to be run, and a script that names git and cannot be read. A
// program that a variable of the environment names ($CC) does not, unless what follows reads like
// such a git command. `is_path`: whether the worktree has a file or directory of that name; null:
// none. `by` name: only git commands that the script writes out; `by` arguments: a program whose
// name is made asks only where what follows reads like git's, as it is for files that people wrote
// (one in ten names some).
enum class GitBy { any_way, arguments, name };
std::optional<std::string> destructive_git(
    const ShellScript& script, const std::function<bool(const std::string&)>& is_path = nullptr,
    GitBy by = GitBy::any_way);

}  // namespace lares::tools
