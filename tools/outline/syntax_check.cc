#include "tools/outline/syntax_check.h"

#ifdef LARES_TREE_SITTER
#include <algorithm>
#include <cctype>
#include <vector>

#include <fmt/format.h>

#include "tools/outline/bash_check.h"
#include "tools/outline/grammar_gaps.h"
#include "tools/outline/loose_json.h"
#include "tools/outline/syntax_tree.h"
#include "tools/text.h"
#endif

namespace lares::tools {

#ifdef LARES_TREE_SITTER

namespace {

constexpr std::size_t kErrorsMax = 200;  // of one text that are told apart; all are counted

struct SyntaxError {
  std::size_t line = 0, line_last = 0;  // 0-based
  std::string missing;  // the token that is not there; "": what stands there does not parse
};
struct Errors {
  std::vector<SyntaxError> list;
  std::size_t n = 0;
};

// With a cursor, not by recursion: nesting may be as deep as the file is long. Inside an ERROR
// nothing more is counted: what the parser made of the pieces says nothing.
Errors errors_in(const SyntaxTree& tree) {
  Errors out;
  TSTreeCursor cursor = ts_tree_cursor_new(ts_tree_root_node(tree.get()));
  for (bool more = true; more;) {
    const TSNode node = ts_tree_cursor_current_node(&cursor);
    const bool error = ts_node_is_error(node), missing = ts_node_is_missing(node);
    if (error || missing) {
      ++out.n;
      if (out.list.size() < kErrorsMax)
        out.list.push_back({ts_node_start_point(node).row, ts_node_end_point(node).row,
                            missing ? ts_node_type(node) : ""});
    }
    if (!error && ts_node_has_error(node) && ts_tree_cursor_goto_first_child(&cursor)) continue;
    while (more && !ts_tree_cursor_goto_next_sibling(&cursor))
      more = ts_tree_cursor_goto_parent(&cursor);
  }
  ts_tree_cursor_delete(&cursor);
  return out;
}

// The lines of `after` that are new or changed, and how many more lines it has.
struct Changed {
  std::size_t first = 0, last = 0;  // 0-based; of a deletion the line behind it
  std::ptrdiff_t shift = 0;
};
Changed changed_lines(const std::vector<std::string_view>& before,
                      const std::vector<std::string_view>& after) {
  const std::size_t n = std::min(before.size(), after.size());
  std::size_t begin = 0, end = 0;
  while (begin < n && before[begin] == after[begin]) ++begin;
  while (end < n - begin && before[before.size() - 1 - end] == after[after.size() - 1 - end]) ++end;
  const std::size_t last = after.size() - end;
  return {begin, std::max(last, begin + 1) - 1,
          static_cast<std::ptrdiff_t>(after.size()) - static_cast<std::ptrdiff_t>(before.size())};
}

bool was_there(const SyntaxError& error, const Errors& before, const Changed& changed) {
  const auto line = static_cast<std::ptrdiff_t>(error.line);
  return std::ranges::any_of(before.list, [&](const SyntaxError& old) {
    const auto there = static_cast<std::ptrdiff_t>(old.line);
    return old.missing == error.missing && (there == line || there + changed.shift == line);
  });
}

const Language* language_of(std::string_view path, std::string_view text) {
  const auto extension = extension_of(path);
  if (extension == "h" && has_cpp_words(text)) return &cpp_language();
  return language_for(extension);
}

// C, C++ and TypeScript are the languages whose grammars stop at code that compilers take: macros,
// default arguments, conditionals of the preprocessor. There an error must be one that such code
// does not bring.
bool is_loose(const Language& language) {
  return is_c_family(language) || language.name.starts_with("T");
}

bool is_punctuation(std::string_view token) {
  return !token.empty() && std::ranges::none_of(token, [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
  });
}

// Past the literal or comment that begins at `at`, or `at` itself where there is none.
std::size_t past_literal(std::string_view text, std::size_t at) {
  const std::string_view rest = text.substr(at);
  const auto to = [&](std::string_view end, std::size_t from) {
    const std::size_t found = text.find(end, from);
    return found == std::string_view::npos ? text.size() : found + end.size();
  };
  if (rest.starts_with("//")) return to("\n", at);
  if (rest.starts_with("/*")) return to("*/", at + 2);
  if (rest.starts_with("R\"")) {
    const std::size_t open = text.find('(', at);
    return open == std::string_view::npos
               ? text.size()
               : to(fmt::format("){}\"", text.substr(at + 2, open - at - 2)), open);
  }
  const char quote = rest[0];
  if (quote != '"' && quote != '\'') return at;
  if (quote == '\'' && at > 0 && std::isxdigit(static_cast<unsigned char>(text[at - 1])))
    return at + 1;  // 100'000
  for (std::size_t i = at + 1; i < text.size(); ++i) {
    if (text[i] == '\\')
      ++i;
    else if (text[i] == quote || text[i] == '\n')
      return i + 1;
  }
  return text.size();
}

// Of the branches of #if the first one: each may open what one line behind #endif closes.
std::string first_branches(std::string_view text) {
  std::string out;
  int n_skipped = 0;  // how deep below an #else
  for (const std::string_view line : split_lines(text)) {
    std::string_view word = line.substr(std::min(line.find_first_not_of(" \t"), line.size()));
    const bool directive = word.starts_with('#');
    if (directive) word = word.substr(std::min(word.find_first_not_of(" \t", 1), word.size()));
    if (directive && n_skipped > 0 && word.starts_with("if")) ++n_skipped;
    if (directive && n_skipped == 0 && (word.starts_with("else") || word.starts_with("elif")))
      n_skipped = 1;
    if (directive && n_skipped > 0 && word.starts_with("endif")) --n_skipped;
    if (n_skipped == 0) out.append(line).append("\n");
  }
  return out;
}

// Whether the brackets of a C or C++ text close in the order in which they open.
bool is_balanced(std::string_view whole) {
  const std::string text = first_branches(whole);
  std::string open;
  for (std::size_t i = 0; i < text.size();) {
    if (const std::size_t past = past_literal(text, i); past != i) {
      i = past;
      continue;
    }
    const char c = text[i++];
    if (c == '(' || c == '[' || c == '{') open += c;
    if (c != ')' && c != ']' && c != '}') continue;
    if (open.empty() || open.back() != (c == ')' ? '(' : c == ']' ? '[' : '{')) return false;
    open.pop_back();
  }
  return open.empty();
}

struct Texts {
  std::string_view before, after;
  bool made = false;  // nothing was before
};

// Whether a new error of a loose language is the edit's and not the grammar's.
class Judge {
 public:
  Judge(const Language& language, const Texts& texts, const Changed& changed,
        const std::vector<std::string_view>& lines)
      : loose_(is_loose(language)),
        language_(language),
        made_(texts.made && loose_),
        changed_(changed),
        lines_(lines) {
    if (is_c_family(language)) unbalanced_ = is_balanced(texts.before) && !is_balanced(texts.after);
  }
  bool counts(const SyntaxError& error) const {
    if (unbalanced_) return true;
    if (made_) return false;  // a whole file has too many chances to be misread
    if (!loose_) return !hard(error);
    if (!error.missing.empty()) return is_punctuation(error.missing) && !hard(error);
    return error.line >= changed_.first && error.line_last <= changed_.last && !hard(error);
  }

 private:
  // An error that reaches over many lines is that of the first one.
  bool hard(const SyntaxError& error) const {
    const auto last = loose_ && error.missing.empty() ? error.line_last : error.line;
    for (std::size_t i = error.line; i <= last && i < lines_.size(); ++i)
      if (is_gap(language_, lines_[i])) return true;
    return false;
  }

  bool loose_;
  const Language& language_;
  bool made_, unbalanced_ = false;
  Changed changed_;
  const std::vector<std::string_view>& lines_;
};

// Where the parser gave up lies often far from what caused it: of an error that reaches over the
// edit, the edit's first line is told.
std::string told(const SyntaxError& error, const Changed& changed,
                 const std::vector<std::string_view>& lines) {
  const bool over = error.missing.empty() && error.line < changed.first &&
                    error.line_last >= changed.first;
  const std::size_t line = std::min(over ? changed.first : error.line,
                                    lines.empty() ? 0 : lines.size() - 1);
  std::string_view source = lines.empty() ? "" : lines[line];
  source.remove_prefix(std::min(source.find_first_not_of(" \t"), source.size()));
  const std::string quoted =
      source.size() <= kSyntaxSourceBytes
          ? std::string(source)
          : std::string(source.substr(0, utf8_floor(source, kSyntaxSourceBytes))) + "...";
  if (!error.missing.empty())
    return fmt::format("line {}, where `{}` is missing: `{}`", line + 1, error.missing, quoted);
  return fmt::format("line {}: `{}`", line + 1, quoted);
}

}  // namespace

bool can_check_syntax(std::string_view path, std::string_view after) {
  return after.size() <= kCheckedBytesMax && language_for(extension_of(path)) != nullptr;
}

std::string new_syntax_errors(std::string_view path, const std::optional<std::string>& before,
                              std::string_view after, const std::atomic<bool>& cancelled) {
  const Language* language = language_of(path, after);
  if (!language || after.size() > kCheckedBytesMax || (before && before->size() > kCheckedBytesMax))
    return "";
  const auto deadline = std::chrono::steady_clock::now() + kSyntaxTimeMax;
  const bool loose = takes_trailing_commas(path);
  const auto parsed = [&](std::string_view text) {
    const std::string strict = loose ? without_trailing_commas(text) : "";
    return parse_syntax(*language, {loose ? strict : text, deadline, cancelled});
  };
  const SyntaxTree now = parsed(after);
  if (!now) return "";
  const Errors errors = errors_in(now);
  if (errors.n == 0) return "";
  const SyntaxTree was = parsed(before ? std::string_view(*before) : std::string_view());
  if (!was) return "";
  const Errors old = errors_in(was);
  if (errors.n <= old.n) return "";
  const auto lines = split_lines(after);
  const Texts texts{before ? std::string_view(*before) : std::string_view(), after, !before};
  const Changed changed = changed_lines(split_lines(texts.before), lines);
  const Judge judge(*language, texts, changed, lines);
  std::string out;
  std::size_t n = 0;
  for (const SyntaxError& error : errors.list) {
    if (was_there(error, old, changed) || !judge.counts(error) || n == kSyntaxErrorsShown) continue;
    out += fmt::format("{}{}", n == 0 ? "" : "\n", told(error, changed, lines));
    ++n;
  }
  if (n == 0) return "";
  if (language->name == "Bash" && !bash_refuses(after, deadline, cancelled)) return "";
  if (n == 1)
    return "The file now has a syntax error at " + out + "; it had none there before this edit.";
  return "The file now has syntax errors, which it had not before this edit, at\n" + out;
}

#else

bool can_check_syntax(std::string_view, std::string_view) { return false; }
std::string new_syntax_errors(std::string_view, const std::optional<std::string>&, std::string_view,
                              const std::atomic<bool>&) {
  return "";
}

#endif

}  // namespace lares::tools
