#include "daemon/session/turn_log.h"

#include <algorithm>
#include <iterator>

namespace lares::daemon {

void TurnLog::begin(std::int64_t turn_id, const Transcript& transcript, std::size_t frame) {
  cuts_.clear();
  turns_.push_back({.id = turn_id,
                    .frame = frame,
                    .n_ids = transcript.ids.size(),
                    .n_shortened = shortened_.size(),
                    .results = transcript.results,
                    .root = transcript.root});
}

void TurnLog::completed(const protocol::Item& item) {
  if (turns_.empty() || item.kind != "tool") return;
  Call call{.name = item.name,
            .before = item.snapshot,
            .after = item.snapshot_after,
            .paths = {},
            .found = {},
            .left = {},
            .untold = item.changes_untold};
  for (const auto& change : item.changes) {
    if (call.untold) break;  // the snapshots say it, and of how many files ever
    call.paths.push_back(change.path);
    call.found.push_back(change.before);
    call.left.push_back(change.after);
  }
  if (call.untold || !call.paths.empty()) turns_.back().calls.push_back(std::move(call));
}

bool TurnLog::called(std::string_view tool, std::int64_t up_to) const {
  return std::ranges::any_of(turns_, [&](const Turn& turn) {
    return turn.id <= up_to && std::ranges::find(turn.calls, tool, &Call::name) != turn.calls.end();
  });
}

std::vector<TurnLog::Turn> TurnLog::from(std::int64_t turn_id) const {
  const auto at = std::ranges::find(turns_, turn_id, &Turn::id);
  return {at, turns_.end()};
}

void TurnLog::cut(std::int64_t turn_id, Transcript& transcript, Undo undo) {
  going_back_.reset();
  const auto at = std::ranges::find(turns_, turn_id, &Turn::id);
  if (at == turns_.end()) return;
  Transcript was = before(*at, transcript);
  const std::size_t n_shortened = at->n_shortened;
  Cut cut{{at, turns_.end()}, std::move(transcript), shortened_, std::move(undo)};
  turns_.erase(at, turns_.end());
  cuts_.push_back(std::move(cut));
  shortened_.resize(std::min(n_shortened, shortened_.size()));
  transcript = std::move(was);
}

Transcript TurnLog::before(const Turn& turn, const Transcript& now) const {
  const Transcript& then = turn.n_shortened < shortened_.size() ? shortened_[turn.n_shortened]
                                                                : now;
  const auto n_ids = static_cast<std::ptrdiff_t>(std::min(turn.n_ids, then.ids.size()));
  return {{then.ids.begin(), then.ids.begin() + n_ids}, turn.results, then.vocabulary, turn.root};
}

void TurnLog::was_at(const std::string& root) {
  const auto name = [&](std::string& unknown) {
    if (unknown.empty()) unknown = root;
  };
  for (Turn& turn : turns_) name(turn.root);
  for (Cut& cut : cuts_) {
    name(cut.transcript.root);
    for (Turn& turn : cut.turns) name(turn.root);
  }
}

std::int64_t TurnLog::uncut(Transcript& transcript) {
  if (cuts_.empty()) return 0;
  Cut cut = std::move(cuts_.back());
  cuts_.pop_back();
  const std::int64_t turn_id = cut.turns.front().id;
  turns_.insert(turns_.end(), std::make_move_iterator(cut.turns.begin()),
                std::make_move_iterator(cut.turns.end()));
  transcript = std::move(cut.transcript);
  shortened_ = std::move(cut.shortened);
  return turn_id;
}

}  // namespace lares::daemon
