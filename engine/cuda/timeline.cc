#include "engine/cuda/timeline.h"

#include <fmt/format.h>

#include <algorithm>

namespace lares::engine::cuda {

// Takes over what it begins with.
Result<> DeviceTimeline::begin() {
  if (!state_) {
    auto state = std::make_unique<PipelineState>(s_.pipeline, s_.n_context);
    if (const Device* const full = state->without_room())
      return tl::unexpected(Error{Errc::no_memory, fmt::format("evaluate tokens: {} has no room for one more sequence's windows; end a session, or load with less gpu_memory for weights", full->name())});
    state_ = std::move(state);
  }
  if (!from_) return {};
  if (auto adopted = state_->adopt(from_->pages()); !adopted) return adopted;
  const std::shared_ptr<const ModelPrefix> from = std::exchange(from_, nullptr);
  state_->restore(from->frontier_at_end()->position, from->frontier_at_end()->bytes);
  tokens_.assign(from->tokens().begin(), from->tokens().end());
  frontiers_ = {from->frontier_at_end()};
  const auto whole = static_cast<std::size_t>(static_cast<std::int64_t>(tokens_.size()) / s_.pipeline.layout().tokens);
  host_pages_.assign(from->pages().begin(), from->pages().begin() + static_cast<std::ptrdiff_t>(whole));
  row_at_ = -1;
  return {};
}

PrefixRef DeviceTimeline::prefix(std::int64_t n_tokens) const {
  if (from_) return n_tokens == static_cast<std::int64_t>(from_->tokens().size()) ? from_ : nullptr;
  if (!state_ || n_tokens <= 0 || n_tokens > state_->size()) return nullptr;
  const auto kept = std::ranges::find_if(frontiers_, [&](const FrontierRef& f) { return f->position == n_tokens; });
  FrontierRef frontier;
  if (kept != frontiers_.end()) frontier = *kept;
  else if (n_tokens == state_->size()) frontier = std::make_shared<Frontier>(Frontier{n_tokens, state_->frontier(n_tokens)});
  else return nullptr;
  const PageLayout& layout = s_.pipeline.layout();
  const auto whole = static_cast<std::size_t>(n_tokens / layout.tokens);
  host_pages_.resize(std::max(host_pages_.size(), whole));
  for (std::size_t i = 0; i < whole; ++i) {
    if (host_pages_[i]) continue;
    host_pages_[i] = state_->download(static_cast<std::int64_t>(i));
    state_->know(static_cast<std::int64_t>(i), host_pages_[i]);
  }
  std::vector<PageRef> pages(host_pages_.begin(), host_pages_.begin() + static_cast<std::ptrdiff_t>(whole));
  if (const int within = static_cast<int>(n_tokens % layout.tokens); within != 0)
    pages.push_back(beginning_of(layout, *state_->download(static_cast<std::int64_t>(whole)), within));
  return std::make_shared<ModelPrefix>(std::vector<Token>(tokens_.begin(), tokens_.begin() + n_tokens), std::move(pages), std::move(frontier));
}

void DeviceTimeline::keep_frontier() {
  const std::int64_t position = state_->size();
  if (position == 0 || (!frontiers_.empty() && frontiers_.back()->position >= position)) return;
  frontiers_.push_back(std::make_shared<Frontier>(Frontier{position, state_->frontier(position)}));
  if (frontiers_.size() > kFrontiersMax) frontiers_.erase(frontiers_.begin() + static_cast<std::ptrdiff_t>(frontiers_.size() / 2));  // the ends are asked for most
}

void DeviceTimeline::took_row(const float* row) {
  const auto vocab = static_cast<std::size_t>(s_.weights.checkpoint.config().vocab_size);
  if (row != row_.data()) row_.assign(row, row + vocab);
  row_at_ = state_->size() - 1;
  if (state_->size() % kFrontierEvery == 0) keep_frontier();
}

// Appends tokens, and keeps the logits after the last of them with `row`. Whatever fails leaves the state as it was.
Result<> DeviceTimeline::evaluate(std::span<const Token> tokens, bool row, const std::function<bool(int)>& go_on) {
  const std::int64_t position = state_->size();
  FrontierRef before;
  if (go_on && position > 0) {
    keep_frontier();
    before = frontiers_.back()->position == position ? frontiers_.back() : std::make_shared<Frontier>(Frontier{position, state_->frontier(position)});
  }
  row_.resize(static_cast<std::size_t>(s_.weights.checkpoint.config().vocab_size));
  if (row) row_at_ = -1;
  const Pipeline::Sequence one{state_.get(), static_cast<int>(tokens.size())};
  const auto done = s_.pipeline.evaluate({&one, 1}, tokens, row ? 1 : 0, row_.data(), go_on);
  if (!done) {
    if (done.error().code == Errc::cancelled) {
      if (before) state_->restore(position, before->bytes);
      else state_->drop_to(0);
    }
    return done;
  }
  if (row) took_row(row_.data());
  if (state_->size() % kSnapshotEvery == 0 && go_on) keep_frontier();  // of a prompt
  return {};
}

// To the last position <= `position` that the state can return to.
void DeviceTimeline::go_back(std::int64_t position) {
  while (!frontiers_.empty() && frontiers_.back()->position > position) frontiers_.pop_back();
  if (position < state_->size()) {
    row_at_ = -1;
    if (state_->can_drop_to(position)) state_->drop_to(position);
    else if (!frontiers_.empty()) state_->restore(frontiers_.back()->position, frontiers_.back()->bytes);
    else state_->drop_to(0);
  }
  tokens_.resize(static_cast<std::size_t>(state_->size()));
  host_pages_.resize(std::min(host_pages_.size(), static_cast<std::size_t>(state_->size() / s_.pipeline.layout().tokens)));
}

Result<std::int64_t> DeviceTimeline::sync(std::span<const Token> prompt, std::stop_token stop, const Progress& progress) {
  const auto size = static_cast<std::int64_t>(prompt.size());
  const int vocab = s_.weights.checkpoint.config().vocab_size, chunk = s_.pipeline.chunk();
  if (prompt.empty()) return tl::unexpected(Error{Errc::bad_argument, "evaluate a prompt: it is empty"});
  if (size > s_.n_context) return tl::unexpected(Error{Errc::too_long, fmt::format("evaluate a prompt of {} tokens: the context holds {}", size, s_.n_context)});
  const auto outside = std::ranges::find_if(prompt, [&](Token t) { return t < 0 || t >= vocab; });
  if (outside != prompt.end())
    return tl::unexpected(Error{Errc::bad_argument, fmt::format("evaluate a prompt: token {} at {} is outside the vocabulary of {}", *outside, outside - prompt.begin(), vocab)});
  generated_from_ = prompt.size();
  if (const auto begun = begin(); !begun) return tl::unexpected(begun.error());
  const auto evaluated = std::min<std::int64_t>(state_->size(), size);
  const auto common = std::mismatch(prompt.begin(), prompt.begin() + evaluated, tokens_.begin()).first - prompt.begin();
  if (common == size && state_->size() == size && row_at_ == size - 1) {
    tokens_.resize(prompt.size());
    return 0;
  }
  go_back(std::min<std::int64_t>(common, size - 1));
  const std::int64_t start = state_->size(), mark = (size - 1) / kSnapshotEvery * kSnapshotEvery;  // where a beginning may be asked for
  const int layers = static_cast<int>(s_.weights.layers.size());
  while (state_->size() < size) {
    const std::int64_t position = state_->size();
    const auto cancelled = [&] { return tl::unexpected(Error{Errc::cancelled, fmt::format("evaluate a prompt: cancelled after {} of {} tokens", state_->size(), size)}); };
    if (stop.stop_requested()) return cancelled();
    if (progress) progress(position - start, size - start);
    std::int64_t end = std::min(size, (position / chunk + 1) * chunk);
    if (mark > position) end = std::min(end, mark);
    const auto go_on = [&](int layer) {
      if (progress) progress(position - start + (end - position) * (layer + 1) / layers, size - start);
      return layer + 1 == layers || !stop.stop_requested();
    };
    const auto done = evaluate(prompt.subspan(static_cast<std::size_t>(position), static_cast<std::size_t>(end - position)), end == size, go_on);
    if (!done && done.error().code == Errc::cancelled) return cancelled();
    if (!done) return tl::unexpected(done.error());
    tokens_.insert(tokens_.end(), prompt.begin() + static_cast<std::ptrdiff_t>(tokens_.size()), prompt.begin() + static_cast<std::ptrdiff_t>(end));
  }
  if (progress) progress(size - start, size - start);
  return size - start;
}

void DeviceTimeline::evaluate_together(std::span<DeviceTimeline* const> timelines) {
  std::vector<DeviceTimeline*> waiting;
  for (DeviceTimeline* const t : timelines)
    if (!t->from_ && t->waits()) waiting.push_back(t);
  for (std::size_t first = 0; first < waiting.size(); first += kPartsMax) {
    const std::span some = std::span(waiting).subspan(first, std::min<std::size_t>(kPartsMax, waiting.size() - first));
    std::vector<Pipeline::Sequence> sequences;
    std::vector<Token> tokens;
    for (DeviceTimeline* const t : some) {
      sequences.push_back({t->state_.get(), 1});
      tokens.push_back(t->tokens_.back());
    }
    const auto vocab = static_cast<std::size_t>(some.front()->s_.weights.checkpoint.config().vocab_size);
    std::vector<float> logits(tokens.size() * vocab);
    if (!some.front()->s_.pipeline.evaluate(sequences, tokens, static_cast<int>(tokens.size()), logits.data())) continue;
    for (std::size_t i = 0; i < some.size(); ++i) some[i]->took_row(logits.data() + i * vocab);
  }
}

Result<Token> DeviceTimeline::next(const Sampling& sampling, const TokenMask* mask) {
  if (const auto begun = begin(); !begun) return tl::unexpected(begun.error());
  const auto size = static_cast<std::int64_t>(tokens_.size());
  if (size == 0) return tl::unexpected(Error{Errc::bad_argument, "draw a token: the timeline is empty, give it a prompt first"});
  if (size >= s_.n_context) return tl::unexpected(Error{Errc::too_long, fmt::format("draw a token: the context of {} tokens is full", s_.n_context)});
  if (row_at_ != size - 1) {  // its last token waits, or more of them after a stopped sync
    if (state_->size() == size) {
      const std::vector<Token> all = tokens_;
      go_back(size - 1);
      tokens_ = all;
    }
    while (state_->size() < size) {
      const std::int64_t from = state_->size(), end = std::min(size, from + s_.pipeline.chunk());
      const auto done = evaluate(std::span(tokens_).subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(end - from)), end == size, {});
      if (!done) return tl::unexpected(done.error());
    }
  }
  generated_from_ = std::min(generated_from_, tokens_.size());
  const auto token = sampler_.draw(row_, sampling, mask, size, {tokens_, generated_from_});
  if (token) tokens_.push_back(*token);
  return token;
}

Logprobs DeviceTimeline::logprobs(int n) const {
  const auto size = static_cast<std::int64_t>(tokens_.size());
  if (tokens_.size() <= generated_from_ || row_at_ != size - 2) return {};
  return engine::logprobs(row_, tokens_.back(), n);
}

}  // namespace lares::engine::cuda
