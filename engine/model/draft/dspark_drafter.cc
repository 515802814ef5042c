#include "engine/model/draft/dspark_drafter.h"

#include <algorithm>
#include <cmath>

namespace lares::engine {

DsparkDrafter::DsparkDrafter(const Config& c, std::int64_t rollback)
    : positions_(rows_kept(c)),
      window_(c.sliding_window),
      rollback_(rollback),
      block_size_(c.dspark_block_size) {}

// Of the KV rows up to `last`, the anchor's position.
std::int64_t DsparkDrafter::first_missing(std::int64_t last) const {
  const std::int64_t seen = std::max(positions_.begin(), last - window_);
  return end_ < seen || first_ > seen ? seen : end_;
}

std::int64_t DsparkDrafter::missing(std::int64_t size) const {
  return size - 1 - first_missing(size - 1);
}

void DsparkDrafter::drop_to(std::int64_t size) {
  positions_.drop_to(size);
  end_ = std::min(end_, size);
  if (end_ <= first_ || end_ < high_ - rollback_) first_ = end_ = high_ = positions_.end();
}

void DsparkDrafter::draft(std::span<const Token> tokens, int n, std::vector<Token>& out) {
  out.clear();
  chances_.clear();
  const std::int64_t last = static_cast<std::int64_t>(tokens.size()) - 1;  // the anchor's position
  n = std::min(n, block_size_);
  if (n <= 0 || positions_.end() != last || positions_.begin() >= last) return;
  if (const std::int64_t from = first_missing(last); from != end_) first_ = end_ = from;
  if (end_ < last) context(first_, end_, last);
  end_ = last;
  high_ = std::max(high_, last + block_size_);
  block(std::max(first_, last - window_), last, tokens[static_cast<std::size_t>(last)], n, out,
        confidence_);
  for (const float logit : confidence_)
    chances_.push_back(1 / (1 + std::exp(-static_cast<double>(logit))));
}

CpuDspark::CpuDspark(const Weights& weights, Forward& forward)
    : DsparkDrafter(weights.checkpoint.config(),
                    kRollback + weights.checkpoint.config().dspark_block_size),
      c_(weights.checkpoint.config()),
      weights_(*weights.dspark),
      forward_(forward),
      hidden_(positions_,
              c_.dspark_target_layer_ids.size() * static_cast<std::size_t>(c_.hidden_size)) {
  for (std::size_t k = 0; k < weights_.stages.size(); ++k)
    stages_.push_back(forward.draft_state(c_.dspark_block_size));
}

void CpuDspark::saw(int layer, std::int64_t position, int n, const float* streams) {
  const auto& targets = c_.dspark_target_layer_ids;
  const auto target = std::find(targets.begin(), targets.end(), layer);
  if (target == targets.end()) return;
  if (target == targets.begin()) positions_.extend(position, n);
  const std::int64_t D = c_.hidden_size, column = (target - targets.begin()) * D;
  for (std::int64_t p = std::max(position, positions_.begin()); p < positions_.end(); ++p)
    forward_.stream_means(streams + (p - position) * c_.hc_mult * D, 1, hidden_.row(p) + column, D);
}

void CpuDspark::context(std::int64_t /*first*/, std::int64_t from, std::int64_t last) {
  hidden_.copy(from, last, rows_);
  forward_.dspark_context(weights_, stages_, from, static_cast<int>(last - from), rows_.data());
}

void CpuDspark::block(std::int64_t seen_from, std::int64_t position, Token anchor, int n,
                      std::vector<Token>& out, std::vector<float>& confidence) {
  forward_.dspark(weights_, stages_, seen_from, position, anchor, n, block_);
  out = block_.tokens;
  confidence = block_.confidence;
}

}  // namespace lares::engine
