// Going back in a session, and forth again: its transcript, and the files its calls changed. What
// others changed stays.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

#include <fmt/format.h>

#include "daemon/on_disk_pool.h"
#include "daemon/session/checkpoints.h"
#include "daemon/session/facts.h"
#include "daemon/session/session.h"
#include "daemon/session/worktrees.h"
#include "tools/text.h"

namespace lares::daemon {
namespace {

using protocol::Code;

constexpr const char* kUnheld =
    "no snapshot holds it: git ignores it, or it lies in another repository or a folder for "
    "products; take the edit back by hand";

void tell(const tools::Restored& restored, protocol::SessionRewindResult& result) {
  for (const auto& change : restored.done) result.changes.push_back(change_told(change));
  for (const auto& [path, why] : restored.not_done) result.not_done.push_back({path, why});
}

std::string named(const std::string& content) {
  return content.empty() ? std::string(tools::kNoFile) : content;
}

// What a rewinding that was cut off has done already comes back first, and goes again.
void tell_gone(const std::set<std::string>& names,
               const std::vector<protocol::RewindChange>& cut_off,
               protocol::SessionRewindResult& result) {
  std::set<std::string> told;
  for (const auto& change : result.changes) told.insert(change.path);
  for (const auto& file : result.not_done) told.insert(file.path);
  for (const auto& change : cut_off)
    if (names.contains(change.path) && !told.contains(change.path))
      result.changes.push_back({change.path, change.kind});
  std::ranges::sort(result.changes, {}, &protocol::RewindChange::path);
}

protocol::Error about(const std::string& what, protocol::Error error) {
  error.message = what + ": " + error.message;
  return error;
}

// Its content's, as edits say what they found; empty: it cannot be read.
std::string name_on_disk(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0)
    return errno == ENOENT || errno == ENOTDIR ? std::string(tools::kNoFile) : std::string();
  if (!S_ISREG(st.st_mode) || static_cast<std::uint64_t>(st.st_size) > tools::kSnapshotFileBytesMax)
    return "";
  std::ifstream in(path, std::ios::binary);
  if (!in) return "";
  return tools::blob_sha(std::string(std::istreambuf_iterator<char>(in), {}));
}

// Follows what a session's calls left of the files that go back. Edits say it; of commands the
// snapshots around them do. A command without both may have changed anything, so what was left
// before it is not known any more.
class Others {
 public:
  Others(Checkpoints& checkpoints, std::string root,
         const std::vector<protocol::RewindChange>& changes)
      : checkpoints_(checkpoints), root_(std::move(root)) {
    for (const auto& change : changes) going_back_.insert(change.path);
  }

  asio::awaitable<void> follow(TurnLog::Call call) {
    for (std::size_t i = 0; i < call.paths.size(); ++i)
      changed(call.paths[i], call.found[i], call.left[i]);
    if (!call.untold || (!call.before.empty() && call.before == call.after)) co_return;
    if (call.before.empty() || call.after.empty()) {
      left_.clear();
      co_return;
    }
    auto comparing = checkpoints_.compare(root_, call.before, call.after);
    const auto between = co_await std::move(comparing);
    if (!between) left_.clear();
    if (!between) co_return;
    for (const auto& change : *between) {
      if (going_back_.contains(change.path))
        changed(change.path, named(change.before), named(change.after));
    }
  }

  // `now`: the names of the contents that go, by path.
  void mark(const std::map<std::string, std::string>& now,
            std::vector<protocol::RewindChange>& changes) const {
    for (auto& change : changes) {
      change.others = between_.contains(change.path);
      const auto known = left_.find(change.path), name = now.find(change.path);
      if (change.others || known == left_.end() || known->second.empty() || name == now.end())
        continue;
      change.others = name->second != known->second;
    }
  }

 private:
  void changed(const std::string& path, const std::string& found, const std::string& left) {
    std::string& known = left_[path];
    if (!known.empty() && !found.empty() && known != found) between_.insert(path);
    known = left;
  }

  Checkpoints& checkpoints_;
  const std::string root_;
  std::set<std::string> going_back_;
  std::map<std::string, std::string> left_;  // names of contents; empty: not known
  std::set<std::string> between_;            // others changed it, and then a call did once more
};

// Whoever removes it began while the journal was written again.
tl::unexpected<protocol::Error> being_removed(const std::string& what) {
  return tl::unexpected(refusal(Code::busy, what + ": the session's worktree is being removed"));
}

}  // namespace

// Each file goes back to what it was before the first of these calls that changed it, as the call
// says or as the snapshots around it do: what others changed before that stays.
asio::awaitable<Session::WayBack> Session::way_back(std::vector<TurnLog::Turn> turns) {
  std::vector<TurnLog::Call> calls;
  for (auto& turn : turns) calls.insert(calls.end(), turn.calls.begin(), turn.calls.end());
  std::map<std::string, std::string> first;  // snapshots by path; empty: it was changed without one
  WayBack way;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const TurnLog::Call& call = calls[i];
    for (std::size_t n = 0; n < call.paths.size(); ++n) {
      const std::string& path = call.paths[n];
      if (!first.try_emplace(path, call.before).second) continue;
      if (call.before.empty())
        way.not_done.push_back({path, "no snapshot was taken before it was changed"});
      else if (!call.found[n].empty())
        way.edits.push_back({path, call.found[n], call.before});
    }
    if (!call.untold) continue;
    std::string after = call.after;
    for (std::size_t next = i + 1; after.empty() && next < calls.size(); ++next)
      after = calls[next].before;
    if (call.before.empty() || after.empty()) {
      way.not_done.push_back(
          {"", fmt::format("what a call of {} changed is not known: no snapshot was taken {} it",
                           call.name, call.before.empty() ? "before" : "after")});
      continue;
    }
    if (call.before == after) continue;  // nor is that snapshot needed any more
    auto comparing = world_.checkpoints->compare(info_.root, call.before, after);
    auto changes = co_await std::move(comparing);
    if (!changes) {
      way.not_done.push_back({"", fmt::format("what a call of {} changed is not known: {}",
                                              call.name, changes.error())});
      continue;
    }
    for (const auto& change : *changes) first.try_emplace(change.path, call.before);
  }
  for (const auto& [path, snapshot] : first)
    if (!snapshot.empty()) way.steps[snapshot].paths.push_back(path);
  co_return way;
}

// What snapshots hold is among what is done or not by now, or is as it was before the edit.
asio::awaitable<void> Session::tell_unheld(std::vector<WayBack::Edit> edits,
                                           protocol::SessionRewindResult& result) {
  std::set<std::string> told;
  for (const auto& change : result.changes) told.insert(change.path);
  for (const auto& file : result.not_done) told.insert(file.path);
  std::erase_if(edits, [&](const WayBack::Edit& edit) { return told.contains(edit.path); });
  if (edits.empty()) co_return;
  const auto look = [root = info_.root, edits] {
    std::vector<std::string> now;
    for (const auto& edit : edits) now.push_back(name_on_disk(root + "/" + edit.path));
    return now;
  };
  const auto now = co_await on_disk_pool(*world_.disk, look);
  for (std::size_t i = 0; i < edits.size(); ++i) {
    if (now[i] == edits[i].found) continue;
    auto reading = world_.checkpoints->text(info_.root, edits[i].snapshot, edits[i].path);
    const auto then = co_await std::move(reading);
    if (then && !then->empty() && now[i] == tools::blob_sha(*then)) continue;  // it is as it was
    result.not_done.push_back({edits[i].path, kUnheld});
  }
}

asio::awaitable<void> Session::mark_others(std::vector<TurnLog::Turn> turns,
                                           std::map<std::string, std::string> now,
                                           std::vector<protocol::RewindChange>& changes) {
  Others others(*world_.checkpoints, info_.root, changes);
  for (const auto& turn : turns)
    for (const auto& call : turn.calls) {
      auto following = others.follow(call);
      co_await std::move(following);
    }
  others.mark(now, changes);
}

asio::awaitable<Reply<protocol::SessionRewindResult>> Session::rewind(
    protocol::SessionRewind request) {
  const auto self = shared_from_this();
  if (request.turn_id == 0 && !turn_log_.turns().empty())
    request.turn_id = turn_log_.turns().back().id;
  if (request.turn_id == 0)
    co_return tl::unexpected(refusal(
        Code::not_found,
        fmt::format(
            "rewind session {}: it has no turn of its own; `lares sessions` lists the others",
            info_.session_id)));
  const std::string what = fmt::format("rewind session {} to before turn {}", info_.session_id,
                                       request.turn_id);
  if (request.files != "restore" && request.files != "keep")
    co_return tl::unexpected(
        refusal(Code::invalid_params, what + ": files must be restore or keep"));
  const auto busy = [&] {
    return tl::unexpected(
        refusal(Code::busy, what + ": it is at work", "interrupt the turn first"));
  };
  if (turn_ || rewinding_) co_return busy();
  if (!co_await writable()) co_return tl::unexpected(unwritten());
  if (turn_ || rewinding_) co_return busy();  // meanwhile
  if (world_.worktrees && world_.worktrees->is_held(info_.root)) co_return being_removed(what);
  const auto turns = turn_log_.from(request.turn_id);
  if (turns.empty())
    co_return tl::unexpected(refusal(Code::not_found,
                                     fmt::format("{}: it has no such turn now", what),
                                     "`lares log` and session/history show those there are"));
  protocol::SessionRewindResult result{.turn_id = request.turn_id};
  const Rewinding rewinding(*this);
  if (!request.dry_run) {  // kept or not, what was cut off on the way is not what they are
    protocol::SessionRewindResult taken_back;
    auto taking = take_back_cut_off(taken_back);
    const auto taken = co_await std::move(taking);
    if (!taken) co_return tl::unexpected(about(what, taken.error()));
    if (turn_log_.going_back()) {  // which the cut would forget
      const auto& stays = taken_back.not_done.back();
      co_return tl::unexpected(
          refusal(Code::internal,
                  fmt::format("{}: one before it was cut off, and {} does not come back: {}", what,
                              stays.path, stays.why),
                  "put that right, and try again"));
    }
  }
  WayBack way;
  if (request.files == "restore") {
    auto looking = way_back(turns);
    way = co_await std::move(looking);
  }
  result.not_done = way.not_done;
  std::map<std::string, std::string> now;
  LeftByRewinding left;
  tools::Restored done;
  std::set<std::string> names;  // of files that go back, or are as they were
  if (!way.steps.empty()) {
    std::vector<tools::RestoreStep> steps;
    for (auto& [snapshot, selection] : way.steps) {
      names.insert(selection.paths.begin(), selection.paths.end());
      steps.push_back({snapshot, std::move(selection)});
    }
    auto going = go_back(request.turn_id, std::move(steps), request.dry_run);
    auto restored = co_await std::move(going);
    if (!restored) co_return tl::unexpected(about(what, restored.error()));
    result.undo = restored->before.id;
    tell(*restored, result);
    done = std::move(*restored);
    for (const auto& change : done.done) {
      now[change.path] = named(change.before);
      left[change.path] = named(change.after);
    }
  }
  if (request.dry_run && turn_log_.going_back())
    tell_gone(names, turn_log_.going_back()->changes, result);
  auto telling = tell_unheld(std::move(way.edits), result);
  co_await std::move(telling);
  auto marking = mark_others(turns, std::move(now), result.changes);
  co_await std::move(marking);
  if (request.dry_run) co_return result;
  if (!left.empty()) record(kLeft, {{"names", left}});
  fact(protocol::SessionRewound{
      .turn_id = request.turn_id, .undo = result.undo, .changes = result.changes});
  if (!failure_.empty()) {
    auto coming = come_back(std::move(done));
    const std::string stayed = co_await std::move(coming);
    protocol::Error why = unwritten();
    if (!stayed.empty()) why.message += stayed;
    co_return tl::unexpected(std::move(why));
  }
  turn_log_.cut(request.turn_id, transcript_,
                undo_of(result.undo, result.changes, std::move(left)));
  forget_what_was_shown();
  co_return result;
}

asio::awaitable<Reply<protocol::SessionRewindResult>> Session::unrewind() {
  const auto self = shared_from_this();
  const std::string what = fmt::format("take the rewinding of session {} back", info_.session_id);
  const auto busy = [&] {
    return tl::unexpected(
        refusal(Code::busy, what + ": it is at work", "interrupt the turn first"));
  };
  if (turn_ || rewinding_) co_return busy();
  if (!co_await writable()) co_return tl::unexpected(unwritten());
  if (turn_ || rewinding_) co_return busy();  // meanwhile
  if (world_.worktrees && world_.worktrees->is_held(info_.root)) co_return being_removed(what);
  protocol::SessionRewindResult result;
  const Rewinding rewinding(*this);
  if (const auto cut_off = turn_log_.going_back()) {
    auto taking = take_back_cut_off(result);
    const auto taken = co_await std::move(taking);
    if (!taken) co_return tl::unexpected(about(what, taken.error()));
    result.turn_id = cut_off->turn_id;
    // Else all files were as before it, and what is meant is the one before that.
    if (!result.changes.empty() || !result.not_done.empty()) co_return result;
  }
  if (!turn_log_.undo())
    co_return tl::unexpected(
        refusal(Code::not_found, what + ": nothing was rewound since its last turn"));
  auto taking = take_back(*turn_log_.undo(), result);
  const auto before = co_await std::move(taking);
  if (!before) co_return tl::unexpected(about(what, before.error()));
  result.undo = *before;
  result.turn_id = turn_log_.uncut(transcript_);
  fact(protocol::SessionUnrewound{.turn_id = result.turn_id, .changes = result.changes});
  forget_what_was_shown();
  if (!failure_.empty()) co_return tl::unexpected(unwritten());
  co_return result;
}

// The model may know less of the files now, or other things, than what was noted.
void Session::forget_what_was_shown() {
  doubt_what_was_shown();
  unread_news_.clear();
  drop_tools();  // the shell's state, and which files were viewed, are of the turns that went
  info_.context_tokens = static_cast<std::int64_t>(transcript_.ids.size());
}

void Session::doubt_what_was_shown() {
  pinned_ = nullptr;
  unsure_ = true;
  was_shown_ = {};
  written_.clear();
}

}  // namespace lares::daemon
