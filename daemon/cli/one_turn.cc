#include "daemon/cli/one_turn.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <utility>

#include "daemon/cli/exit_status.h"
#include "daemon/cli/follower.h"
#include "daemon/cli/own_worktree.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/client/prompt_id.h"
#include "daemon/client/start.h"
#include "daemon/protocol/policies.h"
#include "daemon/protocol/turn_reasons.h"
#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

class OneTurn final : public Follower {
 public:
  OneTurn(const DaemonOptions& daemon, const TurnOptions& turn, bool worktree, std::string mode,
          std::string prompt)
      : Follower(daemon, turn.hide_thinking.value_or(false)),
        options_(turn),
        worktree_(worktree),
        mode_(std::move(mode)),
        prompt_(std::move(prompt)),
        prompt_id_(fresh_prompt_id()) {}

 private:
  Result<> begin() override {
    if (auto reached = reach_daemon(); !reached) return reached;
    if (auto served = serves_model(link_, daemon_, started_); !served) return served;
    auto session = options_.session.empty()
                       ? create()
                       : link_.call<protocol::SessionInfo>(protocol::SessionGet{options_.session});
    if (!session) return tl::unexpected(std::move(session.error()));
    session_ = std::move(*session);
    if (options_.no_sandbox && !daemon_.json)
      view_.note(Style::yellow,
                 "commands of this session run without a sandbox, with all your rights");
    if (session_.settings.think_tokens_max) view_.think_limit(*session_.settings.think_tokens_max);
    last_seq_ = session_.last_seq;
    transcript_.set_root(session_.root);
    if (!daemon_.json) warn_of_others();
    return go_on();
  }

  static bool may_write(const protocol::SessionSettings& settings) {
    return settings.mode != "ask" && !protocol::changes_nothing(settings.policy);
  }

  // Nothing keeps two that work at the same files apart.
  void warn_of_others() {
    if (!may_write(session_.settings) || mode_ == "ask") return;
    protocol::SessionList list;
    list.root = session_.root;
    const auto listed = link_.call<protocol::SessionListResult>(list);
    if (!listed) return;  // what is to be done says so itself
    for (const auto& other : listed->sessions) {
      if (other.session_id == session_.session_id || other.turn_id == 0 ||
          !may_write(other.settings))
        continue;
      return view_.note(Style::yellow,
                        fmt::format("session {} is at work on these files too, and one may "
                                    "overwrite the other's; --worktree keeps them apart",
                                    other.session_id));
    }
  }

  Result<protocol::SessionInfo> create() {
    protocol::SessionCreate request;
    request.root = options_.root;
    request.settings.mode = mode_;
    request.settings.temperature = options_.temperature;
    request.settings.seed = options_.seed;
    request.settings.steps_max = options_.steps_max;
    request.settings.no_sandbox = options_.no_sandbox;
    request.settings.until_tests_pass = options_.until_tests_pass;
    request.settings.policy = options_.policy;
    request.settings.answer_schema = options_.answer_schema;
    request.settings.unattended = "skip";  // this command waits for the turn's end: it must come
    if (!worktree_) return link_.call<protocol::SessionInfo>(request);
    auto made = create_in_worktree(link_, std::move(request), prompt_);
    if (!made) return tl::unexpected(std::move(made.error()));
    if (!daemon_.json) {
      view_.note(Style::dim, worktree_told(*made));
      if (const auto lacks = worktree_lacks(*made); !lacks.empty())
        view_.note(Style::yellow, lacks);
    }
    return std::move(made->session);
  }

  Result<> go_on() override {
    if (auto subscribed = subscribe(); !subscribed)
      return tl::unexpected(std::move(subscribed.error()));
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
      // It may have arrived, and what nobody waits for must not run later: the signal comes again,
      // and takes it back.
      if (sent.error().kind == Error::Kind::interrupted) return {};
      return tl::unexpected(std::move(sent.error()));
    }
    if (sent->turn_id != 0) turn_id_ = sent->turn_id;
    if (interrupted_) interrupt_turn();
    return {};
  }

  // Until the turn's number is known, no turn is ours.
  bool ours(std::int64_t turn_id) const override { return turn_id != 0 && turn_id == turn_id_; }

  void noticed(const protocol::Message& message) override {
    if (message.method == protocol::TurnStarted::kNotification) {
      const auto x = protocol::from_json<protocol::TurnStarted>(message.params);
      if (x && x->prompt_id == prompt_id_) turn_id_ = x->turn_id;
    } else if (message.method == protocol::PromptWithdrawn::kNotification) {
      const auto x = protocol::from_json<protocol::PromptWithdrawn>(message.params);
      if (x && x->id == prompt_id_)
        conclude({.reason = protocol::reason::kCancelled, .message = "taken back before it began"});
    }
  }

  void interrupt() override {
    if (interrupted_) {
      view_.hide_status();
      screen_.fresh_line();
      print_err("lares: left without waiting; the daemon is stopping the turn in session {}\n",
                session_.session_id);
      return leave(kExitInterrupted);
    }
    interrupted_ = true;
    if (!daemon_.json)
      view_.note(Style::yellow, turn_id_ == 0 ? "taking the prompt back; once more leaves at once"
                                              : "interrupting the turn; once more leaves at once");
    interrupt_turn();
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

  void withdraw() {
    protocol::PromptWithdraw request;
    request.session_id = session_.session_id;
    request.id = prompt_id_;
    link_.send(request);
  }

  const TurnOptions& options_;
  const bool worktree_;
  const std::string mode_, prompt_, prompt_id_;
  std::int64_t turn_id_ = 0;
};

}  // namespace

int run_turn(const DaemonOptions& daemon, const TurnOptions& turn, bool worktree, std::string mode,
             std::string prompt) {
  return OneTurn(daemon, turn, worktree, std::move(mode), std::move(prompt)).run();
}

}  // namespace lares::cli
