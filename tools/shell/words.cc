#include "tools/shell/words.h"

#include <fnmatch.h>

#include <algorithm>
#include <optional>

#include "tools/outline/node.h"
#include "tools/shell/script_tree.h"

namespace lares::tools {
namespace {

using Shapes = std::vector<std::string>;

// Programs whose output is the name of a program or a directory, and those that choose a line of
// it.
constexpr std::string_view kFinders[] = {
    "find",       "ls",      "which", "command", "type", "pwd",   "mktemp", "realpath",
    "readlink",   "dirname", "brew",  "npm",     "go",   "xcrun", "rustup", "cargo",
    "pkg-config", "fd",      "nproc", "head",    "tail", "sort",  "uniq",   "grep"};
// Programs that print what a shell is to evaluate.
constexpr std::string_view kSetups[] = {
    "opam",           "pyenv",      "rbenv",
    "nodenv",         "goenv",      "direnv",
    "conda",          "micromamba", "mamba",
    "ssh-agent",      "brew",       "fnm",
    "luarocks",       "dircolors",  "starship",
    "zoxide",         "mise",       "asdf",
    "docker-machine", "minikube",   "register-python-argcomplete",
    "resize",         "locale"};

// Of a variable's value; v2=$v1$v1; v3=$v2$v2; ... would double it each time
constexpr std::size_t kValueBytesMax = 16 << 10;
constexpr std::size_t kWordBytesMax = 256 << 10;  // of a word with values in it
// Of a value and a pattern that ${x%pattern} is worked out for
constexpr std::size_t kCutBytesMax = 256;
constexpr std::size_t kNodeCosts = 4;  // as much as so many bytes
constexpr int kDepthMax = 64;          // of words in words
constexpr int kCutStarsMax = 2;        // fnmatch tries what each of them may be

// False: there are too many, and no other makes a difference.
bool add(Shapes& to, const std::string& shape) {
  if (std::ranges::find(to, shape) != to.end()) return true;
  if (to.size() < kValuesMax) return to.push_back(shape), true;
  to.back() = std::string(1, kMade);
  return false;
}

// A bare word: without its backslashes, a mark for what the file system or a brace says.
std::string bare(std::string_view text) {
  std::string out;
  bool closes[] = {true, true};  // that a bracket, a brace may be closed still
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\' && i + 1 < text.size()) {
      if (text[++i] != '\n') out += text[i];
    } else if (c == '`') {  // of an operand; the grammar shows others
      const auto end = text.find('`', i + 1);
      out += kMade, i = end == std::string_view::npos ? text.size() : end;
    } else if (c == '*' || c == '?' || (c == '~' && i == 0)) {
      out += kPlain;
    } else if (c == '[' || c == '{') {
      bool& closed = closes[c == '{'];
      const auto end = closed ? text.find(c == '[' ? ']' : '}', i) : std::string_view::npos;
      closed = end != std::string_view::npos;
      if (end == std::string_view::npos || end == i + 1)
        out += c;
      else
        out += kPlain, i = end;
    } else {
      out += c;
    }
  }
  return out;
}

// The number that up to `n` digits of `base` at `i` make; `i` moves behind them.
unsigned long number(std::string_view text, std::size_t& i, std::size_t n, int base) {
  unsigned long out = 0;
  for (const std::size_t from = i; i < text.size() && i < from + n; ++i) {
    const int digit = text[i] <= '9' ? text[i] - '0' : (text[i] | 0x20) - 'a' + 10;
    if (digit < 0 || digit >= base ||
        (text[i] > '9' && !std::isalpha(static_cast<unsigned char>(text[i]))))
      break;
    out = out * static_cast<unsigned long>(base) + static_cast<unsigned long>(digit);
  }
  return out;
}

// The text of $'...'; nullopt: it has more than ASCII by number.
std::optional<std::string> ansi_c(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] != '\\' || i + 1 >= text.size()) {
      out += text[i++];
      continue;
    }
    const char c = text[++i];
    const auto from = std::string_view("abeEfnrtv\\'\"?").find(c);
    if (from != std::string_view::npos) {
      out += "\a\b\033\033\f\n\r\t\v\\'\"?"[from], ++i;
      continue;
    }
    unsigned long code = 0;
    if (c >= '0' && c <= '7') {
      code = number(text, i, 3, 8);
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const std::size_t first = ++i;
      code = number(text, i, c == 'x' ? 2 : c == 'u' ? 4 : 8, 16);
      if (i == first) return std::nullopt;
    } else if (c == 'c') {
      return std::nullopt;
    } else {
      out += '\\';
      continue;
    }
    if (code == 0) return out;                        // the rest is cut off
    if (code > 127 || code < 8) return std::nullopt;  // or a mark
    out += static_cast<char>(code);
  }
  return out;
}

// {a,b}: it becomes several words.
bool has_braces(TSNode concatenation, std::string_view script) {
  std::string bare;
  for (std::uint32_t i = 0; i < ts_node_child_count(concatenation); ++i) {
    const TSNode child = ts_node_child(concatenation, i);
    if (type_of(child) == "word" || !ts_node_is_named(child)) bare += text_of(child, script);
  }
  const auto open = bare.find('{'), comma = bare.find(',', open), close = bare.find('}', comma);
  return open != std::string::npos && comma != std::string::npos && close != std::string::npos &&
         (open == 0 || bare[open - 1] != '\\');
}

Shapes marked(char mark) { return {std::string(1, mark)}; }

// ${x%suffix} and ${x#prefix} of one value, where both are known.
std::string cut(const std::string& value, std::string_view op, const std::string& pattern) {
  if (value.size() > kCutBytesMax || pattern.size() > kCutBytesMax ||
      std::ranges::count(pattern, '*') > kCutStarsMax)
    return std::string(1, kMade);
  const bool longest = op.size() == 2, end = op[0] == '%';
  for (std::size_t k = 0; k <= value.size(); ++k) {
    const std::size_t n = longest ? value.size() - k : k;
    const std::string piece = end ? value.substr(value.size() - n) : value.substr(0, n);
    if (::fnmatch(pattern.c_str(), piece.c_str(), 0) == 0)
      return end ? value.substr(0, value.size() - n) : value.substr(n);
  }
  return value;
}

}  // namespace

// Every end for every beginning.
void ShellWords::append(Shapes& to, const Shapes& more) const {
  if (to.size() == 1 && more.size() == 1 && to[0].size() + more[0].size() <= kWordBytesMax) {
    effort_->spend(more[0].size());
    to[0] += more[0];
    return;
  }
  Shapes out;
  for (const auto& x : to)
    for (const auto& y : more) {
      effort_->spend(x.size() + y.size());
      if (effort_->over()) return void(to = marked(kMade));
      if (!add(out, x.size() + y.size() > kWordBytesMax ? std::string(1, kMade) : x + y))
        return void(to = std::move(out));
    }
  to = std::move(out);
}

void ShellWords::gather(TSNode root, std::string_view script) {
  for_each_node_in(root, [&](TSNode node, const std::vector<TSNode>& around) {
    if (effort_->over()) return;
    effort_->spend(1);
    const std::string_view type = type_of(node);
    if (type == "variable_assignment") assignment(node, around.back(), script);
    if (type == "command") set_by_command(node, script);
    if (type == "function_definition")
      functions_.insert(std::string(text_of(field(node, "name"), script)));
    if (type == "for_statement" || type == "select_statement") {
      Shapes values;
      for (std::uint32_t i = 0; i < ts_node_child_count(node); ++i) {
        const char* const name = ts_node_field_name_for_child(node, i);
        if (!name || std::string_view(name) != "value") continue;
        for (const auto& shape : evaluate(ts_node_child(node, i), script, false)) {
          for (std::size_t at = 0; at <= shape.size();) {
            const auto end = std::min(shape.find(kBreak, at), shape.size());
            add(values, shape.substr(at, end - at));
            at = end + 1;
          }
        }
      }
      if (values.empty()) values = value_of("@", false, true);
      assigned(std::string(text_of(field(node, "variable"), script)), std::move(values));
    }
  });
}

void ShellWords::assigned(const std::string& name, Shapes values) {
  for (const auto& value : values) {
    effort_->spend(value.size());
    n_bytes_ += value.size() + 1;
    add(variables_[name].values, value.size() > kValueBytesMax ? std::string(1, kMade) : value);
  }
}

std::string ShellWords::list(TSNode array, std::string_view script, std::uint32_t from) const {
  std::string out;
  for (std::uint32_t i = from; i < ts_node_named_child_count(array); ++i) {
    const Shapes values = evaluate(ts_node_named_child(array, i), script, false);
    if (!out.empty()) out += kBreak;
    out += values.size() == 1 && out.size() + values[0].size() <= kWordBytesMax
               ? values[0]
               : std::string(1, kMade);
  }
  return out;
}

void ShellWords::assignment(TSNode node, TSNode around, std::string_view script) {
  const TSNode left = field(node, "name"), right = field(node, "value");
  const bool element = type_of(left) == "subscript";
  const std::string name(text_of(element ? field(left, "name") : left, script));
  const bool appends = script.substr(ts_node_end_byte(left)).starts_with("+=");
  const std::string_view declared = type_of(around) == "declaration_command"
                                        ? text_of(around, script)
                                        : std::string_view();
  // declare -n makes another name of it, -i -l -u another text
  if (const auto dash = declared.find(" -");
      dash != std::string_view::npos &&
      declared.substr(dash, declared.find(' ', dash + 1) - dash).find_first_of("nilu") !=
          std::string_view::npos)
    return assigned(name, marked(kMade));
  if (type_of(right) == "array") {
    Variable& variable = variables_[name];
    const std::string elements = list(right, script, 0);
    variable.elements = appends && !variable.elements.empty()
                            ? variable.elements + kBreak + elements
                            : elements;
    if (variable.elements.size() > kWordBytesMax) variable.elements = std::string(1, kMade);
    n_bytes_ += elements.size();
    for (std::size_t at = 0; at <= elements.size();) {
      const auto end = std::min(elements.find(kBreak, at), elements.size());
      add(variable.values, elements.substr(at, end - at));
      at = end + 1;
    }
    return;
  }
  Shapes values = ts_node_is_null(right) ? Shapes{""} : evaluate(right, script, true);
  if (element) n_bytes_ += values[0].size() + 1;
  if (element && !variables_[name].elements.empty())
    variables_[name].elements += kBreak + (values.size() == 1 ? values[0] : std::string(1, kMade));
  else if (element)
    variables_[name].elements = values.size() == 1 ? values[0] : std::string(1, kMade);
  if (appends) {
    Shapes before = variables_.contains(name) ? variables_[name].values : marked(kPlain);
    append(before, values);
    values = std::move(before);
  }
  assigned(name, std::move(values));
}

// `set -- a b`, and what reads into variables.
void ShellWords::set_by_command(TSNode command, std::string_view script) {
  const std::string_view name = text_of(field(command, "name"), script);
  const bool reads = name == "read" || name == "mapfile" || name == "readarray" ||
                     name == "getopts" || name == "printf";
  if (name != "set" && !reads) return;
  bool v = name != "printf";
  for (std::uint32_t i = 1; i < ts_node_named_child_count(command); ++i) {
    const std::string word(text_of(ts_node_named_child(command, i), script));
    if (name == "set") {
      if (word != "--") continue;
      Variable& arguments = variables_["@"];
      arguments.elements = list(command, script, i + 1);
      for (std::uint32_t k = i + 1; k < ts_node_named_child_count(command); ++k)
        assigned("@", evaluate(ts_node_named_child(command, k), script, false));
      return;
    }
    if (v && !word.starts_with('-') &&
        word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
            std::string::npos) {
      assigned(word, marked(kMade));
      variables_[word].elements = std::string(1, kMade);
      if (name == "printf") return;
    }
    v = v || word == "-v";
  }
}

// `all`: the elements of an array, each a word.
Shapes ShellWords::value_of(const std::string& name, bool all, bool quoted) const {
  const bool argument = !name.empty() && (name == "@" || name == "*" ||
                                          std::isdigit(static_cast<unsigned char>(name[0])));
  const auto found = variables_.find(argument && name != "0" ? "@" : name);
  if (found == variables_.end()) return marked(kPlain);
  if (effort_->over()) return marked(kMade);
  if ((all || name == "@" || name == "*") && !found->second.elements.empty()) {
    effort_->spend(found->second.elements.size());
    return {found->second.elements};
  }
  Shapes out = found->second.values;
  for (const auto& value : out) effort_->spend(value.size());
  if (out.empty()) return marked(kPlain);
  if (!quoted)
    for (auto& value : out)
      std::ranges::replace_if(
          value, [](char c) { return c == ' ' || c == '\t' || c == '\n'; }, kBreak);
  return out;
}

// The children of `node` between two places, and the text between them as it is.
Shapes ShellWords::parts(TSNode node, std::string_view script, std::uint32_t from, std::uint32_t to,
                         bool quoted) const {
  Shapes out{""};
  const auto text = [&](std::uint32_t end) {
    if (end <= from) return;
    std::string plain;
    for (std::size_t i = from; i < end; ++i) {
      if (script[i] == '\\' && i + 1 < end &&
          std::string_view("$`\"\\\n").find(script[i + 1]) != std::string_view::npos)
        ++i;
      plain += script[i];
    }
    append(out, {plain});
  };
  for (std::uint32_t i = 0; i < ts_node_named_child_count(node); ++i) {
    const TSNode child = ts_node_named_child(node, i);
    if (ts_node_start_byte(child) < from || ts_node_end_byte(child) > to ||
        type_of(child) == "string_content")
      continue;
    text(ts_node_start_byte(child));
    append(out, evaluate(child, script, quoted));
    from = ts_node_end_byte(child);
  }
  text(to);
  return out;
}

Shapes ShellWords::expansion(TSNode node, std::string_view script, bool quoted) const {
  const std::string_view whole = text_of(node, script);
  if (whole.starts_with("${#")) return marked(kPlain);
  if (whole.starts_with("${!") || ts_node_named_child_count(node) == 0) return marked(kMade);
  const TSNode first = ts_node_named_child(node, 0);
  const bool subscript = type_of(first) == "subscript";
  const std::string name(text_of(subscript ? field(first, "name") : first, script));
  const bool all = subscript && (text_of(first, script).ends_with("[@]") ||
                                 text_of(first, script).ends_with("[*]"));
  const std::uint32_t after = ts_node_end_byte(first), end = ts_node_end_byte(node) - 1;
  std::string_view op = script.substr(after, end - std::min(after, end));
  Shapes value = value_of(name, all, quoted);
  if (op.empty()) return value;
  const std::size_t colon = op[0] == ':' ? 1 : 0;
  const char kind = op.size() > colon ? op[colon] : '\0';
  if (kind == '?') return value;
  if (kind == '-' || kind == '=' || kind == '+') {
    Shapes other = parts(node, script, after + static_cast<std::uint32_t>(colon) + 1, end, quoted);
    if (kind == '+') return other;
    for (const auto& shape : other) add(value, shape);
    return value;
  }
  if (colon == 0 && (kind == '%' || kind == '#')) {
    const std::string_view sign = op.substr(0, op.size() > 1 && op[1] == kind ? 2 : 1),
                           pattern = op.substr(sign.size());
    if (pattern.find_first_of("$`\"'\\") == std::string_view::npos) {
      for (auto& one : value)
        if (one.find(kMade) == std::string::npos && one != std::string(1, kPlain))
          one = cut(one, sign, std::string(pattern));
      return value;
    }
  }
  return marked(kMade);
}

void ShellWords::arguments_are(const std::vector<std::string>& from_0_on) {
  if (from_0_on.empty()) return;
  variables_["0"] = {{from_0_on[0]}, ""};
  Variable arguments;
  for (std::size_t i = 1; i < from_0_on.size(); ++i) {
    add(arguments.values, from_0_on[i]);
    arguments.elements += (i > 1 ? std::string(1, kBreak) : "") + from_0_on[i];
  }
  if (!arguments.values.empty()) variables_["@"] = std::move(arguments);
}

Shapes ShellWords::prompts(TSNode expansion, std::string_view script) const {
  if (ts_node_named_child_count(expansion) == 0) return marked(kMade);
  const TSNode first = ts_node_named_child(expansion, 0);
  const bool subscript = type_of(first) == "subscript";
  if (text_of(expansion, script).starts_with("${!")) return marked(kMade);
  return value_of(std::string(text_of(subscript ? field(first, "name") : first, script)), false,
                  true);
}

// What lies in others of its kind is looked through for each of them.
Shapes ShellWords::substitution(TSNode node, std::string_view script) const {
  if (effort_->over()) return marked(kMade);
  bool finds = true, sets = true;
  int n = 0;
  std::optional<TSNode> looked_up;  // what `which` and its like are asked for
  for_each_node(node, [&](TSNode here) {
    effort_->spend(kNodeCosts);
    if (type_of(here) == "command") {
      ++n;
      const std::string_view whole = text_of(here, script),
                             name = text_of(field(here, "name"), script);
      if (finds) effort_->spend(whole.size() / kNodeCosts);
      const bool repository = whole.starts_with("git rev-parse") ||
                              whole.starts_with("git ls-files");
      finds = finds && (repository || std::ranges::find(kFinders, name) != std::end(kFinders)) &&
              whole.find("-printf") == std::string_view::npos &&
              whole.find("-exec") == std::string_view::npos;
      sets = sets && std::ranges::find(kSetups, name) != std::end(kSetups);
      const bool looks_up = name == "which" || whole.starts_with("command -v ") ||
                            whole.starts_with("type -p ") || whole.starts_with("type -P ");
      const std::uint32_t count = ts_node_named_child_count(here);
      if (looks_up && count > 1) looked_up = ts_node_named_child(here, count - 1);
    } else if (type_of(here) == "file_redirect" &&
               text_of(here, script).find('<') != std::string_view::npos) {
      finds = false;
    }
  });
  if (n == 1 && looked_up) {  // nothing else runs in it, so nothing is walked twice
    const Shapes last = evaluate(*looked_up, script, false);
    if (last.size() == 1 && !last[0].empty()) return last;
    return marked(kMade);
  }
  return marked(n > 0 && sets ? kSetup : n > 0 && finds ? kPlain : kMade);
}

Shapes ShellWords::evaluate(TSNode node, std::string_view script, bool quoted) const {
  if (depth_ >= kDepthMax || effort_->over()) return marked(kMade);
  ++depth_;
  effort_->spend(1);
  Shapes out = evaluated(node, script, quoted);
  --depth_;
  return out;
}

Shapes ShellWords::evaluated(TSNode node, std::string_view script, bool quoted) const {
  const std::string_view type = type_of(node), text = text_of(node, script);
  if (type == "raw_string")
    return {std::string(text.size() >= 2 ? text.substr(1, text.size() - 2) : text)};
  if (type == "ansi_c_string") {
    const auto plain = ansi_c(text.size() >= 3 ? text.substr(2, text.size() - 3) : "");
    return plain ? Shapes{*plain} : marked(kMade);
  }
  if (type == "command_name" && ts_node_named_child_count(node) > 0)
    return evaluate(ts_node_named_child(node, 0), script, quoted);
  if (type == "word" || type == "number" || type == "command_name" || type == "variable_name" ||
      type == "extglob_pattern" || type == "regex")
    return {bare(text)};
  if (type == "string") {
    const std::uint32_t from = ts_node_start_byte(node) + 1, to = ts_node_end_byte(node);
    return parts(node, script, from, text.ends_with('"') && to > from ? to - 1 : to, true);
  }
  if (type == "translated_string" && ts_node_named_child_count(node) > 0)
    return evaluate(ts_node_named_child(node, 0), script, true);
  if (type == "concatenation") {
    if (has_braces(node, script)) return marked(kMade);
    Shapes out{""};
    for (std::uint32_t i = 0; i < ts_node_child_count(node); ++i) {
      const TSNode child = ts_node_child(node, i);
      const std::string_view piece = text_of(child, script);
      if (piece == "[" || piece == "]")
        append(out, marked(kPlain));  // gi[t]
      else
        append(out, ts_node_is_named(child) ? evaluate(child, script, quoted)
                                            : Shapes{std::string(piece)});
    }
    return out;
  }
  if (type == "brace_expression") return marked(kPlain);
  if (type == "simple_expansion") return value_of(std::string(text.substr(1)), false, quoted);
  if (type == "expansion") return expansion(node, script, quoted);
  if (type == "command_substitution") return substitution(node, script);
  if (type == "arithmetic_expansion") return marked(kPlain);
  return marked(kMade);
}

std::vector<std::string> ShellWords::shapes(TSNode word, std::string_view script) const {
  return evaluate(word, script, false);
}

std::string pattern_of(std::string_view shape) {
  std::string out;
  for (char c : shape) {
    if (is_marked(std::string_view(&c, 1))) {
      out += '*';
      continue;
    }
    if (std::string_view("*?[]\\").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string script_of(std::string_view shape) {
  std::string out;
  for (char c : shape) {
    if (is_marked(std::string_view(&c, 1)))
      out += "$(:)";
    else
      out += c == kBreak ? ' ' : c;
  }
  return out;
}

}  // namespace lares::tools
