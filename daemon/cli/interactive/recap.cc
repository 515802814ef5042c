#include "daemon/cli/interactive/recap.h"

#include <algorithm>
#include <utility>

namespace lares::cli {
namespace {

// A turn has hundreds of facts; the last exchanges are looked for in the last so many, not in a history of months.
constexpr std::int64_t kRecapFactsMax = 2000;

}  // namespace

Result<> read_history(Link& link, const std::string& session_id, std::int64_t after,
                      const std::function<void(const protocol::SessionHistoryResult::Event&)>& each) {
  protocol::SessionHistory request;
  request.session_id = session_id;
  for (bool more = true; more;) {
    request.after = after;
    const auto history = link.call<protocol::SessionHistoryResult>(request);
    if (!history) return tl::unexpected(history.error());
    for (const auto& event : history->events) {
      each(event);
      if (const auto seq = event.params.find("seq"); seq != event.params.end() && seq->is_number_integer()) after = seq->get<std::int64_t>();
    }
    more = history->more && !history->events.empty();
  }
  return {};
}

Result<std::vector<Exchange>> last_exchanges(Link& link, const protocol::SessionInfo& session, std::size_t n_max) {
  std::vector<Exchange> all;
  const auto each = [&](const protocol::SessionHistoryResult::Event& event) {
    if (event.method != protocol::ItemCompleted::kNotification) return;
    auto x = protocol::from_json<protocol::ItemCompleted>(event.params);
    if (!x) return;
    if (x->item.kind == "user") all.push_back({std::move(x->item.text), {}});
    if (x->item.kind == "text" && !all.empty()) all.back().answer = std::move(x->item.text);
    if (all.size() > n_max) all.erase(all.begin());
  };
  if (auto read = read_history(link, session.session_id, std::max<std::int64_t>(0, session.last_seq - kRecapFactsMax), each); !read)
    return tl::unexpected(read.error());
  return all;
}

Result<Changes> session_changes(Link& link, const std::string& session_id) {
  Changes changes;
  const auto each = [&](const protocol::SessionHistoryResult::Event& event) {
    if (event.method != protocol::ItemCompleted::kNotification) return;
    if (const auto x = protocol::from_json<protocol::ItemCompleted>(event.params)) changes.add(x->item);
  };
  if (auto read = read_history(link, session_id, 0, each); !read) return tl::unexpected(read.error());
  return changes;
}

}  // namespace lares::cli
