#include "tools/shell/substitutions.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <set>

#include "tools/outline/node.h"

namespace lares::tools {
namespace {

constexpr int kDepthMax = 32;  // of substitutions in one another
constexpr auto npos = std::string_view::npos;

struct Span {
  std::size_t begin, end;
};

bool opens(std::string_view text) {
  return text.find('`') != npos || text.find("$(") != npos || text.find("<(") != npos ||
         text.find(">(") != npos;
}

// Of what stands in backticks.
std::string without_backslashes(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size() &&
        std::string_view("`$\\").find(text[i + 1]) != npos)
      ++i;
    out += text[i];
  }
  return out;
}

std::size_t backtick_from(std::string_view text, std::size_t i) {
  for (; i < text.size(); ++i)
    if (text[i] == '\\')
      ++i;
    else if (text[i] == '`')
      return i;
  return npos;
}

// The place of the parenthesis that ends what begins at `i`; npos: not found.
std::size_t closing(std::string_view text, std::size_t i, int depth = 0) {
  if (depth > kDepthMax) return npos;
  bool quoted = false;
  for (int open = 1; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\') {
      ++i;
    } else if (c == '`') {
      i = backtick_from(text, i + 1);
      if (i == npos) return npos;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (quoted) {
      if (c != '$' || i + 1 >= text.size() || text[i + 1] != '(') continue;
      i = closing(text, i + 2, depth + 1);
      if (i == npos) return npos;
    } else if (c == '\'') {
      i = text.find('\'', i + 1);
      if (i == npos) return npos;
    } else if (c == '(') {
      ++open;
    } else if (c == ')' && --open == 0) {
      return i;
    }
  }
  return npos;
}

// The substitution that begins at `i`, into `out`; the place behind it.
std::size_t take(std::string_view text, std::size_t i, Unseen& out, Effort& effort) {
  const bool backtick = text[i] == '`';
  const std::size_t from = backtick ? i + 1 : i + 2;
  std::size_t end = npos;
  if (!effort.over()) {
    end = backtick ? backtick_from(text, from) : closing(text, from);
    effort.spend(std::min(end, text.size()) - from);
  }
  if (end == npos) {
    out.lost = true;
    return from;
  }
  const std::string_view inside = text.substr(from, end - from);
  // A pattern of `case` and a comment may hold a parenthesis that ends nothing.
  if (!backtick && (inside.find("case") != npos || inside.find('#') != npos)) out.lost = true;
  out.scripts.push_back(backtick ? without_backslashes(inside) : std::string(inside));
  return end + 1;
}

// Where the tree says what a byte is.
class Shown {
 public:
  Shown(TSNode root, std::string_view script, Unseen& out) : script_(script) {
    for (std::size_t i = 0; i < script.size(); ++i)
      if (opens(script.substr(i, 2))) opens_.push_back(i);
    for_each_node(root, [&](TSNode node) {
      while (!around_.empty() && around_.back().end <= ts_node_start_byte(node)) around_.pop_back();
      const bool quoted = !around_.empty() && around_.back().quotes;
      look(node, quoted, out);
      around_.push_back({ts_node_end_byte(node), quotes_in(node, quoted)});
    });
    std::ranges::sort(text_, {}, &Span::begin);
  }

  // The end of what is only text at `i`, for places that never go back; npos: it is none.
  std::size_t text_end(std::size_t i) {
    while (at_ < text_.size() && text_[at_].end <= i) ++at_;
    return at_ < text_.size() && text_[at_].begin <= i ? text_[at_].end : npos;
  }
  // Whether a substitution that the tree does not show begins there.
  bool hides(std::size_t i) const {
    if (known_.contains(i)) return false;
    if (script_[i] == '`') return true;
    if (i + 1 >= script_.size() || script_[i + 1] != '(') return false;
    if (script_[i] != '<' && script_[i] != '>') return script_[i] == '$';
    const auto after = std::ranges::lower_bound(operands_, i, {}, &Span::begin);
    return after != operands_.begin() && i < std::prev(after)->end;
  }

 private:
  // Whether what stands in a node is as if in double quotes, where single quotes are only text.
  bool quotes_in(TSNode node, bool around) const {
    const std::string_view type = type_of(node);
    if (type == "string" || type == "heredoc_body" || type == "arithmetic_expansion" ||
        type == "subscript" ||
        (type == "compound_statement" &&
         script_.substr(ts_node_start_byte(node)).starts_with("((")))
      return true;
    return around && type != "command" && type != "command_substitution" &&
           type != "process_substitution";
  }

  void look(TSNode node, bool quoted, Unseen& out) {
    const std::string_view type = type_of(node);
    const Span span{ts_node_start_byte(node), ts_node_end_byte(node)};
    const std::string_view text = script_.substr(span.begin, span.end - span.begin);
    if (type == "raw_string" || type == "ansi_c_string" || type == "comment") {
      if (!opens(text) || !quoted) text_.push_back(span);
    } else if (type == "heredoc_redirect") {
      document(node);
    } else if (type == "command_substitution" && text.starts_with('`')) {
      known_.insert(span.begin), known_.insert(span.end - 1);
      if (text.size() > 2 && text.find('\\') != npos)
        out.scripts.push_back(without_backslashes(text.substr(1, text.size() - 2)));
    } else if (type == "command_substitution" || type == "process_substitution" ||
               type == "arithmetic_expansion") {
      known_.insert(span.begin);
    } else if (type == "expansion" && !quoted && opens_in(span)) {
      if (operands_.empty() || operands_.back().end < span.end) operands_.push_back(span);
    }
  }

  // opens(), of what lies in others of its kind, each of which would be looked through.
  bool opens_in(const Span& span) const {
    const auto first = std::ranges::lower_bound(opens_, span.begin);
    return first != opens_.end() && *first < span.end;
  }

  void document(TSNode redirect) {
    bool quoted = false;
    for (std::uint32_t i = 0; i < ts_node_named_child_count(redirect); ++i) {
      const TSNode child = ts_node_named_child(redirect, i);
      const Span span{ts_node_start_byte(child), ts_node_end_byte(child)};
      if (type_of(child) == "heredoc_start")
        quoted = script_.substr(span.begin, span.end - span.begin).find_first_of("'\"\\") != npos;
      else if (type_of(child) == "heredoc_body" && quoted)
        text_.push_back(span);
    }
  }

  struct Around {
    std::size_t end;
    bool quotes;
  };
  const std::string_view script_;
  std::vector<Around> around_;         // the nodes around the one that is looked at
  std::vector<Span> text_, operands_;  // operands_: of ${...}, the outermost
  std::vector<std::size_t> opens_;     // the places where something does
  std::set<std::size_t> known_;
  std::size_t at_ = 0;
};

// Two lines are one word, or one operator, where neither ends nor begins with a blank.
bool joins(const std::string& before, std::string_view after) {
  if (before.empty() || after.empty() || std::isspace(static_cast<unsigned char>(before.back())) ||
      std::isspace(static_cast<unsigned char>(after[0])))
    return false;
  return std::string_view("|;(").find(before.back()) == npos ||
         std::ispunct(static_cast<unsigned char>(after[0]));
}

// Every one in text that is expanded as if in double quotes.
void take_all(std::string_view text, Unseen& out, Effort& effort) {
  effort.spend(text.size());
  for (std::size_t i = 0; i < text.size();)
    if (text[i] == '\\')
      i += 2;
    else if (text[i] == '`' || text.substr(i).starts_with("$("))
      i = take(text, i, out, effort);
    else
      ++i;
}

}  // namespace

Unseen unseen_in(TSNode root, std::string_view script, Effort& effort) {
  Unseen out;
  if (!opens(script) && script.find("\\\n") == npos) return out;
  Shown shown(root, script, out);
  std::string joined;
  bool any = false;
  const auto copy = [&](std::size_t from, std::size_t to) {
    joined.append(script.substr(from, to - from));
    return from + (to - from);
  };
  for (std::size_t i = 0; i < script.size();) {
    if (const std::size_t end = shown.text_end(i); end != npos) {
      i = copy(i, end);
    } else if (script[i] == '\\') {
      if (script.substr(i).starts_with("\\\n") && joins(joined, script.substr(i + 2)))
        any = true;
      else
        copy(i, std::min(i + 2, script.size()));
      i += 2;
    } else if (shown.hides(i)) {
      i = copy(i, take(script, i, out, effort));
    } else {
      i = copy(i, i + 1);
    }
  }
  if (any) out.joined = std::move(joined);
  return out;
}

Unseen expanded_later(std::string_view text, Effort& effort) {
  Unseen out;
  take_all(text, out, effort);
  return out;
}

Unseen evaluated_later(std::string_view text, Effort& effort) {
  Unseen out;
  for (auto i = text.find('['); i != npos; i = text.find('[', i + 1))
    if (i > 0 && (std::isalnum(static_cast<unsigned char>(text[i - 1])) || text[i - 1] == '_')) {
      take_all(text.substr(i), out, effort);
      break;
    }
  return out;
}

}  // namespace lares::tools
