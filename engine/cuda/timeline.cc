#include "engine/cuda/timeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <utility>

#include "engine/model/bounds.h"

namespace lares::engine::cuda {

// Where guesses end, so that some evaluation begins there
static_assert(kFrontierEvery % kSnapshotEvery == 0);

DeviceTimeline::DeviceTimeline(const Shared& shared, std::shared_ptr<const ModelPrefix> from)
    : s_(shared),
      memory_(shared.memory ? shared.memory : std::make_shared<SequenceMemory>()),
      rows_(shared.weights.checkpoint.config().vocab_size),
      sampler_(shared.threads),
      drafter_(shared.weights, make_block(), shared.drafts, memory_, /*block_in_memory=*/false),
      from_(std::move(from)),
      own_(memory_, 0) {
  memory_->add(this);
}

Drafter::MakeBlock DeviceTimeline::make_block() {
  DraftBlocks* const blocks = s_.pipeline.draft();
  if (!blocks) return nullptr;
  return [this, blocks] {
    DeviceDrafter made = device_drafter(*blocks);
    kept_ = made.rows;
    return std::move(made.drafter);
  };
}

// Rows for what is evaluated next, behind those that `out` has; none where nobody reads them.
void DeviceTimeline::make_kept_rows(std::int64_t position, int n, std::vector<bf16*>& out) {
  if (drafter_.block()) kept_->make_rows(position, n, out);
}

// Appends tokens, and keeps the logits after the last of them with `row`. Whatever fails leaves the
// state as it was.
Result<> DeviceTimeline::evaluate(std::span<const Token> tokens, bool row,
                                  const std::function<bool(int)>& go_on) {
  const std::int64_t position = state_->size();
  FrontierRef before;
  if (go_on && position > 0) {
    keep_frontier();
    const bool kept = !frontiers_.empty() && frontiers_.back()->position == position;
    before = kept ? frontiers_.back()
                  : shared(Frontier{position, state_->frontier(position)}, memory_);
  }
  float* const logits = row ? rows_.make(position + std::ssize(tokens) - 1, 1) : nullptr;
  std::vector<bf16*> kept;
  make_kept_rows(position, static_cast<int>(tokens.size()), kept);
  const Pipeline::Sequence one{state_.get(), static_cast<int>(tokens.size()), kept};
  const auto done = s_.pipeline.evaluate({&one, 1}, tokens, row ? 1 : 0, logits, go_on);
  if (!done) {
    if (row) rows_.clear();
    if (done.error().code == Errc::cancelled) {
      if (before)
        state_->restore(position, before->bytes);
      else
        state_->drop_to(0);
    }
    drafter_.drop_to(state_->size());
    return done;
  }
  if (state_->size() % kSnapshotEvery == 0 && go_on) keep_frontier();  // of a prompt
  recount();
  return {};
}

void DeviceTimeline::drop_ahead() {
  if (!drafter_.ahead()) return;
  const std::int64_t size = std::ssize(tokens_);
  state_->drop_to(size);
  drafter_.drop_to(size);
  rows_.drop_to(size);
}

// To the last position <= `position` that the state, or what is in host memory, can return to.
void DeviceTimeline::go_back(std::int64_t position) {
  while (!frontiers_.empty() && frontiers_.back()->position > position) frontiers_.pop_back();
  if (position < evaluated()) {
    rows_.clear();
    if (parked_)
      parked_ = !frontiers_.empty()                                    ? frontiers_.back()
                : origin_ && position >= std::ssize(origin_->tokens()) ? origin_->frontier_at_end()
                                                                       : nullptr;
    else if (state_->can_drop_to(position))
      state_->drop_to(position);
    else if (!frontiers_.empty())
      state_->restore(frontiers_.back()->position, frontiers_.back()->bytes);
    else
      state_->drop_to(0);
  }
  tokens_.resize(static_cast<std::size_t>(evaluated()));
  drafter_.drop_to(evaluated());
  // Of what has left the one that is in part, too.
  const auto pages = whole_pages() +
                     (parked_ && evaluated() % s_.pipeline.layout().tokens != 0 ? 1 : 0);
  host_pages_.resize(std::min(host_pages_.size(), pages));
  if (origin_ && evaluated() < std::ssize(origin_->tokens()))
    origin_ = nullptr;  // what comes now may be other tokens
}

Result<std::int64_t> DeviceTimeline::sync(std::span<const Token> prompt, std::stop_token stop,
                                          const Progress& progress) {
  const auto size = static_cast<std::int64_t>(prompt.size());
  const int chunk = s_.pipeline.chunk();
  if (const auto may = may_evaluate(prompt, s_.n_context,
                                    s_.weights.checkpoint.config().vocab_size);
      !may)
    return tl::unexpected(may.error());
  const std::lock_guard lock(busy);
  memory_->used(this);
  promised_ = host_bytes(size, 1);
  generated_from_ = prompt.size();
  drop_ahead();
  drafter_.ask_for_block_again();  // there may be room now
  if (parked_) {                   // no more of it comes back than is wanted
    const auto same = std::ranges::mismatch(
                          prompt,
                          std::span(tokens_).first(static_cast<std::size_t>(parked_->position)))
                          .in1 -
                      prompt.begin();
    if (same == size && parked_->position == size && rows_.has(size - 1)) {
      tokens_.resize(prompt.size());
      drafter_.drop_to(size);
      return 0;
    }
    if (same < parked_->position || same == size) go_back(std::min<std::int64_t>(same, size - 1));
  }
  if (const auto begun = begin(); !begun) return tl::unexpected(begun.error());
  const auto held = std::min<std::int64_t>(state_->size(), size);
  const auto common = std::mismatch(prompt.begin(), prompt.begin() + held, tokens_.begin()).first -
                      prompt.begin();
  if (common == size && state_->size() == size && rows_.has(size - 1)) {
    tokens_.resize(prompt.size());
    drafter_.drop_to(size);
    return 0;
  }
  go_back(std::min<std::int64_t>(common, size - 1));
  if (const auto room = room_for_prompt(size); !room) return tl::unexpected(room.error());
  tokens_.reserve(prompt.size());
  // Where a beginning may be asked for
  const std::int64_t start = state_->size(), mark = (size - 1) / kSnapshotEvery * kSnapshotEvery;
  const int layers = static_cast<int>(s_.weights.layers.size());
  while (state_->size() < size) {
    const std::int64_t position = state_->size();
    const auto cancelled = [&] {
      return tl::unexpected(Error{
          Errc::cancelled,
          fmt::format("evaluate a prompt: cancelled after {} of {} tokens", state_->size(), size)});
    };
    if (stop.stop_requested()) return cancelled();
    if (progress) progress(position - start, size - start);
    std::int64_t end = std::min(size, (position / chunk + 1) * chunk);
    if (mark > position) end = std::min(end, mark);
    const auto go_on = [&](int layer) {
      if (progress)
        progress(position - start + (end - position) * (layer + 1) / layers, size - start);
      return layer + 1 == layers || !stop.stop_requested();
    };
    const auto done = with_room([&] {
      return evaluate(prompt.subspan(static_cast<std::size_t>(position),
                                     static_cast<std::size_t>(end - position)),
                      end == size, go_on);
    });
    if (!done && done.error().code == Errc::cancelled) return cancelled();
    if (!done) return tl::unexpected(done.error());
    tokens_.insert(tokens_.end(), prompt.begin() + static_cast<std::ptrdiff_t>(tokens_.size()),
                   prompt.begin() + static_cast<std::ptrdiff_t>(end));
  }
  if (progress) progress(size - start, size - start);
  return size - start;
}

std::vector<std::size_t> DeviceTimeline::evaluate_together(
    std::span<DeviceTimeline* const> timelines) {
  // While it is here, nobody has it make room.
  struct Company {
    Company(DeviceTimeline& of, std::size_t at, std::unique_lock<std::mutex> held)
        : t(&of), index(at), lock(std::move(held)) {
      t->in_company = true;
    }
    Company(Company&& other) noexcept
        : t(std::exchange(other.t, nullptr)), index(other.index), lock(std::move(other.lock)) {}
    ~Company() {
      if (t) t->in_company = false;
    }
    DeviceTimeline* t;
    std::size_t index;
    std::unique_lock<std::mutex> lock;
  };
  std::vector<Company> company;
  for (std::size_t i = 0; i < timelines.size(); ++i) {
    DeviceTimeline* const t = timelines[i];
    std::unique_lock lock(t->busy, std::try_to_lock);
    if (!lock || t->from_ || !t->waits()) continue;
    t->memory_->used(t);
    company.emplace_back(*t, i, std::move(lock));
  }
  std::vector<std::size_t> without_room;
  const auto put_off = [&](const Company& one, const Error& error) {
    if (one.index > 0 && error.code == Errc::no_memory) without_room.push_back(one.index);
  };
  std::vector<Company*> waiting;
  std::uint64_t promised = 0;  // to those before
  for (Company& one : company) {
    DeviceTimeline* const t = one.t;
    const auto more = [&] {
      return t->host_bytes(std::ssize(t->tokens_) + kGuessesMax, kGuessesMax + 1);
    };
    t->promised_ = promised + more();
    if (const auto begun = t->begin(); !begun) {
      put_off(one, begun.error());
      continue;
    }
    t->promised_ = promised + more();
    if (!t->host_room(t->promised_, "draw tokens together")) continue;
    promised = t->promised_;
    waiting.push_back(&one);
  }
  for (const Company* const one : waiting) one->t->promised_ = promised;
  for (std::size_t first = 0; first < waiting.size(); first += kPartsMax) {
    std::vector<DeviceTimeline*> some;
    for (std::size_t i = first; i < std::min(first + kPartsMax, waiting.size()); ++i)
      some.push_back(waiting[i]->t);
    for (;;) {
      const auto done = evaluate_waiting(some);
      if (done || done.error().code != Errc::no_memory) break;
      if (some.front()->made_room()) continue;
      // The last one's place is the others' now, should they need it.
      const std::size_t last = first + some.size() - 1;
      put_off(*waiting[last], done.error());
      if (some.size() == 1) break;
      some.pop_back();
      const Company gone = std::move(*waiting[last]);
    }
  }
  std::ranges::sort(without_room);
  return without_room;
}

// Of all of them, kPartsMax at most, the one token that waits, with guesses after it, in one step:
// where they can be few tokens they stay few, and else a step that is recorded. Whatever fails
// leaves the states as they were.
Result<> DeviceTimeline::evaluate_waiting(std::span<DeviceTimeline* const> timelines) {
  const Shared& s = timelines.front()->s_;
  const bool alone = timelines.size() == 1;
  std::int64_t left = std::ssize(timelines),
               room = std::min(left <= kc::kTokensFew ? kc::kTokensFew : kStepTokens,
                               s.pipeline.chunk()) -
                      left;
  std::vector<Pipeline::Sequence> sequences;
  std::vector<std::vector<bf16*>> kept(timelines.size());
  std::vector<Token> tokens;
  for (DeviceTimeline* const t : timelines) {
    if (t->state_->size() % kFrontierEvery == 0)
      t->keep_frontier();  // before, not after: what ended here may have been guesses
    const std::int64_t share = (room + left - 1) / left;
    const std::vector<Token> more = t->drafter_.waiting(
        t->tokens_, std::min<std::int64_t>(share, kGuessesMax), s.n_context, alone);
    --left;
    room -= std::ssize(more) - 1;
    std::vector<bf16*>& rows = kept[sequences.size()];
    t->make_kept_rows(t->state_->size(), static_cast<int>(more.size()), rows);
    sequences.push_back({t->state_.get(), static_cast<int>(more.size()), rows});
    tokens.insert(tokens.end(), more.begin(), more.end());
  }
  const auto n_rows = static_cast<int>(tokens.size());  // at most kRowsMax
  const auto began = std::chrono::steady_clock::now();
  if (const auto done = s.pipeline.evaluate(sequences, tokens, n_rows, nullptr); !done) {
    for (DeviceTimeline* const t : timelines) t->drafter_.drop_to(t->state_->size());
    return done;
  }
  const float* from = s.pipeline.logits();
  for (std::size_t i = 0; i < timelines.size(); ++i) {
    DeviceTimeline& t = *timelines[i];
    const auto floats = static_cast<std::size_t>(sequences[i].n) *
                        static_cast<std::size_t>(s.weights.checkpoint.config().vocab_size);
    std::copy_n(from, floats, t.rows_.make(std::ssize(t.tokens_) - 1, sequences[i].n));
    from += floats;
    if (alone && s.pipeline.settled())
      t.drafter_.took(n_rows - 1, std::chrono::steady_clock::now() - began);
    else
      t.drafter_.evaluated();
    t.recount();
  }
  return {};
}

Result<Token> DeviceTimeline::next(const Sampling& sampling, const TokenMask* mask) {
  const std::lock_guard lock(busy);
  memory_->used(this);
  const std::int64_t size = std::ssize(tokens());
  if (const auto may = may_draw(size, s_.n_context); !may) return tl::unexpected(may.error());
  promised_ = host_bytes(size + kGuessesMax, kGuessesMax + 1);
  if (const auto begun = begin(); !begun) return tl::unexpected(begun.error());
  promised_ = host_bytes(size + kGuessesMax, kGuessesMax + 1);
  if (const auto room = host_room(promised_, fmt::format("draw a token after {}", size)); !room)
    return tl::unexpected(room.error());
  // After a stopped sync the last chunk has no logits: its last token again
  if (state_->size() == size && !rows_.has(size - 1)) {
    const std::vector<Token> all = tokens_;
    go_back(size - 1);
    tokens_ = all;
  }
  while (state_->size() + 1 < size) {  // ... or more of them, where the state could not go back by
                                       // one, or its cells were given back
    const std::int64_t from = state_->size(), end = std::min(size - 1, from + s_.pipeline.chunk());
    const auto done = with_room([&] {
      return evaluate(std::span(tokens_).subspan(static_cast<std::size_t>(from),
                                                 static_cast<std::size_t>(end - from)),
                      false, {});
    });
    if (!done) return tl::unexpected(done.error());
    if (end % kSnapshotEvery == 0) keep_frontier();
  }
  if (DeviceTimeline* const self = this; state_->size() < size)
    if (const auto done = with_room([&] { return evaluate_waiting({&self, 1}); }); !done)
      return tl::unexpected(done.error());
  generated_from_ = std::min(generated_from_, tokens_.size());
  const auto token = sampler_.draw(rows_.row(size - 1), sampling, mask, size,
                                   {tokens_, generated_from_});
  if (!token) return token;
  if (!drafter_.drawn(size, *token)) drop_ahead();
  tokens_.push_back(*token);
  recount();
  return token;
}

Logprobs DeviceTimeline::logprobs(int n) const {
  const std::lock_guard lock(busy);
  const std::int64_t last = std::ssize(tokens_) - 2;
  if (tokens_.size() <= generated_from_ || !rows_.has(last)) return {};
  return engine::logprobs(rows_.row(last), tokens_.back(), n);
}

}  // namespace lares::engine::cuda
