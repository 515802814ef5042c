// lares rules: what may run unasked, must be asked for, or may not, in every session.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/option_checks.h"
#include "daemon/cli/options.h"
#include "daemon/cli/reach.h"
#include "daemon/cli/terminal/output.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/client/link.h"
#include "daemon/protocol/wire.h"
#include "daemon/shown/text.h"

namespace lares::cli {

namespace protocol = daemon::protocol;

int rules_command(int argc, const char* const* argv) {
  CLI::App app("Lists the permission rules: yours, and this repository's.", "lares rules");
  DaemonOptions daemon;
  std::string root;
  bool user = false;
  protocol::PermissionRule rule;
  app.add_option("--root", root, "the repository (default: the one you are in)")
      ->type_name("DIR")
      ->check(directory_name());
  daemon.add_to(app, /*starts_daemon=*/true);
  app.footer(
      std::string("Rules that deny come before those that ask, those before the ones that allow.\n"
                  "What loses work is asked for whatever they say.\n") +
      kShortExitStatusHelp);
  app.require_subcommand(0, 1);
  auto* const add = app.add_subcommand("add", "adds a rule, in place of one for the same");
  auto* const remove = app.add_subcommand("remove", "removes a rule");
  for (auto* const sub : {add, remove}) {
    sub->add_option("TOOL", rule.tool,
                    "bash, str_replace_editor, test, git, mcp_call, or * for all")
        ->required();
    sub->add_option("PATTERN", rule.pattern, "such as 'npm test *', 'src/*', or * for all")
        ->required();
    sub->add_flag("--user", user, "in every repository");
  }
  add->add_option("VERDICT", rule.verdict, "allow, ask or deny")
      ->required()
      ->check(CLI::IsMember({"allow", "ask", "deny"}));
  if (const auto over = parse(app, argc, argv)) return *over;
  if (auto usable = daemon.resolve(); !usable) return fail(usable.error(), daemon.json);
  const auto top = repository_root(root);
  if (!top) return fail(top.error(), daemon.json);
  Link link;
  if (const auto there = reach(link, daemon); !there) return fail(there.error(), daemon.json);
  rule.scope = user ? "user" : "repository";
  if (add->parsed() || remove->parsed()) {
    const auto done =
        add->parsed()
            ? link.call<protocol::Nothing>(protocol::RuleAdd{.root = *top, .rule = rule})
            : link.call<protocol::Nothing>(protocol::RuleRemove{.root = *top, .rule = rule});
    if (!done) return fail(done.error(), daemon.json);
    return kExitFinished;
  }
  const auto list = link.call<protocol::RuleListResult>(protocol::RuleList{.root = *top});
  if (!list) return fail(list.error(), daemon.json);
  if (daemon.json) {
    Json all = protocol::to_json(*list);
    if (!all.contains("rules")) all["rules"] = Json::array();
    print_line(protocol::dump(all));
    return kExitFinished;
  }
  for (const auto& r : list->rules)
    print_out("{:<10}  {:<5}  {:<18}  {}\n", r.scope, r.verdict, printable(r.tool),
              printable(r.pattern));
  if (list->rules.empty()) print_err("no rules: the session's policy alone decides\n");
  return kExitFinished;
}

}  // namespace lares::cli
