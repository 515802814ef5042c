#include "engine/model/dspark_drafter.h"

#include <algorithm>
#include <cmath>

#include "engine/model/draft_policy.h"

namespace lares::engine {

DsparkDrafter::DsparkDrafter(const Weights& weights, Forward& forward)
    : c_(weights.checkpoint.config()),
      weights_(*weights.dspark),
      forward_(forward),
      window_(c_.sliding_window),
      hidden_(window_ + kDraftMax, c_.dspark_target_layer_ids.size() * static_cast<std::size_t>(c_.hidden_size)) {
  for (std::size_t k = 0; k < weights_.stages.size(); ++k) stages_.push_back(forward.draft_state(c_.dspark_block_size));
}

int DsparkDrafter::guesses_max() const { return c_.dspark_block_size; }

// Of the KV rows up to `last`, the anchor's position.
std::int64_t DsparkDrafter::first_missing(std::int64_t last) const {
  const std::int64_t seen = std::max(hidden_.begin(), last - window_);
  return end_ < seen || first_ > seen ? seen : end_;
}

std::int64_t DsparkDrafter::missing(std::int64_t size) const { return size - 1 - first_missing(size - 1); }

void DsparkDrafter::saw(int layer, std::int64_t position, int n, const float* streams) {
  const auto& targets = c_.dspark_target_layer_ids;
  const auto target = std::find(targets.begin(), targets.end(), layer);
  if (target == targets.end()) return;
  if (target == targets.begin()) hidden_.extend(position, n);
  const std::int64_t D = c_.hidden_size, column = (target - targets.begin()) * D;
  for (std::int64_t p = std::max(position, hidden_.begin()); p < hidden_.end(); ++p)
    forward_.stream_means(streams + (p - position) * c_.hc_mult * D, 1, hidden_.row(p) + column, D);
}

void DsparkDrafter::drop_to(std::int64_t size) {
  hidden_.drop_to(size);
  end_ = std::min(end_, size);
  // The rings hold kRollback + block_size rows beside a window: further back, newer ones lie where the window's were.
  if (end_ <= first_ || end_ < high_ - kRollback - c_.dspark_block_size) first_ = end_ = high_ = hidden_.end();
}

void DsparkDrafter::draft(std::span<const Token> tokens, int n, std::vector<Token>& out) {
  out.clear();
  chances_.clear();
  const std::int64_t last = static_cast<std::int64_t>(tokens.size()) - 1;  // the anchor's position
  n = std::min(n, c_.dspark_block_size);
  if (n <= 0 || hidden_.end() != last || hidden_.begin() >= last) return;
  if (const std::int64_t from = first_missing(last); from != end_) first_ = end_ = from;
  if (end_ < last) {
    hidden_.copy(end_, last, rows_);
    forward_.dspark_context(weights_, stages_, end_, static_cast<int>(last - end_), rows_.data());
    end_ = last;
  }
  high_ = std::max(high_, last + c_.dspark_block_size);
  forward_.dspark(weights_, stages_, std::max(first_, last - window_), last, tokens[static_cast<std::size_t>(last)], n, block_);
  out = block_.tokens;
  for (const float logit : block_.confidence) chances_.push_back(1 / (1 + std::exp(-static_cast<double>(logit))));
}

}  // namespace lares::engine
