#include "engine/model/draft/mtp_drafter.h"

#include <algorithm>

namespace lares::engine {

void MtpDrafter::begin_at(std::int64_t position) {
  origin_ = position;
  size_ = high_ = 0;
}

void MtpDrafter::drop_to(std::int64_t size) {
  positions_.drop_to(size);
  // a row is also of the token after it
  const std::int64_t rows = std::min(size_, size - 1 - origin_);
  if (rows < 0 || rows < high_ - rollback_)
    begin_at(positions_.end());
  else
    size_ = rows;
}

// Of the rows up to `last`, whose token waits.
std::int64_t MtpDrafter::first_missing(std::int64_t last) const {
  const std::int64_t first = std::max(positions_.begin(), last - window_), end = origin_ + size_;
  return size_ <= 0 || end < first ? first : end;
}

std::int64_t MtpDrafter::missing(std::int64_t size) const {
  return size - 1 - first_missing(size - 1);
}

void MtpDrafter::draft(std::span<const Token> tokens, int n, std::vector<Token>& out) {
  out.clear();
  const std::int64_t last = static_cast<std::int64_t>(tokens.size()) - 1;
  if (n <= 0 || positions_.end() != last || positions_.begin() >= last) return;
  size_ = std::min(size_, last - 1 - origin_);  // asked twice at one place: its row again
  const std::int64_t from = first_missing(last);
  if (from != origin_ + size_ || size_ <= 0) begin_at(from);
  const std::int64_t count = last - from;
  out.push_back(from_model(
      size_, from,
      tokens.subspan(static_cast<std::size_t>(from) + 1, static_cast<std::size_t>(count))));
  size_ += count;
  // The rows of further guesses are written over when the main model's are known.
  for (std::int64_t i = 0; static_cast<int>(out.size()) < n; ++i)
    out.push_back(from_itself(size_ + i, out.back()));
  high_ = std::max(high_, size_ + static_cast<std::int64_t>(out.size()) - 1);
}

CpuMtp::CpuMtp(const Weights& weights, Forward& forward)
    : MtpDrafter(weights.checkpoint.config().sliding_window,
                 weights.checkpoint.config().sliding_window + kRollback),
      weights_(weights),
      forward_(forward),
      width_(static_cast<std::size_t>(weights.checkpoint.config().hc_mult) *
             static_cast<std::size_t>(weights.checkpoint.config().hidden_size)),
      streams_(positions_, width_),
      state_(forward.draft_state(static_cast<int>(positions_.window()))) {}

void CpuMtp::saw(int layer, std::int64_t position, int n, const float* streams) {
  if (layer != weights_.checkpoint.config().num_hidden_layers - 1) return;
  positions_.extend(position, n);
  for (std::int64_t p = std::max(position, positions_.begin()); p < positions_.end(); ++p)
    std::copy_n(streams + static_cast<std::size_t>(p - position) * width_, width_, streams_.row(p));
}

Token CpuMtp::likeliest(const float* streams) {
  const MtpWeights& w = weights_.mtp.front();
  logits_.resize(static_cast<std::size_t>(weights_.checkpoint.config().vocab_size));
  forward_.head(w.hc_head, w.norm, streams, 1, logits_.data());
  return static_cast<Token>(std::max_element(logits_.begin(), logits_.end()) - logits_.begin());
}

Token CpuMtp::from_model(std::int64_t row, std::int64_t first, std::span<const Token> next) {
  streams_.copy(first, first + std::ssize(next), x_);
  forward_.mtp(weights_.mtp.front(), state_, row, next, x_.data());
  last_ = x_.data() + (next.size() - 1) * width_;
  return likeliest(last_);
}

Token CpuMtp::from_itself(std::int64_t row, Token next) {
  forward_.mtp(weights_.mtp.front(), state_, row, {&next, 1}, last_);
  return likeliest(last_);
}

}  // namespace lares::engine
