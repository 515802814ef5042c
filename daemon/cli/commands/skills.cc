// lares skills: what instructions there are for one kind of work each, whose, and which are not
// used.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/option_checks.h"
#include "daemon/cli/options.h"
#include "daemon/cli/terminal/output.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/cli/terminal/screen.h"
#include "daemon/cli/terminal/wrap.h"
#include "daemon/protocol/wire.h"
#include "daemon/shown/text.h"
#include "daemon/skills/skills.h"

namespace lares::cli {
namespace {

Json json_of(const daemon::Skills& skills) {
  Json all = Json::array(), passed_over = Json::array();
  for (const auto& s : skills.all)
    all.push_back({{"name", s.name},
                   {"description", s.description},
                   {"path", s.path},
                   {"isCommand", s.is_command},
                   {"forModel", s.for_model},
                   {"forPeople", s.for_people}});
  for (const auto& other : skills.passed_over)
    passed_over.push_back({{"path", other.path}, {"why", other.why}, {"hidden", other.hidden}});
  return {{"skills", std::move(all)}, {"passedOver", std::move(passed_over)}};
}

std::string text_of(const daemon::Skills& skills) {
  std::string out;
  for (const auto& s : skills.all) {
    const char* const only = !s.for_model    ? " (only you call it)"
                             : !s.for_people ? " (the model alone uses it)"
                                             : "";
    out += fmt::format("/{}  {}{}\n    {}\n", s.name, printable(s.path), only,
                       printable(s.description));
  }
  for (const auto& other : skills.passed_over)
    out += fmt::format("not used: {}: {}\n", printable(other.path), printable(other.why));
  return out;
}

}  // namespace

int skills_command(int argc, const char* const* argv) {
  CLI::App app(
      "Lists the skills: instructions for one kind of work each, which the model reads when a task "
      "is for them, or when you call one; and the commands, which only you call.",
      "lares skills");
  std::string root;
  bool json = false;
  app.add_option("--root", root, "the repository (default: the one you are in)")
      ->type_name("DIR")
      ->check(directory_name());
  app.add_flag("--json", json, "print JSON");
  app.footer(
      std::string("Looked for as NAME/SKILL.md in .agents/skills and .claude/skills, of your\n"
                  "home directory and then of the repository.\n") +
      kShortExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  const auto top = repository_root(root);
  if (!top) return fail(top.error(), json);
  const auto skills = daemon::find_skills(*top, daemon::skills_home());
  if (json) {
    print_line(protocol::dump(json_of(skills)));
    return kExitFinished;
  }
  print_out("{}", hanging_lines(text_of(skills), Terminal::detect(STDOUT_FILENO).width));
  if (skills.all.empty())
    print_err(
        "no skills: put one into .agents/skills/NAME/SKILL.md, here or in your home "
        "directory\n");
  return kExitFinished;
}

}  // namespace lares::cli
