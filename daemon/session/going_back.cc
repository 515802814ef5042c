// The files of a rewinding: they go back once the journal says what takes that back, and come back
// where the daemon died or the journal could not be written on the way.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "daemon/session/checkpoints.h"
#include "daemon/session/facts.h"
#include "daemon/session/session.h"
#include "tools/tool.h"

namespace lares::daemon {

using protocol::Code;
using protocol::Json;

namespace {

constexpr std::size_t kOtherFactsBytes = 4096;  // that are as long whatever goes back

std::string named(const std::string& content) {
  return content.empty() ? std::string(tools::kNoFile) : content;
}

// Nobody is asked before a rewinding is taken back, and nothing takes that back: what is not as the
// rewinding left it stays.
std::vector<protocol::SkippedFile> changed_since(const tools::Restored& would,
                                                 const LeftByRewinding& left) {
  std::vector<protocol::SkippedFile> out;
  for (const auto& change : would.done) {
    const auto then = left.find(change.path);
    if (then != left.end() && then->second != named(change.before))
      out.push_back({change.path, "it was changed since it was rewound"});
  }
  return out;
}

TurnLog::GoingBack planned(std::int64_t turn_id, const tools::Restored& would) {
  TurnLog::GoingBack going{.turn_id = turn_id, .undo = {}, .changes = {}};
  LeftByRewinding left;
  for (const auto& change : would.done) {
    going.changes.push_back(change_told(change));
    left[change.path] = named(change.after);
  }
  going.undo = undo_of(would.before.id, going.changes, std::move(left));
  return going;
}

}  // namespace

// {"turnId", "undo", "files": [[path, kind, the name of the content that it goes back to]]}
Json going_back_told(const TurnLog::GoingBack& going) {
  Json files = Json::array();
  for (const auto& change : going.changes)
    files.push_back({change.path, change.kind, going.undo.left.at(change.path)});
  Json out;
  out["turnId"] = going.turn_id, out["undo"] = going.undo.snapshot, out["files"] = std::move(files);
  return out;
}

std::optional<TurnLog::GoingBack> going_back_at(const Json& params) {
  const auto turn = params.find("turnId"), undo = params.find("undo"), files = params.find("files");
  if (turn == params.end() || !turn->is_number_integer() || undo == params.end() ||
      !undo->is_string() || files == params.end() || !files->is_array())
    return std::nullopt;
  TurnLog::GoingBack going{.turn_id = turn->get<std::int64_t>(), .undo = {}, .changes = {}};
  LeftByRewinding left;
  for (const auto& file : *files) {
    if (!file.is_array() || file.size() != 3 ||
        !std::ranges::all_of(file, [](const Json& text) { return text.is_string(); }))
      continue;
    going.changes.push_back({file[0].get<std::string>(), file[1].get<std::string>()});
    left[file[0].get<std::string>()] = file[2].get<std::string>();
  }
  going.undo = undo_of(undo->get<std::string>(), going.changes, std::move(left));
  return going;
}

asio::awaitable<Reply<tools::Restored>> Session::go_back(std::int64_t turn_id,
                                                         std::vector<tools::RestoreStep> steps,
                                                         bool dry) {
  const auto failed = [](const std::string& why) {
    return tl::unexpected(refusal(Code::internal, why));
  };
  if (dry) {
    auto looking = world_.checkpoints->go_back(info_.root, std::move(steps), /*dry=*/true);
    auto would = co_await std::move(looking);
    if (!would) co_return failed(would.error());
    co_return std::move(*would);
  }
  auto preparing = world_.checkpoints->prepare_to_go_back(info_.root, steps);
  const auto would = co_await std::move(preparing);
  if (!would) co_return failed(would.error());
  TurnLog::GoingBack plan = planned(turn_id, *would);
  if (!plan.changes.empty()) {
    const Json told = going_back_told(plan);
    // It, and what is written when they have gone.
    const std::size_t bytes = 3 * protocol::dump(told).size() + kOtherFactsBytes;
    if (const auto room = journal_.reserve(bytes); !room)
      co_return tl::unexpected(unwritten(room.error()));
    record(kGoingBack, told);
    if (failure_.empty()) co_await synced();  // no machine may die with the files alone on its disk
    if (!failure_.empty()) co_return tl::unexpected(unwritten());
    turn_log_.going_back(std::move(plan));
  }
  auto going = world_.checkpoints->go_back(info_.root, std::move(steps), /*dry=*/false);
  auto restored = co_await std::move(going);
  if (restored) co_return std::move(*restored);
  if (turn_log_.going_back()) {  // and no file was touched
    record(kGoingBack, Json::object());
    turn_log_.not_going_back();
  }
  co_return failed(restored.error());
}

// What is not as it was left stays; the journal still says from where it can be had.
asio::awaitable<std::string> Session::come_back(tools::Restored restored) {
  tools::Selection those;
  for (const auto& change : restored.done) those.paths.push_back(change.path);
  if (those.paths.empty()) co_return "";
  auto coming = world_.checkpoints->restore(info_.root, restored.before.id, std::move(those));
  const auto back = co_await std::move(coming);
  const std::size_t n_stay = back ? back->not_done.size() : restored.done.size();
  if (n_stay == 0) co_return "";
  co_return fmt::format(
      "; {} file{} gone back all the same ({}): taking the rewinding back brings {} back", n_stay,
      n_stay == 1 ? " has" : "s have", back ? back->not_done.front().why : back.error(),
      n_stay == 1 ? "it" : "them");
}

// The snapshot of the moment before; empty: nothing was to be done.
asio::awaitable<Reply<std::string>> Session::take_back(TurnLog::Undo undo,
                                                       protocol::SessionRewindResult& result,
                                                       bool* all) {
  if (all) *all = true;
  if (undo.snapshot.empty() || undo.paths.empty()) co_return std::string();
  const auto failed = [](const std::string& why) {
    return tl::unexpected(refusal(Code::internal, why));
  };
  std::vector<tools::RestoreStep> steps;
  steps.push_back({undo.snapshot, {.all = false, .paths = undo.paths}});
  auto looking = world_.checkpoints->go_back(info_.root, steps, /*dry=*/true);
  const auto would = co_await std::move(looking);
  if (!would) co_return failed(would.error());
  std::vector<std::string>& paths = steps.front().selection.paths;
  for (auto& file : changed_since(*would, undo.left)) {
    std::erase(paths, file.path);
    result.not_done.push_back(std::move(file));
  }
  if (paths.empty()) co_return std::string();
  auto going = world_.checkpoints->go_back(info_.root, std::move(steps), /*dry=*/false);
  const auto restored = co_await std::move(going);
  if (!restored) co_return failed(restored.error());
  for (const auto& change : restored->done) result.changes.push_back(change_told(change));
  for (const auto& [path, why] : restored->not_done) result.not_done.push_back({path, why});
  if (all) *all = restored->not_done.empty();
  co_return restored->before.id;
}

asio::awaitable<Reply<>> Session::take_back_cut_off(protocol::SessionRewindResult& result) {
  if (!turn_log_.going_back()) co_return Reply<>();
  bool all = false;
  auto taking = take_back(turn_log_.going_back()->undo, result, &all);
  const auto before = co_await std::move(taking);
  if (!before) co_return tl::unexpected(before.error());
  if (!all) co_return Reply<>();  // the next try needs to know of it
  record(kGoingBack, Json::object());
  if (!failure_.empty()) co_return tl::unexpected(unwritten());
  turn_log_.not_going_back();
  co_return Reply<>();
}

// Behind the last turn, for whoever looks at the session.
void Session::tell_cut_off(const std::vector<std::string>& frames) {
  const auto& cut_off = turn_log_.going_back();
  if (!cut_off || cut_off->changes.empty()) return;
  const Json told{{"told", true}};
  const auto last = std::ranges::find_if(frames.rbegin(), frames.rend(), [](const auto& frame) {
    return frame.starts_with(fmt::format(R"({{"method":"{}",)", kGoingBack));
  });
  if (last != frames.rend() && last->find(protocol::dump(told)) != std::string::npos) return;
  const std::size_t n = cut_off->changes.size();
  item_completed(
      {.id = fmt::format("{}.back{}", info_.n_turns, journal_.size()),
       .turn_id = info_.n_turns,
       .kind = "note",
       .text = fmt::format("the daemon died while the session was rewound to before turn {}: some "
                           "of {} file{} may have gone back; `lares rewind --undo` brings {} back, "
                           "`lares rewind` rewinds again, and the next prompt brings {} back first",
                           cut_off->turn_id, n, n == 1 ? "" : "s", n == 1 ? "it" : "them",
                           n == 1 ? "it" : "them")});
  record(kGoingBack, told);
}

asio::awaitable<std::string> Session::settle_cut_off() {
  if (!turn_log_.going_back()) co_return "";
  const std::string what = fmt::format(
      "take back the rewinding to before turn {}, which was cut off",
      turn_log_.going_back()->turn_id);
  protocol::SessionRewindResult result;
  auto taking = take_back_cut_off(result);
  const auto taken = co_await std::move(taking);
  if (!taken) co_return what + ": " + taken.error().message;
  std::string stay;
  if (!result.not_done.empty()) {
    const auto& last = result.not_done.back();
    const std::size_t n_more = result.not_done.size() - 1;
    stay = fmt::format("{}{} did not: {}", last.path,
                       n_more == 0 ? "" : fmt::format(" and {} more", n_more), last.why);
  }
  if (turn_log_.going_back())
    co_return fmt::format(
        "{}: its files were to come back, and {}; put that right, and send the prompt again", what,
        stay);
  if (result.changes.empty() && stay.empty()) co_return "";  // no file had gone back
  const std::size_t n = result.changes.size();
  item_completed({.id = fmt::format("{}.back{}", turn_->id, journal_.size()),
                  .turn_id = turn_->id,
                  .kind = "note",
                  .text = fmt::format("{}: {} file{} came back{}", what, n, n == 1 ? "" : "s",
                                      stay.empty() ? "" : "; " + stay)});
  co_return "";
}

}  // namespace lares::daemon
