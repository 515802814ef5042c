#include "daemon/cli/help.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <vector>

#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

constexpr int kFormColumns = 18;
constexpr int kGap = 2;
constexpr int kNarrowColumns = 60;  // where there are fewer, what an option does stands below it

struct Example {
  std::string_view path, line;
};
constexpr Example kExamples[] = {
    {"lares", "lares --continue"},
    {"lares run", "lares run \"the date parser rejects leap days; fix it\""},
    {"lares ask", "lares ask \"who calls parse_date, and what if it fails?\""},
    {"lares review", "lares review main..HEAD        lares review --only src/parse.py"},
    {"lares attach", "lares attach        lares attach --follow m9bq"},
    {"lares stop", "lares stop        lares stop m9bq"},
    {"lares status", "lares status --json"},
    {"lares prefix", "lares prefix --files | sort -rn | head"},
    {"lares sessions", "lares sessions --all"},
    {"lares log", "lares log --last 3        lares log --thinking --session m9bq > log.txt"},
    {"lares mcp", "lares mcp --root ~/src/project"},
    {"lares diff", "lares diff | git apply --reverse"},
    {"lares rewind", "lares rewind -n        lares rewind 3 --keep-files"},
    {"lares fork", "lares fork --before 3 --steps 2 --title \"another way\""},
    {"lares worktrees", "lares worktrees        lares worktrees remove m9bqm2q79x1g --branch"},
    {"lares apply", "lares apply -n        lares apply        lares apply --undo"},
    {"lares export", "lares export -o session.lares        lares export m9bqm2q79x1g > file"},
    {"lares import", "lares import session.lares --root ~/src/shop"},
    {"lares replay", "lares replay        lares replay session.lares"},
    {"lares title", "lares title m9bqm2q79x1g \"the date parser\""},
    {"lares skills", "lares skills        lares run \"/deploy staging\""},
    {"lares rules", "lares rules add bash 'npm test *' allow"},
    {"lares rules add", "lares rules add bash 'npm test *' allow --user"},
    {"lares rules remove", "lares rules remove bash 'npm test *'"},
    {"lares config", "lares config set memory 64        lares config set command_timeout 1800"},
    {"lares config get", "lares config get model"},
    {"lares config set", "lares config set model ~/models/DeepSeek-V4-Flash"},
    {"lares config unset", "lares config unset memory"},
    {"lares doctor", "lares doctor --json"},
    {"lares acp", "lares acp --policy ask        Zed: \"command\": \"lares\", \"args\": [\"acp\"]"},
    {"lares shutdown", "lares shutdown --idle"},
    {"lares prompt", "lares prompt --head | sha256sum"},
    {"lares model", "lares model inspect /models/DeepSeek-V4-Flash"},
    {"lares model inspect", "lares model inspect /models/DeepSeek-V4-Flash --json"},
    {"lares model plan", "lares model plan /models/DeepSeek-V4-Flash --gpus 1x80"},
    {"lares model repack", "lares model repack /models/DeepSeek-V4-Flash"},
    {"lares model verify", "lares model verify /models/DeepSeek-V4-Flash --tokens 64"},
    {"lares model logits",
     "lares model logits --model DIR --tokens ids.json --out logits.safetensors"},
    {"lares model generate",
     "lares model generate --model DIR --prompt \"def f(x):\" --raw --stats"},
    {"lares tokenize", "lares tokenize --count --file README.md"},
    {"lares bench", "lares bench kernels --match fp4 --seconds 2"},
    {"lares completion", "source <(lares completion bash)"},
    {"lares manual", "lares manual | man -l -"},
};

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

// TEXT, N, WORD or what the command calls it.
std::string placeholder(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const std::string name = type.substr(0, type.find(':'));
  if (type.find('{') != std::string::npos) return "WORD";
  return name == "INT" || name == "UINT" || name == "FLOAT" ? "N" : name;
}

// "{a,b}" as CLI::IsMember writes it, as "a, b".
std::string words(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  // a second list is of what the words stand for
  const auto begin = type.find('{'), end = type.find('}', begin == std::string::npos ? 0 : begin);
  if (begin == std::string::npos || end == std::string::npos) return "";
  std::string out;
  bool skips = false;  // "auto->2": what it stands for is nobody's business
  for (const char c : type.substr(begin + 1, end - begin - 1)) {
    if (c == ',')
      out += ", ", skips = false;
    else if (c == '-' && !skips && out.size() > 0 && type.find("->") != std::string::npos)
      skips = true;
    else if (!skips)
      out += c;
  }
  return out;
}

// `first` begins the first line, `indent` columns of blanks the others.
std::string wrapped(const std::string& first, const std::string& text, int indent, int width) {
  std::string out, line = first;
  std::size_t begin = 0;
  bool fresh = true;  // nothing of the text is on the line yet
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    begin = end + 1;
    if (word.empty()) continue;
    if (!fresh && columns(line) + 1 + columns(word) > width) {
      out += line + "\n";
      line.assign(static_cast<std::size_t>(indent), ' ');
      fresh = true;
    }
    if (!fresh) line += ' ';
    line += word;
    fresh = false;
  }
  return out + line + "\n";
}

std::string row(const std::string& form, const std::string& meaning, int width) {
  std::string first = "  " + form;
  if (width < kNarrowColumns) return first + "\n" + wrapped("      ", meaning, 6, width);
  const int indent = 2 + kFormColumns + kGap;
  const int filled = std::max(indent, columns(first) + kGap);
  first.append(static_cast<std::size_t>(filled - columns(first)), ' ');
  return wrapped(first, meaning, indent, width);
}

// A text of several lines, each wrapped.
std::string paragraphs(const std::string& text, int width) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    out += wrapped("", text.substr(at, end - at), 0, width);
    at = end + 1;
  }
  return out;
}

std::vector<const CLI::App*> subcommands(const CLI::App& app) {
  const auto all = app.get_subcommands([](const CLI::App*) { return true; });
  return {all.begin(), all.end()};
}

bool is_positional(const CLI::Option& option) {
  return option.get_lnames().empty() && option.get_snames().empty();
}

}  // namespace

std::string path_of(const CLI::App& app) {
  return app.get_parent() ? path_of(*app.get_parent()) + " " + app.get_name() : app.get_name();
}

std::string_view example_of(std::string_view path) {
  const auto at = std::find_if(std::begin(kExamples), std::end(kExamples),
                               [&](const Example& e) { return e.path == path; });
  return at == std::end(kExamples) ? std::string_view() : at->line;
}

std::string usage_of(const CLI::App& app) {
  std::string out = path_of(app) + " [OPTIONS]";
  for (const auto* option : app.get_options()) {
    if (!is_positional(*option) || option->get_group().empty()) continue;
    const std::string name = upper(option->get_name());
    out += option->get_required() ? " " + name : " [" + name + "]";
  }
  std::string names;
  for (const auto* sub : subcommands(app)) names += (names.empty() ? "" : "|") + sub->get_name();
  if (names.empty()) return out;
  return out + (app.get_require_subcommand_min() > 0 ? " " + names : " [" + names + "]") + " ...";
}

std::string form_of(const CLI::Option& option) {
  if (option.get_group().empty() || option.check_lname("help")) return "";
  if (is_positional(option)) return upper(option.get_name());
  std::string out;
  for (const auto& name : option.get_snames()) out += "-" + name + ", ";
  for (const auto& name : option.get_lnames()) out += "--" + name + ", ";
  out.resize(out.size() - 2);
  return option.get_items_expected_max() > 0 ? out + " " + placeholder(option) : out;
}

std::string meaning_of(const CLI::Option& option) {
  std::string out = option.get_description();
  const std::string list = words(option);
  if (!list.empty() && out.find(list.substr(0, list.find(','))) == std::string::npos)
    out += ": " + list;
  if (const std::string usual = option.get_default_str(); !usual.empty())
    out += fmt::format(" [{}]", usual);
  return out;
}

std::string help_text(const CLI::App& top, int wanted) {
  const int width = wanted > 0 ? std::min(wanted, kHelpColumns) : kHelpColumns;
  const CLI::App* app = &top;
  while (!app->get_subcommands().empty())
    app = app->get_subcommands().back();  // the one whose help was asked for
  std::string out = wrapped("Usage: ", usage_of(*app), 7, width) +
                    paragraphs(app->get_description(), width) + "\n";
  for (const auto* sub : subcommands(*app))
    out += row(sub->get_name(), sub->get_description(), width);
  std::string seldom;
  for (const bool positional : {true, false}) {
    for (const auto* option : app->get_options()) {
      const std::string form = form_of(*option);
      if (form.empty() || is_positional(*option) != positional) continue;
      if (option->get_group() == kSeldom)
        seldom += (seldom.empty() ? "" : ", ") + form;
      else
        out += row(form, meaning_of(*option), width);
    }
  }
  if (!seldom.empty()) out += row("and, in the manual", seldom, width);
  if (const auto example = example_of(path_of(*app)); !example.empty())
    out += fmt::format("\n  {}\n", example);
  return out + paragraphs(app->get_footer(), width);
}

}  // namespace lares::cli
