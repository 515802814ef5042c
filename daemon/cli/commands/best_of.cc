#include "daemon/cli/commands/best_of.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "daemon/cli/commands/best_of_attempt.h"
#include "daemon/cli/commands/worktrees.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/help.h"
#include "daemon/cli/option_checks.h"
#include "daemon/cli/own_worktree.h"
#include "daemon/cli/reach.h"
#include "daemon/cli/terminal/output.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/cli/terminal/typing.h"
#include "daemon/cli/yes_no.h"
#include "daemon/client/link.h"
#include "daemon/client/prompt_id.h"
#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kRedrawEvery{120};
// The daemon's own limit, the setting command_timeout, is a day at most.
constexpr std::chrono::hours kTestTimeout{25};

class BestOf {
 public:
  BestOf(const DaemonOptions& daemon, const TurnOptions& turn, const BestOfOptions& options,
         const std::string& prompt)
      : daemon_(daemon),
        turn_(turn),
        options_(options),
        prompt_(prompt),
        err_(Terminal::detect(STDERR_FILENO)),
        lines_(STDERR_FILENO, err_) {}

  int run() {
    const auto done = attempt_all();
    lines_.end();
    if (left_) return kExitInterrupted;
    if (!done) {
      // A worktree that was being made meanwhile goes with the connection that asked for it.
      if (done.error().kind == Error::Kind::interrupted) {
        link_.disconnect();
        (void)rejoin(link_, daemon_);
      }
      if (!attempts_.empty() && link_.connected()) remove_all();
      return fail(done.error(), daemon_.json);
    }
    const auto measured = measure_all();
    lines_.end();
    if (!measured) {
      tell_where_they_are();
      return fail(measured.error(), daemon_.json);
    }
    return conclude();
  }

 private:
  // ---- the turns

  Result<> attempt_all() {
    auto reached = reach(link_, daemon_);
    if (!reached) return tl::unexpected(std::move(reached.error()));
    if (auto served = serves_model(link_, daemon_, reached->started); !served) return served;
    std::uint64_t seed = turn_.seed ? *turn_.seed : std::random_device{}();
    for (int i = 1; i <= options_.n; ++i) {
      say(fmt::format("making worktree {} of {}", i, options_.n));
      if (auto made = begin(i, seed++); !made) return made;
    }
    say("");
    // What the first evaluates of the repository the others then find.
    if (auto sent = send(attempts_.front()); !sent) return sent;
    while (!std::ranges::all_of(attempts_, &Attempt::ended)) {
      if (left_) return {};
      if (!daemon_.json) lines_.show(attempts_);
      if (auto went = step(link_.next(Clock::now() + kRedrawEvery)); !went) return went;
      if (!sampling_ || interrupted_) continue;
      for (Attempt& a : attempts_) {
        if (a.sent) continue;
        if (auto sent = send(a); !sent) return sent;
      }
    }
    if (!daemon_.json) lines_.show(attempts_);
    return {};
  }

  Result<> begin(int number, std::uint64_t seed) {
    protocol::SessionCreate create;
    create.root = turn_.root;
    create.settings.temperature = turn_.temperature;
    create.settings.seed = seed;
    create.settings.steps_max = turn_.steps_max;
    create.settings.no_sandbox = turn_.no_sandbox;
    create.settings.until_tests_pass = turn_.until_tests_pass;
    create.settings.policy = turn_.policy;
    create.settings.answer_schema = turn_.answer_schema;
    create.settings.unattended = "skip";  // nobody can follow several at once
    auto made = create_in_worktree(link_, std::move(create), prompt_);
    if (!made) return tl::unexpected(std::move(made.error()));
    if (const auto lacks = worktree_lacks(*made); number == 1 && !lacks.empty()) say(lacks, "\n");
    Attempt a;
    a.number = number, a.branch = made->branch, a.session = std::move(made->session),
    a.prompt_id = fresh_prompt_id();
    attempts_.push_back(a);
    protocol::SessionSubscribe subscribe;
    subscribe.session_id = a.session.session_id;
    subscribe.after = a.session.last_seq;
    auto subscribed = link_.call<protocol::SessionSubscribeResult>(subscribe);
    if (!subscribed) return tl::unexpected(std::move(subscribed.error()));
    return {};
  }

  Result<> send(Attempt& a) {
    protocol::PromptSend request;
    request.session_id = a.session.session_id;
    request.id = a.prompt_id, request.content = prompt_;
    auto sent = link_.call<protocol::PromptSendResult>(request);
    if (!sent) return tl::unexpected(std::move(sent.error()));
    a.sent = true, a.turn_id = sent->turn_id;
    return {};
  }

  Result<> step(const Happening& h) {
    using Kind = Happening::Kind;
    switch (h.kind) {
      case Kind::notification:
        return notified(h);
      case Kind::closed:
        tell_where_they_are();
        return tl::unexpected(
            Error{fmt::format("the connection to the daemon was lost; see its log in {}",
                              daemon_.state_dir),
                  Error::Kind::disconnected});
      case Kind::interrupt:
      case Kind::terminate:
        interrupt();
        break;
      case Kind::hangup:
        left_ = true;
        break;
      case Kind::resized:
        lines_.resized();
        break;
      default:
        break;
    }
    return {};
  }

  void interrupt() {
    if (interrupted_) {
      tell_where_they_are();
      left_ = true;
      return;
    }
    interrupted_ = true;
    lines_.end();
    if (!daemon_.json)
      print_err("interrupting; what there is will be compared. Once more leaves at once\n");
    for (Attempt& a : attempts_) {
      if (a.sent && !a.ended) {
        protocol::TurnInterrupt request;
        request.session_id = a.session.session_id;
        link_.send(request);
      }
      if (!a.sent) a.ended = true, a.reason = "cancelled";
    }
  }

  template <class T, class F>
  void with(const Happening& h, F f) {
    if (h.message.method != T::kNotification) return;
    auto typed = protocol::from_json<T>(h.message.params);
    if (!typed) return;  // one that makes no sense is as good as an unknown one
    for (Attempt& a : attempts_)
      if (a.session.session_id == typed->at.session_id) f(a, *typed);
  }

  Result<> notified(const Happening& h) {
    if (h.message.method == protocol::ServerState::kNotification) {
      const auto state = protocol::from_json<protocol::ServerState>(h.message.params);
      if (state && state->state == "failed")
        return tl::unexpected(Error{"load the model: " + state->message});
    }
    with<protocol::SessionState>(h, [&](Attempt& a, const auto& x) {
      if (!a.ended && a.sent) a.state = x.state;
      if (x.state == "decode" || x.state == "tool") sampling_ = true;
    });
    with<protocol::ItemDelta>(h, [&](Attempt& a, const auto& x) {
      a.tokens_in_step = std::max(a.tokens_in_step, x.tokens);
    });
    with<protocol::TurnStep>(h, [&](Attempt& a, const auto& x) {
      a.step = x.step, a.tokens += x.usage.generated, a.tokens_in_step = 0;
    });
    with<protocol::TurnEnded>(h, [&](Attempt& a, const auto& x) {
      a.ended = sampling_ = true, a.reason = x.reason, a.message = x.message, a.tokens_in_step = 0;
      a.tokens = std::max(a.tokens, x.usage.generated);
    });
    if (daemon_.json) print_line(h.line);
    return {};
  }

  // ---- what came of them

  Result<> measure_all() {
    for (Attempt& a : attempts_) {
      protocol::WorktreeDiff request;
      request.session_id = a.session.session_id;
      auto diff = link_.call<protocol::WorktreeDiffResult>(request);
      if (!diff) return tl::unexpected(std::move(diff.error()));
      a.diff = std::move(*diff);
    }
    // One after the other: side by side they would be slower, and some would not be in time.
    for (Attempt& a : attempts_) {
      say(fmt::format("testing attempt {} of {}", a.number, options_.n));
      if (auto tested = test(a); !tested) return tested;
    }
    say("");
    return {};
  }

  Result<> test(Attempt& a) {
    if (a.diff.n_changed == 0) {
      a.untested = "it changed nothing";
      return {};
    }
    protocol::SessionTest request;
    request.session_id = a.session.session_id, request.command = options_.test;
    auto done = link_.call<protocol::SessionTestResult>(request, kTestTimeout);
    if (done) {
      a.test = std::move(*done);
      return {};
    }
    if (done.error().kind != Error::Kind::refused) {  // Ctrl-C too
      protocol::TurnInterrupt stop;
      stop.session_id = a.session.session_id;
      link_.send(stop);
      return tl::unexpected(std::move(done.error()));
    }
    a.untested = done.error().message;
    return {};
  }

  int conclude() {
    const auto order = ranked(attempts_);
    const Attempt& best = *order.front();
    const Terminal out = Terminal::detect(STDOUT_FILENO);
    if (!daemon_.json) {
      for (const Attempt& a : attempts_)
        if (!a.message.empty()) print_err("attempt {}: {}\n", a.number, printable(a.message));
      print_patch(best.diff.diff, STDOUT_FILENO, out);
      if (best.diff.cut)
        print_out("[cut; `lares apply --diff {}` shows more, or where it lies]\n",
                  best.session.session_id);
      print_out("\n{}", best_of_table(order, out));
      if (!best.passes())
        print_out("{}\n", printable(best.untested.empty() ? best.test.summary : best.untested));
      std::fflush(stdout);
    }
    const bool applied = wants(best) && apply(best);
    if (!options_.keep) remove_losers(best);
    if (daemon_.json) print_line(protocol::dump(best_of_json(order, applied)));
    if (apply_failed_) return kExitError;
    return best.passes() ? kExitFinished : interrupted_ ? kExitInterrupted : kExitError;
  }

  bool wants(const Attempt& best) {
    if (best.diff.n_changed == 0) {
      if (!daemon_.json) print_out("none of them changed anything\n");
      return false;
    }
    if (!best.passes()) {
      if (!daemon_.json)
        print_out(
            "none passes its tests, so nothing is applied; `lares apply {}` does it all the same\n",
            best.session.session_id);
      return false;
    }
    if (options_.apply) return true;
    const bool asks = !daemon_.json && !interrupted_ && ::isatty(STDIN_FILENO) == 1 &&
                      ::isatty(STDOUT_FILENO) == 1;
    if (asks && confirmed(best)) return true;
    if (!daemon_.json)
      print_out("`lares apply {}` brings it into your worktree\n", best.session.session_id);
    return false;
  }

  bool confirmed(const Attempt& best) {
    forget_typed(STDIN_FILENO);  // the attempts took minutes
    print_err("Apply {} to your worktree? [y/N] ", best.session.session_id);
    link_.read_line();
    for (;;) {
      const Happening h = link_.next(Clock::now() + std::chrono::hours(24));
      if (h.kind == Happening::Kind::typed) return is_yes(h.line);
      using Kind = Happening::Kind;
      if (h.kind == Kind::notification || h.kind == Kind::answer || h.kind == Kind::resized ||
          h.kind == Kind::tick)
        continue;
      print_err("\n");
      return false;
    }
  }

  bool apply(const Attempt& best) {
    protocol::WorktreeApply request;
    request.session_id = best.session.session_id;
    const auto done = link_.call<protocol::WorktreeApplyResult>(request);
    if (!done) {
      apply_failed_ = true;
      fail(done.error(), daemon_.json);
      return false;
    }
    if (!daemon_.json) print_out("{}", applied_text(*done, request));
    return true;
  }

  // ---- the worktrees

  void remove(const Attempt& a) {
    protocol::WorktreeRemove request;
    request.session_id = a.session.session_id, request.branch = true, request.force = true;
    const auto removed = link_.call<protocol::WorktreeRemoveResult>(request);
    if (!removed) fail(removed.error(), daemon_.json);
  }
  void remove_losers(const Attempt& best) {
    for (const Attempt& a : attempts_)
      if (&a != &best) remove(a);
  }
  void remove_all() {
    for (const Attempt& a : attempts_) remove(a);
  }

  void tell_where_they_are() {
    lines_.end();
    if (!daemon_.json)
      print_err("the attempts are in their worktrees; `lares worktrees` lists them\n");
  }

  // On a terminal the next takes its place, unless `end` says otherwise.
  void say(const std::string& what, const char* end = "") {
    if (daemon_.json || (!err_.is_terminal && what.empty())) return;
    if (!err_.is_terminal) return print_err("{}\n", what);
    print_err("\r\x1b[2K{}{}", what, end);
  }

  const DaemonOptions& daemon_;
  const TurnOptions& turn_;
  const BestOfOptions& options_;
  const std::string& prompt_;
  Link link_;
  const Terminal err_;
  AttemptLines lines_;
  std::vector<Attempt> attempts_;
  bool sampling_ = false, interrupted_ = false, left_ = false, apply_failed_ = false;
};

}  // namespace

void BestOfOptions::add_to(CLI::App& app) {
  auto* best = app.add_option("--best-of", n, "try N times, each in its own worktree; tests decide")
                   ->check(whole_number_in(kAttemptsMin, kAttemptsMax));
  app.add_option("--test", test,
                 "what the tests are, for a shell (default: what the tool `test` finds)")
      ->group(kSeldom);
  app.add_flag("--apply", apply, "bring the best into your worktree, if it passes")->needs(best);
  app.add_flag("--keep", keep, "keep the worktrees of the others too")->needs(best)->group(kSeldom);
}

std::string BestOfOptions::wrong(const TurnOptions& turn, bool worktree) const {
  if (n == 0 && !test.empty())
    return fmt::format(
        "--test is what --best-of N is decided by; one try works until its tests pass with "
        "--until-tests-pass, and .lares/config.json says what they are: {}",
        protocol::dump({{"test", test}}));
  if ((n > 0 || worktree) && (turn.newest || !turn.session.empty()))
    return fmt::format("{} continues a session where it is: leave out --worktree and --best-of",
                       turn.newest ? "--continue" : "--session");
  if (n > 0 && worktree) return "--best-of makes worktrees anyway: leave out --worktree";
  if (n > 0 && turn.temperature && *turn.temperature == 0)
    return "--best-of of the likeliest tokens is the same every time: leave out --greedy";
  return "";
}

int best_of(const DaemonOptions& daemon, const TurnOptions& turn, const BestOfOptions& options,
            const std::string& prompt) {
  return BestOf(daemon, turn, options, prompt).run();
}

}  // namespace lares::cli
