#include "tools/shell/makefile_recipes.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "tools/text.h"

namespace lares::tools {
namespace {

constexpr int kExpansionsMax = 4;  // of variables in variables
constexpr std::size_t kExpandedBytesMax = 256 << 10;
// Of targets and what they need; rules beyond count whatever they are for
constexpr std::size_t kNamesBytesMax = 1 << 20;

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  for (text = trimmed(text); !text.empty(); text = trimmed(text)) {
    const auto end = std::min(text.find_first_of(" \t"), text.size());
    out.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return out;
}

// Lines with those that a backslash continues.
std::vector<std::string> logical_lines(std::string_view text) {
  std::vector<std::string> out;
  bool continues = false;
  for (std::string_view line : split_lines(text)) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (continues)
      out.back().append(" ").append(trimmed(line));
    else
      out.emplace_back(line);
    continues = line.ends_with('\\');
    if (continues) out.back().erase(out.back().find_last_of('\\'));
  }
  return out;
}

std::size_t closing(std::string_view text, std::size_t open) {
  const char left = text[open], right = left == '(' ? ')' : '}';
  int depth = 0;
  for (std::size_t i = open; i < text.size(); ++i) {
    if (text[i] == left) ++depth;
    if (text[i] == right && --depth == 0) return i;
  }
  return std::string_view::npos;
}

using Variables = std::map<std::string, std::string, std::less<>>;

bool is_name(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '-' || c == '.';
  });
}
// For the shell, where make's names may have more letters.
std::string shell_name(std::string_view name) {
  std::string out = "${make_";
  for (unsigned char c : name) out += std::isalnum(c) ? static_cast<char>(c) : '_';
  return out += '}';
}

// make's `$(X)` by its value, or as a variable of the shell; `$$` stays the shell's `$` when
// `last`.
std::string expanded(std::string_view text, const Variables& variables, bool last) {
  std::string out;
  for (std::size_t i = 0; i < text.size() && out.size() < kExpandedBytesMax; ++i) {
    if (text[i] != '$' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char next = text[++i];
    if (next == '$') {
      out += last ? "$" : "$$";
    } else if (next == '(' || next == '{') {
      const auto end = closing(text, i);
      if (end == std::string_view::npos) return out;
      const std::string_view name = text.substr(i + 1, end - i - 1);
      const auto found = variables.find(name);
      if (found != variables.end())
        out += found->second;
      else if (name.starts_with("shell ") && last)
        out += fmt::format("$({})", expanded(name.substr(6), variables, true));
      else if (last)
        out += shell_name(is_name(name) ? name : "function");
      else
        out += text.substr(i - 1, end - i + 2);
      i = end;
    } else if (last) {
      out += shell_name("automatic");
    } else {
      out += '$', out += next;
    }
  }
  return out;
}

std::string expand(std::string text, const Variables& variables, bool last) {
  for (int i = 0; i < kExpansionsMax; ++i) text = expanded(text, variables, false);
  return last ? expanded(text, variables, true) : text;
}

struct Rule {
  std::vector<std::string> targets, needs;
  std::vector<std::string> recipe;
  bool decided = true;  // its targets are plain names
};

struct Makefile {
  Variables variables{{"MAKE", "make"}};
  std::vector<Rule> rules;
  std::vector<std::string> shells;  // $(shell ...) outside of recipes
};

void note_shells(const std::string& line, Makefile& out) {
  for (auto at = line.find("(shell "); at != std::string::npos; at = line.find("(shell ", at + 1)) {
    const auto end = closing(line, at);
    if (end == std::string::npos) continue;
    out.shells.push_back(line.substr(at + 7, end - at - 7));  // with those in it
    at = end;
  }
  if (const auto at = line.find("!=");
      at != std::string::npos && is_name(trimmed(std::string_view(line).substr(0, at))))
    out.shells.push_back(line.substr(at + 2));
}

// "A = b", "A := b", "A += b", also behind export and override.
bool assignment(std::string_view line, Makefile& out) {
  for (std::string_view before : {"export ", "override "})
    if (line.starts_with(before)) line = trimmed(line.substr(before.size()));
  const auto at = line.find('=');
  if (at == std::string_view::npos) return false;
  std::string_view name = line.substr(0, at);
  const bool appends = name.ends_with('+');
  while (!name.empty() && std::string_view(":?+!").find(name.back()) != std::string_view::npos)
    name.remove_suffix(1);
  name = trimmed(name);
  if (!is_name(name)) return false;
  const std::string value(trimmed(line.substr(at + 1)));
  std::string& kept = out.variables[std::string(name)];
  kept = appends && !kept.empty() ? kept + " " + value : value;
  return true;
}

Makefile parse(std::string_view text) {
  Makefile out;
  for (const std::string& line : logical_lines(text)) {
    if (line.starts_with('\t')) {
      if (!out.rules.empty()) out.rules.back().recipe.push_back(line.substr(1));
      continue;
    }
    const std::string_view plain = trimmed(line);
    if (plain.empty() || plain[0] == '#') continue;
    note_shells(line, out);
    if (assignment(plain, out)) continue;
    const auto colon = plain.find(':');
    if (colon == std::string_view::npos) continue;
    Rule rule;
    rule.targets = words_of(plain.substr(0, colon));
    std::string_view rest = plain.substr(colon + 1);
    if (const auto semicolon = rest.find(';'); semicolon != std::string_view::npos) {
      rule.recipe.emplace_back(rest.substr(semicolon + 1));
      rest = rest.substr(0, semicolon);
    }
    rule.needs = words_of(rest.substr(std::min(rest.find_first_not_of(':'), rest.size())));
    out.rules.push_back(std::move(rule));
  }
  std::size_t n_bytes = 0;
  const auto all_of = [&](const std::vector<std::string>& words) {
    std::string expanded;
    for (const auto& word : words) expanded += expand(word, out.variables, false) + " ";
    n_bytes += expanded.size();
    return expanded;
  };
  for (Rule& rule : out.rules) {  // variables may be set below
    rule.decided = n_bytes < kNamesBytesMax;
    if (!rule.decided) continue;
    const std::string targets = all_of(rule.targets), needs = all_of(rule.needs);
    rule.targets = words_of(targets), rule.needs = words_of(needs);
    rule.decided = targets.find_first_of("$%") == std::string::npos;
  }
  return out;
}

}  // namespace

std::string makefile_recipes(std::string_view text, const std::vector<std::string>& goals) {
  const Makefile makefile = parse(text);
  std::set<std::string> wanted(goals.begin(), goals.end());
  bool all = makefile.variables.contains(".DEFAULT_GOAL") && goals.empty();
  for (const Rule& rule : makefile.rules)
    if (wanted.empty() && !rule.targets.empty() && !rule.targets[0].starts_with('.'))
      wanted.insert(rule.targets.begin(), rule.targets.end());
  std::multimap<std::string_view, std::size_t> makers;  // of a target
  for (std::size_t i = 0; i < makefile.rules.size(); ++i)
    for (const auto& target : makefile.rules[i].targets) makers.emplace(target, i);
  std::vector<bool> taken(makefile.rules.size(), all);
  std::vector<std::string> open(wanted.begin(), wanted.end());
  const auto take = [&](std::size_t i) {
    if (taken[i]) return;
    taken[i] = true;
    for (const auto& need : makefile.rules[i].needs) {
      all = all || (makefile.rules[i].decided && need.find('$') != std::string::npos);
      if (wanted.insert(need).second) open.push_back(need);
    }
  };
  for (std::size_t i = 0; i < makefile.rules.size(); ++i)
    if (!makefile.rules[i].decided) take(i);
  while (!open.empty() && !all) {
    const std::string target = std::move(open.back());
    open.pop_back();
    const auto [first, last] = makers.equal_range(target);
    for (auto at = first; at != last; ++at) take(at->second);
  }
  if (all) taken.assign(taken.size(), true);
  std::string out;
  const auto add = [&](std::string line) {
    if (out.size() >= kExpandedBytesMax) return;
    line = expand(std::move(line), makefile.variables, true);
    const auto from = line.find_first_not_of("@-+ \t");
    if (from != std::string::npos) out += line.substr(from) + "\n";
  };
  for (const auto& shell : makefile.shells) add(shell);
  for (std::size_t i = 0; i < makefile.rules.size(); ++i)
    if (taken[i])
      for (const auto& line : makefile.rules[i].recipe) add(line);
  return out;
}

std::vector<std::string> makefile_includes(std::string_view makefile) {
  std::vector<std::string> out;
  for (const std::string& line : logical_lines(makefile)) {
    std::string_view plain = trimmed(line);
    if (line.starts_with('\t')) continue;
    if (plain.starts_with('-') || plain.starts_with('s')) plain.remove_prefix(1);
    if (!plain.starts_with("include ")) continue;
    for (auto& word : words_of(plain.substr(8))) out.push_back(std::move(word));
  }
  return out;
}

}  // namespace lares::tools
