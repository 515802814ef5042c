#include "daemon/mcp/turn_report.h"

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "daemon/mcp/turn_watch.h"
#include "daemon/protocol/turn_reasons.h"
#include "daemon/session/worktrees.h"
#include "daemon/utf8.h"

namespace lares::daemon {
namespace {

constexpr std::size_t kOutputShownMax = 4 << 10;  // of one call, in a log

using Event = std::function<void(const std::string& method, const protocol::Json& params)>;

Read<void> for_each_event(const Recorded& session, const Event& event) {
  return Journal::scan(session.path, session.bytes, [&](std::size_t, std::string_view text) {
    if (text.starts_with(R"({"method":"lares/)"))
      return;  // the daemon's own, which clients do not see
    const auto frame = protocol::Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (frame.is_object()) event(frame["method"].get<std::string>(), frame["params"]);
  });
}

std::string bounded(std::string_view text, std::size_t n_max) {
  if (text.size() <= n_max) return std::string(text);
  return fmt::format("{}\n[{} more bytes]", utf8_prefix(text, n_max), text.size() - n_max);
}

std::string item_in_words(const protocol::Item& item) {
  if (item.kind == "user") return fmt::format("## User\n\n{}", item.text);
  if (item.kind == "text") return fmt::format("## Lares\n\n{}", item.text);
  if (item.kind == "note" || item.kind == "error")
    return fmt::format("[{}: {}]", item.kind, item.text);
  if (item.kind != "tool") return "";
  std::string text = fmt::format("## {} [{}]\n\n{}", call_in_words(item), item.state,
                                 bounded(item.output, kOutputShownMax));
  if (item.changes_untold) return text;
  for (const auto& change : item.changes)
    text += fmt::format("\n{}", bounded(change.diff, kOutputShownMax));
  return text;
}

}  // namespace

Read<TurnReport> report_of(const Recorded& session, std::int64_t turn_id) {
  TurnReport report;
  report.turn_id = turn_id;
  std::set<std::string> unattended;  // calls
  const auto read = for_each_event(
      session, [&](const std::string& method, const protocol::Json& params) {
        if (method == protocol::TurnStarted::kNotification) {
          const auto x = protocol::from_json<protocol::TurnStarted>(params);
          if (x && turn_id == 0) report = {}, report.turn_id = x->turn_id;
        } else if (method == protocol::ItemCompleted::kNotification) {
          const auto x = protocol::from_json<protocol::ItemCompleted>(params);
          if (!x || x->item.turn_id != report.turn_id) return;
          const auto& item = x->item;
          if (item.kind == "text") report.answer = item.text;
          if (item.kind == "tool") report.answer.clear(), report.changes.add(item);
          if (unattended.contains(item.id))
            report.unanswered.push_back(fmt::format("{} ({})", call_in_words(item), item.why));
        } else if (method == protocol::ApprovalResolved::kNotification) {
          const auto x = protocol::from_json<protocol::ApprovalResolved>(params);
          if (x && x->decision == "unattended") unattended.insert(x->item_id);
        } else if (method == protocol::TurnEnded::kNotification) {
          const auto x = protocol::from_json<protocol::TurnEnded>(params);
          if (x && x->turn_id == report.turn_id)
            report.reason = x->reason, report.message = x->message, report.usage = x->usage;
        }
      });
  if (!read) return tl::unexpected(read.error());
  return report;
}

Read<shown::Changes> changes_of(const Recorded& session) {
  shown::Changes changes;
  const auto read = for_each_event(
      session, [&](const std::string& method, const protocol::Json& params) {
        if (method != protocol::ItemCompleted::kNotification) return;
        if (const auto x = protocol::from_json<protocol::ItemCompleted>(params))
          changes.add(x->item);
      });
  if (!read) return tl::unexpected(read.error());
  return changes;
}

std::vector<ChangedFile> files_of(const shown::Changes& changes) {
  std::vector<ChangedFile> files;
  for (const auto& path : changes.net()) {
    ChangedFile file{path, "", 0, 0};
    for (const auto& change : changes.of(path)) {
      file.diff += shown::as_patch(change);
      count_lines(change.diff, file.n_added, file.n_deleted);
    }
    files.push_back(std::move(file));
  }
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  return files;
}

Read<std::string> log_of(const Recorded& session, std::size_t bytes_max) {
  std::string text;
  std::size_t n_left_out = 0;
  const auto read = for_each_event(
      session, [&](const std::string& method, const protocol::Json& params) {
        std::string part;
        if (method == protocol::ItemCompleted::kNotification) {
          if (const auto x = protocol::from_json<protocol::ItemCompleted>(params))
            part = item_in_words(x->item);
        } else if (method == protocol::TurnEnded::kNotification) {
          const auto x = protocol::from_json<protocol::TurnEnded>(params);
          if (x && x->reason != protocol::reason::kEndTurn)
            part = fmt::format("[turn {} ended: {}{}{}]", x->turn_id, x->reason,
                               x->message.empty() ? "" : ", ", x->message);
        }
        if (part.empty()) return;
        text += part + "\n\n";
        while (text.size() > bytes_max) {  // the newest is what is asked for
          const auto next = std::min(text.find("\n\n", text.size() - bytes_max), text.size() - 2);
          n_left_out += next + 2;
          text.erase(0, next + 2);
        }
      });
  if (!read) return tl::unexpected(read.error());
  if (n_left_out > 0)
    text.insert(0, fmt::format("[the first {} bytes are left out; `lares log {}` shows them]\n\n",
                               n_left_out, session.info.session_id));
  return text.empty() ? "[nothing was said in it yet]\n" : text;
}

}  // namespace lares::daemon
