#include "daemon/turn/calls.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <utility>

#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "daemon/on_disk_pool.h"
#include "daemon/protocol/redrawn.h"
#include "daemon/turn/until_stopped.h"
#include "daemon/utf8.h"
#include "engine/exact_json.h"
#include "tools/clip.h"
#include "tools/outline/syntax_check.h"

namespace lares::daemon {
namespace {

using Clock = std::chrono::steady_clock;
using protocol::Item;

// A tool reports what goes wrong; what it throws is a cancellation, or its bug.
tools::Error stopped_by(std::exception_ptr thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const boost::system::system_error& e) {
    if (e.code() == asio::error::operation_aborted) return {tools::Errc::cancelled, "cancelled"};
    return {tools::Errc::broken, e.what()};
  } catch (const std::exception& e) {
    return {tools::Errc::broken, e.what()};
  }
}

std::string refusal_of(const std::string& tool, const engine::Rounded& rounded) {
  constexpr std::size_t kDigitsShownMax = 100;
  const bool cut = rounded.digits.size() > kDigitsShownMax;
  return fmt::format(
      "This call of {} did not run: argument {}: {:.{}}{} does not fit in 64 bits; pass it as a "
      "string.",
      tool, rounded.path, rounded.digits, kDigitsShownMax, cut ? "..." : "");
}

}  // namespace

asio::awaitable<TurnCalls::Made> TurnCalls::run(Item& item, const tools::OnOutput& heard) {
  by_disk_ = false;
  auto running = pass_or_run(item, heard);
  const int n = co_await std::move(running);
  co_return made(item, n);
}

// Tests leave files behind, which makes nothing else worth another try.
TurnCalls::Made TurnCalls::made(const Item& item, int n) {
  const bool same = !item.snapshot.empty() && item.snapshot == item.snapshot_after;
  if (item.changes_untold ? item.name != kTestTool && !same : !item.changes.empty())
    made_.changed();
  const bool failed = item.state != "done";
  if (item.state == "cancelled" || (!failed && !(item.changes_untold && same))) return {n};
  if (failed && by_disk_ && made_.failed_by_disk() >= kDiskStop) return {kCallsStop, true, true};
  const int n_in_vain = made_.in_vain(item.name, item.arguments, item.output);
  return {std::max(n, n_in_vain), failed, false};
}

asio::awaitable<int> TurnCalls::pass_or_run(Item& item, const tools::OnOutput& heard) {
  tools::Tool* const named = find_tool(tools_, item.name);
  // Each of the object's values may be nested as deep as one may
  auto args = engine::exact_json<nlohmann::json>(item.arguments, engine::kJsonDepthMax + 1);
  if (!named || !args.is_object()) {  // the parser only lets declared, well-formed calls through
    reject(item, fmt::format("There is no tool {}.", item.name));
    co_return 1;
  }
  if (const auto rounded = engine::round_to_doubles(args)) {  // which another call would be
    reject(item, refusal_of(item.name, *rounded));
    co_return 1;
  }
  const bool reading = in_.settings.tools == ToolUse::reading;
  tools::Tool* const tool = reading ? named->for_reading() : named;
  const bool stands_in = tool != named;
  if (!tool || (reading && !stands_in && tool->mutates(args))) {
    reject(item, fmt::format("{}: nothing is changed in this turn.", item.name));
    co_return 1;
  }
  if (!co_await let_pass(item)) co_return 1;
  const bool mutates = !stands_in && tool->mutates(args);
  // A shell for reading has a state, too, and is under the rules about commands.
  const int n = made_.count(item.name, item.arguments, mutates || stands_in);
  const bool judged = mutates || (stands_in && !tool->mutates(args));
  if (judged && in_.permit && !co_await permitted(item, args)) co_return n;
  item.changes_untold = mutates && !tool->tells_changes(args);
  item.state = item.name == kAskUser ? "waiting" : "running";
  events_.state(item.name == kAskUser ? "waiting" : "tool");
  events_.item_updated(item);
  if (stop_.requested()) {  // that it begins could not be written down
    item.changes_untold = false;
    cancel(item);
    co_return n;
  }
  auto foreseeing = foreseen(item, args);
  const auto edit = co_await std::move(foreseeing);
  const auto made = edit ? std::optional(edit->after) : std::nullopt;
  auto running = run_tool(*tool, item, args, heard);
  co_await std::move(running);
  if (mutates) vain_.made(item.name, args, made, item.state == "done");
  auto telling = tell_afterwards(item);
  co_await std::move(telling);
  events_.item_completed(item);
  co_return n;
}

asio::awaitable<void> TurnCalls::run_tool(tools::Tool& tool, Item& item, const nlohmann::json& args,
                                          const tools::OnOutput& heard) {
  const auto began = Clock::now();
  const auto io = co_await asio::this_coro::executor;
  tools::Clip so_far("", item.name);  // what people were shown: of a flood not every byte
  tools::OnOutput on_output = [this, id = item.id, &heard, &so_far](const std::string& piece) {
    const std::string text = valid_utf8(piece);
    so_far.append(text);
    events_.item_delta(id, "output", text, 0);
    heard(text);
  };
  auto running = tool.run(args, std::move(on_output));
  auto token = asio::bind_cancellation_slot(stop_.tool.slot(), asio::as_tuple(asio::use_awaitable));
  auto [thrown, outcome] = co_await asio::co_spawn(io, std::move(running), std::move(token));
  if (thrown) outcome = tl::unexpected(stopped_by(thrown));
  item.elapsed_ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began).count();
  ran_ms_ += item.elapsed_ms;
  if (outcome) {
    item.state = outcome->ok ? "done" : "failed";
    item.output = valid_utf8(outcome->text);
    by_disk_ = outcome->disk;
    for (const auto& change : outcome->changes)
      item.changes.push_back(
          {change.path, valid_utf8(change.diff), change.before, change.after, change.shown});
  } else if (outcome.error().code == tools::Errc::cancelled) {
    item.state = "cancelled", item.output = so_far.finish();
    if (!item.output.empty() && !item.output.ends_with('\n')) item.output += '\n';
    item.output += kCancelledCall;
  } else {
    why_broken_ = fmt::format("the tool {} is broken: {}", item.name, outcome.error().message);
    item.state = "failed", item.output = outcome.error().message;
  }
}

asio::awaitable<void> TurnCalls::tell_afterwards(Item& item) {
  if (item.changes_untold && in_.ran) {
    auto noting = soon_after_stop(stop_, kNotingAfterStopMax, in_.ran(item));
    co_await std::move(noting);
  }
  if (!in_.after_call || item.state == "cancelled" || !why_broken_.empty()) co_return;
  auto asked = until_stopped(stop_, in_.after_call(item));
  const auto more = co_await std::move(asked);
  if (more && !more->empty())
    item.output += (item.output.ends_with('\n') || item.output.empty() ? "" : "\n") +
                   valid_utf8(*more);
}

// False: the item is complete, and says why it did not run.
asio::awaitable<bool> TurnCalls::let_pass(Item& item) {
  if (!in_.before_call) co_return true;
  auto asked = until_stopped(stop_, in_.before_call(item));
  co_return may_run(item, co_await std::move(asked));
}

// The same.
asio::awaitable<bool> TurnCalls::permitted(Item& item, const nlohmann::json& args) {
  auto asked = until_stopped(stop_, in_.permit(item, args));
  co_return may_run(item, co_await std::move(asked));
}

// By what whoever was asked said; nothing at all: the turn was stopped meanwhile.
bool TurnCalls::may_run(Item& item, const std::optional<std::optional<std::string>>& why_not) {
  if (why_not && !*why_not) return true;
  if (!why_not) {
    cancel(item);
  } else {
    item.state = "denied", item.output = valid_utf8(**why_not);
    events_.item_completed(item);
  }
  return false;
}

asio::awaitable<std::optional<ForeseenEdit>> TurnCalls::foreseen(const Item& call,
                                                                 const nlohmann::json& args) {
  if (call.name != kEditTool) co_return std::nullopt;
  const auto look = [this, &call, &args] { return foresee(tools_, call.name, args); };
  if (!in_.threads) co_return look();
  co_return co_await on_disk_pool(*in_.threads, look);
}

asio::awaitable<std::string_view> TurnCalls::in_vain(const Item& call) {
  const auto args = nlohmann::json::parse(call.arguments, nullptr, /*allow_exceptions=*/false);
  auto foreseeing = foreseen(call, args);
  const auto edit = co_await std::move(foreseeing);
  if (!edit) co_return "";
  if (edit->after == edit->before) co_return kRedrawnSame;
  if (vain_.contain(edit->path, edit->after)) co_return kRedrawnEdit;
  const auto breaks = [&edit] {
    const std::atomic<bool> never = false;
    return tools::can_check_syntax(edit->path, edit->after) &&
           !tools::new_syntax_errors(edit->path, edit->before, edit->after, never).empty();
  };
  bool broken = false;
  if (in_.threads)
    broken = co_await on_disk_pool(*in_.threads, breaks);
  else
    broken = breaks();
  co_return broken ? kRedrawnBroken : "";
}

void TurnCalls::cancel(Item& item) {
  item.state = "cancelled", item.output = kCancelledCall;
  events_.item_completed(item);
}

void TurnCalls::reject(Item& item, std::string why) {
  item.state = "rejected", item.output = std::move(why);
  events_.item_completed(item);
}

}  // namespace lares::daemon
