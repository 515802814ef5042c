#include "engine/model/checkpoint/repack.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "engine/model/checkpoint/fnv1a.h"
#include "engine/model/checkpoint/tile_slots.h"

namespace lares::engine {
namespace {

// The experts of a layer are all read as tiles or all as they are stored.
void keep_whole_layers(LayerWeights& layer) {
  const auto tiled = [](const ExpertWeights& e) { return e.w1.tiles && e.w2.tiles && e.w3.tiles; };
  if (tiled(layer.shared) && std::all_of(layer.experts.begin(), layer.experts.end(), tiled)) return;
  const auto drop = [](ExpertWeights& e) { e.w1.tiles = e.w2.tiles = e.w3.tiles = nullptr; };
  for (ExpertWeights& e : layer.experts) drop(e);
  drop(layer.shared);
}
void keep_whole_layers(Weights& weights) {
  for (LayerWeights& layer : weights.layers) keep_whole_layers(layer);
  for (MtpWeights& block : weights.mtp) keep_whole_layers(block.block);
  if (weights.dspark)
    for (LayerWeights& stage : weights.dspark->stages) keep_whole_layers(stage);
}

}  // namespace

std::uint64_t repacked_bytes(const Weights& weights) {
  std::uint64_t end = 0;
  for (const auto& named : weights.matrices)
    if (named.matrix->format != kernels::Format::f32) end = slot_after(end, named).end;
  return end;
}

Repacked::~Repacked() {
  if (memory_) ::munmap(memory_, memory_bytes_);
}

Result<> Repacked::build(Weights& weights, kernels::ThreadPool& pool, const Progress& progress) {
  const auto slots = plan_slots(weights, pool);
  if (slots.empty()) return {};
  const std::uint64_t bytes = slots.back().end;
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return tl::unexpected(Error{
        Errc::no_memory,
        fmt::format("repack {}: no memory for {} bytes", weights.checkpoint.directory(), bytes)});
  memory_ = static_cast<std::uint8_t*>(memory);
  memory_bytes_ = bytes;
  ::madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: fewer page walks
  for (const Slot& slot : slots) {
    fill(slot, memory_, pool);
    slot.of->matrix->tiles = &tiles_.emplace_back(tiles_at(slot, memory_));
    if (progress) progress(static_cast<std::int64_t>(slot.end), static_cast<std::int64_t>(bytes));
  }
  keep_whole_layers(weights);
  return {};
}

Result<> Repacked::map(Weights& weights, const std::string& path) {
  auto opened = open_tiles(weights, path);
  if (!opened) return tl::unexpected(opened.error());
  file_ = std::move(opened->file);
  for (const Slot& slot : opened->slots)
    slot.of->matrix->tiles = &tiles_.emplace_back(tiles_at(slot, opened->data));
  keep_whole_layers(weights);
  weights.tiles_file = path;
  return {};
}

Result<> Repacked::map_first(Weights& weights, const std::vector<std::string>& paths,
                             std::vector<std::string>& notes) {
  for (const std::string& path : paths) {
    const auto done = map(weights, path);
    if (done) return done;
    if (done.error().code != Errc::not_found)
      notes.push_back("the weights' tiles are not used: " + done.error().message);
  }
  return tl::unexpected(
      Error{Errc::not_found, fmt::format("open {}: no tiles of this checkpoint", paths.front())});
}

std::string checkpoint_fingerprint(const Checkpoint& checkpoint) {
  constexpr std::size_t kSamples = 64, kSampleBytes = 4096, kBeginning = 1 << 20;
  Fnv1a hash;
  hash.add("tiles 2");  // 2: no bf16 below 2^-46
  for (const auto& [name, entry] : checkpoint.entries()) {
    hash.add(name);
    hash.add(entry.tensor->n_bytes);
    hash.add(static_cast<std::uint64_t>(entry.tensor->dtype));
  }
  for (std::size_t i = 0; i < checkpoint.shards().size(); ++i) {
    const auto bytes = checkpoint.shard(i);
    hash.add(checkpoint.shards()[i]);
    hash.add(bytes.size());
    hash.add(bytes.data(), std::min(bytes.size(), kBeginning));
    for (std::size_t k = 1; k <= kSamples && bytes.size() > kBeginning + kSampleBytes; ++k)
      hash.add(bytes.data() + (bytes.size() - kSampleBytes) / kSamples * k, kSampleBytes);
  }
  return fmt::format("{:016x}", hash.value);
}

}  // namespace lares::engine
