// What a sequence holds on the GPUs and in host memory, and its ways between the two.
#include <fmt/format.h>

#include <algorithm>

#include "engine/cuda/timeline.h"
#include "engine/model/size_text.h"
#include "engine/model/timeline.h"

namespace lares::engine::cuda {

// On the GPUs: with what it begins with, what it left with, or nothing.
Result<> DeviceTimeline::begin() {
  if (state_ && !from_) return {};
  if (const auto there = with_room([&] { return arrive(); }); !there) return there;
  recount();
  return {};
}

Result<> DeviceTimeline::arrive() {
  if (!s_.pipeline.takes_more())
    return tl::unexpected(Error{
        Errc::no_memory,
        fmt::format("evaluate tokens: the GPUs have room for the state of {} sequences, which "
                    "are being evaluated; end a session, or wait for one",
                    s_.pipeline.states_max())});
  auto state = std::make_unique<PipelineState>(s_.pipeline, s_.n_context);
  if (const Device* const full = state->without_room())
    return tl::unexpected(
        Error{Errc::no_memory,
              fmt::format("evaluate tokens: {} has no room for one more sequence's windows; end "
                          "a session, or load with less gpu_memory for weights",
                          full->name())});
  const std::shared_ptr<const ModelPrefix>& begins = from_ ? from_ : origin_;
  const FrontierRef end = parked_ ? parked_ : begins ? begins->frontier_at_end() : nullptr;
  if (end) {
    const std::vector<PageRef>& pages = parked_ ? host_pages_ : begins->pages();
    if (auto adopted = state->adopt(pages); !adopted) return adopted;
    state->restore(end->position, end->bytes);
  }
  state_ = std::move(state);
  if (end && !parked_) {
    frontiers_ = {end};
    host_pages_.assign(begins->pages().begin(), begins->pages().end());
  }
  parked_ = nullptr;
  host_pages_.resize(std::min(host_pages_.size(), whole_pages()));
  if (!from_) return {};
  origin_ = std::exchange(from_, nullptr);
  tokens_.assign(origin_->tokens().begin(), origin_->tokens().end());
  rows_.clear();
  drafter_.begin(origin_->copy_index());
  return {};
}

void DeviceTimeline::recount() {
  own_.set(tokens_.capacity() * sizeof(Token) + rows_.capacity() + sampler_.bytes());
}

tl::unexpected<Error> DeviceTimeline::without_host_room(Error error) const {
  error.message += fmt::format(
      "; others that wait cannot leave it, for host memory has no room for them: sequences hold {}",
      size_text(memory_->held()));
  if (memory_->bytes_max() > 0)
    error.message += fmt::format(" of {}, raise the memory limit", size_text(memory_->bytes_max()));
  return tl::unexpected(std::move(error));
}

// For `size` tokens and the logits after n_rows of them, beside what is there.
Result<> DeviceTimeline::host_room(std::int64_t size, int n_rows, const std::string& what) {
  const auto beyond = [](std::uint64_t wanted, std::uint64_t there) {
    return wanted - std::min(wanted, there);
  };
  const auto vocab = static_cast<std::size_t>(s_.weights.checkpoint.config().vocab_size);
  std::uint64_t more = beyond(static_cast<std::uint64_t>(n_rows) * vocab * sizeof(float),
                              rows_.capacity()) +
                       beyond(Sampler::bytes_for(vocab), sampler_.bytes()) +
                       drafter_.missing_bytes(evaluated(), size);
  if (static_cast<std::uint64_t>(size) > tokens_.capacity())
    more += static_cast<std::uint64_t>(2 * size) * sizeof(Token);
  if (n_rows == 1) more += state_->frontier_bytes(size);  // to go back to, should it be stopped
  promised_ = more;
  if (more == 0 || (memory_->bytes_max() == 0 && more <= kRoomChecked)) return {};
  return memory_->make_room(more, this, what);
}

// Before any of it is evaluated.
Result<> DeviceTimeline::room_for_prompt(std::int64_t size) {
  if (const auto room = with_room([&] { return state_->room_for(size); }); !room) return room;
  return host_room(size, 1, fmt::format("evaluate a prompt of {} tokens", size));
}

Result<> DeviceTimeline::expect(std::int64_t n_tokens) {
  const std::lock_guard lock(busy);
  memory_->used(this);
  if (const auto begun = begin(); !begun) return begun;
  return room_for_prompt(std::min(n_tokens, s_.n_context));
}

// Pages in host memory of the first n_tokens, which the GPUs have or had; whole ones stay there,
// and the GPUs know them.
std::vector<PageRef> DeviceTimeline::host_pages(std::int64_t n_tokens) const {
  const int page = s_.pipeline.layout().tokens;
  const auto whole = static_cast<std::size_t>(n_tokens / page);
  if (state_) host_pages_.resize(std::max(host_pages_.size(), whole));
  for (std::size_t i = 0; i < whole; ++i)
    if (!host_pages_[i]) host_pages_[i] = state_->known(static_cast<std::int64_t>(i));
  for (std::size_t i = 0, end = 0; i < whole; i = end) {
    for (end = i; end < whole && !host_pages_[end];) ++end;
    if (end == i) {
      ++end;
      continue;
    }
    const auto got = state_->download(static_cast<std::int64_t>(i), end - i, memory_);
    for (std::size_t k = i; k < end; ++k) {
      host_pages_[k] = got[k - i];
      state_->know(static_cast<std::int64_t>(k), host_pages_[k]);
    }
  }
  std::vector<PageRef> out(host_pages_.begin(),
                           host_pages_.begin() + static_cast<std::ptrdiff_t>(whole));
  if (const int within = static_cast<int>(n_tokens % page); within != 0) {
    const PageRef last =
        state_ ? state_->download(static_cast<std::int64_t>(whole), 1, memory_).front()
               : host_pages_[whole];
    out.push_back(beginning_of(s_.pipeline.layout(), *last, within, memory_));
  }
  return out;
}

PrefixRef DeviceTimeline::prefix(std::int64_t n_tokens) const {
  const std::lock_guard lock(busy);
  if (from_) return n_tokens == std::ssize(from_->tokens()) ? from_ : nullptr;
  if (n_tokens <= 0 || n_tokens > std::min(evaluated(), std::ssize(tokens_))) return nullptr;
  const auto kept = std::ranges::find_if(
      frontiers_, [&](const FrontierRef& f) { return f->position == n_tokens; });
  const bool at_end = parked_ && parked_->position == n_tokens;
  if (kept == frontiers_.end() && !at_end && !(state_ && state_->can_drop_to(n_tokens)))
    return nullptr;
  // Two pages for the one that is not whole: as it is there, and what it is made of.
  const auto whole = static_cast<std::size_t>(n_tokens / s_.pipeline.layout().tokens);
  std::uint64_t pages = 2;
  for (std::size_t i = 0; i < whole; ++i) pages += i >= host_pages_.size() || !host_pages_[i];
  const std::uint64_t more =
      pages * s_.pipeline.layout().bytes +
      (state_ && kept == frontiers_.end() ? state_->frontier_bytes(n_tokens) : 0) +
      static_cast<std::uint64_t>(n_tokens) * sizeof(Token) + drafter_.missing_bytes(0, n_tokens);
  if (!memory_->make_room(more, const_cast<DeviceTimeline*>(this),
                          fmt::format("share {} tokens", n_tokens)))
    return nullptr;
  FrontierRef frontier;
  if (const auto still = std::ranges::find_if(
          frontiers_, [&](const FrontierRef& f) { return f->position == n_tokens; });
      still != frontiers_.end())
    frontier = *still;
  else if (at_end)
    frontier = parked_;
  else if (state_ && state_->can_drop_to(n_tokens))
    frontier = shared(Frontier{n_tokens, state_->frontier(n_tokens)}, memory_);
  else
    return nullptr;
  std::vector<Token> tokens(tokens_.begin(), tokens_.begin() + n_tokens);
  CopyIndex index = drafter_.copy_index(tokens);
  return std::make_shared<ModelPrefix>(std::move(tokens), host_pages(n_tokens), std::move(frontier),
                                       std::move(index), memory_);
}

// Those before make way where host memory is full. Without any, going back evaluates from the
// beginning.
void DeviceTimeline::keep_frontier() {
  const std::int64_t position = state_->size();
  if (position == 0 || (!frontiers_.empty() && frontiers_.back()->position >= position)) return;
  const std::uint64_t bytes = state_->frontier_bytes(position) + promised_;
  while (!memory_->fits(bytes) && !frontiers_.empty())
    frontiers_.erase(frontiers_.begin() + static_cast<std::ptrdiff_t>(frontiers_.size() / 2));
  if (!memory_->fits(bytes)) return;
  frontiers_.push_back(shared(Frontier{position, state_->frontier(position)}, memory_));
  if (frontiers_.size() > kFrontiersMax)
    frontiers_.erase(frontiers_.begin() +
                     static_cast<std::ptrdiff_t>(frontiers_.size() / 2));  // the ends are asked for
                                                                           // most
}

// Host memory alone, from any thread. What the GPUs hold costs none, and what they have too is no
// loss.
bool DeviceTimeline::give_back(Give what) {
  if (what == Give::snapshots) {
    if (frontiers_.size() < 2) return false;
    frontiers_.erase(frontiers_.begin(), frontiers_.end() - 1);
    return true;
  }
  if (what == Give::rings) {
    if (!state_ || host_pages_.empty()) return false;
    host_pages_.clear();
    return true;
  }
  if (!parked_) return false;
  leave(false);
  return true;
}

std::optional<std::uint64_t> DeviceTimeline::bytes_to_leave() const {
  if (!state_) return std::nullopt;
  const std::int64_t size = std::min(state_->size(), std::ssize(tokens_));
  std::uint64_t pages = 1;
  for (std::size_t i = 0; i < static_cast<std::size_t>(size / s_.pipeline.layout().tokens); ++i)
    pages += i >= host_pages_.size() || !host_pages_[i];
  return pages * s_.pipeline.layout().bytes + state_->frontier_bytes(size);
}

void DeviceTimeline::leave(bool with_cells) {
  if (state_) drop_ahead();
  if (with_cells && state_->size() > 0) {
    const std::int64_t size = state_->size();
    host_pages_ = host_pages(size);
    parked_ = shared(Frontier{size, state_->frontier(size)}, memory_);
  } else {
    parked_ = nullptr;
    host_pages_.clear();
    frontiers_.clear();
  }
  state_ = nullptr;
  kept_ = nullptr;
  drafter_.give_back();
  rows_.shrink(std::ssize(tokens_) - 2);  // the logits that a draw or logprobs() may ask for next
  recount();
}

}  // namespace lares::engine::cuda
