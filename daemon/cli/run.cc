// lares run and lares ask: a prompt from the command line, and the turn it begins.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <string>
#include <utility>

#include "daemon/cli/commands/best_of.h"
#include "daemon/cli/commands/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/help.h"
#include "daemon/cli/mistyped_call.h"
#include "daemon/cli/one_turn.h"
#include "daemon/cli/option_checks.h"
#include "daemon/cli/options.h"
#include "daemon/cli/piped_stdin.h"
#include "daemon/cli/reach.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/cli/terminal/screen.h"
#include "daemon/cli/user_directory.h"
#include "daemon/cli/which_session.h"
#include "daemon/client/link.h"
#include "daemon/protocol/protocol.h"
#include "daemon/shown/text.h"

namespace lares::cli {

namespace protocol = daemon::protocol;

namespace {

std::string with_what_is_piped(std::string prompt, const char* name) {
  const PipedStdin piped = read_piped(STDIN_FILENO, protocol::kPromptBytesMax);
  if (piped.silent)
    print_err(
        "{}: stdin is a pipe from which nothing came within {} s, so it is not waited for; "
        "< /dev/null says that there is nothing, < FILE gives what is in one\n",
        name, kFirstByteWithin.count() / 1000);
  return with_stdin(std::move(prompt), piped.text);
}

// That a prompt can be sent to. A task goes on with the newest that is not a question; which that
// is, is said.
Result<std::string> newest_session(const DaemonOptions& daemon, const std::string& root,
                                   const std::string& mode) {
  Link link;
  if (auto there = reach(link, daemon); !there) return tl::unexpected(there.error());
  protocol::SessionList list;
  list.root = root;
  auto listed = link.call<protocol::SessionListResult>(list);
  if (!listed) return tl::unexpected(listed.error());
  keep_about(listed->sessions, mode == "work" ? Wanted::to_go_on : Wanted::any);
  if (listed->sessions.empty())
    return tl::unexpected(Error{
        fmt::format("--continue: there is no session about {} yet; without it one begins", root)});
  const auto& newest = listed->sessions.front();
  if (!daemon.json) {
    const Terminal terminal = Terminal::detect(STDERR_FILENO);
    print_err("{}\n",
              terminal.paint(Style::dim, fmt::format("goes on with session {}: {}",
                                                     newest.session_id, printable(newest.title))));
  }
  return newest.session_id;
}

// Where it cannot be told, what the session is asked for says why.
bool is_about(const DaemonOptions& daemon, const std::string& session, const std::string& root) {
  Link link;
  if (!reach(link, daemon)) return false;
  const auto info = link.call<protocol::SessionInfo>(protocol::SessionGet{session});
  return info && info->root == root;
}

int turn_command(int argc, const char* const* argv, const char* name, const char* what,
                 const char* argument, std::string mode) {
  CLI::App app(what, name);
  DaemonOptions daemon;
  TurnOptions turn;
  std::string prompt;
  app.add_option(argument, prompt, "in your words; what is piped in goes with it (-: alone)")
      ->required();
  turn.add_to(app);
  app.add_option("--schema", turn.schema_file, "the answer is a JSON document of this JSON Schema")
      ->type_name("FILE")
      ->check(not_empty("the file's name", "it holds the JSON Schema"))
      ->group(kSeldom);
  BestOfOptions best;
  bool worktree = false;
  if (mode == "work") {
    app.add_flag("--until-tests-pass", turn.until_tests_pass,
                 "while they fail it is told so, and goes on");
    app.add_flag("--worktree", worktree, "work in a git worktree of its own; see lares apply");
    best.add_to(app);
  }
  daemon.add_to(app, /*starts_daemon=*/true);
  app.get_option("--json")->description("a line for each event; the last one has the answer");
  app.footer(
      std::string("The answer goes to stdout, the rest to stderr. Ctrl-C stops the turn.\n") +
      kExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  const bool all_of_it = prompt == "-";
  if (all_of_it) prompt = read_to_end(STDIN_FILENO, protocol::kPromptBytesMax);
  if (prompt.find_first_not_of(" \t\r\n") == std::string::npos) {
    return say_why_not(
        fmt::format(
            "{}: the {} is empty; say it in your words, or give - to have it read from stdin", name,
            argument),
        kExitUsage, daemon.json);
  }
  if (auto usable = daemon.resolve(); !usable) return fail(usable.error(), daemon.json);
  if (auto usable = turn.resolve(); !usable) {
    fail(usable.error(), daemon.json);
    return kExitUsage;
  }
  // A session that goes on is about the repository that one is in, as a rule.
  const bool goes_on = turn.newest || !turn.session.empty();
  const auto root = goes_on ? repository_root("").value_or("") : turn.root;
  if (const std::string slip = root.empty() ? "" : mistyped_call(prompt, root); !slip.empty()) {
    fail(Error{slip}, daemon.json);
    return kExitUsage;
  }
  if (const std::string wrong = best.wrong(turn, worktree); !wrong.empty()) {
    return say_why_not(fmt::format("{}: {}", name, wrong), kExitUsage, daemon.json);
  }
  std::string here = root.empty() ? "" : directory_below(root);
  if (!here.empty() && !turn.session.empty() && !is_about(daemon, turn.session, root)) here.clear();
  // What is piped in stays as it is
  prompt = told_from(all_of_it ? prompt : names_from(prompt, root, here), here);
  if (!all_of_it) prompt = with_what_is_piped(std::move(prompt), name);
  if (prompt.size() > protocol::kPromptBytesMax) {
    return say_why_not(
        fmt::format(
            "{}: the {}{} is longer than {} bytes; put it into a file of the repository and "
            "name that",
            name, argument, all_of_it ? "" : ", with what stdin gives,", protocol::kPromptBytesMax),
        kExitUsage, daemon.json);
  }
  if (turn.newest) {
    auto id = newest_session(daemon, root, mode);
    if (!id) return fail(id.error(), daemon.json);
    turn.session = std::move(*id);
  }
  if (best.n > 0) return best_of(daemon, turn, best, prompt);
  return run_turn(daemon, turn, worktree, std::move(mode), std::move(prompt));
}

}  // namespace

int run_command(int argc, const char* const* argv) {
  return turn_command(argc, argv, "lares run",
                      "Works on a task in the repository: reads, edits, runs commands and tests.",
                      "task", "work");
}

int ask_command(int argc, const char* const* argv) {
  return turn_command(argc, argv, "lares ask",
                      "Answers a question about the repository; changes nothing.", "question",
                      "ask");
}

}  // namespace lares::cli
