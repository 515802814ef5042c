// Where things lie on a GPU, and what they take: arithmetic that the plan, the forward pass and the
// tests share. No CUDA in it.
#pragma once

#include <cstdint>

#include "engine/model/checkpoint/config.h"
#include "engine/model/memory/pages.h"

namespace lares::engine::cuda {

// Tokens evaluated at a time: an expert that sees 137 of them is no longer bound by its bytes
inline constexpr int kChunk = 8192;
// Down to which shorter chunks are worth what they leave for experts that else had no room
inline constexpr int kChunkWhole = 2048;
// With less, the experts are read from memory more often than it is worth
inline constexpr int kChunkMin = 512;
inline constexpr std::uint64_t kAlign = 256;  // bytes; where a tensor begins
constexpr std::uint64_t aligned(std::uint64_t bytes) {
  return (bytes + kAlign - 1) / kAlign * kAlign;
}
// CUDA's context, its modules and graphs; not measured yet
inline constexpr std::uint64_t kReserve = std::uint64_t{768} << 20;
// Of that, what the context has taken before anything is loaded, at least: what a device then says
// is free lacks it. Said to be 300 to 500 MB; engine_cuda_device_test prints it, and was not run.
inline constexpr std::uint64_t kContextLeast = std::uint64_t{256} << 20;

// A layer's cells in one page, as pages.h lays them out: a GPU's layers lie together in it, so a
// page comes and goes in one copy.
std::uint64_t layer_page_bytes(const PageLayout& pages, int layer);

// Where a page's stretch for the layers from this one on begins; for the number of layers, the
// page's bytes.
std::uint64_t page_offset(const PageLayout& pages, int layer);

// Of one sequence: the window's rows and the open rows of the compressors.
std::uint64_t layer_state_bytes(const Config& c, int layer);

// Buffers of a chunk, on each GPU; all its layers use the same (work_space.h). n_context: the
// longest sequence.
std::uint64_t work_bytes(const Config& c, int chunk, std::int64_t n_context);
// Pinned host memory that goes with it, of one GPU: `first` has layer 0, `last` the head; `misses`:
// it lacks some experts; `computes`: the CPU computes those, for a chunk at most.
struct HostWork {
  bool first = true, last = true, misses = false, computes = false;
};
std::uint64_t host_work_bytes(const Config& c, int chunk, const HostWork& of);

// Draft blocks (draft_blocks.h), beside their weights: tokens that they evaluate at a time, buffers
// for so many, and of one sequence windows and kept rows.
int draft_chunk(const Config& c);
std::uint64_t draft_work_bytes(const Config& c);
std::uint64_t draft_state_bytes(const Config& c);

inline constexpr int kRingStages = 4;  // runs of experts that pass: there, or on their way
inline constexpr std::uint64_t kRingBytesMax = std::uint64_t{1} << 30;
// a second, of PCIe 4 x16; version 5 brings twice as much
inline constexpr double kPcieBytes = 25e9;

// The ring that experts of so many bytes pass through (expert_stream.h): a fourth of a layer's, for
// so much comes while attention is computed.
std::uint64_t ring_bytes(std::uint64_t expert, int n_experts,
                         std::uint64_t ring_max = kRingBytesMax);
// A stage of it begins with pointers to tiles and scales of each expert.
std::uint64_t ring_table_bytes(int n_matrices, int n_experts);

}  // namespace lares::engine::cuda
