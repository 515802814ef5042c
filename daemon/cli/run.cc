// lares run and lares ask: one turn, from the prompt to its end, across daemon restarts.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/cli/approval.h"
#include "daemon/cli/best_of.h"
#include "daemon/cli/changes.h"
#include "daemon/cli/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/link.h"
#include "daemon/cli/options.h"
#include "daemon/cli/output.h"
#include "daemon/cli/prompt_id.h"
#include "daemon/cli/screen.h"
#include "daemon/cli/start.h"
#include "daemon/cli/text.h"
#include "daemon/cli/transcript.h"
#include "daemon/cli/turn_view.h"
#include "daemon/worktree_wire.h"

namespace lares::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kRedrawEvery{120};
constexpr int kReconnectsMax =
    5;  // in one turn; a daemon that keeps dying is reported, not retried for ever

constexpr std::chrono::minutes kWorktreeTimeout{10};  // to make one: a checkout and two snapshots
constexpr int kTitleColumns = 60;

std::string title_of(const std::string& prompt) { return clip(one_line(prompt.substr(0, 4 * kTitleColumns)), kTitleColumns, ""); }

int status_of(const std::string& reason) {
  if (reason == "end_turn") return kExitFinished;
  if (reason == "cancelled") return kExitInterrupted;
  if (reason == "max_tokens" || reason == "max_steps" || reason == "context_full" ||
      reason == "repetition")
    return kExitLimited;
  return kExitError;
}

Transcript::Options view_options(const DaemonOptions& daemon, const TurnOptions& turn) {
  Transcript::Options o;
  o.answer_live = ::isatty(STDOUT_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1 && !daemon.json;
  o.show_thinking = !turn.hide_thinking;
  return o;
}

class Turn {
 public:
  Turn(const DaemonOptions& daemon, const TurnOptions& turn, bool worktree, std::string mode, std::string prompt)
      : daemon_(daemon),
        options_(turn),
        worktree_(worktree),
        mode_(std::move(mode)),
        prompt_(std::move(prompt)),
        prompt_id_(fresh_prompt_id()),
        screen_(STDERR_FILENO, Terminal::detect(STDERR_FILENO)),
        transcript_(screen_, view_options(daemon, turn)),
        view_(screen_, transcript_) {}

  int run() {
    auto begun = begin();
    while (begun && !exit_) {
      if (lost_) {
        begun = reconnect();
        continue;
      }
      view_tick();
      step(link_.next(Clock::now() + kRedrawEvery));
    }
    view_.hide_status();
    if (exit_) return *exit_;
    if (started_) end_useless_daemon(link_);
    transcript_.finish();
    screen_.fresh_line();
    if (interrupted_) begun.error().kind = Error::Kind::interrupted;
    return fail(begun.error(), daemon_.json);
  }

 private:
  Result<> reach_daemon() {
    auto reached = reach(link_, daemon_, [&](double) {
      if (!daemon_.json) view_.waiting("starting the daemon");
    });
    if (!reached) return tl::unexpected(std::move(reached.error()));
    started_ = started_ || reached->started;
    return {};
  }

  Result<> begin() {
    if (auto reached = reach_daemon(); !reached) return reached;
    if (auto served = serves_model(link_, daemon_, started_); !served) return served;
    if (options_.session.empty()) {
      protocol::SessionCreate create;
      create.root = options_.root;
      create.settings.mode = mode_;
      create.settings.temperature = options_.temperature;
      create.settings.seed = options_.seed;
      create.settings.steps_max = options_.steps_max;
      create.settings.no_sandbox = options_.no_sandbox;
      create.settings.policy = options_.policy;
      create.settings.unattended = "skip";  // this command waits for the turn's end: it must come
      if (worktree_) create.title = title_of(prompt_);  // its branch is called by it
      protocol::WorktreeCreate request;
      request.create = std::move(create), request.worktree = worktree_;
      auto made = link_.call<protocol::WorktreeCreated>(request, worktree_ ? kWorktreeTimeout : kAnswerTimeout);
      if (!made) return tl::unexpected(std::move(made.error()));
      session_ = std::move(made->session);
      if (worktree_ && !daemon_.json) view_.note(Style::dim, fmt::format("works in {}, on the branch {}", session_.root, made->branch));
    } else {
      protocol::SessionGet get;
      get.session_id = options_.session;
      auto got = link_.call<protocol::SessionInfo>(get);
      if (!got) return tl::unexpected(std::move(got.error()));
      session_ = std::move(*got);
    }
    if (options_.no_sandbox && !daemon_.json) {
      view_.note(Style::yellow,
                 "commands of this session run without a sandbox, with all your rights");
    }
    if (session_.settings.think_tokens_max) view_.think_limit(*session_.settings.think_tokens_max);
    last_seq_ = session_.last_seq;
    transcript_.set_root(session_.root);
    return subscribe_and_send();
  }

  Result<> subscribe_and_send() {
    protocol::SessionSubscribe subscribe;
    subscribe.session_id = session_.session_id;
    subscribe.after = last_seq_;
    subscribe.interactive = can_answer();
    auto subscribed = link_.call<protocol::SessionSubscribeResult>(subscribe);
    if (!subscribed) return tl::unexpected(std::move(subscribed.error()));
    protocol::PromptSend send;
    send.session_id = session_.session_id;
    send.id = prompt_id_;
    send.content = prompt_;
    send.delivery = options_.delivery;
    send.mode = mode_;
    // The same id with the same content does nothing the second time, so after a lost connection
    // this is safe.
    auto sent = link_.call<protocol::PromptSendResult>(send);
    if (!sent) {
      // It may have arrived: what nobody waits for must not run later.
      if (sent.error().kind == Error::Kind::interrupted) withdraw();
      return tl::unexpected(std::move(sent.error()));
    }
    if (sent->turn_id != 0) turn_id_ = sent->turn_id;
    if (interrupted_) interrupt_turn();
    return {};
  }

  // The turn does not depend on this connection: the daemon goes on with it, or writes down that it
  // died.
  Result<> reconnect() {
    view_.hide_status();
    if (++reconnects_ > kReconnectsMax) {
      return tl::unexpected(
          Error{fmt::format("the connection to the daemon was lost {} times; see its log in {}",
                            reconnects_, daemon_.state_dir)});
    }
    if (!daemon_.json) view_.note(Style::yellow, "lost the connection to the daemon; reconnecting");
    lost_ = false;
    if (auto reached = reach_daemon(); !reached) return reached;
    auto again = subscribe_and_send();
    if (!again && again.error().kind == Error::Kind::disconnected) {
      lost_ = true;
      return {};
    }
    if (again && !daemon_.json)
      view_.note(Style::yellow,
                 started_ ? "restarted the daemon; the session continues" : "reconnected");
    return again;
  }

  bool can_answer() const {
    return !daemon_.json && ::isatty(STDIN_FILENO) == 1 && screen_.terminal().width > 0;
  }

  void view_tick() {
    if (!daemon_.json && !question_open_) view_.tick();
  }

  void step(const Happening& h) {
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
      case Happening::Kind::hangup:  // nobody is left to read; the turn goes on and its session can
                                     // be continued
        exit_ = kExitInterrupted;
        break;
      case Happening::Kind::resized:
        screen_.resized();
        break;
      case Happening::Kind::typed:
        reply(h.line);
        break;
      case Happening::Kind::no_more_input:
        if (question_open_)
          view_.note(Style::yellow, "no answer can be typed here; interrupt the turn with Ctrl-C");
        question_open_ = false;
        break;
      case Happening::Kind::answer:
      case Happening::Kind::keys:  // not asked for here, and neither is job control
      case Happening::Kind::suspend:
      case Happening::Kind::resume:
      case Happening::Kind::tick:
        break;
    }
  }

  void interrupt() {
    if (interrupted_) {
      view_.hide_status();
      screen_.fresh_line();
      fmt::print(stderr,
                 "lares: left without waiting; the daemon is stopping the turn in session {}\n",
                 session_.session_id);
      exit_ = kExitInterrupted;
      return;
    }
    interrupted_ = true;
    if (!daemon_.json) {
      view_.note(Style::yellow, turn_id_ == 0 ? "taking the prompt back; once more leaves at once"
                                              : "interrupting the turn; once more leaves at once");
    }
    interrupt_turn();
  }

  void withdraw() {
    protocol::PromptWithdraw request;
    request.session_id = session_.session_id;
    request.id = prompt_id_;
    link_.send(request);
  }

  // A prompt that still waits has no turn: whichever runs now is somebody else's.
  void interrupt_turn() {
    if (turn_id_ == 0) {
      withdraw();
    } else {
      protocol::TurnInterrupt request;
      request.session_id = session_.session_id;
      request.turn_id = turn_id_;
      link_.send(request);
    }
    if (!daemon_.json) view_.waiting("stopping");
  }

  // Whether a notification is about the turn that this command began. Until its number is known,
  // none is.
  bool ours(std::int64_t turn_id) const { return turn_id != 0 && turn_id == turn_id_; }

  template <class T, class F>
  void with(const Happening& h, F f) {
    auto typed = protocol::from_json<T>(h.message.params);
    if (typed) f(*typed);  // one that makes no sense is as good as an unknown one: ignored
  }

  void notified(const Happening& h) {
    const std::string& m = h.message.method;
    if (daemon_.json) {
      print_line(h.line);
    }
    if (const auto seq = h.message.params.find("seq");
        seq != h.message.params.end() && seq->is_number_integer()) {
      last_seq_ = std::max(last_seq_, seq->get<std::int64_t>());
    }
    if (m == protocol::ServerState::kNotification) {
      with<protocol::ServerState>(h, [&](const auto& x) { server_state(x); });
    } else if (m == protocol::TurnStarted::kNotification) {
      with<protocol::TurnStarted>(h, [&](const auto& x) {
        if (x.prompt_id == prompt_id_) turn_id_ = x.turn_id;
      });
    } else if (m == protocol::PromptWithdrawn::kNotification) {
      with<protocol::PromptWithdrawn>(h, [&](const auto& x) {
        if (x.id == prompt_id_) ended({.reason = "cancelled", .message = "taken back before it began"});
      });
    } else if (m == protocol::TurnEnded::kNotification) {
      with<protocol::TurnEnded>(h, [&](const auto& x) {
        if (ours(x.turn_id)) ended(x);
      });
    } else if (m == protocol::ItemCompleted::kNotification) {
      with<protocol::ItemCompleted>(h, [&](const auto& x) {
        if (!ours(x.item.turn_id)) return;
        changes_.add(x.item);
        if (!daemon_.json) view_.item_completed(x.item);
        if (x.item.id == question_id_) question_open_ = false;
      });
    } else if (m == protocol::ConnectionEvicted::kNotification) {
      lost_ = true;  // and the daemon closes next
    } else if (!daemon_.json) {
      shown(h);
    }
  }

  // What is only for the eyes.
  void shown(const Happening& h) {
    const std::string& m = h.message.method;
    if (m == protocol::SessionState::kNotification) {
      with<protocol::SessionState>(h, [&](const auto& x) {
        if (!interrupted_) view_.session_state(x);
      });
    } else {
      view_.show(h.message, [this](std::int64_t turn_id) { return ours(turn_id); });
    }
    if (m == protocol::ItemUpdated::kNotification) {
      with<protocol::ItemUpdated>(h, [&](const auto& x) {
        if (ours(x.item.turn_id) && x.item.state == "waiting") ask(x.item);
        if (ours(x.item.turn_id) && x.item.state == "asking") ask_permission(x.item);
      });
    }
  }

  void ask(const protocol::Item& item) {
    if (!can_answer()) return;
    const Json arguments = Json::parse(item.arguments, nullptr, /*allow_exceptions=*/false);
    std::string question;
    if (arguments.is_object() && arguments.contains("question") &&
        arguments["question"].is_string()) {
      question = arguments["question"].get<std::string>();
    }
    view_.hide_status();
    view_.note(Style::bold,
               question.empty() ? "the model asks; type an answer:" : one_line(question));
    ask_line(item.id);
  }

  void ask_permission(const protocol::Item& item) {
    if (!can_answer()) return;
    view_.hide_status();
    view_.note(Style::bold, approval_question(item));
    view_.note(Style::dim, approval_choices(item));
    asking_ = item;
    ask_line(item.id);
  }

  void ask_line(const std::string& item_id) {
    screen_.write("> ", 2);
    question_open_ = true;
    question_id_ = item_id;
    link_.read_line();
  }

  void reply(const std::string& line) {
    if (!question_open_) return;
    if (asking_.id == question_id_) {
      auto answer = approval_of(line, asking_);
      screen_.write("", 0);
      if (!answer) return ask_line(asking_.id);
      question_open_ = false;
      answer->session_id = session_.session_id;
      link_.send(*answer);
      return;
    }
    question_open_ = false;
    screen_.write("", 0);  // the terminal echoed the line and its end
    protocol::QuestionReply answer;
    answer.session_id = session_.session_id;
    answer.item_id = question_id_;
    answer.text = line;
    link_.send(answer);
  }

  void server_state(const protocol::ServerState& state) {
    if (state.state == "failed") {
      if (started_) end_useless_daemon(link_);
      view_.hide_status();
      transcript_.finish();
      exit_ = fail(Error{"load the model: " + state.message}, daemon_.json);
      return;
    }
    if (!daemon_.json) view_.model_state(state);
  }

  void ended(const protocol::TurnEnded& ended) {
    view_.hide_status();
    exit_ = status_of(ended.reason);
    if (daemon_.json) {
      Json changes = Json::array();
      for (const auto& change : changes_.all()) changes.push_back(protocol::to_json(change));
      const Json result = {{"type", "result"},         {"session", session_.session_id},
                           {"turn", ended.turn_id},    {"stop_reason", ended.reason},
                           {"message", ended.message}, {"usage", protocol::to_json(ended.usage)},
                           {"changes", changes}};
      print_line(protocol::dump(result));
      return;
    }
    transcript_.finish();
    const Terminal& t = screen_.terminal();
    const Style style = *exit_ == kExitFinished ? Style::dim
                        : *exit_ == kExitError  ? Style::red
                                                : Style::yellow;
    screen_.line("");
    screen_.line(t.paint(style, view_.summary(ended, changes_, session_.session_id)));
    if (worktree_) screen_.line(t.paint(style, fmt::format("your worktree is as it was; `lares apply {}` brings this into it", session_.session_id)));
  }

  const DaemonOptions& daemon_;
  const TurnOptions& options_;
  const bool worktree_;
  const std::string mode_, prompt_, prompt_id_;
  Link link_;
  Screen screen_;
  Transcript transcript_;
  TurnView view_;
  protocol::SessionInfo session_;
  Changes changes_;
  std::int64_t last_seq_ = 0, turn_id_ = 0;
  std::string question_id_;
  protocol::Item asking_;  // the call that asks for permission
  bool question_open_ = false, started_ = false, lost_ = false, interrupted_ = false;
  int reconnects_ = 0;
  std::optional<int> exit_;
};

std::string read_stdin() {
  std::string text;
  char block[65536];
  for (std::size_t n; (n = std::fread(block, 1, sizeof block, stdin)) > 0;) {
    text.append(block, n);
    if (text.size() > protocol::kPromptBytesMax) break;
  }
  return text;
}

int turn_command(int argc, const char* const* argv, const char* name, const char* what,
                 const char* argument, std::string mode) {
  CLI::App app(what, name);
  DaemonOptions daemon;
  TurnOptions turn;
  std::string prompt;
  app.add_option(argument, prompt, "what to do, in your words; - reads it from stdin")->required();
  turn.add_to(app);
  BestOfOptions best;
  bool worktree = false;
  if (mode == "work") {
    app.add_flag("--worktree", worktree, "work in a git worktree of its own, on a new branch; yours stays as it is until `lares apply`");
    best.add_to(app);
  }
  daemon.add_to(app, /*starts_daemon=*/true);
  app.footer(
      std::string("The answer goes to stdout, everything else to stderr: `") + name +
      " ... > answer.txt` keeps the answer alone.\nCtrl-C stops the turn; a second one leaves at "
      "once. With --json every "
      "notification of the daemon is a line,\nand the last line is {\"type\":\"result\",...}.\n" +
      kExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  if (prompt == "-") prompt = read_stdin();
  if (prompt.find_first_not_of(" \t\r\n") == std::string::npos) {
    fmt::print(stderr, "{}: the {} is empty\n", name, argument);
    return kExitUsage;
  }
  if (prompt.size() > protocol::kPromptBytesMax) {
    fmt::print(
        stderr,
        "{}: the {} is longer than {} bytes; put it into a file of the repository and name that\n",
        name, argument, protocol::kPromptBytesMax);
    return kExitUsage;
  }
  if (auto usable = turn.resolve(); !usable) {
    fail(usable.error(), daemon.json);
    return kExitUsage;
  }
  if (const std::string wrong = best.wrong(turn, worktree); !wrong.empty()) {
    fmt::print(stderr, "{}: {}\n", name, wrong);
    return kExitUsage;
  }
  if (auto usable = daemon.resolve(); !usable) return fail(usable.error(), daemon.json);
  if (best.n > 0) return best_of(daemon, turn, best, prompt);
  return Turn(daemon, turn, worktree, std::move(mode), std::move(prompt)).run();
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
