#include "engine/model/timeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>
#include <utility>

#include "engine/model/bounds.h"
#include "engine/model/memory/available_memory.h"
#include "engine/model/memory/size_text.h"

namespace lares::engine {
namespace {

// Tokens that there is room for when one more does not fit: growing costs little a token, and less
// memory than twice as much.
std::int64_t with_some_more(std::int64_t n) { return n + n / 8 + 64; }

// While it lives nobody asks `of`, whose `busy` this thread holds, for what it has.
struct InCompany {
  explicit InCompany(SequenceHolder& of) : holder(of) { holder.in_company = true; }
  ~InCompany() { holder.in_company = false; }
  InCompany(const InCompany&) = delete;
  SequenceHolder& holder;
};

}  // namespace

Result<> may_ever_fit(const SequenceMemory& memory, std::uint64_t bytes, const std::string& what) {
  const bool bounded = memory.bytes_max() > 0;
  const std::uint64_t most = bounded ? memory.bytes_max() : machine_bytes();
  if (bytes <= most) return {};
  return tl::unexpected(
      Error{Errc::too_long,
            fmt::format("{}: it takes {}, and {} {}; {}shorten the prompt", what, size_text(bytes),
                        bounded ? "all sequences together may take" : "the machine has",
                        size_text(most), bounded ? "raise the memory limit, or " : "")});
}

ModelTimeline::ModelTimeline(const Weights& weights, Forward& forward, std::int64_t n_context,
                             int chunk, const DraftOptions& drafts,
                             std::shared_ptr<const ModelPrefix> from, SequenceMemoryRef memory)
    : weights_(weights),
      forward_(forward),
      n_context_(n_context),
      chunk_(chunk),
      memory_(memory ? std::move(memory) : std::make_shared<SequenceMemory>()),
      state_(weights, forward.exact(), chunk, memory_),
      rows_(weights.checkpoint.config().vocab_size),
      sampler_(&forward.threads()),
      drafter_(
          weights, [&weights, &forward] { return BlockDrafter::of(weights, forward); }, drafts,
          memory_),
      from_(std::move(from)),
      own_(memory_, 0) {
  memory_->add(this);
}

// Takes over what it begins with, or makes again what was given back. Rings are filled here, which
// costs more than a fork may.
void ModelTimeline::begin() {
  const auto take_over = [&](const ModelPrefix& prefix) {
    state_.pages().adopt(prefix.pages());
    state_.restore(*prefix.frontier_at_end());
    snapshots_ = {prefix.frontier_at_end()};
  };
  if (from_) {
    origin_ = std::exchange(from_, nullptr);
    take_over(*origin_);
    tokens_.assign(origin_->tokens().begin(), origin_->tokens().end());
    drafter_.begin(origin_->copy_index());
    drafter_.drop_to(state_.size());
  } else if (std::exchange(evicted_, false)) {
    if (origin_) take_over(*origin_);
  } else if (const FrontierRef parked = std::exchange(parked_, nullptr)) {
    state_.restore(*parked);
  }
  recount();
}

bool ModelTimeline::give_back(Give what) {
  if (from_ || evicted_) return false;
  if (what == Give::snapshots) {
    if (snapshots_.size() < 2) return false;
    snapshots_.erase(snapshots_.begin(), snapshots_.end() - 1);
    return true;
  }
  if (what == Give::rings && !state_.has_rings()) return false;
  if (what == Give::cells && tokens_.empty()) return false;
  drop_ahead();
  if (what == Give::rings) {
    Frontier end = state_.frontier(state_.size());
    state_.give_back_rings();
    if (state_.size() > 0) parked_ = shared(std::move(end), memory_);
    rows_.shrink(state_.size() - 2);  // the logits that a draw or logprobs() may ask for next
  } else {
    state_.give_back_rings();
    state_.drop_to(0);
    parked_ = nullptr;
    snapshots_.clear();
    drafter_.give_back();
    if (const auto last = std::ssize(tokens_) - 2; rows_.has(last)) {
      const auto values = rows_.row(last);
      drawn_row_.assign(values.begin(), values.end());
      drawn_row_of_ = last;
    }
    rows_.clear();
    rows_.shrink(0);
    evicted_ = true;
  }
  recount();
  return true;
}

void ModelTimeline::recount() {
  own_.set(tokens_.capacity() * sizeof(Token) + rows_.capacity() + drafter_.bytes() +
           sampler_.bytes());
}

PrefixRef ModelTimeline::prefix(std::int64_t n_tokens) const {
  const std::lock_guard lock(busy);
  if (from_) return n_tokens == static_cast<std::int64_t>(from_->tokens().size()) ? from_ : nullptr;
  const auto evaluated = std::min(state_.size(), static_cast<std::int64_t>(tokens_.size()));
  if (n_tokens <= 0 || n_tokens > evaluated) return nullptr;
  const std::uint64_t more = state_.pages().layout().bytes + state_.frontier_bytes(n_tokens) +
                             static_cast<std::uint64_t>(n_tokens) * sizeof(Token) +
                             drafter_.missing_bytes(0, n_tokens);
  const bool room = memory_->bytes_max() == 0 ||
                    memory_->make_room(more, const_cast<ModelTimeline*>(this),
                                       fmt::format("share {} tokens", n_tokens));
  if (!room) return nullptr;
  const auto kept = std::find_if(snapshots_.begin(), snapshots_.end(),
                                 [&](const FrontierRef& s) { return s->position == n_tokens; });
  FrontierRef frontier;
  if (kept != snapshots_.end())
    frontier = *kept;
  else if (parked_ && n_tokens == state_.size())
    frontier = parked_;
  else if (!parked_ && state_.can_drop_to(n_tokens))
    frontier = shared(state_.frontier(n_tokens), memory_);  // guesses may stand behind it
  else
    return nullptr;
  std::vector<Token> tokens(tokens_.begin(), tokens_.begin() + n_tokens);
  CopyIndex index = drafter_.copy_index(tokens);
  return std::make_shared<ModelPrefix>(std::move(tokens), state_.pages(), std::move(frontier),
                                       std::move(index), memory_);
}

void ModelTimeline::before_evaluating() {
  if (state_.size() % kSnapshotEvery == 0)
    keep_snapshot(state_.size());  // before, not after: what ended here may have been guesses
}

// The state has more tokens than `position`: keeps frontiers, and makes room for the logits after
// the last n_rows of them, which are the caller's to write where this says.
float* ModelTimeline::after_evaluating(std::int64_t position, int n_rows) {
  for (auto p = (position / kSnapshotEvery + 1) * kSnapshotEvery; p < state_.size();
       p += kSnapshotEvery)
    keep_snapshot(p);
  float* const logits = rows_.make(state_.size() - n_rows, n_rows);
  recount();
  return logits;
}

// Appends tokens to the state and keeps the logits after the last n_rows of them. Asks go_on(layers
// done, layers), if there is one, after each layer; on false puts everything back and returns
// false.
bool ModelTimeline::evaluate(std::span<const Token> tokens, int n_rows,
                             const std::function<bool(int, int)>& go_on) {
  const Config& c = weights_.checkpoint.config();
  const std::size_t width = static_cast<std::size_t>(c.hc_mult) * c.hidden_size;
  const auto n = static_cast<int>(tokens.size());
  before_evaluating();
  Forward::Streams space(forward_, tokens.size() * width);
  float* const streams = space.data();
  const std::int64_t position = state_.size();
  const bool kept = !snapshots_.empty() && snapshots_.back()->position == position;
  std::optional<Frontier> before;
  if (go_on && !kept) before = state_.frontier(position);
  const bool done = forward_.evaluate(state_, tokens, streams, [&](int layer, const float* x) {
    drafter_.saw(layer, position, n, x);
    return !go_on || layer + 1 == c.num_hidden_layers || go_on(layer + 1, c.num_hidden_layers);
  });
  if (!done) {
    state_.restore(kept ? *snapshots_.back() : *before);
    drafter_.drop_to(position);
    return false;
  }
  float* const logits = after_evaluating(position, n_rows);
  if (n_rows > 0)
    forward_.head(streams + static_cast<std::size_t>(n - n_rows) * width, n_rows, logits);
  return true;
}

void ModelTimeline::evaluate_together(std::span<ModelTimeline* const> timelines) {
  std::vector<std::unique_lock<std::mutex>> locks;
  std::vector<ModelTimeline*> ready;
  std::uint64_t promised = 0;  // to those before
  for (ModelTimeline* const t : timelines) {
    std::unique_lock lock(t->busy, std::try_to_lock);
    if (!lock || t->from_ || t->evicted_) continue;
    t->memory_->used(t);
    const std::uint64_t more = t->bytes_to_draw();
    if (!t->make_room(promised + more, "draw tokens together"))
      continue;  // next() makes more, or says why
    promised += more;
    t->plan_draw();
    t->promised_ = more;
    t->begin();
    t->in_company = true;
    locks.push_back(std::move(lock));
    ready.push_back(t);
  }
  for (ModelTimeline* const t : ready) t->promised_ = promised - t->promised_;
  evaluate_waiting(ready);
  for (ModelTimeline* const t : ready) {
    t->in_company = false;
    t->promised_ = 0;
  }
}

// Whatever guesses they have are evaluated in one pass. Those of draft blocks are made before it,
// one sequence after the other in waiting(), and each reads the block and the head again (1.3 GB of
// V4-Flash a guess, beside some 8 GB and a share of the experts in the pass). To make them together
// waiting() would become two steps: first each drafter says how many guesses of its block it wants
// and which rows it has to catch up with, then rounds of one Forward::mtp() over a Part a sequence,
// as layer() takes them, and one head() over all their rows, until the last has enough.
void ModelTimeline::evaluate_waiting(std::span<ModelTimeline* const> timelines) {
  struct One {
    ModelTimeline* of;
    std::int64_t position;
    int begin, n;
    float* logits = nullptr;
  };
  std::vector<One> all;
  std::vector<Token> tokens;
  std::vector<Sequence> sequences;
  for (ModelTimeline* const t : timelines) {
    const auto size = static_cast<std::int64_t>(t->tokens_.size());
    if (t->state_.size() + 1 != size || size >= t->n_context_) continue;
    const std::vector<Token> more = t->drafter_.waiting(t->tokens_, t->chunk_ - 1, t->n_context_,
                                                        timelines.size() == 1);
    t->before_evaluating();
    all.push_back(
        {t, t->state_.size(), static_cast<int>(tokens.size()), static_cast<int>(more.size())});
    sequences.push_back({&t->state_, all.back().n});
    tokens.insert(tokens.end(), more.begin(), more.end());
  }
  if (all.empty()) return;
  Forward& forward = all.front().of->forward_;
  const Config& c = all.front().of->weights_.checkpoint.config();
  const std::size_t width = static_cast<std::size_t>(c.hc_mult) * c.hidden_size,
                    vocab = static_cast<std::size_t>(c.vocab_size);
  Forward::Streams space(forward, tokens.size() * width);
  float* const streams = space.data();
  const auto began = std::chrono::steady_clock::now();
  forward.evaluate(sequences, tokens, streams, [&](int layer, const float* x) {
    for (const One& one : all)
      one.of->drafter_.saw(layer, one.position, one.n,
                           x + static_cast<std::size_t>(one.begin) * width);
    return true;
  });
  for (One& one : all) one.logits = one.of->after_evaluating(one.position, one.n);
  if (all.size() == 1) {
    forward.head(streams, all.front().n, all.front().logits);
    // In company nobody knows what a guess costs
    all.front().of->drafter_.took(all.front().n - 1, std::chrono::steady_clock::now() - began);
    return;
  }
  for (const One& one : all) one.of->drafter_.evaluated();
  const int n_tokens = static_cast<int>(tokens.size());
  std::vector<float> logits(static_cast<std::size_t>(std::min(n_tokens, kHeadRows)) * vocab);
  for (int from = 0; from < n_tokens; from += kHeadRows) {
    const int to = std::min(n_tokens, from + kHeadRows);
    forward.head(streams + static_cast<std::size_t>(from) * width, to - from, logits.data());
    for (const One& one : all) {
      const int begin = std::max(from, one.begin), end = std::min(to, one.begin + one.n);
      if (begin >= end) continue;
      std::copy_n(logits.data() + static_cast<std::size_t>(begin - from) * vocab,
                  static_cast<std::size_t>(end - begin) * vocab,
                  one.logits + static_cast<std::size_t>(begin - one.begin) * vocab);
    }
  }
}

void ModelTimeline::drop_ahead() {
  if (!drafter_.ahead()) return;
  const auto size = static_cast<std::int64_t>(tokens_.size());
  state_.drop_to(size);
  drafter_.drop_to(size);
  rows_.drop_to(size);
}

// The snapshot whose absence costs least for its age: gaps grow with the distance from the end. The
// last is none.
std::size_t ModelTimeline::least_missed() const {
  std::size_t victim = 0;
  double least = -1;
  for (std::size_t i = 0; i + 1 < snapshots_.size(); ++i) {
    const auto before = i ? snapshots_[i - 1]->position : 0;
    const double cost = static_cast<double>(snapshots_[i + 1]->position - before) /
                        static_cast<double>(state_.size() - snapshots_[i]->position + 1);
    if (least < 0 || cost < least) {
      least = cost;
      victim = i;
    }
  }
  return victim;
}

void ModelTimeline::keep_snapshot(std::int64_t position) {
  if (position == 0) return;
  if (!snapshots_.empty() && snapshots_.back()->position >= position) return;
  if (memory_->bytes_max() > 0) {
    // Those before make way where there is no room, if that makes some: others may share them.
    // Without any, going back evaluates from the beginning.
    recount();
    const std::uint64_t more =
        state_.frontier_bytes(position) +
        missing_beside_snapshots(state_.size(), std::max(planned_, state_.size()), planned_rows_) +
        promised_;
    std::uint64_t own = 0;
    for (const FrontierRef& s : snapshots_) own += s.use_count() == 1 ? s->bytes.size() : 0;
    if (!memory_->fits(more - std::min(more, own))) return;
    while (!memory_->fits(more) && !snapshots_.empty())
      snapshots_.erase(snapshots_.begin() + static_cast<std::ptrdiff_t>(least_missed()));
  }
  snapshots_.push_back(shared(state_.frontier(position), memory_));
  std::uint64_t bytes = 0;
  for (const auto& s : snapshots_) bytes += s->bytes.size();
  while (snapshots_.size() > kSnapshotsMax ||
         (bytes > kSnapshotBytesMax && snapshots_.size() > 1)) {
    const std::size_t victim = least_missed();
    bytes -= snapshots_[victim]->bytes.size();
    snapshots_.erase(snapshots_.begin() + static_cast<std::ptrdiff_t>(victim));
  }
}

// Where go_back(position) will go.
std::int64_t ModelTimeline::to_go_on_from(std::int64_t position) const {
  if (from_ || evicted_) {
    const auto& prefix = from_ ? from_ : origin_;
    const auto size = prefix ? std::ssize(prefix->tokens()) : 0;
    return position < size ? 0 : size;
  }
  if (position >= state_.size()) return state_.size();
  if (!parked_ && state_.can_drop_to(position)) return position;
  const auto after = std::find_if(snapshots_.begin(), snapshots_.end(),
                                  [&](const FrontierRef& s) { return s->position > position; });
  return after == snapshots_.begin() ? 0 : (*(after - 1))->position;
}

// Where sync(prompt), which is not empty, will go on from: its last token's logits are wanted.
std::int64_t ModelTimeline::to_go_on_from(std::span<const Token> prompt) const {
  const auto held = tokens();
  const auto same = std::mismatch(prompt.begin(), prompt.end(), held.begin(), held.end()).first -
                    prompt.begin();
  return to_go_on_from(std::min<std::int64_t>(same, std::ssize(prompt) - 1));
}

std::int64_t ModelTimeline::left_of(std::span<const Token> prompt) const {
  const std::lock_guard lock(busy);
  if (prompt.empty()) return 0;
  const bool all = !from_ && !evicted_ && state_.size() == std::ssize(prompt) &&
                   rows_.has(state_.size() - 1) && std::ranges::equal(prompt, tokens_);
  return all ? 0 : std::ssize(prompt) - to_go_on_from(prompt);
}

// What evaluating tokens from..size - 1 takes beside what is there, with the logits of n_rows.
std::uint64_t ModelTimeline::missing_bytes(std::int64_t from, std::int64_t size, int n_rows) const {
  const bool keeps = size - from >= kSnapshotEvery || snapshots_.empty();
  return missing_beside_snapshots(from, size, n_rows) + (keeps ? state_.frontier_bytes(size) : 0);
}

std::uint64_t ModelTimeline::missing_beside_snapshots(std::int64_t from, std::int64_t size,
                                                      int n_rows) const {
  const PageLayout& layout = state_.pages().layout();
  const std::int64_t n = size - from;
  const bool begun = !from_ && !evicted_;
  std::uint64_t bytes =
      begun ? state_.pages().missing_bytes(from, n)
            : static_cast<std::uint64_t>((size + layout.tokens - 1) / layout.tokens -
                                         from / layout.tokens) *
                  layout.bytes;
  if (!state_.has_rings()) bytes += State::bytes(weights_, forward_.exact(), 0, chunk_);
  const auto beyond = [](std::uint64_t wanted, std::uint64_t there) {
    return wanted - std::min(wanted, there);
  };
  bytes += beyond(static_cast<std::uint64_t>(n_rows) *
                      static_cast<std::uint64_t>(weights_.checkpoint.config().vocab_size) *
                      sizeof(float),
                  rows_.capacity());
  if (n_rows > 1)
    bytes += beyond(
        Sampler::bytes_for(static_cast<std::size_t>(weights_.checkpoint.config().vocab_size)),
        sampler_.bytes());
  if (static_cast<std::uint64_t>(size) > tokens_.capacity())
    bytes += beyond(static_cast<std::uint64_t>(with_some_more(size)), tokens_.capacity()) *
             sizeof(Token);
  return bytes + drafter_.missing_bytes(from, size, from_ ? &from_->copy_index() : nullptr);
}

// What `size` tokens take, those of a beginning that is shared too.
std::uint64_t ModelTimeline::bytes_at_least(std::int64_t size) const {
  const PageLayout& layout = state_.pages().layout();
  return static_cast<std::uint64_t>((size + layout.tokens - 1) / layout.tokens) * layout.bytes +
         State::bytes(weights_, forward_.exact(), 0, chunk_) +
         static_cast<std::uint64_t>(weights_.checkpoint.config().vocab_size) * sizeof(float) +
         static_cast<std::uint64_t>(size) * sizeof(Token);
}

// From arithmetic, before anything is evaluated.
Result<> ModelTimeline::make_room(std::uint64_t more, const std::string& what,
                                  std::uint64_t in_all) {
  if (more == 0 || (memory_->bytes_max() == 0 && more <= kRoomChecked)) return {};
  if (in_all > 0) {
    if (auto ever = may_ever_fit(*memory_, std::max(more, in_all), what); !ever) {
      memory_->refused();
      return ever;
    }
  }
  return memory_->make_room(more, this, what);
}

// With guesses behind it.
std::int64_t ModelTimeline::size_when_drawn() const {
  const auto size = std::ssize(tokens());
  return std::max(size, std::min(n_context_, size + kDraftMax + 1));
}

std::uint64_t ModelTimeline::bytes_to_draw() const {
  const auto size = std::ssize(tokens());
  // Its last token, whose logits are not there
  const bool again = (from_ || state_.size() == size) && !rows_.has(size - 1);
  return missing_bytes(to_go_on_from(again ? size - 1 : size), size_when_drawn(), kDraftMax + 1);
}

void ModelTimeline::plan_draw() {
  planned_ = size_when_drawn();
  planned_rows_ = kDraftMax + 1;
}

// To the last position <= `position` that the state can return to.
void ModelTimeline::go_back(std::int64_t position) {
  while (!snapshots_.empty() && snapshots_.back()->position > position) snapshots_.pop_back();
  if (position < state_.size()) {
    rows_.clear();
    if (state_.can_drop_to(position))
      state_.drop_to(position);
    else if (!snapshots_.empty())
      state_.restore(*snapshots_.back());
    else
      state_.drop_to(0);
  }
  tokens_.resize(static_cast<std::size_t>(state_.size()));
  drafter_.drop_to(state_.size());
  if (origin_ && state_.size() < std::ssize(origin_->tokens()))
    origin_ = nullptr;  // what comes now may be other tokens
}

// As if all that is there were its beginning: whatever is not takes more, which sync() asks for.
Result<> ModelTimeline::expect(std::int64_t n_tokens) {
  const std::lock_guard lock(busy);
  memory_->used(this);
  const std::int64_t from = to_go_on_from(std::min(std::ssize(tokens()), n_tokens - 1));
  if (n_tokens <= from) return {};
  return make_room(missing_bytes(from, n_tokens, 1),
                   fmt::format("evaluate a prompt of {} tokens", n_tokens),
                   bytes_at_least(n_tokens));
}

Result<std::int64_t> ModelTimeline::sync(std::span<const Token> prompt, std::stop_token stop,
                                         const Progress& progress) {
  const auto size = static_cast<std::int64_t>(prompt.size());
  if (const auto may = may_evaluate(prompt, n_context_, weights_.checkpoint.config().vocab_size);
      !may)
    return tl::unexpected(may.error());
  const std::lock_guard lock(busy);
  memory_->used(this);
  generated_from_ = prompt.size();
  drop_ahead();
  if (const auto room = make_room(missing_bytes(to_go_on_from(prompt), size, 1),
                                  fmt::format("evaluate a prompt of {} tokens", size),
                                  bytes_at_least(size));
      !room)
    return tl::unexpected(room.error());
  planned_ = size;
  planned_rows_ = 1;
  begin();
  const auto evaluated = std::min<std::int64_t>(state_.size(), size);
  const auto common =
      std::mismatch(prompt.begin(), prompt.begin() + evaluated, tokens_.begin()).first -
      prompt.begin();
  if (common == size && state_.size() == size && rows_.has(size - 1)) {
    tokens_.resize(prompt.size());
    drafter_.drop_to(size);
    return 0;
  }
  go_back(std::min<std::int64_t>(common, size - 1));
  tokens_.reserve(prompt.size());
  const std::int64_t start = state_.size();
  const auto report = [&](std::int64_t done) {
    if (!progress) return;
    const InCompany hidden(*this);  // others may be drawn from there, and have it give them room
    progress(done, size - start);
  };
  while (state_.size() < size) {
    const auto cancelled = [&] {
      return tl::unexpected(Error{
          Errc::cancelled,
          fmt::format("evaluate a prompt: cancelled after {} of {} tokens", state_.size(), size)});
    };
    if (stop.stop_requested()) return cancelled();
    report(state_.size() - start);
    const std::int64_t end = std::min(size, (state_.size() / chunk_ + 1) * chunk_),
                       n = end - state_.size();
    const auto go_on = [&](int layer, int layers) {
      report(state_.size() - start + n * layer / layers);
      return !stop.stop_requested();
    };
    if (!evaluate(prompt.subspan(state_.size(), n), end == size ? 1 : 0, go_on)) return cancelled();
    tokens_.insert(tokens_.end(), prompt.begin() + static_cast<std::ptrdiff_t>(tokens_.size()),
                   prompt.begin() + end);
  }
  report(size - start);
  return size - start;
}

Result<Token> ModelTimeline::next(const Sampling& sampling, const TokenMask* mask) {
  const std::lock_guard lock(busy);
  memory_->used(this);
  drawn_row_ = {};
  drawn_row_of_ = -1;
  const auto size = std::ssize(tokens());
  if (const auto may = may_draw(size, n_context_); !may) return tl::unexpected(may.error());
  if (const auto room = make_room(bytes_to_draw(), fmt::format("draw a token after {}", size));
      !room)
    return tl::unexpected(room.error());
  plan_draw();
  begin();
  // After a stopped sync the last chunk has no logits: its last token again
  if (state_.size() == size && !rows_.has(size - 1)) {
    const std::vector<Token> all = tokens_;
    go_back(size - 1);
    tokens_ = all;
  }
  while (state_.size() + 1 < size) {  // ... or more of them, where the state could not go back by
                                      // one
    const std::int64_t end = std::min(size - 1, state_.size() + chunk_);
    evaluate(std::span(tokens_).subspan(state_.size(), end - state_.size()), 0);
  }
  if (ModelTimeline* const alone = this; state_.size() < size) evaluate_waiting({&alone, 1});
  // a stopped sync has less than its prompt
  generated_from_ = std::min(generated_from_, tokens_.size());
  std::optional<Trace::Span> span(std::in_place, forward_.trace(), "draw");
  const auto token = sampler_.draw(rows_.row(size - 1), sampling, mask, size,
                                   {tokens_, generated_from_});
  span.reset();
  if (!token && token.error().code == Errc::malformed && !weights_.tiles_file.empty())
    return tl::unexpected(
        Error{Errc::malformed,
              fmt::format("{}, or {} is, which they are read from; `lares model verify` says which",
                          token.error().message, weights_.tiles_file)});
  if (!token) return token;
  if (!drafter_.drawn(size, *token)) drop_ahead();
  if (tokens_.size() == tokens_.capacity())
    tokens_.reserve(static_cast<std::size_t>(with_some_more(size)));
  tokens_.push_back(*token);
  recount();
  return token;
}

Logprobs ModelTimeline::logprobs(int n) const {
  const std::lock_guard lock(busy);
  const auto last = std::ssize(tokens_) - 2;
  const bool kept = !rows_.has(last) && drawn_row_of_ == last && !drawn_row_.empty();
  if (tokens_.size() <= generated_from_ || !(kept || rows_.has(last))) return {};
  return engine::logprobs(kept ? std::span<const float>(drawn_row_) : rows_.row(last),
                          tokens_.back(), n);
}

}  // namespace lares::engine
