// lares log and lares diff: what a session holds, for reading and for patching.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <string>
#include <utility>
#include <vector>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/interactive/recap.h"
#include "daemon/cli/option_checks.h"
#include "daemon/cli/options.h"
#include "daemon/cli/terminal/output.h"
#include "daemon/cli/terminal/pager.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/cli/transcript.h"
#include "daemon/cli/turn_view.h"
#include "daemon/cli/which_session.h"
#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

// What the output goes to decides how wide and colourful it is, not the pipe to the pager.
Terminal terminal_of_output() {
  Terminal t = Terminal::detect(STDOUT_FILENO);
  t.is_terminal = false;  // nothing is redrawn
  return t;
}

constexpr std::uint64_t kTurnsMax = 1'000'000'000;  // a number that is none is told by its range

// The seq behind which the last `turns` turns stand; 0 turns: all.
Result<std::int64_t> before_last(Link& link, const protocol::SessionInfo& session,
                                 std::int64_t turns) {
  if (turns == 0 || turns >= session.n_turns) return 0;
  return before_turn(link, session, session.n_turns - turns + 1);
}

Result<> print_log(Link& link, const protocol::SessionInfo& session, std::int64_t after,
                   bool thinking) {
  Pager pager;
  Screen screen(pager.fd(), terminal_of_output());
  Transcript transcript(screen, {.answer_live = true, .show_thinking = thinking});
  TurnView view(screen, transcript);
  transcript.set_root(session.root);
  std::int64_t turn = 0;  // whose number was shown: what steers it has no other
  return read_history(
      link, session.session_id, after, [&](const protocol::SessionHistoryResult::Event& event) {
        if (event.method == protocol::ItemCompleted::kNotification) {
          const auto x = protocol::from_json<protocol::ItemCompleted>(event.params);
          if (!x) return;
          if (x->item.kind == "user")
            transcript.said(x->item.text, std::exchange(turn, x->item.turn_id) == x->item.turn_id
                                              ? ""
                                              : turn_number(x->item.turn_id));
          else
            view.item_completed(x->item);
        } else if (event.method == protocol::TurnEnded::kNotification) {
          const auto x = protocol::from_json<protocol::TurnEnded>(event.params);
          if (!x) return;
          transcript.finish();
          if (const std::string how = how_it_ended(*x); !how.empty())
            transcript.note(Style::yellow, how);
        } else if (event.method == protocol::SessionRewound::kNotification) {
          const auto x = protocol::from_json<protocol::SessionRewound>(event.params);
          if (x) transcript.note(Style::dim, fmt::format("rewound: before turn {}", x->turn_id));
        } else if (event.method == protocol::SessionUnrewound::kNotification) {
          transcript.note(Style::dim, "that rewinding was taken back");
        }
      });
}

// At a terminal coloured and paged; else as the calls told it, so that `git apply` can take it.
void print_diff(const shown::Changes& changes) {
  Pager pager;
  const Terminal terminal = terminal_of_output();
  Screen screen(pager.fd(), terminal);
  const bool person = ::isatty(STDOUT_FILENO) == 1;
  for (const auto& path : changes.net()) {
    for (const auto& change : changes.of(path)) {
      const std::string patch = shown::as_patch(change);
      if (patch.empty()) screen.line("changed " + one_line(path));
      std::string_view rest = patch;
      while (!rest.empty()) {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        const std::string_view line = rest.substr(0, end);
        const Style style = line.starts_with("---") || line.starts_with("+++") ? Style::bold
                            : line.starts_with("@@")                           ? Style::cyan
                            : line.starts_with('+')                            ? Style::green
                            : line.starts_with('-')                            ? Style::red
                                                                               : Style::plain;
        screen.line(person ? terminal.paint(style, exact(line)) : std::string(line));
        rest.remove_prefix(std::min(end + 1, rest.size()));
      }
    }
  }
}

}  // namespace

int log_command(int argc, const char* const* argv) {
  CLI::App app("Shows what was said and done in a session; at a terminal through $PAGER.",
               "lares log");
  WhichSession which;
  bool thinking = false;
  std::int64_t last = 0;
  app.add_flag("--thinking", thinking, "the thinking too");
  app.add_option("--last", last, "its last N turns alone")
      ->type_name("N")
      ->check(whole_number_in(1, kTurnsMax));
  which.add_named_to(app);
  if (const auto over = parse(app, argc, argv)) return *over;
  Link link;
  const auto session = which.find(link);
  if (!session) return fail(session.error(), which.daemon.json);
  const auto after = before_last(link, *session, last);
  if (!after) return fail(after.error(), which.daemon.json);
  Result<> done;
  if (which.daemon.json) {
    done = read_history(link, session->session_id, *after,
                        [](const protocol::SessionHistoryResult::Event& event) {
                          const Json line = {{"method", event.method}, {"params", event.params}};
                          print_line(protocol::dump(line));
                        });
  } else {
    done = print_log(link, *session, *after, thinking);
  }
  return done ? kExitFinished : fail(done.error(), which.daemon.json);
}

int diff_command(int argc, const char* const* argv) {
  CLI::App app("Shows what a session changed, its commands too, without what it took back.",
               "lares diff");
  WhichSession which{.root = "", .session = "", .daemon = {}, .may_change = true};
  which.add_named_to(app);
  if (const auto over = parse(app, argc, argv)) return *over;
  Link link;
  const auto session = which.find(link);
  if (!session) return fail(session.error(), which.daemon.json);
  const auto changes = session_changes(link, session->session_id);
  if (!changes) return fail(changes.error(), which.daemon.json);
  if (which.daemon.json) {
    Json files = Json::array();
    for (const auto& path : changes->net()) {
      for (const auto& change : changes->of(path)) files.push_back(protocol::to_json(change));
    }
    const Json result = {
        {"session", session->session_id}, {"changes", files}, {"complete", changes->complete()}};
    print_line(protocol::dump(result));
    return kExitFinished;
  }
  print_diff(*changes);
  if (!changes->complete())
    print_err("lares: commands ran in this session that may have changed other files too\n");
  return kExitFinished;
}

}  // namespace lares::cli
