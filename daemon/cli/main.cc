// lares: the command line of Lares.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/commands/table.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/options.h"
#include "daemon/cli/terminal/output.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/nearest.h"
#include "daemon/shown/text.h"
#include "daemon/version.h"

namespace {

namespace cli = lares::cli;

void help(std::FILE* to) {
  std::fputs(
      "lares: a coding agent that lives in your repository\n"
      "Usage: lares              a conversation; --continue, --policy plan, --worktree\n"
      "       lares COMMAND ...  lares help COMMAND  lares version\n\n",
      to);
  constexpr std::size_t kColumnsMax = 80, kIndent = 13;
  std::string seldom;  // in lines
  std::size_t column = kIndent;
  const auto name_seldom = [&](std::string_view name) {
    if (!seldom.empty()) seldom += ',', ++column;
    if (column + 1 + name.size() >= kColumnsMax)
      seldom += '\n', seldom.append(kIndent, ' '), column = kIndent;
    else if (!seldom.empty())
      seldom += ' ', ++column;
    seldom += name, column += name.size();
  };
  for (const cli::Command& c : cli::commands()) {
    if (c.seldom)
      name_seldom(c.name);
    else
      std::fprintf(to, "  %-10.*s %.*s\n", static_cast<int>(c.name.size()), c.name.data(),
                   static_cast<int>(c.what.size()), c.what.data());
  }
  std::fprintf(to, "  and        %s\n", seldom.c_str());
  std::fputs(
      "\n  lares run \"the date parser rejects leap days; fix it\"\n"
      "lares COMMAND --help says what it takes. The daemon starts when it is needed.\n",
      to);
}

constexpr int kNameShown = 40;  // columns of a word that is no command

std::string shown(std::string_view name) {
  return lares::shown::clip(lares::shown::one_line(name), kNameShown, "...");
}

// The options of a conversation that take a value.
std::vector<std::string> options_with_value() {
  std::vector<std::string> names;
  cli::describe_options(cli::interactive_command, "lares", [&](const CLI::App& app) {
    for (const auto* option : app.get_options()) {
      if (option->get_items_expected_max() == 0) continue;
      for (const auto& name : option->get_lnames()) names.push_back("--" + name);
    }
  });
  return names;
}

// Behind an option that takes a value, however it is spelt, stands the value: --policy ask.
bool names_command(int argc, const char* const* argv) {
  const auto with_value = options_with_value();
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word.starts_with("--") && !lares::daemon::slip_of(word, with_value).empty()) {
      ++i;
      continue;
    }
    for (const cli::Command& c : cli::commands()) {
      if (c.name == word) return true;
    }
  }
  return false;
}

int dispatch(int argc, const char* const* argv) {
  const std::string_view name = argc > 1 ? argv[1] : "";
  if (name == "--version" || name == "version" || name == "-V" || name == "-v") {
    std::printf("lares %s\n", lares::daemon::kVersion);
    return cli::kExitFinished;
  }
  if (name == "help" && argc > 2) {  // lares help run
    const char* const rewritten[] = {argv[0], argv[2], "--help"};
    return dispatch(3, rewritten);
  }
  if (name == "help" || name == "--help" || name == "-h") {
    help(stdout);
    return cli::kExitFinished;
  }
  for (const cli::Command& c : cli::commands()) {
    if (c.name != name) continue;
    const std::string full = "lares " + std::string(name);
    std::vector<const char*> words(argv + 1, argv + argc);
    words[0] = full.c_str();
    return c.run(static_cast<int>(words.size()), words.data());
  }
  // Without a terminal, or with an option that is none, it says so itself.
  if (name.empty() || name == "--continue" || name.starts_with("--session") ||
      (name.starts_with('-') && !names_command(argc, argv))) {
    std::vector<const char*> words(argv, argv + argc);
    words[0] = "lares";
    return cli::interactive_command(argc, words.data());
  }
  if (name.starts_with('-')) {
    cli::print_err(
        "lares: {0} stands before the command; options follow it: lares COMMAND {0} ...; lares "
        "help "
        "lists the commands\n",
        name);
  } else {
    std::vector<std::string_view> names;
    for (const cli::Command& c : cli::commands()) names.push_back(c.name);
    const std::string_view near = lares::daemon::slip_of(name, names);
    if (name.find_first_of(" \t\n") != std::string_view::npos)
      cli::print_err(
          "lares: no command is called \"{}\"; to have that done, put run before it: lares run "
          "\"...\"; lares help lists the commands\n",
          shown(name));
    else if (near.empty())
      cli::print_err(
          "lares: no command is called {}; to have something done, put it in quotes: lares run "
          "\"...\"; lares help lists the commands\n",
          shown(name));
    else
      cli::print_err("lares: no command is called {}; do you mean {}? lares help lists them\n",
                     shown(name), near);
  }
  return cli::kExitUsage;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return cli::delivered(dispatch(argc, argv));
  } catch (const std::exception& e) {  // out of memory, or a bug
    std::fprintf(stderr, "lares: %s\n", e.what());
    return cli::kExitError;
  }
}
