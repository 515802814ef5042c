#include "daemon/cli/interactive/recap.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "daemon/cli/turn_view.h"
#include "daemon/protocol/turn_reasons.h"
#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

// A turn has hundreds of facts; the last exchanges are looked for in the last so many, not in a
// history of months.
constexpr std::int64_t kRecapFactsMax = 2000;

}  // namespace

Result<> read_history(
    Link& link, const std::string& session_id, std::int64_t after,
    const std::function<void(const protocol::SessionHistoryResult::Event&)>& each) {
  protocol::SessionHistory request;
  request.session_id = session_id;
  for (bool more = true; more;) {
    request.after = after;
    const auto history = link.call<protocol::SessionHistoryResult>(request);
    if (!history) return tl::unexpected(history.error());
    for (const auto& event : history->events) {
      each(event);
      if (const auto seq = event.params.find("seq");
          seq != event.params.end() && seq->is_number_integer())
        after = seq->get<std::int64_t>();
    }
    more = history->more && !history->events.empty();
  }
  return {};
}

std::string turn_number(std::int64_t turn_id) { return fmt::format("turn {}", turn_id); }

std::string how_it_ended(const protocol::TurnEnded& ended) {
  if (ended.reason == protocol::reason::kEndTurn) return "";
  return fmt::format("{}{}", reason_text(ended.reason),
                     ended.message.empty() ? "" : ": " + one_line(ended.message));
}

Result<std::int64_t> before_turn(Link& link, const protocol::SessionInfo& session,
                                 std::int64_t turn_id) {
  std::int64_t before = -1;
  const auto each = [&](const protocol::SessionHistoryResult::Event& event) {
    if (event.method != protocol::TurnStarted::kNotification) return;
    const auto x = protocol::from_json<protocol::TurnStarted>(event.params);
    if (x && x->turn_id == turn_id) before = x->at.seq - 1;
  };
  for (std::int64_t window = protocol::kHistoryMax;; window *= 4) {
    const std::int64_t after = std::max<std::int64_t>(0, session.last_seq - window);
    if (auto read = read_history(link, session.session_id, after, each); !read)
      return tl::unexpected(read.error());
    if (before >= 0 || after == 0) return std::max<std::int64_t>(0, before);
  }
}

Result<std::vector<Exchange>> last_exchanges(Link& link, const protocol::SessionInfo& session,
                                             std::size_t n_max) {
  std::vector<Exchange> all;
  const auto each = [&](const protocol::SessionHistoryResult::Event& event) {
    if (event.method == protocol::TurnEnded::kNotification) {
      const auto x = protocol::from_json<protocol::TurnEnded>(event.params);
      if (x && !all.empty() && all.back().turn_id == x->turn_id)
        all.back().ended = how_it_ended(*x);
    }
    if (event.method != protocol::ItemCompleted::kNotification) return;
    auto x = protocol::from_json<protocol::ItemCompleted>(event.params);
    if (!x) return;
    if (x->item.kind == "user") {
      const std::int64_t turn = x->item.turn_id;
      const bool begins = all.empty() || all.back().turn_id != turn;
      all.push_back({std::move(x->item.text), {}, turn, begins, {}});
    }
    if (x->item.kind == "text" && !all.empty()) all.back().answer = std::move(x->item.text);
    if (all.size() > n_max) all.erase(all.begin());
  };
  if (auto read = read_history(link, session.session_id,
                               std::max<std::int64_t>(0, session.last_seq - kRecapFactsMax), each);
      !read)
    return tl::unexpected(read.error());
  return all;
}

Result<shown::Changes> session_changes(Link& link, const std::string& session_id) {
  std::vector<protocol::Item> items;
  // What items had changed before each rewinding that may be taken back, the last first
  struct Before {
    std::size_t item;
    std::vector<protocol::FileChange> changes;
  };
  std::vector<std::vector<Before>> rewindings;
  const auto each = [&](const protocol::SessionHistoryResult::Event& event) {
    if (event.method == protocol::TurnStarted::kNotification) {
      rewindings.clear();
    } else if (event.method == protocol::ItemCompleted::kNotification) {
      if (auto x = protocol::from_json<protocol::ItemCompleted>(event.params)) {
        x->item.changes_untold = !shown::names_all(x->item);  // also when some of them went back
        items.push_back(std::move(x->item));
      }
    } else if (event.method == protocol::SessionRewound::kNotification) {
      const auto x = protocol::from_json<protocol::SessionRewound>(event.params);
      if (!x) return;
      const auto went_back = [&](const auto& change) {
        return std::ranges::find(x->changes, change.path, &protocol::RewindChange::path) !=
               x->changes.end();
      };
      auto& before = rewindings.emplace_back();
      for (std::size_t i = 0; i < items.size(); ++i) {
        if (items[i].turn_id < x->turn_id) continue;
        before.push_back({i, items[i].changes});
        std::erase_if(items[i].changes, went_back);
      }
    } else if (event.method == protocol::SessionUnrewound::kNotification) {
      if (rewindings.empty()) return;
      for (auto& [item, changes] : rewindings.back()) items[item].changes = std::move(changes);
      rewindings.pop_back();
    }
  };
  if (auto read = read_history(link, session_id, 0, each); !read)
    return tl::unexpected(read.error());
  shown::Changes changes;
  for (const auto& item : items) changes.add(item);
  return changes;
}

}  // namespace lares::cli
