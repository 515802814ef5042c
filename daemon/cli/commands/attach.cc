// lares attach and lares stop: a session that works, from another terminal.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/follower.h"
#include "daemon/cli/interactive/recap.h"
#include "daemon/cli/terminal/output.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/cli/which_session.h"
#include "daemon/settings.h"
#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

using Clock = std::chrono::steady_clock;

// a token, a prefill chunk, or the kill of a command
constexpr std::chrono::seconds kStopWithin{60};

class Attachment final : public Follower {
 public:
  Attachment(WhichRunning& which, bool keeps_on, bool hide_thinking)
      : Follower(which.daemon, hide_thinking), which_(which), keeps_on_(keeps_on) {}

 private:
  Result<> begin() override {
    auto found = which_.find(link_);
    if (!found) return tl::unexpected(std::move(found.error()));
    session_ = std::move(*found);
    if (session_.turn_id == 0 && !keeps_on_) {
      return tl::unexpected(
          Error{fmt::format("attach to session {}: no turn runs in it; `lares log --session {}` "
                            "shows the last one, --follow waits for the next",
                            session_.session_id, session_.session_id)});
    }
    first_turn_ = session_.turn_id, works_ = first_turn_ != 0;
    last_seq_ = session_.last_seq;
    if (first_turn_ != 0) {
      const auto before = before_turn(link_, session_, first_turn_);
      if (!before) return tl::unexpected(before.error());
      last_seq_ = *before;
    }
    transcript_.set_root(session_.root);
    if (session_.settings.think_tokens_max) view_.think_limit(*session_.settings.think_tokens_max);
    if (!daemon_.json) {
      const std::string title =
          session_.title.empty()
              ? ""
              : fmt::format(" ({})", clip(one_line(session_.title), kTitleColumnsMax, "..."));
      const std::string turn = first_turn_ != 0 ? fmt::format("turn {}", first_turn_)
                                                : "waiting for a turn";
      view_.note(Style::dim, fmt::format("session {}{}, {}; Ctrl-C leaves and stops nothing",
                                         session_.session_id, title, turn));
    }
    return go_on();
  }

  Result<> go_on() override {
    if (!link_.connected()) {
      if (auto reached = reach_daemon(); !reached) return reached;
    }
    auto subscribed = subscribe();
    if (!subscribed) return tl::unexpected(std::move(subscribed.error()));
    return {};
  }

  bool ours(std::int64_t turn_id) const override { return turn_id != 0 && turn_id >= first_turn_; }

  bool works() const override { return works_; }

  void noticed(const protocol::Message& message) override {
    if (message.method == protocol::TurnStarted::kNotification) {
      changes_ = {}, works_ = true;
    } else if (message.method == protocol::SessionClosed::kNotification) {
      if (!daemon_.json) view_.note(Style::yellow, "the session was closed");
      leave(kExitFinished);
    } else if (message.method == protocol::ItemCompleted::kNotification && !daemon_.json) {
      const auto x = protocol::from_json<protocol::ItemCompleted>(message.params);
      if (x && x->item.kind == "user" && ours(x->item.turn_id)) transcript_.said(x->item.text, "");
    }
  }

  void interrupt() override {
    view_.hide_status();
    transcript_.finish();
    screen_.fresh_line();
    if (!daemon_.json)
      print_err(
          "lares: left; session {0} goes on: `lares attach {0}` comes back to it, `lares "
          "stop {0}` stops its turn\n",
          session_.session_id);
    leave(kExitInterrupted);
  }

  void ended(const protocol::TurnEnded& ended) override {
    if (!keeps_on_) return conclude(ended);
    works_ = false;
    view_.hide_status();
    sum_up(ended);
    view_.turn_ended();
  }

  static constexpr int kTitleColumnsMax = 40;
  WhichRunning& which_;
  const bool keeps_on_;
  std::int64_t first_turn_ = 0;
  bool works_ = false;  // a turn runs
};

// Waits for the end of a turn that was asked to stop.
Result<protocol::TurnEnded> wait_for_end(Link& link, const std::string& session,
                                         std::int64_t turn_id) {
  const auto deadline = Clock::now() + kStopWithin;
  for (;;) {
    const Happening h = link.next(deadline);
    if (h.kind == Happening::Kind::notification &&
        h.message.method == protocol::TurnEnded::kNotification) {
      const auto x = protocol::from_json<protocol::TurnEnded>(h.message.params);
      if (x && x->at.session_id == session && x->turn_id == turn_id) return *x;
    } else if (h.kind == Happening::Kind::closed) {
      return tl::unexpected(Error{fmt::format(
          "stop session {}: the daemon ended meanwhile, and its turns with it", session)});
    } else if (h.kind == Happening::Kind::interrupt || h.kind == Happening::Kind::terminate ||
               h.kind == Happening::Kind::hangup) {
      return tl::unexpected(Error{
          fmt::format("stop session {}: left without waiting; it was asked to and will", session),
          Error::Kind::interrupted});
    } else if (h.kind == Happening::Kind::tick && Clock::now() >= deadline) {
      return tl::unexpected(Error{fmt::format(
          "stop session {}: turn {} still runs after {} s; `lares attach {}` shows what it does",
          session, turn_id, kStopWithin.count(), session)});
    }
  }
}

}  // namespace

int attach_command(int argc, const char* const* argv) {
  CLI::App app(
      "Follows a session that works, from its running turn on, and answers what it asks. Ctrl-C "
      "leaves; the turn goes on.",
      "lares attach");
  WhichRunning which;
  bool keeps_on = false;
  std::optional<bool> hide_thinking;
  which.add_to(app);
  app.add_flag("--follow", keeps_on, "stay for later turns (default: until the running one ends)");
  app.add_flag_function(
      "--hide-thinking", [&](std::int64_t n) { hide_thinking = n > 0; },
      "show calls and the answer only");  // =false: though the settings say it
  app.footer(kExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  const auto settings = user_settings();
  if (!settings) return fail(settings.error(), which.daemon.json);
  return Attachment(which, keeps_on,
                    hide_thinking.value_or(settings->flag("hide_thinking").value_or(false)))
      .run();
}

int stop_command(int argc, const char* const* argv) {
  CLI::App app(
      "Stops the running turn of a session. What it did stays; prompts that wait begin their own "
      "turns.",
      "lares stop");
  WhichRunning which;
  which.add_to(app);
  app.footer(kShortExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  const bool& json = which.daemon.json;
  Link link;
  const auto session = which.find(link);
  if (!session) return fail(session.error(), json);
  const std::string& id = session->session_id;
  protocol::SessionSubscribe subscribe;
  subscribe.session_id = id;
  subscribe.after = session->last_seq;
  if (const auto subscribed = link.call<protocol::SessionSubscribeResult>(subscribe); !subscribed)
    return fail(subscribed.error(), json);
  protocol::TurnInterrupt request;
  request.session_id = id;
  request.turn_id = session->turn_id;
  const auto stopped = link.call<protocol::TurnInterruptResult>(request);
  if (!stopped) return fail(stopped.error(), json);
  if (stopped->turn_id == 0) {
    const Json result = {{"session", id}, {"turn", 0}, {"stop_reason", nullptr}};
    if (json)
      print_line(protocol::dump(result));
    else
      print_out("no turn runs in session {}\n", id);
    return kExitFinished;
  }
  const auto ended = wait_for_end(link, id, stopped->turn_id);
  if (!ended) return fail(ended.error(), json);
  const Json result = {{"session", id}, {"turn", ended->turn_id}, {"stop_reason", ended->reason}};
  if (json)
    print_line(protocol::dump(result));
  else
    print_out("stopped turn {} of session {}; `lares --session {}` goes on\n", ended->turn_id, id,
              id);
  return kExitFinished;
}

}  // namespace lares::cli
