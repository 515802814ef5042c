#include "daemon/cli/interactive/interactive.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <optional>
#include <utility>

#include "daemon/cli/approval.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/interactive/line_editor.h"
#include "daemon/cli/interactive/plain_input.h"
#include "daemon/cli/interactive/recap.h"
#include "daemon/cli/own_worktree.h"
#include "daemon/cli/user_directory.h"
#include "daemon/cli/which_session.h"
#include "daemon/client/start.h"
#include "daemon/protocol/nano_directory.h"
#include "daemon/protocol/policies.h"
#include "daemon/protocol/turn_reasons.h"
#include "daemon/shown/text.h"
#include "daemon/version.h"

namespace lares::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kRedrawEvery{120};
constexpr std::chrono::hours kIdle{1};
constexpr int kHappeningsAtOnceMax = 256;  // before the screen is drawn

template <class T, class F>
void on(const Happening& h, F f) {
  if (h.message.method != T::kNotification) return;
  if (const auto typed = protocol::from_json<T>(h.message.params))
    f(*typed);  // nonsense is as good as an unknown one: ignored
}

}  // namespace

Interactive::Interactive(const DaemonOptions& daemon, InteractiveOptions options)
    : options_(std::move(options)),
      directory_(directory_below(options_.root)),
      state_dir_(daemon.state_dir),
      screen_(STDOUT_FILENO, Terminal::detect(STDOUT_FILENO)),
      transcript_(screen_, {.answer_live = true, .show_thinking = false, .fold_output = true}),
      view_(screen_, transcript_),
      history_(History::path_of(daemon.state_dir, options_.root)),
      talk_(link_, daemon, options_.root,
            {.waiting = [this](std::string_view what) { view_.waiting(what), input_->show(); },
             .reconnected = [this](const std::string& how) { reconnected(how); },
             .ended = [this] { daemon_ended(); },
             .failed = [this](const Error& error) { view_.turn_ended(), complain(error); },
             .not_sent = [this](const std::string& content) { input_->put_back(content); },
             .taken_back = [this](const auto& prompt) { taken_back(prompt); },
             .in_worktree =
                 [this](const protocol::WorktreeCreated& made) {
                   view_.note(Style::dim, worktree_told(made));
                   if (const auto lacks = worktree_lacks(made); !lacks.empty())
                     view_.note(Style::yellow, lacks);
                   transcript_.set_root(made.session.root);
                 },
             .left = [this] { left_session(); }}) {
  InputEvents events{
      .wait = [this] { wait(); },
      .submitted = [this](std::string line) { submitted(line), after_happenings(); },
      .leave = [this] { input_->stop(); },
      .escaped = [this] { escaped(); },
      .next_policy = [this] { next_policy(), after_happenings(); },
      .edit = [this](const std::string& text) { return edit(text); },
      .completions = [this](std::string_view before) { return completions(before); }};
  plain_ = !screen_.terminal().is_terminal;
  if (plain_)
    input_ = std::make_unique<PlainInput>(screen_, std::move(events));
  else
    input_ = std::make_unique<LineEditor>(screen_, history_, std::move(events));
}

int Interactive::run() {
  if (auto begun = begin(); !begun) {
    view_.hide_status();
    return fail(begun.error(), /*json=*/false);
  }
  if (!plain_) link_.watch_job_control();
  after_happenings();
  input_->run();
  if (talk_.started_daemon()) end_useless_daemon(link_);
  view_.hide_status();
  screen_.fresh_line();
  say_how_to_go_on();
  return exit_;
}

Result<> Interactive::begin() {
  if (auto begun = talk_.begin(); !begun) return begun;
  view_.turn_ended();
  protocol::SessionSettings settings = options_.settings;
  settings.no_sandbox = options_.no_sandbox;
  talk_.settings(settings);
  heard_policy(settings.policy);
  talk_.in_own_worktree(options_.worktree);
  transcript_.set_root(options_.root);
  greet();
  std::string id = options_.session;
  if (options_.newest) {
    auto sessions = talk_.sessions();
    if (!sessions) return tl::unexpected(sessions.error());
    keep_about(*sessions, Wanted::to_go_on);
    if (sessions->empty())
      return tl::unexpected(Error{"--continue: there is no session about " + options_.root +
                                  " yet; `lares` alone begins one"});
    id = sessions->front().session_id;
  }
  return id.empty() ? Result<>{} : resume(id);
}

std::string Interactive::one_row(std::string_view text) const {
  constexpr int kUnlimited = 400;
  return clip(text, screen_.width_or(kUnlimited) - 1, screen_.terminal().utf8 ? "…" : "~");
}

void Interactive::greet() {
  const auto status = link_.call<protocol::ServerStatusResult>(protocol::ServerStatus{});
  const std::string model = status ? daemon::name_of_model(status->model.directory) : "";
  std::string line = fmt::format("lares {}", daemon::kVersion);
  if (!model.empty()) line += dot() + printable(model);
  line += policy_told(options_.settings.policy);
  view_.note(Style::dim,
             one_row(fmt::format("{}{}/help{}{}", line, dot(), dot(), printable(options_.root))));
  if (model == daemon::kNano)
    view_.note(
        Style::dim,
        "nano shows how it works, and repairs small bugs at most; for real work `lares config "
        "set model DIR` names DeepSeek's weights");
  if (options_.no_sandbox)
    view_.note(Style::yellow,
               "commands of new sessions run without a sandbox, with all your rights");
}

std::string Interactive::policy_told(const std::string& policy) const {
  return policy == protocol::SessionSettings().policy ? "" : dot() + ("policy " + policy);
}

void Interactive::say_how_to_go_on() {
  if (!talk_.has_session() || talk_.session().last_seq <= 1) return;
  const std::string& id = talk_.session().session_id;
  const std::string command = talk_.session().root == options_.root ? "lares --continue"
                                                                    : "lares --session " + id;
  const bool runs = talk_.running_turn() != 0;
  screen_.line(screen_.terminal().paint(
      Style::dim,
      fmt::format("session {}: {}`{}` {}", id, runs ? "the turn goes on in the daemon; " : "",
                  command, runs ? "shows it" : "goes on")));
}

void Interactive::wait() {
  if (plain_)
    link_.read_line();
  else
    link_.read_keys();
  const bool moving = talk_.busy() || loading_;
  auto deadline = Clock::now() + (moving ? Clock::duration(kRedrawEvery) : Clock::duration(kIdle));
  if (const auto patience = input_->patience(); !patience)
    patient_until_.reset();
  else if (!patient_until_)
    patient_until_ = Clock::now() + *patience;
  if (patient_until_) deadline = std::min(deadline, *patient_until_);
  happened(next(deadline));
  for (int i = 1; i < kHappeningsAtOnceMax; ++i) {
    const Happening h = next(Clock::now());
    happened(h);
    if (h.kind == Happening::Kind::tick) break;
  }
  if (patient_until_ && Clock::now() >= *patient_until_) input_->idle(), patient_until_.reset();
  after_happenings();
}

Happening Interactive::next(Clock::time_point deadline) {
  if (later_.empty()) return link_.next(deadline);
  Happening first = std::move(later_.front());
  later_.pop_front();
  return first;
}

// What was typed until now and nothing has looked at; lines with their ends.
std::string Interactive::unread() {
  std::string typed;
  const auto is_typed = [&](const Happening& h) {
    if (h.kind == Happening::Kind::typed) typed += h.line + "\n";
    if (h.kind == Happening::Kind::keys) typed += h.line;
    return h.kind == Happening::Kind::typed || h.kind == Happening::Kind::keys;
  };
  std::erase_if(later_, is_typed);
  for (;;) {
    if (plain_)
      link_.read_line();
    else
      link_.read_keys();
    Happening h = link_.next(Clock::now());
    if (h.kind == Happening::Kind::tick) return typed;
    const bool over = h.kind == Happening::Kind::no_more_input;
    if (!is_typed(h)) later_.push_back(std::move(h));
    if (over) return typed;
  }
}

void Interactive::after_happenings() {
  if (question_id_.empty()) input_->bring_back();
  if (!interrupting_) give_back();
  if (!input_->has_room_for_status() || (!talk_.busy() && !loading_)) {
    view_.hide_status();
    status_due_ = {};
  } else if (const auto now = Clock::now(); now >= status_due_) {  // not for every token: the line
    view_.tick();                                                  // to the terminal may be slow
    status_due_ = now + kRedrawEvery;
  }
  show_prompt();
}

void Interactive::show_prompt() {
  const std::string mark = screen_.terminal().utf8 ? "› " : "> ";
  const std::string& policy = talk_.policy();
  std::string prompt = (policy == protocol::SessionSettings().policy ? "" : policy + " ") + mark;
  if (!question_id_.empty()) prompt = (asking_ ? "allow? " : "answer ") + mark;
  if (pick_) prompt = "which one? " + mark;
  if (rewinding_) prompt = "rewind? " + mark;
  if (plain_ && talk_.busy() && question_id_.empty()) prompt.clear();  // output would run into it
  input_->prompt(prompt);
}

void Interactive::happened(const Happening& h) {
  switch (h.kind) {
    case Happening::Kind::notification:
      talk_.notified(h);
      notified(h);
      break;
    case Happening::Kind::answer:
      talk_.answered(h);
      break;
    case Happening::Kind::closed:
      transcript_.finish();
      question_id_.clear(), asking_.reset();
      talk_.lost();
      break;
    case Happening::Kind::interrupt:
      interrupt();
      break;
    case Happening::Kind::terminate:
    case Happening::Kind::hangup:
      exit_ = kExitInterrupted;
      input_->stop();
      break;
    case Happening::Kind::resized:
      input_->show();
      screen_.resized();
      input_->resized();
      transcript_.resized();
      break;
    case Happening::Kind::typed:
    case Happening::Kind::keys:
      leaving_ = false;
      typed_at_ = Clock::now();
      input_->typed(h.line);
      break;
    case Happening::Kind::no_more_input:
      input_->stop();
      break;
    case Happening::Kind::suspend:
      suspend();
      break;
    case Happening::Kind::resume:
      if (!std::exchange(stopped_itself_, false)) go_on_below();
      break;
    case Happening::Kind::tick:
      stopped_itself_ = false;  // what lets a process go on is heard at once: nobody stopped it
      break;
  }
}

// Ctrl-Z. It has gone on when this returns, and not when that is heard of: what the daemon said
// meanwhile comes first, and would be shown where the shell has written.
void Interactive::suspend() {
  view_.hide_status();
  input_->suspend();
  std::raise(SIGSTOP);
  stopped_itself_ = true;
  go_on_below();
}

void Interactive::go_on_below() {
  screen_.resized();  // perhaps, while the shell had the terminal and heard of it
  input_->resume();
  transcript_.resized();
}

void Interactive::notified(const Happening& h) {
  on<protocol::ServerState>(h, [this](const auto& x) { server_state(x); });
  const auto of = h.message.params.find("sessionId");
  if (of == h.message.params.end() || !talk_.has_session() || *of != talk_.session().session_id)
    return;
  on<protocol::SessionState>(h, [this](const auto& x) {
    if (!interrupting_) view_.session_state(x);
  });
  on<protocol::TurnStarted>(h, [this](const auto& x) { turn_began(x.turn_id, x.at.t); });
  on<protocol::ItemCompleted>(h, [this](const auto& x) { item_completed(x.item); });
  view_.show(h.message, [](std::int64_t) { return true; });
  on<protocol::ItemUpdated>(h, [this](const auto& x) { ask(x.item); });
  on<protocol::ItemSnapshot>(h, [this](const auto& x) { ask(x.item); });
  on<protocol::SessionUpdated>(h, [this](const auto& x) {
    if (!x.policy.empty()) heard_policy(x.policy);
  });
  on<protocol::TurnEnded>(h, [this](const auto& x) { turn_ended(x); });
}

void Interactive::item_completed(const protocol::Item& item) {
  changes_.add(item);
  if (item.id == question_id_) {  // so it was not answered here
    if (item.state == "done") view_.note(Style::dim, "answered from another terminal");
    question_id_.clear(), asking_.reset();
  }
  if (item.kind == "text") last_answer_ = item.text;
  if (item.kind != "user") return;
  if (!talk_.sent(item.prompt_id))
    transcript_.said(item.text, "from another client");
  else if (talk_.sent_before(item.prompt_id, item.turn_id))
    transcript_.said(item.text, "");  // shown when it was typed, turns ago
}

void Interactive::ask(const protocol::Item& item) {
  if (item.state == "running" && asking_ && item.id == asking_->id) {
    view_.note(Style::dim, "allowed from another terminal");
    question_id_.clear(), asking_.reset();
  }
  if ((item.state != "waiting" && item.state != "asking") || item.id == question_id_) return;
  question_id_ = item.id;
  asking_.reset();
  ring();
  if (item.state == "asking") {
    asking_ = item;
    doubted_ = false;
    show_asking(transcript_, item);
  } else {
    show_question(transcript_, item);
  }
  await_answer();
}

// Only what is typed from here on is an answer: whoever answers at once what the screen shows is
// heard, so nothing is dropped behind that.
void Interactive::await_answer() {
  input_->set_aside(unread());
  show_prompt();
  input_->show();
}

void Interactive::server_state(const protocol::ServerState& state) {
  loading_ = state.state == "loading";
  if (state.state == "failed") complain(Error{"load the model: " + state.message});
  if (loading_)
    view_.model_state(state);
  else if (!talk_.busy())
    view_.turn_ended();
}

void Interactive::turn_began(std::int64_t turn_id, std::int64_t unix_ms) {
  shown_turn_ = turn_id;
  told_how_to_stop_ = false;
  changes_ = {};
  view_.turn_began(talk_.session().context_tokens, unix_ms);
  if (interrupting_) talk_.interrupt();  // it was wanted before there was anything to interrupt
}

// One that this process has not seen begin: what it changed until now is part of what it changes.
Result<> Interactive::join_turn() {
  const protocol::SessionInfo& session = talk_.session();
  turn_began(session.turn_id, session.turn_began_ms);
  protocol::SessionState now;
  now.state = session.state;
  view_.session_state(now);
  const auto before = before_turn(link_, session, session.turn_id);
  if (!before) return tl::unexpected(before.error());
  return read_history(link_, session.session_id, *before, [&](const auto& event) {
    if (event.method != protocol::ItemCompleted::kNotification) return;
    const auto x = protocol::from_json<protocol::ItemCompleted>(event.params);
    // What comes later is told, too
    if (x && x->item.turn_id == session.turn_id && x->at.seq <= talk_.last_seq())
      changes_.add(x->item);
  });
}

void Interactive::turn_ended(const protocol::TurnEnded& ended) {
  transcript_.finish();
  view_.turn_ended();
  question_id_.clear(), asking_.reset();
  interrupting_ = false;
  const bool failed = ended.reason == protocol::reason::kError ||
                      ended.reason == protocol::reason::kCrashed;
  const Style style = failed                                       ? Style::red
                      : ended.reason == protocol::reason::kEndTurn ? Style::dim
                                                                   : Style::yellow;
  screen_.line("");
  screen_.line(screen_.terminal().paint(style, view_.summary(ended, changes_, "")));
  if (talk_.session().settings.policy == protocol::kPlanPolicy &&
      ended.reason == protocol::reason::kEndTurn) {
    planned_ = true;
    view_.note(Style::dim,
               working_policy_.empty()
                   ? "/go NAME carries it out, under the policy auto, edits or ask"
                   : fmt::format("/go carries it out, under the policy {}", working_policy_));
  }
  ring();
}

void Interactive::ring() {
  const bool away = Clock::now() - typed_at_ >= kAwayAfter;
  if (options_.bell == Bell::always || (options_.bell == Bell::away && away)) screen_.ring();
}

// What the turn that runs has shown so far stays shown; one that this process has not seen begin is
// joined.
void Interactive::reconnected(const std::string& how) {
  view_.note(Style::yellow, how);
  const std::int64_t running = talk_.running_turn();
  if (running != 0 && running == shown_turn_) return;
  view_.turn_ended();
  if (running != 0) turn_began(running, talk_.session().turn_began_ms);
}

void Interactive::daemon_ended() {
  loading_ = false;
  view_.turn_ended();
  view_.note(Style::yellow, "the daemon ended; the next prompt starts it");
}

void Interactive::taken_back(const protocol::PromptAccepted& prompt) {
  if (talk_.running_turn() == 0) interrupting_ = false;
  if (talk_.sent(prompt.id))
    held_.push_back(prompt);
  else
    view_.note(Style::yellow, "taken back, of another client: " + one_line(prompt.content));
}

// What was asked in it, and what was to be stopped there, is no business of the next one's. Prompts
// that were taken back there come back into the line.
void Interactive::left_session() {
  transcript_.finish();
  view_.turn_ended();
  question_id_.clear(), asking_.reset();
  interrupting_ = false;
  shown_turn_ = 0;
  last_answer_.clear();
  told_where_ = false;
}

// All of them at once, so that they stand in the order in which they were sent. A question is one
// again, and never becomes part of a task.
void Interactive::give_back() {
  const auto held = std::exchange(held_, {});
  if (held.empty()) return;
  std::string questions, tasks;
  for (const auto& prompt : held) {
    std::string& into = prompt.mode == "ask" ? questions : tasks;
    into += (into.empty() ? "" : "\n") + prompt.content;
  }
  if (!questions.empty() && tasks.empty()) tasks = "/ask " + std::exchange(questions, "");
  if (!questions.empty()) view_.note(Style::yellow, "taken back: /ask " + one_line(questions));
  view_.note(Style::yellow, "taken back before it began: Enter sends it after all");
  input_->put_back(tasks);
}

void Interactive::complain(const Error& error) {
  view_.note(Style::red, "lares: " + printable(error.message));
}

}  // namespace lares::cli
