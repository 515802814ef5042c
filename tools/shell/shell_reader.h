// Reads a script: the commands it runs, and what these run in turn. commands.cc goes over the
// script, read_command.cc puts one command's words together, inner_commands.cc looks into what it
// is given to run, and shell_input.cc into what a shell is given to read. Private to them.
#pragma once

#include <tree_sitter/api.h>

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tools/shell/commands.h"
#include "tools/shell/effort.h"
#include "tools/shell/substitutions.h"
#include "tools/shell/words.h"

namespace lares::tools {

inline constexpr std::size_t kReadingBytesMax = 16 << 20;  // of all readings of a script

// What a name that is made when it runs must not be.
bool could_run_git(const std::string& shape);

class ShellReader {
 public:
  explicit ShellReader(ShellScript& out) : out_(out) {}  // which outlives it

  void read_all_of(std::string_view script);

 private:
  void give_up();
  void read(std::string_view script, int depth);
  void walk(TSNode root, std::string_view script, int depth);
  // What runs of `text` though the tree does not show it.
  void read_all(const Unseen& unseen, std::string_view text, int depth);
  void read_later(const Unseen& unseen, std::string_view text, int depth);
  // Text that may come to stand where names and numbers are evaluated.
  void values(TSNode node, std::string_view script, int depth);
  void variable(TSNode node, std::string_view script, int depth);
  // ${x@P}
  void prompt(TSNode node, std::string_view script, int depth);
  // Not all of it can be read; then its text alone says whether it may lose something.
  void hide(std::string_view script);

  void command(TSNode node, std::string_view script, int depth);
  // Wherever its command begins: each of these is held against the rules.
  void launched(const std::vector<std::string>& words, bool certain);
  // `at`: its place among the commands, which move.
  void read_command(std::vector<std::string> shapes, std::size_t at, TSNode node,
                    std::string_view script, int depth);
  // What stands before a command and is run too: `env -S 'x y'`, `env PS4='$(x)' bash -x`.
  void before_command(const std::vector<std::string>& words, std::size_t first, bool adds_words,
                      std::size_t at, int depth);
  // A variable that says what runs later.
  void set(const std::string& name, const std::string& value, int depth);
  // alias g=git; g clean. Only from the next line on, where a shell has aliases at all.
  void aliased(const std::vector<std::string>& words, bool adds_words, std::size_t at, int depth);
  // What a program is given may be what it runs.
  void carried(const ShellReading& reading, bool adds_words, std::size_t at, TSNode node,
               std::string_view script, int depth);

  // Shells that are given a script, and what is read or made to be one.
  void inner(const std::vector<std::string>& words, bool adds_words, std::size_t at, TSNode node,
             std::string_view script, int depth);
  // git submodule foreach, git bisect run; git -c core.pager='x y'.
  void git_runs(const std::vector<std::string>& words, bool adds_words, std::size_t at, TSNode node,
                std::string_view script, int depth);
  // mapfile -C 'x y', compgen -C 'x y', and -W, which is expanded.
  void callback(const std::vector<std::string>& words, bool adds_words, std::size_t at, int depth);
  // find -exec git ... \;
  void found(const std::vector<std::string>& words, std::size_t at, TSNode node,
             std::string_view script, int depth);
  void made(std::size_t at);
  void run_text(std::string text, bool adds_words, std::size_t at, int depth);
  // A script in a file: who judges the command looks into it, but not when this script writes it
  // first.
  void run_file(const std::string& file, std::size_t at);

  // A shell that reads its script: from a here document, a file, or what another prints.
  void input(TSNode command, std::string_view script, std::size_t at, int depth);
  // The redirection that says where; null: none does.
  TSNode input_of(TSNode node, std::string_view script);
  void input_from(TSNode redirect, std::string_view script, std::size_t at, int depth);
  void document(TSNode redirect, std::string_view script, int depth);

  ShellScript& out_;
  Effort effort_;
  ShellWords words_{effort_};
  const std::vector<TSNode>* around_ = nullptr;  // the node that is walked over
  std::map<std::string, std::string> aliases_;
  std::size_t read_bytes_ = 0, reading_bytes_ = 0;
};

}  // namespace lares::tools
