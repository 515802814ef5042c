// Whether a session's calls may run, and the snapshots before those that do.
#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "daemon/ended.h"
#include "daemon/protocol/policies.h"
#include "daemon/protocol/snapshot_wire.h"
#include "daemon/session/checkpoints.h"
#include "daemon/session/facts.h"
#include "daemon/session/session.h"
#include "tools/edit/editor_texts.h"
#include "tools/snapshots/progress.h"

namespace lares::daemon {
namespace {

// What waits shorter is over before it is read.
constexpr std::chrono::seconds kToldAfter{1};
constexpr std::chrono::milliseconds kToldEvery{200};

// Calls `tell` now and then while this lives, on the executor that this is used on.
class ToldMeanwhile {
 public:
  ToldMeanwhile(const asio::any_io_executor& io, const Log& log, std::function<void()> tell)
      : telling_(std::make_shared<Telling>(io, std::move(tell))) {
    asio::co_spawn(io, tell_on(telling_), logged(log, "telling how far a snapshot is"));
  }
  ~ToldMeanwhile() {
    telling_->over = true;
    telling_->timer.cancel();
  }
  ToldMeanwhile(const ToldMeanwhile&) = delete;
  ToldMeanwhile& operator=(const ToldMeanwhile&) = delete;

 private:
  struct Telling {
    Telling(const asio::any_io_executor& io, std::function<void()> what)
        : timer(io, kToldAfter), tell(std::move(what)) {}
    asio::steady_timer timer;
    const std::function<void()> tell;
    bool over = false;
  };
  static asio::awaitable<void> tell_on(std::shared_ptr<Telling> telling) {
    while (!telling->over) {
      co_await telling->timer.async_wait(asio::as_tuple(asio::use_awaitable));
      if (telling->over) co_return;
      telling->tell();
      telling->timer.expires_after(kToldEvery);
    }
  }
  const std::shared_ptr<Telling> telling_;
};

}  // namespace

asio::awaitable<std::optional<std::string>> Session::permit(protocol::Item& item,
                                                            const nlohmann::json& arguments,
                                                            bool reading) {
  auto judging = permissions_.judged(info_.settings.policy, info_.root, item.name, arguments,
                                     reading);
  const auto judged = co_await std::move(judging);
  item.why = judged.why;
  if (judged.verdict == Verdict::allow) {
    if (!reading) co_await before_changes(item, arguments);
    co_return std::nullopt;
  }
  if (judged.verdict == Verdict::deny) co_return denied_text(item.name, judged.why);
  const auto unattended = [&] {
    item.likes.clear();
    fact(protocol::ApprovalResolved{.item_id = item.id, .decision = "unattended"});
    return unanswered_text(item.name, item.why);
  };
  if (info_.settings.unattended == "skip" && !somebody_is_there()) co_return unattended();
  item.state = "asking", item.likes = judged.likes;
  state("waiting");
  const auto asked = asked_.begin(world_.io, item.id);
  item_updated(item);
  auto answering = permissions_.answer_to(item.id);
  auto reply = co_await std::move(answering);
  if (!reply && turn_->stop.requested()) co_return unanswered_text(item.name, item.why);
  if (!reply) co_return unattended();  // who could have answered has left
  auto remembering = permissions_.remember(item, *reply, info_.root);
  auto rules = co_await std::move(remembering);
  if (!rules)
    item_completed({.id = item.id + ".1",
                    .turn_id = item.turn_id,
                    .kind = "note",
                    .text = "the answer holds for this once, for its rule could not be kept: " +
                            rules.error()});
  fact(protocol::ApprovalResolved{
      .item_id = item.id,
      .decision = reply->decision,
      .scope = reply->scope,
      .rules = rules ? std::move(*rules) : std::vector<protocol::PermissionRule>()});
  asked->settle(failure_.empty());
  item.likes.clear();
  if (reply->decision == "allow") {
    if (!reading) co_await before_changes(item, arguments);
    co_return std::nullopt;
  }
  co_return refused_text(item.name, reply->message);
}

asio::awaitable<void> Session::before_changes(protocol::Item& item,
                                              const nlohmann::json& arguments) {
  co_await save_overlay(item, arguments);
  co_await checkpoint(item, &protocol::Item::snapshot);
}

// Of what it does not say itself, the snapshots around it know. Where they cannot be compared,
// clients see that it may have changed something.
asio::awaitable<void> Session::after_changes(protocol::Item& item) {
  auto taking = checkpoint(item, &protocol::Item::snapshot_after);
  co_await std::move(taking);
  if (item.snapshot.empty() || item.snapshot_after.empty() || item.snapshot == item.snapshot_after)
    co_return;
  auto looking = world_.checkpoints->find_changes(info_.root, item.snapshot, item.snapshot_after);
  auto found = co_await std::move(looking);
  if (found) item.changes = std::move(*found);
}

// What the user has not saved of a file that is about to be edited goes to the disk first: so the
// snapshot has it, and the edit is of it.
asio::awaitable<void> Session::save_overlay(const protocol::Item& item,
                                            const nlohmann::json& arguments) {
  const tools::Tool* const tool = find_tool(tools_, item.name);
  const auto path = arguments.is_object() ? arguments.find("path") : arguments.end();
  if (!editor_ || !tool || !tool->tells_changes(arguments) || path == arguments.end() ||
      !path->is_string())
    co_return;
  const std::string whole = path->get<std::string>(), inside = info_.root + "/";
  if (!whole.starts_with(inside)) co_return;
  const std::size_t at = std::min(whole.find_first_not_of('/', inside.size()), whole.size());
  const std::string file = tools::editors_path(whole.substr(at));
  if (file.empty()) co_return;
  auto saving = overlays_->save(file);
  co_await std::move(saving);
}

// Where it fails, or does not hold all, the call runs all the same, and people are told what cannot
// be taken back.
asio::awaitable<void> Session::checkpoint(protocol::Item& item, std::string protocol::Item::*into) {
  const ToldMeanwhile telling(world_.io, *world_.log, [this] {
    const auto so_far = tools::scan_progress(info_.root).value_or(tools::ScanProgress());
    ephemeral(protocol::TurnSnapshot{.turn_id = info_.turn_id,
                                     .done = static_cast<std::int64_t>(so_far.done),
                                     .total = static_cast<std::int64_t>(so_far.total)},
              Subscriber::Weight::delta);
  });
  auto taking = world_.checkpoints->take(info_.root,
                                         fmt::format("{} {}", info_.session_id, item.id));
  auto taken = co_await std::move(taking);
  if (taken) item.*into = taken->id;
  const std::string why = taken ? taken->unkept.why : taken.error();
  if (why.empty() || std::exchange(no_checkpoint_, why) == why) co_return;
  const std::string text =
      taken ? unkept_told(*taken)
            : fmt::format("no snapshot, so what this call changes cannot be rewound: {}", why);
  item_completed({.id = item.id + ".0", .turn_id = item.turn_id, .kind = "note", .text = text});
}

asio::awaitable<Reply<>> Session::approve(protocol::ApprovalReply reply) {
  const auto self = shared_from_this();
  const auto refused = [&](protocol::Code code, const std::string& why) {
    return tl::unexpected(refusal(code, "approval/reply: " + why));
  };
  if (reply.decision != "allow" && reply.decision != "deny")
    co_return refused(protocol::Code::invalid_params, "decision must be allow or deny");
  if (!is_scope(reply.scope))
    co_return refused(protocol::Code::invalid_params,
                      "scope must be once, turn, session, repository or user");
  if (!permissions_.reply(reply))
    co_return refused(protocol::Code::not_found,
                      reply.item_id + " does not ask, or was answered already");
  const auto asked = asked_.of(reply.item_id);
  if (!asked || !co_await asked->recorded())
    co_return refused(protocol::Code::not_found,
                      reply.item_id + " was stopped before the answer counted");
  co_return Reply<>();
}

asio::awaitable<Reply<>> Session::set_policy(std::string policy) {
  const auto self = shared_from_this();
  if (!protocol::is_policy(policy))
    co_return tl::unexpected(
        refusal(protocol::Code::invalid_params,
                fmt::format("set the policy of session {} to {}: it is none; there are {}",
                            info_.session_id, policy, protocol::policies_named(", "))));
  if (!co_await writable()) co_return tl::unexpected(unwritten());
  info_.settings.policy = policy;
  fact(protocol::SessionUpdated{.title = info_.title, .policy = policy});
  if (!failure_.empty()) co_return tl::unexpected(unwritten());
  co_return Reply<>();
}

}  // namespace lares::daemon
