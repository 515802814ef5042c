// What a sequence holds on the GPUs and in host memory, and its ways between the two.
#include <fmt/format.h>

#include <algorithm>

#include "engine/cuda/timeline.h"
#include "engine/model/memory/size_text.h"
#include "engine/model/timeline.h"

namespace lares::engine::cuda {

DeviceTimeline::~DeviceTimeline() {
  memory_->remove(this);
  if (state_) s_.pipeline.retire(std::shared_ptr<PipelineState>(std::move(state_)));
  if (auto block = drafter_.take_block())
    s_.pipeline.retire(std::shared_ptr<BlockDrafter>(std::move(block)));
}

// On the GPUs: with what it begins with, what it left with, or nothing.
Result<> DeviceTimeline::begin() {
  s_.pipeline.free_retired();
  if (state_ && !from_) return {};
  if (const auto there = with_room([&] { return arrive(); }); !there) return there;
  recount();
  // Who left for it took the room of what it had in host memory (bytes_on_return()).
  if (!memory_->fits(0)) give_back(Give::rings);
  return {};
}

Result<> DeviceTimeline::arrive() {
  if (!s_.pipeline.takes_more())
    return tl::unexpected(
        Error{Errc::no_memory, fmt::format("evaluate tokens: the GPUs have room for the state of "
                                           "{} sequences, and have as many; end a session",
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
    if (auto adopted = state->adopt(pages, end->position); !adopted) return adopted;
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
  if (!in_company) memory_->refused();
  error.message += fmt::format(
      "; those that wait cannot leave the GPUs, for host memory has no room for them: sequences "
      "hold {}",
      size_text(memory_->held()));
  if (memory_->bytes_max() > 0)
    error.message += fmt::format(" of {}, raise the memory limit", size_text(memory_->bytes_max()));
  return tl::unexpected(std::move(error));
}

// What `size` tokens and the logits after n_rows of them take beside what is there; less, where it
// is on no GPU yet.
std::uint64_t DeviceTimeline::host_bytes(std::int64_t size, int n_rows) const {
  const auto beyond = [](std::uint64_t wanted, std::uint64_t there) {
    return wanted - std::min(wanted, there);
  };
  const auto vocab = static_cast<std::size_t>(s_.weights.checkpoint.config().vocab_size);
  std::uint64_t bytes = beyond(static_cast<std::uint64_t>(n_rows) * vocab * sizeof(float),
                               rows_.capacity()) +
                        beyond(Sampler::bytes_for(vocab), sampler_.bytes()) +
                        drafter_.missing_bytes(evaluated(), size);
  if (static_cast<std::uint64_t>(size) > tokens_.capacity())
    bytes += static_cast<std::uint64_t>(2 * size) * sizeof(Token);
  if (n_rows == 1 && state_)
    bytes += state_->frontier_bytes(size);  // to go back to, should it be stopped
  return bytes;
}

Result<> DeviceTimeline::host_room(std::uint64_t more, const std::string& what) {
  if (more == 0 || (memory_->bytes_max() == 0 && more <= kRoomChecked)) return {};
  if (auto ever = may_ever_fit(*memory_, more, what); !ever) {
    memory_->refused();
    return ever;
  }
  if (!memory_->fits(more) && give_back(Give::rings)) memory_->show_freed();
  return memory_->make_room(more, this, what);
}

// Before any of it is evaluated.
Result<> DeviceTimeline::room_for_prompt(std::int64_t size) {
  promised_ = host_bytes(size, 1);
  if (const auto room = with_room([&] { return state_->room_for(size); }); !room) return room;
  return host_room(promised_, fmt::format("evaluate a prompt of {} tokens", size));
}

Result<> DeviceTimeline::expect(std::int64_t n_tokens) {
  const std::lock_guard lock(busy);
  memory_->used(this);
  const std::int64_t size = std::min(n_tokens, s_.n_context);
  promised_ = host_bytes(size, 1);
  if (const auto begun = begin(); !begun) return begun;
  return room_for_prompt(size);
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

// Of the first n_tokens' whole pages, those that host_pages() would have to make.
std::uint64_t DeviceTimeline::missing_host_pages(std::int64_t n_tokens) const {
  std::uint64_t n = 0;
  for (std::int64_t i = 0; i < n_tokens / s_.pipeline.layout().tokens; ++i) {
    const auto at = static_cast<std::size_t>(i);
    n += (at >= host_pages_.size() || !host_pages_[at]) && !(state_ && state_->known(i));
  }
  return n;
}

// Null: none is.
FrontierRef DeviceTimeline::kept_frontier(std::int64_t position) const {
  if (parked_ && parked_->position == position) return parked_;
  const auto at = std::ranges::find(frontiers_, position, &Frontier::position);
  return at == frontiers_.end() ? nullptr : *at;
}

PrefixRef DeviceTimeline::prefix(std::int64_t n_tokens) const {
  const std::lock_guard lock(busy);
  if (from_) return n_tokens == std::ssize(from_->tokens()) ? from_ : nullptr;
  if (n_tokens <= 0 || n_tokens > std::min(evaluated(), std::ssize(tokens_))) return nullptr;
  FrontierRef frontier = kept_frontier(n_tokens);
  if (!frontier && !(state_ && state_->can_drop_to(n_tokens))) return nullptr;
  // Two pages for the one that is not whole: as it is there, and what it is made of.
  const std::uint64_t more = (missing_host_pages(n_tokens) + 2) * s_.pipeline.layout().bytes +
                             (frontier ? 0 : state_->frontier_bytes(n_tokens)) +
                             static_cast<std::uint64_t>(n_tokens) * sizeof(Token) +
                             drafter_.missing_bytes(0, n_tokens);
  if (!memory_->make_room(more, const_cast<DeviceTimeline*>(this),
                          fmt::format("share {} tokens", n_tokens)))
    return nullptr;
  if (!frontier) frontier = shared(Frontier{n_tokens, state_->frontier(n_tokens)}, memory_);
  std::vector<Token> tokens(tokens_.begin(), tokens_.begin() + n_tokens);
  CopyIndex index = drafter_.copy_index(tokens);
  return std::make_shared<ModelPrefix>(std::move(tokens), host_pages(n_tokens), std::move(frontier),
                                       std::move(index), memory_);
}

// Those before make way where host memory is full, but for such as others share, if that makes
// room. Without any, going back evaluates from the beginning.
void DeviceTimeline::keep_frontier() {
  const std::int64_t position = state_->size();
  if (position == 0 || (!frontiers_.empty() && frontiers_.back()->position >= position)) return;
  const std::uint64_t bytes = state_->frontier_bytes(position) + promised_;
  std::uint64_t own = 0;
  for (const FrontierRef& f : frontiers_) own += f.use_count() == 1 ? f->bytes.size() : 0;
  if (!memory_->fits(bytes - std::min(bytes, own))) return;
  while (!memory_->fits(bytes)) {
    std::vector<std::ptrdiff_t> ones_own;
    for (std::size_t i = 0; i < frontiers_.size(); ++i)
      if (frontiers_[i].use_count() == 1) ones_own.push_back(static_cast<std::ptrdiff_t>(i));
    if (ones_own.empty()) return;
    frontiers_.erase(frontiers_.begin() + ones_own[ones_own.size() / 2]);
    memory_->show_freed();
  }
  frontiers_.push_back(shared(Frontier{position, state_->frontier(position)}, memory_));
  // The ends are asked for most
  if (frontiers_.size() > kFrontiersMax)
    frontiers_.erase(frontiers_.begin() + static_cast<std::ptrdiff_t>(frontiers_.size() / 2));
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
    if (!state_) return false;
    bool any = false;
    for (PageRef& page : host_pages_) {  // such as others hold the GPUs' caches know
      any |= page.use_count() == 1;
      page = nullptr;
    }
    return any;
  }
  if (!parked_) return false;
  leave(false);
  return true;
}

std::uint64_t DeviceTimeline::bytes_on_return() const {
  if (!parked_) return 0;
  std::uint64_t bytes = parked_.use_count() == 1 ? parked_->bytes.size() : 0;
  for (const PageRef& page : host_pages_) bytes += page.use_count() == 1 ? page->size() : 0;
  return bytes;
}

std::optional<std::uint64_t> DeviceTimeline::bytes_to_leave() const {
  if (!state_) return std::nullopt;
  const std::int64_t size = std::min(state_->size(), std::ssize(tokens_));
  if (size == 0) return 0;
  const bool within = size % s_.pipeline.layout().tokens != 0;  // two, of which one goes again
  return (missing_host_pages(size) + (within ? 2 : 0)) * s_.pipeline.layout().bytes +
         (kept_frontier(size) ? 0 : state_->frontier_bytes(size));
}

void DeviceTimeline::leave(bool with_cells) {
  if (state_) drop_ahead();
  if (with_cells && state_ && state_->size() > 0) {
    const std::int64_t size = state_->size();
    std::vector<PageRef> pages = host_pages(size);
    FrontierRef end = kept_frontier(size);
    if (!end) end = shared(Frontier{size, state_->frontier(size)}, memory_);
    host_pages_ = std::move(pages);  // not before all of it is there
    parked_ = std::move(end);
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
