#include "daemon/cli/usage_fault.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <string_view>
#include <vector>

#include "daemon/nearest.h"
#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

std::vector<const CLI::App*> subcommands(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

// As they are typed: --json, -n.
std::vector<std::string> options_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
    for (const auto& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

bool takes(const CLI::App& app, std::string_view option) {
  if (std::ranges::count(options_of(app), option) > 0) return true;
  return std::ranges::any_of(subcommands(app),
                             [&](const CLI::App* sub) { return takes(*sub, option); });
}

bool looks_like_option(std::string_view word) {
  return word.size() > 1 && word[0] == '-' && (word[1] == '-' || std::isalpha(word[1]) != 0);
}

// Options that other programs of this kind have, and what is done here instead. `where`: an option
// of the commands that it is said of.
struct Elsewhere {
  std::string_view names, where, here;
};
constexpr Elsewhere kElsewhere[] = {
    {" -p --print --prompt ", "--continue",
     "`lares run \"...\"` works on a task from the command line, `lares ask \"...\"` answers"},
    {" -c ", "--continue", "do you mean --continue?"},
    {" -r --resume ", "--continue", "do you mean --session ID? `lares sessions` lists them"},
    {" --staged --cached ", "--only",
     "without a range it reads all that is not committed; `git diff --staged | lares ask \"review "
     "this\"` reads what is staged alone"},
};

std::string_view said_here(const CLI::App& at, const std::string& word) {
  const std::string name = " " + word + " ";
  const auto known = std::ranges::find_if(kElsewhere, [&](const Elsewhere& e) {
    return e.names.find(name) != std::string_view::npos && takes(at, e.where);
  });
  return known == std::end(kElsewhere) ? std::string_view() : known->here;
}

// Of the first word that looks like an option and is none here: what it was meant to be. Empty:
// all are options.
std::string no_option(const CLI::App& app, const CLI::App& at, const std::vector<std::string>& left,
                      std::span<const char* const> words) {
  for (const std::string_view whole : words) {
    if (whole == "--") break;
    if (!looks_like_option(whole) || std::ranges::count(left, whole) == 0) continue;
    const std::string word(whole.substr(0, whole.find('=')));
    if (const auto here = said_here(at, word); !here.empty())
      return fmt::format("there is no {}; {}", printable(word), here);
    if (word.starts_with("--")) {
      const auto known = options_of(at);
      const std::string_view near = daemon::slip_of(word, known);
      if (!near.empty())
        return fmt::format("there is no {}, do you mean {}?", printable(word), near);
    }
    return fmt::format("{} no {}", &app != &at && takes(app, word) ? "it takes" : "there is",
                       printable(word));
  }
  return "";
}

// What a word that is left over may have been meant for.
std::string too_many(const CLI::App& app, const std::string& word) {
  const auto options = app.get_options();
  const bool takes_words = std::ranges::any_of(
      options, [](const CLI::Option* option) { return option->get_positional(); });
  if (takes_words) return "what has blanks stands in quotes";
  if (app.get_option_no_throw("--session"))
    return fmt::format("a session is named with --session {}", printable(word));
  return "it takes options only";
}

std::string subcommand_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const auto* sub : subcommands(app)) names.push_back(sub->get_name());
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

std::string empty_value(const CLI::App& app, std::span<const char* const> words) {
  for (const std::string_view word : words) {
    if (word == "--") break;
    if (!word.starts_with("--") || !word.ends_with('=')) continue;
    if (takes(app, word.substr(0, word.size() - 1)))
      return fmt::format("nothing stands behind {}; give it a value, or leave it out", word);
  }
  return "";
}

std::string usage_fault(const CLI::App& app, const CLI::ParseError& error,
                        std::span<const char* const> words) {
  const CLI::App& at = subcommand_of(app);
  const auto left = app.remaining(/*recurse=*/true);
  if (auto why = no_option(app, at, left, words); !why.empty()) return why;
  if (dynamic_cast<const CLI::ExtrasError*>(&error) && !left.empty())
    return fmt::format("{} is one word too many; {}", printable(left.front()),
                       too_many(at, left.front()));
  if (at.get_require_subcommand_min() > 0 && at.get_subcommands().empty() &&
      dynamic_cast<const CLI::RequiredError*>(&error))
    return "it takes one of " + subcommand_names(at);
  std::string why = printable(error.what());
  const bool takes_a_prompt = takes(at, "--continue");
  if (takes_a_prompt && dynamic_cast<const CLI::RequiredError*>(&error))
    why += "; say it in your words, or give - to have it read from stdin";
  if (why.starts_with("The ")) why[0] = 't';
  return why;
}

const CLI::App& subcommand_of(const CLI::App& app) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().back();
  return *at;
}

}  // namespace lares::cli
