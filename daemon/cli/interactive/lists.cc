// What a person picks from a list: a session to go on with, a turn to go back before.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "daemon/cli/interactive/completions.h"
#include "daemon/cli/interactive/interactive.h"
#include "daemon/cli/report.h"
#include "daemon/cli/yes_no.h"
#include "daemon/shown/text.h"
#include "tools/text.h"

namespace lares::cli {
namespace {

using namespace std::string_literals;

constexpr std::size_t kSessionsShown = 15, kTurnsShown = 15;

}  // namespace

void Interactive::offer(std::string_view what, std::function<void(std::int64_t)> pick) {
  view_.note(Style::dim, fmt::format("{}, Enter with none", what));
  pick_ = std::move(pick);
}

void Interactive::pick_nothing() {
  view_.note(Style::dim, rewinding_ ? "nothing was rewound" : "nothing was picked");
  rewinding_.reset();
  pick_ = nullptr;
}

// False: the line is a command. Text that picks nothing is not lost, and not a prompt unasked.
bool Interactive::picked(const std::string& line) {
  const auto pick = pick_;
  const std::string answer(tools::trimmed(line));
  if (answer.empty() || is_no(answer) || is_letter(answer, 'q')) {
    pick_nothing();
    return true;
  }
  pick_ = nullptr;
  if (answer.find_first_not_of("0123456789") == std::string::npos) {
    pick(answer == "0" ? 0 : std::max<std::int64_t>(number_in(answer), -1));
    return true;
  }
  if (line.starts_with('!') || parse_slash(line)) return false;
  view_.note(Style::dim, "nothing was picked");
  input_->put_back(line);
  return true;
}

// In one row, of which `text` takes what there is room for.
std::string Interactive::row_of_list(std::string_view before, std::string_view text,
                                     std::string_view behind) const {
  constexpr int kUnlimited = 200;
  const int room = screen_.width_or(kUnlimited) - 1 - columns(before) - columns(behind);
  return fmt::format("{}{}{}", before,
                     clip(one_line(text), room, screen_.terminal().utf8 ? "…" : "~"), behind);
}

void Interactive::offer_sessions() {
  auto sessions = talk_.sessions();
  if (!sessions) return complain(sessions.error());
  if (sessions->empty()) return view_.note(Style::dim, "no sessions about this repository yet");
  const std::size_t shown = std::min(sessions->size(), kSessionsShown);
  for (std::size_t i = 0; i < shown; ++i) {
    const auto& s = (*sessions)[i];
    const bool this_one = talk_.has_session() && talk_.session().session_id == s.session_id;
    const std::string behind = fmt::format("{}{}", this_one ? " (this one)" : "",
                                           s.state == "waiting" ? dot() + "asks"s
                                           : s.turn_id != 0     ? dot() + "runs"s
                                                                : "");
    screen_.line(
        row_of_list(fmt::format("{:>3}  {:>4}  ", i + 1, age(s.updated_ms)), s.title, behind));
  }
  if (const std::size_t more = sessions->size() - shown; more > 0)
    view_.note(Style::dim, fmt::format("and {} more: `lares sessions` lists them, /resume ID goes "
                                       "on with one",
                                       more));
  offer("its number goes on with one", [this, sessions = std::move(*sessions), shown](auto n) {
    if (n < 1 || n > static_cast<std::int64_t>(shown))
      return view_.note(Style::yellow,
                        fmt::format("there is no such session in this list of {}", shown));
    checked(resume(sessions[static_cast<std::size_t>(n - 1)].session_id), "");
  });
}

// Where the daemon is there: nothing is started for a key.
Completions Interactive::completions(std::string_view before) {
  const auto id = argument_of("resume", before);
  if (!id) return completions_of(before, root(), directory());
  std::vector<std::string> ids, shown;
  if (talk_.connected()) {
    if (const auto sessions = talk_.sessions())
      for (const auto& s : *sessions) {
        ids.push_back(s.session_id);
        shown.push_back(
            fmt::format("{}  {:>4}  {}", s.session_id, age(s.updated_ms), one_line(s.title)));
      }
  }
  return completed(*id, ids, shown);
}

// False: there are none.
bool Interactive::show_turns(const std::vector<Turn>& turns) {
  if (turns.empty()) {
    view_.note(Style::dim, "no turn of this session is there to go back before");
    return false;
  }
  const std::size_t first = turns.size() - std::min(turns.size(), kTurnsShown);
  if (first > 0)
    view_.note(Style::dim, fmt::format("{} earlier ones: their numbers are taken, too", first));
  for (std::size_t i = first; i < turns.size(); ++i) {
    const Turn& turn = turns[i];
    const std::string files = turn.n_files == 0 ? ""
                                                : fmt::format("{}{} {}", dot(), turn.n_files,
                                                              turn.n_files == 1 ? "file" : "files");
    const std::string before = fmt::format("{:>3}  {:>4}  ", turn.turn_id, age(turn.began_ms));
    screen_.line(row_of_list(before, turn.prompt, files));
  }
  return true;
}

void Interactive::rewind(const std::string& argument) {
  if (!talk_.has_session())
    return view_.note(Style::dim, "nothing has been done in this session yet");
  if (!argument.empty()) {
    const std::int64_t n = number_in(argument);
    if (n < 1) return view_.note(Style::yellow, "/rewind [N]: N is the number of a turn");
    return plan_rewinding(n);
  }
  const auto turns = turns_of(link_, talk_.session().session_id);
  if (!turns) return complain(turns.error());
  if (!show_turns(*turns)) return;
  offer("the number of one goes back before it", [this](std::int64_t n) { plan_rewinding(n); });
}

void Interactive::plan_rewinding(std::int64_t turn_id) {
  const auto turns = turns_of(link_, talk_.session().session_id);
  if (!turns) return complain(turns.error());
  const auto turn = std::ranges::find(*turns, turn_id, &Turn::turn_id);
  if (turn == turns->end())
    return view_.note(Style::yellow,
                      fmt::format("this session has no turn {}; /rewind lists them", turn_id));
  Rewinding rewinding;
  rewinding.prompt = turn->prompt;
  protocol::SessionRewind& request = rewinding.request;
  request.session_id = talk_.session().session_id;
  request.turn_id = turn_id;
  request.dry_run = true;
  const auto plan = link_.call<protocol::SessionRewindResult>(request);
  if (!plan) return complain(plan.error());
  transcript_.lines(rewind_text(*plan, Rewound::would));
  view_.note(Style::bold, "Do it? y or n");
  request.dry_run = false;
  request.turn_id = plan->turn_id;  // what was shown, whatever begins meanwhile
  rewinding_ = std::move(rewinding);
}

// Anything but a yes is a no; what is no answer at all is not lost, and not a prompt unasked
// either.
void Interactive::decide(const Rewinding& rewinding, const std::string& line) {
  if (!is_yes(line)) {
    view_.note(Style::dim, "nothing was rewound");
    if (!tools::trimmed(line).empty() && !is_no(line) && !is_letter(line, 'q'))
      input_->put_back(line);
    return;
  }
  const auto done = link_.call<protocol::SessionRewindResult>(rewinding.request);
  if (!done) return complain(done.error());
  talk_.measure();
  transcript_.lines(rewind_text(*done, Rewound::done) +
                    "/undo takes that back, until the next turn\n");
  input_->put_back(rewinding.prompt);
}

void Interactive::undo() {
  if (!talk_.has_session())
    return view_.note(Style::dim, "nothing has been done in this session yet");
  protocol::SessionUnrewind request;
  request.session_id = talk_.session().session_id;
  const auto done = link_.call<protocol::SessionRewindResult>(request);
  if (!done) return complain(done.error());
  talk_.measure();
  transcript_.lines(rewind_text(*done, Rewound::undone));
}

void Interactive::fork(const std::string& argument) {
  if (!talk_.has_session())
    return view_.note(Style::dim, "this session has not begun, so there is nothing to fork");
  if (!argument.empty()) {
    const std::int64_t n = number_in(argument);
    if (n < 1 && argument != "0")
      return view_.note(Style::yellow, "/fork [N]: N is the number of a turn, or 0 for all of it");
    return fork_before(n);
  }
  const auto turns = turns_of(link_, talk_.session().session_id);
  if (!turns) return complain(turns.error());
  if (!show_turns(*turns)) return;
  offer("the number of one makes a copy from before it, 0 of all", [this](std::int64_t n) {
    if (n < 0) return view_.note(Style::yellow, "there is no such turn");
    fork_before(n);
  });
}

void Interactive::fork_before(std::int64_t turn_id) {
  const auto turns = turns_of(link_, talk_.session().session_id);
  if (!turns) return complain(turns.error());
  const auto turn = std::ranges::find(*turns, turn_id, &Turn::turn_id);
  protocol::SessionFork request;
  request.session_id = talk_.session().session_id;
  request.before_turn = turn_id;
  const auto made = link_.call<protocol::SessionInfo>(request);
  if (!made) return complain(made.error());
  const std::string other = talk_.session().session_id;
  const std::string when = turn_id > 0 ? fmt::format(" before turn {}", turn_id) : "";
  const auto resumed = talk_.resume(made->session_id);
  checked(resumed, fmt::format("session {} knows what {} knew{}; this goes on in it",
                               made->session_id, other, when));
  if (resumed && turn != turns->end()) input_->put_back(turn->prompt);
}

// None where there is no session: its shell is what has them.
Result<std::vector<protocol::JobInfo>> Interactive::running_jobs() {
  if (!talk_.has_session()) return {};
  auto found =
      link_.call<protocol::SessionJobsResult>(protocol::SessionJobs{talk_.session().session_id});
  if (!found) return tl::unexpected(found.error());
  return std::move(found->jobs);
}

void Interactive::jobs(const std::string& argument) {
  const auto running = running_jobs();
  if (!running) return complain(running.error());
  if (argument.empty()) {
    if (running->empty()) return view_.note(Style::dim, "no background job of this session runs");
    for (const auto& job : *running)
      screen_.line(one_row(
          fmt::format("{:>7}  {:>4}  {}", job.pid, age(job.began_ms), one_line(job.command))));
    return view_.note(Style::dim, "/jobs PID stops one, with what it has started");
  }
  const auto job = std::ranges::find(*running, number_in(argument), &protocol::JobInfo::pid);
  if (job == running->end())
    return view_.note(Style::yellow,
                      fmt::format("/jobs [PID]: {} is none of the {} background jobs; /jobs lists "
                                  "them",
                                  argument, running->size()));
  const auto stopped = link_.call<protocol::SessionStopJobResult>(
      protocol::SessionStopJob{talk_.session().session_id, job->host_pid});
  if (!stopped) return complain(stopped.error());
  view_.note(Style::dim, one_row(fmt::format("{} {}: {}", stopped->killed ? "killed" : "stopped",
                                             job->pid, one_line(job->command))));
}

}  // namespace lares::cli
