// A session's tests run for somebody who is not the model.
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "daemon/session/facts.h"
#include "daemon/session/session.h"
#include "daemon/utf8.h"
#include "tools/testing/run.h"

namespace lares::daemon {

using protocol::Code;

asio::awaitable<Reply<protocol::SessionTestResult>> Session::test(std::string command) {
  const auto self = shared_from_this();
  const std::string what = fmt::format("run the tests of session {}", info_.session_id);
  if (turn_ || rewinding_)
    co_return tl::unexpected(
        refusal(Code::busy, what + ": it is at work", "wait for its turn to end, or interrupt it"));
  if (info_.closed) co_return tl::unexpected(refusal(Code::not_found, what + ": it is closed"));
  const Rewinding keeps_still(*this);  // no turn changes files meanwhile
  testing_ = std::make_unique<TurnStop>();
  if (command.empty()) {  // what the repository names, and the model may have written
    auto judging = permissions_.tests_lose(info_.root);
    if (const auto why = co_await std::move(judging)) {
      testing_ = nullptr;
      co_return protocol::SessionTestResult{
          .summary = fmt::format(
              "the tests were not run: {}; run them by hand, or name the command yourself", *why)};
    }
  }
  if (testing_->requested() || info_.closed) {
    testing_ = nullptr;
    co_return tl::unexpected(refusal(Code::internal, what + ": it was interrupted"));
  }
  auto running = tools::run_tests(builtin_options(), std::move(command));
  auto until_stopped = asio::bind_cancellation_slot(testing_->tool.slot(),
                                                    asio::as_tuple(asio::use_awaitable));
  auto [thrown, ran] = co_await asio::co_spawn(world_.io, std::move(running),
                                               std::move(until_stopped));
  const bool stopped = testing_->requested();
  testing_ = nullptr;
  if (stopped) co_return tl::unexpected(refusal(Code::internal, what + ": it was interrupted"));
  if (thrown || !ran)
    co_return tl::unexpected(refusal(
        Code::internal,
        fmt::format("{}: {}", what, thrown ? "the runner is broken" : ran.error().message)));
  co_return protocol::SessionTestResult{.ran = ran->ran,
                                        .passed = ran->passed,
                                        .counted = ran->counted,
                                        .total = ran->total,
                                        .failed = ran->failed,
                                        .skipped = ran->skipped,
                                        .summary = valid_utf8(ran->text)};
}

// The model's work is done when the tests pass; where they cannot be run nobody knows, and the turn
// says so.
asio::awaitable<Checked> Session::check_work() {
  Checked checked;
  auto judging = permissions_.tests_lose(info_.root);
  if (const auto why = co_await std::move(judging)) {
    checked.done = true, checked.known = false;
    checked.text =
        valid_utf8(fmt::format("whether the tests pass is not known, they were not run: {}", *why));
    co_return checked;
  }
  auto running = tools::run_tests(builtin_options(), "");
  const auto ran = co_await std::move(running);
  if (ran && ran->passed) co_return checked;
  checked.text = valid_utf8(ran ? ran->text : ran.error().message);
  // There is nothing to fix in code that may only be slow.
  checked.known = ran && ran->ran && !ran->timed_out;
  checked.done = !checked.known;
  if (checked.done)
    checked.text.insert(0, "whether the tests pass is not known: ");
  else
    checked.text += "\n\nFind out why the tests fail and fix the code.";
  co_return checked;
}

}  // namespace lares::daemon
