#include "tools/shell/git_files.h"

#include <fnmatch.h>

#include <algorithm>
#include <cctype>
#include <string>
#include <vector>

#include "tools/shell/programs.h"
#include "tools/shell/words.h"

namespace lares::tools {
namespace {

using Words = std::vector<std::string>;

constexpr std::string_view kHistory[] = {"HEAD", "refs", "objects", "packed-refs", "logs", "index"};
constexpr std::string_view kPatterns[] = {"-path",  "-ipath",  "-wholename", "-iwholename",
                                          "-regex", "-iregex", "-lname",     "-ilname"};

bool removes(std::string_view program) {
  return one_of(program, "rm", "rmdir", "shred", "unlink", "mv", "truncate");
}

bool is_git_dir(std::string_view word) {
  while (word.size() > 1 && word.ends_with('/')) word.remove_suffix(1);
  return base_name(word) == ".git" || word.find(".git/") != std::string_view::npos ||
         (base_name(word).starts_with(".git") && is_marked(base_name(word)));
}

// Of find, a pattern for paths that .git or what lies in one may match; not .github.
bool names_git(std::string_view pattern) {
  for (auto at = pattern.find(".git"); at != pattern.npos; at = pattern.find(".git", at + 1)) {
    const char next = at + 4 < pattern.size() ? pattern[at + 4] : '\0';
    if (!std::isalnum(static_cast<unsigned char>(next)) && next != '-' && next != '_') return true;
  }
  return false;
}
// Nor "*", which leaves out nothing: what that removes it does not say.
bool is_git_name(const std::string& pattern) {
  const auto matches = [&](const char* name) {
    return ::fnmatch(pattern.c_str(), name, FNM_CASEFOLD) == 0;
  };
  return matches(".git") && !matches("src");
}

// One command line of find: where it begins, and an expression with brackets.
class Find {
 public:
  explicit Find(const Words& words) : words_(words) {
    while (first_ < words.size() && one_of(words[first_], "-H", "-L", "-P")) ++first_;
    for (; first_ < words.size() && !is_expression(words[first_]); ++first_)
      starts_in_git_ = starts_in_git_ || is_git_dir(words[first_]);
  }

  bool removes_git() const {
    if (starts_in_git_ && acts(first_, words_.size())) return true;
    return any_named([&](std::size_t at) { return chain(at, [&](auto i) { return acts_at(i); }); });
  }
  // As -print does; what is pruned is not listed.
  bool lists_git() const {
    return any_named(
        [&](std::size_t at) { return !chain(at, [&](auto i) { return words_[i] == "-prune"; }); });
  }

 private:
  static bool is_expression(std::string_view word) {
    return word.starts_with('-') || one_of(word, "(", "!", ")");
  }

  // `is_it` is asked of every test that .git passes.
  template <class IsIt>
  bool any_named(IsIt is_it) const {
    std::vector<bool> negated;  // of the brackets that are open
    const auto negates = [&](std::size_t i) {
      return i > first_ && one_of(words_[i - 1], "!", "-not");
    };
    for (std::size_t i = first_; i + 1 < words_.size(); ++i) {
      if (words_[i] == "(") negated.push_back(negates(i));
      if (words_[i] == ")" && !negated.empty()) negated.pop_back();
      const bool named = (one_of(words_[i], "-name", "-iname") && is_git_name(words_[i + 1])) ||
                         (std::ranges::find(kPatterns, words_[i]) != std::end(kPatterns) &&
                          names_git(words_[i + 1]));
      if (named && !negates(i) && std::ranges::find(negated, true) == negated.end() && is_it(i))
        return true;
    }
    return false;
  }

  // Whether `is_it` holds for a word that is reached when the test at `at` holds: until the next
  // -o, and behind the brackets around it.
  template <class IsIt>
  bool chain(std::size_t at, IsIt is_it) const {
    int inner = 0;
    bool skipped = false;  // the other choices in these brackets
    for (std::size_t i = at + 2; i < words_.size(); ++i) {
      if (words_[i] == "(") {
        ++inner;
      } else if (words_[i] == ")") {
        if (inner > 0)
          --inner;
        else
          skipped = false;
      } else if (inner == 0 && one_of(words_[i], "-o", "-or", ",")) {
        skipped = true;
      } else if (!skipped && is_it(i)) {
        return true;
      }
    }
    return false;
  }

  bool acts_at(std::size_t i) const {
    if (words_[i] == "-delete") return true;
    if (!one_of(words_[i], "-exec", "-execdir", "-ok", "-okdir")) return false;
    for (++i; i < words_.size() && !one_of(words_[i], ";", "+"); ++i)
      if (removes(base_name(words_[i]))) return true;  // by another program too: sudo rm
    return false;
  }
  bool acts(std::size_t from, std::size_t to) const {
    for (std::size_t i = from; i < to; ++i)
      if (acts_at(i)) return true;
    return false;
  }

  const Words& words_;
  std::size_t first_ = 1;  // word of the expression
  bool starts_in_git_ = false;
};

}  // namespace

bool holds_history(std::string_view path) {
  const auto at = path.rfind(".git/");
  if (at == path.npos || (at > 0 && path[at - 1] != '/' && path[at - 1] != '=')) return false;
  const auto rest = path.substr(at + 5);
  return std::ranges::find(kHistory, rest.substr(0, rest.find('/'))) != std::end(kHistory);
}

bool loses_git_files(const ShellReading& reading) {
  const Words& words = reading.words;
  const std::string_view name = base_name(words[0]);
  const auto any = [&](auto is_it) { return std::any_of(words.begin() + 1, words.end(), is_it); };
  if (removes(name)) return any(is_git_dir);
  if (one_of(name, "tee", "dd")) return any(holds_history);
  if (one_of(name, "sed", "gsed", "perl"))
    return any(holds_history) && any([](const std::string& w) {
             return w.starts_with("--in-place") ||
                    (w.starts_with('-') && !w.starts_with("--") && w.find('i') != w.npos);
           });
  if (one_of(name, "cp", "install", "ln")) return words.size() > 2 && holds_history(words.back());
  return name == "find" && Find(words).removes_git();
}

bool finds_git_dirs(const ShellReading& reading) {
  return base_name(reading.words[0]) == "find" && Find(reading.words).lists_git();
}

bool removes_what_is_given(const ShellReading& reading) {
  const Words& words = reading.words;
  return removes(base_name(words[0])) &&
         std::all_of(words.begin() + 1, words.end(), [](const std::string& w) {
           return w.starts_with('-') || w == "{}" || is_marked(w);
         });
}

}  // namespace lares::tools
