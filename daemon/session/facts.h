// How a session writes its facts down and tells them: for session/*.cc.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "daemon/protocol/wire.h"
#include "daemon/session/session.h"
#include "tools/tool.h"

namespace lares::daemon {

// Facts of the daemon's own.
inline constexpr std::string_view kAppended = "lares/appended", kRepaired = "lares/repaired",
                                  kShown = "lares/shown", kForked = "lares/forked",
                                  kShortened = "lares/shortened", kDrawn = "lares/drawn",
                                  kPutAway = "lares/put_away", kLeft = "lares/left",
                                  kGoingBack = "lares/going_back", kUnread = "lares/unread";
// What came before happened elsewhere
inline constexpr std::string_view kImported = "lares/imported";

// As a scan calls what the model knows of the file now; empty: there is none. Journals of earlier
// versions have only `after`.
inline std::string blob_shown(const protocol::FileChange& change) {
  if (change.after == tools::kNoFile) return "";
  return change.shown.empty() ? change.after : change.shown;
}

inline TurnLog::Undo undo_of(const std::string& snapshot,
                             const std::vector<protocol::RewindChange>& changes,
                             LeftByRewinding left) {
  TurnLog::Undo undo{snapshot, {}, std::move(left)};
  for (const auto& change : changes) undo.paths.push_back(change.path);
  return undo;
}

// A rewinding's files, before the first of them is touched; without any: they are as before it.
protocol::Json going_back_told(const TurnLog::GoingBack& going);
std::optional<TurnLog::GoingBack> going_back_at(const protocol::Json& params);

// Of what was appended to a transcript: what its ids mean from there on; empty: what they did.
inline std::string vocabulary_at(const protocol::Json& params) {
  const auto at = params.find("vocabulary");
  return at != params.end() && at->is_string() ? at->get<std::string>() : "";
}

// What a client is told of what is not done.
inline protocol::Error refusal(protocol::Code code, std::string message, std::string hint = "") {
  return {.code = code, .message = std::move(message), .hint = std::move(hint)};
}

inline std::int64_t unix_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// What people rely on from then on, whatever becomes of the machine; so are a prompt, a tool's
// result and a turn's end.
template <class T>
inline constexpr bool kSyncedSoon = std::is_same_v<T, protocol::ApprovalResolved> ||
                                    std::is_same_v<T, protocol::SessionRewound> ||
                                    std::is_same_v<T, protocol::SessionUnrewound> ||
                                    std::is_same_v<T, protocol::SessionUpdated> ||
                                    std::is_same_v<T, protocol::SessionClosed>;

template <class T>
void Session::fact(T notification) {
  notification.at = {.session_id = info_.session_id,
                     .seq = static_cast<std::int64_t>(journal_.size()) + 1,
                     .t = unix_ms()};
  const protocol::Json params = protocol::to_json(notification);
  if (!record(T::kNotification, params)) return;
  if (kSyncedSoon<T>) sync_soon();
  info_.updated_ms = notification.at.t;
  const std::string line = protocol::notification_line(T::kNotification, params);
  for (Subscriber* s : subscribers_) s->notify(info_.session_id, line, Subscriber::Weight::fact);
}

template <class T>
void Session::ephemeral(T notification, Subscriber::Weight weight) {
  if (subscribers_.empty()) return;
  notification.at = {.session_id = info_.session_id, .t = unix_ms()};
  const std::string line = protocol::notification_line(notification);
  for (Subscriber* s : subscribers_) s->notify(info_.session_id, line, weight);
}

inline std::string own_file(const SessionWorld& world, const char* name) {
  return world.config_dir.empty() ? "" : world.config_dir + "/" + name;
}

}  // namespace lares::daemon
