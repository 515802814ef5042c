#include "engine/model/mtp_drafter.h"

#include <algorithm>

namespace lares::engine {

MtpDrafter::MtpDrafter(const Weights& weights, Forward& forward)
    : weights_(weights),
      forward_(forward),
      window_(weights.checkpoint.config().sliding_window),
      width_(static_cast<std::size_t>(weights.checkpoint.config().hc_mult) * weights.checkpoint.config().hidden_size),
      streams_(window_, width_),
      state_(forward.draft_state(static_cast<int>(window_))) {}

void MtpDrafter::saw(int layer, std::int64_t position, int n, const float* streams) {
  if (layer != weights_.checkpoint.config().num_hidden_layers - 1) return;
  streams_.extend(position, n);
  for (std::int64_t p = std::max(position, streams_.begin()); p < streams_.end(); ++p)
    std::copy_n(streams + static_cast<std::size_t>(p - position) * width_, width_, streams_.row(p));
}

void MtpDrafter::begin_at(std::int64_t position) {
  origin_ = position;
  size_ = high_ = 0;
}

void MtpDrafter::drop_to(std::int64_t size) {
  streams_.drop_to(size);
  const std::int64_t rows = std::min(size_, size - 1 - origin_);  // a row is also of the token after it
  // The ring holds chunk_max + kRollback rows beyond a window.
  if (rows < 0 || rows < high_ - window_ - kRollback) begin_at(streams_.end());
  else size_ = rows;
}

// Of the rows up to `last`, whose token waits.
std::int64_t MtpDrafter::first_missing(std::int64_t last) const {
  const std::int64_t first = std::max(streams_.begin(), last - window_), end = origin_ + size_;
  return size_ <= 0 || end < first ? first : end;
}

std::int64_t MtpDrafter::missing(std::int64_t size) const { return size - 1 - first_missing(size - 1); }

Token MtpDrafter::likeliest(const float* streams) {
  const MtpWeights& w = weights_.mtp.front();
  logits_.resize(weights_.checkpoint.config().vocab_size);
  forward_.head(w.hc_head, w.norm, streams, 1, logits_.data());
  return static_cast<Token>(std::max_element(logits_.begin(), logits_.end()) - logits_.begin());
}

void MtpDrafter::draft(std::span<const Token> tokens, int n, std::vector<Token>& out) {
  out.clear();
  const std::int64_t last = static_cast<std::int64_t>(tokens.size()) - 1;
  if (n <= 0 || streams_.end() != last || streams_.begin() >= last) return;
  size_ = std::min(size_, last - 1 - origin_);  // asked twice at one place: its row again
  const std::int64_t from = first_missing(last);
  if (from != origin_ + size_ || size_ <= 0) begin_at(from);
  const auto count = static_cast<std::size_t>(last - from);
  streams_.copy(from, last, x_);
  const MtpWeights& w = weights_.mtp.front();
  forward_.mtp(w, state_, size_, tokens.subspan(static_cast<std::size_t>(from) + 1, count), x_.data());
  size_ += static_cast<std::int64_t>(count);
  float* x = x_.data() + (count - 1) * width_;
  out.push_back(likeliest(x));
  // Further guesses read the block's own streams; their rows are written over when the main model's are known.
  for (std::int64_t i = 0; static_cast<int>(out.size()) < n; ++i) {
    forward_.mtp(w, state_, size_ + i, std::span(out).last(1), x);
    out.push_back(likeliest(x));
  }
  high_ = std::max(high_, size_ + static_cast<std::int64_t>(out.size()) - 1);
}

}  // namespace lares::engine
