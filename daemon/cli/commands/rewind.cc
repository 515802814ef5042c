// lares rewind and lares fork: another past, or another future, of a session.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <string>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/option_checks.h"
#include "daemon/cli/options.h"
#include "daemon/cli/report.h"
#include "daemon/cli/terminal/output.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/cli/terminal/typing.h"
#include "daemon/cli/which_session.h"
#include "daemon/cli/yes_no.h"
#include "daemon/protocol/wire.h"
#include "daemon/shown/text.h"

namespace lares::cli {

namespace protocol = daemon::protocol;

namespace {

constexpr std::uint64_t kTurnsMax = 1'000'000'000;  // a number that is none is told by its range

bool confirmed(const char* question) {
  forget_typed(STDIN_FILENO);
  print_err("{} [y/N] ", question);
  std::string line;
  return std::getline(std::cin, line) && is_yes(line);
}

// That the session which was named, by a part of its id perhaps, is about another repository.
std::string of_another(const protocol::SessionInfo& session) {
  if (repository_root("").value_or("") == session.root) return "";
  return fmt::format("session {} ({}), which is about {}:\n", session.session_id,
                     printable(session.title), printable(session.root));
}

}  // namespace

int rewind_command(int argc, const char* const* argv) {
  CLI::App app(
      "Takes a session back to before a turn: what the model knows, and the files that its calls "
      "since then changed, as they were before the first of these calls. Other files stay.",
      "lares rewind");
  WhichSession which{.root = "", .session = "", .daemon = {}, .may_change = true};
  std::int64_t turn = 0;
  bool keep_files = false, yes = false, undo = false, dry_run = false;
  auto* number = app.add_option("TURN", turn, "its number in lares log (default: the last)")
                     ->check(whole_number_in(1, kTurnsMax));
  app.add_flag("--keep-files", keep_files, "the files stay as they are");
  app.add_flag("-n,--dry-run", dry_run, "only say what would be done");
  app.add_flag("-y,--yes", yes, "do not ask");
  app.add_flag("--undo", undo, "take the last rewinding back, if no turn has begun since")
      ->excludes(number);
  which.add_to(app);
  if (const auto over = parse(app, argc, argv)) return *over;
  const bool asks = !yes && !dry_run && !undo;
  if (asks && ::isatty(STDIN_FILENO) != 1) {
    return say_why_not(
        "lares rewind: files may go back, and stdin is no terminal at which that is confirmed; "
        "give -y, or -n to see what it would do",
        kExitUsage, which.daemon.json);
  }
  Link link;
  const auto session = which.find(link);
  if (!session) return fail(session.error(), which.daemon.json);
  const auto tell = [&](const protocol::SessionRewindResult& done) {
    if (which.daemon.json)
      print_line(protocol::dump(protocol::to_json(done)));
    else
      print_out("{}{}", of_another(*session),
                rewind_text(done, dry_run ? Rewound::would
                                  : undo  ? Rewound::undone
                                          : Rewound::done));
    return done.not_done.empty() ? kExitFinished : kExitError;
  };
  if (undo) {
    protocol::SessionUnrewind request;
    request.session_id = session->session_id;
    const auto done = link.call<protocol::SessionRewindResult>(request);
    return done ? tell(*done) : fail(done.error(), which.daemon.json);
  }
  protocol::SessionRewind request;
  request.session_id = session->session_id;
  request.turn_id = turn;
  request.files = keep_files ? "keep" : "restore";
  if (dry_run || asks) {
    request.dry_run = true;
    const auto plan = link.call<protocol::SessionRewindResult>(request);
    if (!plan) return fail(plan.error(), which.daemon.json);
    if (dry_run) return tell(*plan);
    print_err("session {} ({})\n{}", session->session_id, printable(session->title),
              rewind_text(*plan, Rewound::would));
    if (!confirmed("Do it?")) {
      print_err("nothing was rewound\n");
      return kExitInterrupted;
    }
    request.dry_run = false;
  }
  const auto done = link.call<protocol::SessionRewindResult>(request);
  return done ? tell(*done) : fail(done.error(), which.daemon.json);
}

int fork_command(int argc, const char* const* argv) {
  CLI::App app(
      "Makes another session that knows what this one knows, in the same worktree, and prints its "
      "id: `lares --session ID` goes on with it.",
      "lares fork");
  WhichSession which;
  std::int64_t before = 0, steps = 0;
  std::string title;
  auto* const turn = app.add_option("--before", before,
                                    "what it knew before this turn (default: now)")
                         ->check(whole_number_in(1, kTurnsMax));
  app.add_option("--steps", steps, "and after so many steps of that turn")
      ->check(whole_number_in(1, kTurnsMax))
      ->needs(turn);
  app.add_option("--title", title, "default: the other's");
  which.add_named_to(app);
  if (const auto over = parse(app, argc, argv)) return *over;
  Link link;
  const auto session = which.find(link);
  if (!session) return fail(session.error(), which.daemon.json);
  protocol::SessionFork request;
  request.session_id = session->session_id;
  request.before_turn = before;
  request.after_step = steps;
  request.title = title;
  const auto made = link.call<protocol::SessionInfo>(request);
  if (!made) return fail(made.error(), which.daemon.json);
  if (which.daemon.json)
    print_line(protocol::dump(protocol::to_json(*made)));
  else
    print_out("{}\n", made->session_id);
  return kExitFinished;
}

}  // namespace lares::cli
