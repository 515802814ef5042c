#include "engine/cuda/pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <thread>

namespace lares::engine::cuda {
namespace {

// A broken promise of the caller's.
void check(bool holds, const char* what) {
  if (holds) return;
  fmt::print(stderr, "put a model onto GPUs: {}\n", what);
  std::abort();
}

}  // namespace

Pipeline::Pipeline(const Weights& weights, std::vector<Stage> stages, int piece_min)
    : weights_(weights),
      stages_(std::move(stages)),
      piece_min_(std::max(piece_min, kStepTokens + 1)) {
  check(!stages_.empty(), "no GPU was given a part of it");
  int layer = 0;
  for (std::size_t k = 0; k < stages_.size(); ++k) {
    const Stage& stage = stages_[k];
    const bool last = k + 1 == stages_.size();
    check(stage.weights->begin() == layer && (last || stage.weights->end() > layer),
          "its layers do not follow each other from GPU to GPU");
    check(stage.weights->has_head() == last, "the last GPU must have the head, and no other");
    check(stage.forward->chunk() == chunk(), "GPUs evaluate chunks of different lengths");
    layer = stage.weights->end();
    if (k > 0) stages_[k - 1].forward->hand_on_to(*stage.forward);
  }
  check(layer == static_cast<int>(weights.layers.size()), "some of its layers are on no GPU");
}

Result<> Pipeline::evaluate(std::span<const Sequence> sequences, std::span<const Token> tokens,
                            int n_rows, float* logits, const std::function<bool(int)>& go_on) {
  // All pages that the step needs first: no GPU goes ahead of one that has no room.
  for (std::size_t k = 0; k < stages_.size(); ++k)
    for (const Sequence& q : sequences)
      if (const auto opened = q.state->on(k).open(q.state->size(), q.n); !opened) return opened;
  if (sequences.size() == 1)
    if (const Pieces pieces = pieces_of(sequences.front().n, n_rows); pieces.count > 1)
      return evaluate_in_pieces(sequences.front(), tokens, pieces, n_rows, logits, go_on);
  // Each GPU has a PCIe of its own, so their rings fill side by side. A ring holds 40 ms of PCIe 4
  // at most: where the first GPU takes less, the next one's inputs wait behind the rest of its
  // ring.
  for (std::size_t k = 1; k < stages_.size(); ++k)
    stages_[k].forward->expect(static_cast<int>(tokens.size()));
  for (std::size_t k = 0; k < stages_.size(); ++k)
    if (const auto done = evaluate_stage(k, sequences, tokens, n_rows, logits, go_on); !done)
      return done;
  return {};
}

Result<> Pipeline::evaluate_stage(std::size_t k, std::span<const Sequence> sequences,
                                  std::span<const Token> tokens, int n_rows, float* logits,
                                  const std::function<bool(int)>& go_on,
                                  const DeviceForward::Piece* piece) {
  const bool last = k + 1 == stages_.size();
  std::vector<DeviceForward::Sequence> parts(sequences.size());
  std::ranges::transform(sequences, parts.begin(), [&](const Sequence& q) {
    return DeviceForward::Sequence{&q.state->on(k), q.n,
                                   last && stages_[k].draft ? q.rows : std::span<bf16* const>()};
  });
  return stages_[k].forward->evaluate(parts, tokens, last ? n_rows : 0, last ? logits : nullptr,
                                      go_on, piece);
}

Pipeline::Pieces Pipeline::pieces_of(int n, int n_rows) const {
  const bool lacks = std::ranges::any_of(
      stages_, [](const Stage& stage) { return stage.forward->uses() != nullptr; });
  const int most = std::min(n / piece_min_, kPiecesPerStage * static_cast<int>(stages_.size()));
  if (stages_.size() == 1 || lacks || most < 2) return {1, n};
  const int tokens = ((n + most - 1) / most + kPieceTokens - 1) / kPieceTokens * kPieceTokens,
            count = (n + tokens - 1) / tokens;
  if (n_rows > n - (count - 1) * tokens) return {1, n};
  return {count, tokens};
}

// A thread a stage. The caller's is told how far they are together, and may stop them; so does a
// machine that gives no more threads.
Result<> Pipeline::evaluate_in_pieces(const Sequence& sequence, std::span<const Token> tokens,
                                      const Pieces& pieces, int n_rows, float* logits,
                                      const std::function<bool(int)>& go_on) {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<int> done(stages_.size(), 0);  // pieces of each
  int layers = 0;                            // of all pieces together
  std::size_t working = stages_.size();
  bool stopped = false;
  Result<> result;
  const auto stop = [&](Result<> why) {
    if (!stopped) result = std::move(why);
    stopped = true;
    changed.notify_all();
  };
  const std::function<bool(int)> layer_done = [&](int) {
    const std::lock_guard lock(mutex);
    ++layers;
    changed.notify_all();
    return !stopped;
  };
  const auto work = [&](std::size_t k) {
    DeviceForward::Piece at;
    for (int i = 0; i < pieces.count; ++i) {
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return stopped || k == 0 || done[k - 1] > i; });
        if (stopped) break;
      }
      const bool last = i + 1 == pieces.count;
      const int begin = i * pieces.tokens, n = std::min(pieces.tokens, sequence.n - begin);
      const auto first = static_cast<std::size_t>(begin), count = static_cast<std::size_t>(n);
      Sequence one{sequence.state, n, sequence.rows};
      if (!one.rows.empty()) one.rows = one.rows.subspan(first, count);
      const auto evaluated = evaluate_stage(k, {&one, 1}, tokens.subspan(first, count),
                                            last ? n_rows : 0, last ? logits : nullptr,
                                            go_on ? layer_done : std::function<bool(int)>(), &at);
      const std::uint64_t bytes = entry_bytes(weights_.checkpoint.config(), n, false);
      at.from += k > 0 ? bytes : 0;
      at.to += bytes;
      const std::lock_guard lock(mutex);
      if (!evaluated) stop(evaluated);
      ++done[k];
      changed.notify_all();
    }
    const std::lock_guard lock(mutex);
    --working;
    changed.notify_all();
  };
  std::vector<std::jthread> threads;
  const auto cancelled = [&] {
    return tl::unexpected(
        Error{Errc::cancelled, fmt::format("evaluate {} tokens: cancelled", sequence.n)});
  };
  try {
    for (std::size_t k = 0; k < stages_.size(); ++k) threads.emplace_back(work, k);
  } catch (const std::system_error&) {
    const std::lock_guard lock(mutex);
    working -= stages_.size() - threads.size();
    stop(cancelled());
  }
  std::unique_lock lock(mutex);
  for (int told = 0;;) {
    const auto news = [&] { return go_on && !stopped && layers / pieces.count > told; };
    changed.wait(lock, [&] { return working == 0 || news(); });
    if (!news()) return result;
    told = layers / pieces.count;
    lock.unlock();
    const bool goes_on = go_on(told - 1);
    lock.lock();
    if (!goes_on) stop(cancelled());
  }
}

void Pipeline::retire(std::shared_ptr<void> what) {
  const std::lock_guard lock(retired_mutex_);
  retired_.push_back(std::move(what));
}

bool Pipeline::free_retired() {
  std::vector<std::shared_ptr<void>> all;  // goes when the lock is open again
  const std::lock_guard lock(retired_mutex_);
  all.swap(retired_);
  return !all.empty();
}

bool Pipeline::settled() const {
  return std::ranges::all_of(stages_, [](const Stage& stage) { return stage.forward->settled(); });
}

PipelineState::PipelineState(const Pipeline& pipeline, std::int64_t n_context)
    : pipeline_(pipeline) {
  ++pipeline.n_states_;
  for (const Stage& stage : pipeline.stages())
    parts_.push_back(
        std::make_unique<DeviceState>(*stage.device, *stage.weights, *stage.pages, n_context));
}

PipelineState::~PipelineState() { --pipeline_.n_states_; }

const Device* PipelineState::without_room() const {
  const auto lacks = std::ranges::find_if(parts_, [](const auto& part) { return !part->made(); });
  return lacks == parts_.end()
             ? nullptr
             : pipeline_.stages()[static_cast<std::size_t>(lacks - parts_.begin())].device;
}

void PipelineState::drop_to(std::int64_t position) {
  for (const auto& part : parts_) part->drop_to(position);
}

std::vector<std::uint8_t> PipelineState::frontier(std::int64_t position) const {
  std::vector<std::uint8_t> out;
  for (const auto& part : parts_) {
    const std::vector<std::uint8_t> stretch = part->frontier(position);
    out.insert(out.end(), stretch.begin(), stretch.end());
  }
  return out;
}

std::size_t PipelineState::frontier_bytes(std::int64_t position) const {
  std::size_t n = 0;
  for (const auto& part : parts_) n += part->frontier_bytes(position);
  return n;
}

void PipelineState::restore(std::int64_t position, std::span<const std::uint8_t> frontier) {
  for (const auto& part : parts_) {
    const std::size_t bytes = part->frontier_bytes(position);
    part->restore(position, frontier.first(bytes));
    frontier = frontier.subspan(bytes);
  }
}

Result<> PipelineState::room_for(std::int64_t size) const {
  for (std::size_t k = 0; k < parts_.size(); ++k) {
    const std::int64_t missing = parts_[k]->missing_pages(size),
                       available = pipeline_.stages()[k].cache->n_available();
    if (missing <= available) continue;
    return tl::unexpected(
        Error{Errc::no_memory,
              fmt::format("evaluate tokens up to {}: that takes {} pages of {} tokens on {}, which "
                          "has {} beside those that other sequences hold; end a session, or load "
                          "with a longer context",
                          size, missing, pipeline_.layout().tokens,
                          pipeline_.stages()[k].device->name(), available)});
  }
  return {};
}

Result<> PipelineState::adopt(std::span<const PageRef> pages, std::int64_t n_tokens) {
  std::vector<std::vector<PagePool::Page>> brought;
  const auto whole = static_cast<std::size_t>(n_tokens / pipeline_.layout().tokens);
  for (const Stage& stage : pipeline_.stages()) {
    auto stretches = stage.cache->bring(pages, whole);
    if (!stretches) return tl::unexpected(stretches.error());
    brought.push_back(std::move(*stretches));
  }
  for (std::size_t k = 0; k < parts_.size(); ++k) parts_[k]->adopt(std::move(brought[k]));
  return {};
}

std::vector<std::shared_ptr<Page>> PipelineState::download(std::int64_t first, std::size_t n,
                                                           const SequenceMemoryRef& memory) const {
  std::vector<std::shared_ptr<Page>> out;
  for (std::size_t i = 0; i < n; ++i) out.push_back(new_page(pipeline_.layout().bytes, memory));
  for (std::size_t k = 0; k < parts_.size(); ++k) {
    for (std::size_t i = 0; i < n; ++i)
      parts_[k]->download(first + static_cast<std::int64_t>(i), out[i]->data());
    pipeline_.stages()[k].device->synchronise();
  }
  return out;
}

PageRef PipelineState::known(std::int64_t i) const {
  for (std::size_t k = 0; k < parts_.size(); ++k)
    if (i < parts_[k]->n_pages())
      return pipeline_.stages()[k].cache->host_of(parts_[k]->pages()[static_cast<std::size_t>(i)]);
  return nullptr;
}

void PipelineState::know(std::int64_t i, const PageRef& page) {
  for (std::size_t k = 0; k < parts_.size(); ++k)
    if (i < parts_[k]->n_pages())
      pipeline_.stages()[k].cache->know(page, parts_[k]->pages()[static_cast<std::size_t>(i)]);
}

}  // namespace lares::engine::cuda
