#include "daemon/cli/interactive/turns.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "daemon/cli/interactive/recap.h"

namespace lares::cli {
namespace {

class Turns {
 public:
  void take(const protocol::SessionHistoryResult::Event& event) {
    as<protocol::PromptAccepted>(
        event, [this](auto& x) { prompts_[x.id] = (x.mode == "ask" ? "/ask " : "") + x.content; });
    as<protocol::TurnStarted>(event, [this](auto& x) {
      rewound_.clear();
      turns_.push_back({x.turn_id, x.at.t, prompts_[x.prompt_id]});
    });
    as<protocol::ItemCompleted>(event, [this](auto& x) {
      for (const auto& change : x.item.changes) files_[x.item.turn_id].insert(change.path);
    });
    as<protocol::SessionRewound>(event, [this](auto& x) {
      const auto first = std::ranges::find_if(
          turns_, [&](const Turn& turn) { return turn.turn_id >= x.turn_id; });
      rewound_.emplace_back(std::make_move_iterator(first), std::make_move_iterator(turns_.end()));
      turns_.erase(first, turns_.end());
    });
    as<protocol::SessionUnrewound>(event, [this](auto&) {
      if (rewound_.empty()) return;
      std::ranges::move(rewound_.back(), std::back_inserter(turns_));
      rewound_.pop_back();
    });
  }

  std::vector<Turn> finish() {
    for (auto& turn : turns_) turn.n_files = files_[turn.turn_id].size();
    return std::move(turns_);
  }

 private:
  template <class T, class F>
  void as(const protocol::SessionHistoryResult::Event& event, F f) {
    if (event.method != T::kNotification) return;
    if (auto x = protocol::from_json<T>(event.params)) f(*x);
  }

  std::vector<Turn> turns_;
  std::vector<std::vector<Turn>> rewound_;  // by each rewinding that may be taken back
  std::map<std::string, std::string> prompts_;
  std::map<std::int64_t, std::set<std::string>> files_;
};

}  // namespace

Result<std::vector<Turn>> turns_of(Link& link, const std::string& session_id) {
  Turns turns;
  auto read = read_history(link, session_id, 0, [&](const auto& event) { turns.take(event); });
  if (!read) return tl::unexpected(std::move(read.error()));
  return turns.finish();
}

}  // namespace lares::cli
