#include "daemon/cli/follower.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "daemon/cli/approval.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/terminal/output.h"
#include "daemon/cli/yes_no.h"
#include "daemon/client/start.h"
#include "daemon/protocol/turn_reasons.h"
#include "daemon/shown/text.h"
#include "tools/text.h"

namespace lares::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kRedrawEvery{120};
// In one turn; a daemon that keeps dying is reported, not retried for ever
constexpr int kReconnectsMax = 5;
constexpr std::size_t kAnswerBytesMax = 1u << 20;
constexpr std::size_t kAheadMax = 4096;  // happenings, when a question is shown

int status_of(const std::string& reason) {
  if (reason == protocol::reason::kEndTurn) return kExitFinished;
  if (reason == protocol::reason::kCancelled) return kExitInterrupted;
  if (protocol::reason::is_limit(reason)) return kExitLimited;
  return kExitError;
}

Transcript::Options view_options(bool json, bool hide_thinking) {
  return {.answer_live = ::isatty(STDOUT_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1 && !json,
          .show_thinking = !hide_thinking};
}

// One that makes no sense is as good as an unknown one: ignored.
template <class T, class F>
void on(const protocol::Message& message, F f) {
  if (message.method != T::kNotification) return;
  if (const auto typed = protocol::from_json<T>(message.params)) f(*typed);
}

}  // namespace

Follower::Follower(const DaemonOptions& daemon, bool hide_thinking)
    : daemon_(daemon),
      screen_(STDERR_FILENO, Terminal::detect(STDERR_FILENO)),
      transcript_(screen_, view_options(daemon.json, hide_thinking)),
      view_(screen_, transcript_) {}

int Follower::run() {
  link_.watch_job_control();
  if (!daemon_.json) echo_.off();
  auto begun = begin();
  while (begun && !exit_) {
    if (lost_) {
      begun = reconnect();
      continue;
    }
    if (!daemon_.json && !question_open_) {
      echo_.off();
      view_.tick();
    }
    step(next());
  }
  view_.hide_status();
  if (exit_) return *exit_;
  if (started_) end_useless_daemon(link_);
  transcript_.finish();
  screen_.fresh_line();
  if (interrupted_) begun.error().kind = Error::Kind::interrupted;
  return fail(begun.error(), daemon_.json);
}

Happening Follower::next() {
  if (later_.empty()) return link_.next(Clock::now() + kRedrawEvery);
  Happening first = std::move(later_.front());
  later_.pop_front();
  return first;
}

Result<> Follower::reach_daemon() {
  auto reached = reach(link_, daemon_, [&](double) {
    if (!daemon_.json) view_.waiting("starting the daemon");
  });
  if (!reached) return tl::unexpected(std::move(reached.error()));
  started_ = started_ || reached->started;
  return {};
}

Result<protocol::SessionSubscribeResult> Follower::subscribe() {
  protocol::SessionSubscribe request;
  request.session_id = session_.session_id;
  request.after = last_seq_;
  request.interactive = can_answer();
  auto subscribed = link_.call<protocol::SessionSubscribeResult>(request);
  if (subscribed) replay_to_ = subscribed->replay_to;
  return subscribed;
}

// The turn does not depend on this connection: the daemon goes on with it, or writes down that it
// died.
Result<> Follower::reconnect() {
  view_.hide_status();
  if (++reconnects_ > kReconnectsMax) {
    return tl::unexpected(Error{fmt::format(
        "follow session {}: the connection to the daemon was lost {} times; see its log in {}",
        session_.session_id, reconnects_, daemon_.state_dir)});
  }
  if (!daemon_.json) view_.note(Style::yellow, "lost the connection to the daemon; reconnecting");
  lost_ = false;
  std::erase_if(later_, [](const Happening& h) {  // as the link does with what it still had
    return h.kind == Happening::Kind::notification || h.kind == Happening::Kind::answer ||
           h.kind == Happening::Kind::closed;
  });
  if (works()) {
    if (auto reached = reach_daemon(); !reached) return reached;
  } else if (const auto there = rejoin(link_, daemon_); !there) {
    if (there.error().kind != Error::Kind::absent) return tl::unexpected(there.error());
    return tl::unexpected(
        Error{fmt::format("follow session {0}: the daemon was ended, and no turn ran in it; `lares "
                          "attach --follow {0}` follows it when one runs again",
                          session_.session_id),
              Error::Kind::absent});
  }
  auto again = go_on();
  if (!again && again.error().kind == Error::Kind::disconnected) {
    lost_ = true;
    return {};
  }
  if (again && !daemon_.json)
    view_.note(Style::yellow, started_ ? "restarted the daemon" : "reconnected");
  return again;
}

bool Follower::can_answer() const {
  return !daemon_.json && ::isatty(STDIN_FILENO) == 1 && screen_.terminal().width > 0;
}

void Follower::step(const Happening& h) {
  switch (h.kind) {
    case Happening::Kind::notification:
      notified(h);
      break;
    case Happening::Kind::closed:
      lost_ = true;
      break;
    case Happening::Kind::interrupt:
    case Happening::Kind::terminate:
      interrupt();
      break;
    // Nobody is left to read; the turn goes on and its session can be continued
    case Happening::Kind::hangup:
      exit_ = kExitInterrupted;
      break;
    case Happening::Kind::resized:
      screen_.resized();
      transcript_.resized();
      break;
    case Happening::Kind::suspend:
      suspend();
      break;
    case Happening::Kind::resume:
      if (!std::exchange(stopped_itself_, false)) go_on_below();
      break;
    case Happening::Kind::keys:
      typed(h.line);
      break;
    case Happening::Kind::no_more_input:
      if (question_open_)
        view_.note(Style::yellow, "no answer can be typed here; interrupt the turn with Ctrl-C");
      question_open_ = false;
      break;
    case Happening::Kind::tick:
      stopped_itself_ = false;  // what lets a process go on is heard at once: nobody stopped it
      break;
    case Happening::Kind::answer:
    case Happening::Kind::typed:  // not asked for here
      break;
  }
}

// Ctrl-Z. It has gone on when this returns, and not when that is heard of: what the daemon said
// meanwhile may come first, and would be shown where the shell has written.
void Follower::suspend() {
  view_.hide_status();
  if (screen_.terminal().is_terminal) screen_.fresh_line();
  echo_.on();
  stop_process();
  stopped_itself_ = true;
  go_on_below();
}

// Below what the shell has written, on a terminal of any size.
void Follower::go_on_below() {
  echo_.on();  // as far as it is known; it is off again when something is shown
  if (!screen_.terminal().is_terminal) return;
  screen_.begin_anew();
  screen_.resized();
  transcript_.resized();
  if (question_open_) screen_.write("> ", 2);
}

void Follower::notified(const Happening& h) {
  if (daemon_.json) print_line(h.line);
  const auto seq = h.message.params.find("seq");
  if (seq != h.message.params.end() && seq->is_number_integer())
    last_seq_ = std::max(last_seq_, seq->get<std::int64_t>());
  noticed(h.message);
  if (exit_) return;
  on<protocol::ServerState>(h.message, [&](const auto& x) { server_state(x); });
  // And the daemon closes next
  on<protocol::ConnectionEvicted>(h.message, [&](const auto&) { lost_ = true; });
  on<protocol::ItemCompleted>(h.message, [&](const auto& x) {
    if (!ours(x.item.turn_id)) return;
    changes_.add(x.item);
    if (x.item.kind == "text") answer_ = x.item.text;
    if (x.item.id != question_id_) return;
    if (question_open_ && x.item.state == "done")
      view_.note(Style::dim, "answered from another terminal");
    answered_elsewhere();
  });
  if (!daemon_.json) shown(h);
  on<protocol::TurnEnded>(h.message, [&](const auto& x) {
    if (!ours(x.turn_id)) return;
    reconnects_ = 0;
    ended(x);
  });
}

// What is only for the eyes.
void Follower::shown(const Happening& h) {
  on<protocol::SessionState>(h.message, [&](const auto& x) {
    if (!interrupted_) view_.session_state(x);
  });
  view_.show(h.message, [this](std::int64_t turn_id) { return ours(turn_id); });
  on<protocol::ItemUpdated>(h.message, [&](const auto& x) {
    if (x.at.seq > replay_to_) asks(x.item);
  });
  on<protocol::ItemSnapshot>(h.message, [&](const auto& x) { asks(x.item); });
}

void Follower::asks(const protocol::Item& item) {
  if (!ours(item.turn_id) || !can_answer()) return;
  if (item.id == question_id_ && item.state == "running") {
    if (question_open_) view_.note(Style::dim, "allowed from another terminal");
    return answered_elsewhere();
  }
  if ((item.state != "waiting" && item.state != "asking") ||
      (question_open_ && item.id == question_id_))
    return;
  view_.hide_status();
  if (item.state == "asking") {
    show_asking(transcript_, item);
    asking_ = item;
    doubted_ = false;
    return ask_line(item.id);
  }
  show_question(transcript_, item);
  ask_line(item.id);
}

void Follower::ask_line(const std::string& item_id) {
  forget_typed();  // before there is a prompt: what is typed at that counts
  echo_.on();
  screen_.write("> ", 2);
  question_open_ = true;
  question_id_ = item_id;
  link_.read_keys();
}

// What was typed before a question was shown is no answer to it, be it still in the terminal, or
// read for a question that was answered elsewhere.
void Follower::forget_typed() {
  cli::forget_typed(STDIN_FILENO);
  typed_.clear();
  for (std::size_t n = 0; n < kAheadMax; ++n) {
    Happening h = link_.next(Clock::now());
    if (h.kind == Happening::Kind::tick) break;
    later_.push_back(std::move(h));
  }
  std::erase_if(later_, [](const Happening& h) { return h.kind == Happening::Kind::keys; });
}

// The terminal gives whole lines, and the beginning of one where Ctrl-D sent that.
void Follower::typed(const std::string& bytes) {
  if (!question_open_) return;
  typed_ += bytes;
  if (!typed_.ends_with('\n') && typed_.size() < kAnswerBytesMax) return link_.read_keys();
  std::string line = std::exchange(typed_, {});
  line.erase(std::min(line.find('\n'), line.size()));
  reply(line);
}

void Follower::answered_elsewhere() {
  if (question_open_) screen_.fresh_line();
  question_open_ = false;
}

void Follower::reply(const std::string& line) {
  if (!question_open_) return;
  screen_.write("", 0);  // the terminal echoed the line and its end
  if (asking_.id == question_id_) {
    auto answer = approval_of(line, asking_, doubted_);
    if (!answer) {
      if (!tools::trimmed(line).empty()) view_.note(Style::yellow, not_offered(line, asking_));
      return ask_line(asking_.id);
    }
    question_open_ = false;
    answer->session_id = session_.session_id;
    link_.send(*answer);
    return;
  }
  question_open_ = false;
  protocol::QuestionReply answer;
  answer.session_id = session_.session_id;
  answer.item_id = question_id_;
  answer.text = line;
  link_.send(answer);
}

void Follower::server_state(const protocol::ServerState& state) {
  if (state.state == "failed") {
    if (started_) end_useless_daemon(link_);
    view_.hide_status();
    transcript_.finish();
    exit_ = fail(Error{"load the model: " + state.message}, daemon_.json);
    return;
  }
  if (!daemon_.json) view_.model_state(state);
}

void Follower::conclude(const protocol::TurnEnded& ended) {
  view_.hide_status();
  sum_up(ended);
  exit_ = status_of(ended.reason);
}

void Follower::sum_up(const protocol::TurnEnded& ended) {
  if (daemon_.json) {
    Json changes = Json::array();
    for (const auto& change : changes_.all()) changes.push_back(protocol::to_json(change));
    const Json result = {{"type", "result"},
                         {"session", session_.session_id},
                         {"turn", ended.turn_id},
                         {"stop_reason", ended.reason},
                         {"message", ended.message},
                         {"answer", std::exchange(answer_, {})},
                         {"usage", protocol::to_json(ended.usage)},
                         {"changes", changes}};
    print_line(protocol::dump(result));
    return;
  }
  transcript_.finish();
  const int status = status_of(ended.reason);
  const Style style = status == kExitFinished ? Style::dim
                      : status == kExitError  ? Style::red
                                              : Style::yellow;
  screen_.line("");
  screen_.line(
      screen_.terminal().paint(style, view_.summary(ended, changes_, session_.session_id)));
}

}  // namespace lares::cli
