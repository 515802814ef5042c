// What the words of a bash script may be once its own variables are put in place, as far as the
// text says. Private to what judges a command.
#pragma once

#include <tree_sitter/api.h>

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tools/shell/effort.h"

namespace lares::tools {

// A shape is a word's text with marks where the text does not say what stands there.
inline constexpr char kPlain = '\1';  // what the script was given: a variable of the environment,
                                      // an argument, a file's name, where a program lies
inline constexpr char kMade = '\2';   // what is made when it runs
inline constexpr char kBreak = '\3';  // between words that one word becomes
// What a program prints for a shell to evaluate: $(ssh-agent -s)
inline constexpr char kSetup = '\4';

// Of one variable or word; what has more counts as made when it runs
inline constexpr std::size_t kValuesMax = 16;

class ShellWords {
 public:
  explicit ShellWords(Effort& effort) : effort_(&effort) {}  // which outlives it

  // The variables and functions of a script; those of the scripts around it stay.
  void gather(TSNode root, std::string_view script);
  // What one word may be: one shape at least.
  std::vector<std::string> shapes(TSNode word, std::string_view script) const;
  // What the variable of ${x@P} may be.
  std::vector<std::string> prompts(TSNode expansion, std::string_view script) const;
  bool is_function(const std::string& name) const { return functions_.contains(name); }
  // Arguments come from a program's output: `xargs sh -c`.
  void arguments_are(const std::vector<std::string>& from_0_on);
  std::size_t n_bytes() const { return n_bytes_; }  // of all values
  void arguments_are_made() { variables_["@"] = {{std::string(1, kMade)}, std::string(1, kMade)}; }

 private:
  struct Variable {
    std::vector<std::string> values;
    std::string elements;  // of an array
  };
  using Shapes = std::vector<std::string>;

  void assignment(TSNode node, TSNode around, std::string_view script);
  void assigned(const std::string& name, Shapes values);
  void set_by_command(TSNode command, std::string_view script);
  Shapes value_of(const std::string& name, bool all, bool quoted) const;
  // Deeper than a bound: made when it runs
  Shapes evaluate(TSNode node, std::string_view script, bool quoted) const;
  Shapes evaluated(TSNode node, std::string_view script, bool quoted) const;
  mutable int depth_ = 0;
  Shapes parts(TSNode node, std::string_view script, std::uint32_t from, std::uint32_t to,
               bool quoted) const;
  Shapes expansion(TSNode node, std::string_view script, bool quoted) const;
  Shapes substitution(TSNode node, std::string_view script) const;
  std::string list(TSNode array, std::string_view script, std::uint32_t from) const;

  void append(Shapes& to, const Shapes& more) const;

  Effort* effort_;
  std::size_t n_bytes_ = 0;
  std::map<std::string, Variable> variables_;
  std::set<std::string> functions_;
};

// As a pattern for fnmatch, a mark being anything.
std::string pattern_of(std::string_view shape);
// As a script again, with a substitution for every mark.
std::string script_of(std::string_view shape);
inline bool is_marked(std::string_view shape) {
  return shape.find_first_of("\1\2\4") != std::string_view::npos;
}

}  // namespace lares::tools
