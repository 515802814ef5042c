#include "engine/cuda/pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace lares::engine::cuda {
namespace {

// A broken promise of the caller's.
void check(bool holds, const char* what) {
  if (holds) return;
  fmt::print(stderr, "put a model onto GPUs: {}\n", what);
  std::abort();
}

}  // namespace

Pipeline::Pipeline(const Weights& weights, std::vector<Stage> stages) : weights_(weights), stages_(std::move(stages)) {
  check(!stages_.empty(), "no GPU was given a part of it");
  int layer = 0;
  for (std::size_t k = 0; k < stages_.size(); ++k) {
    const Stage& stage = stages_[k];
    const bool last = k + 1 == stages_.size();
    check(stage.weights->begin() == layer && (last || stage.weights->end() > layer), "its layers do not follow each other from GPU to GPU");
    check(stage.weights->has_head() == last, "the last GPU must have the head, and no other");
    check(stage.forward->chunk() == chunk(), "GPUs evaluate chunks of different lengths");
    layer = stage.weights->end();
    if (k > 0) stages_[k - 1].forward->hand_on_to(*stage.forward);
  }
  check(layer == static_cast<int>(weights.layers.size()), "some of its layers are on no GPU");
}

Result<> Pipeline::evaluate(std::span<const Sequence> sequences, std::span<const Token> tokens, int n_rows, float* logits,
                            const std::function<bool(int)>& go_on) {
  // All pages that the step needs first: no GPU goes ahead of one that has no room.
  for (std::size_t k = 0; k < stages_.size(); ++k)
    for (const Sequence& q : sequences)
      if (const auto opened = q.state->on(k).open(q.state->size(), q.n); !opened) return opened;
  std::vector<DeviceForward::Sequence> parts(sequences.size());
  for (std::size_t k = 0; k < stages_.size(); ++k) {
    const bool last = k + 1 == stages_.size();
    std::ranges::transform(sequences, parts.begin(), [&](const Sequence& q) { return DeviceForward::Sequence{&q.state->on(k), q.n, last && stages_[k].draft ? q.rows : std::span<bf16* const>()}; });
    const auto done = stages_[k].forward->evaluate(parts, tokens, last ? n_rows : 0, last ? logits : nullptr, go_on);
    if (!done) return done;
  }
  return {};
}

bool Pipeline::settled() const {
  return std::ranges::all_of(stages_, [](const Stage& stage) { return stage.forward->settled(); });
}

PipelineState::PipelineState(const Pipeline& pipeline, std::int64_t n_context) : pipeline_(pipeline) {
  for (const Stage& stage : pipeline.stages())
    parts_.push_back(std::make_unique<DeviceState>(*stage.device, *stage.weights, *stage.pages, n_context));
}

const Device* PipelineState::without_room() const {
  const auto lacks = std::ranges::find_if(parts_, [](const auto& part) { return !part->made(); });
  return lacks == parts_.end() ? nullptr : pipeline_.stages()[static_cast<std::size_t>(lacks - parts_.begin())].device;
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

void PipelineState::restore(std::int64_t position, std::span<const std::uint8_t> frontier) {
  for (const auto& part : parts_) {
    const std::size_t bytes = part->frontier_bytes(position);
    part->restore(position, frontier.first(bytes));
    frontier = frontier.subspan(bytes);
  }
}

Result<> PipelineState::adopt(std::span<const PageRef> pages) {
  std::vector<std::vector<PagePool::Page>> brought;
  for (const Stage& stage : pipeline_.stages()) {
    auto stretches = stage.cache->bring(pages);
    if (!stretches) return tl::unexpected(stretches.error());
    brought.push_back(std::move(*stretches));
  }
  for (std::size_t k = 0; k < parts_.size(); ++k) parts_[k]->adopt(std::move(brought[k]));
  return {};
}

std::shared_ptr<Page> PipelineState::download(std::int64_t i) const {
  const auto page = std::make_shared<Page>(pipeline_.layout().bytes);
  std::ranges::fill(*page, std::uint8_t{0});
  for (const auto& part : parts_)
    if (i < part->n_pages()) part->download(i, page->data());
  return page;
}

void PipelineState::know(std::int64_t i, const PageRef& page) {
  for (std::size_t k = 0; k < parts_.size(); ++k)
    if (i < parts_[k]->n_pages()) pipeline_.stages()[k].cache->know(page, parts_[k]->pages()[static_cast<std::size_t>(i)]);
}

}  // namespace lares::engine::cuda
