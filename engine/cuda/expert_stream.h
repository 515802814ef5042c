// Routed experts that have no room on a GPU, on their way through it: in pinned host memory they
// lie in the kernels' order, and wave after wave they come into a ring on the GPU and are
// multiplied there as those that stay are, with the same bits. A wave is w1 and w3 of some of a
// layer's experts, or w2 of some. Copies go on beside the launches, and where it is known that all
// are asked for, of later layers beside those of this one, and of later GPUs beside the first.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/cuda/device.h"
#include "engine/cuda/layout.h"
#include "engine/model/checkpoint/weights.h"
#include "kernels/thread_pool.h"

namespace lares::engine::cuda {

// a second, of a CPU thread: a fourth of what AVX-512 with bf16 gives, and all that AVX2 does
inline constexpr double kThreadFlops = 50e9;
// Tokens that an expert has on average from which on nearly all are asked for
inline constexpr int kRowsEach = 8;

// Tokens evaluated together from which on missing experts come to the GPU: as many as take the CPU
// longer than the bytes take PCIe. Those of another format than fp4 always do, since the CPU adds
// their products in another order.
int stream_from(const Config& c, const ExpertWeights& expert, int n_threads);

class ExpertStream {
 public:
  // Of layers [begin, end), those that `resident` ([layers * experts], as DeviceWeights::upload()
  // takes it) lacks. no_memory: the ring or host memory has no room. The ring has ring_max bytes at
  // most, but room for kRingStages experts.
  static Result<std::unique_ptr<ExpertStream>> make(Device& device, const Weights& weights,
                                                    int begin, int end,
                                                    std::span<const char> resident,
                                                    std::uint64_t ring_max = kRingBytesMax);
  // A layer's into host memory; before anything is multiplied, each.
  void pack(int layer, kernels::ThreadPool& pool);

  // An evaluation begins in which all experts of all layers are asked for: those of the first come
  // as far as the ring has room.
  void expect_all();
  // Or a layer does: of its experts those come that have slots. begin: [n_experts + 1] of group(),
  // in host memory until they are multiplied.
  void expect(int layer, const std::int32_t* begin);
  // Fills the slots of a layer's missing experts, by w1 and w3 and then by w2. a: as for experts
  // that stay, without the shared one.
  void multiply(int layer, const kc::ExpertLinearArgs& a);

  std::uint64_t ring_size() const { return ring_.size(); }
  std::uint64_t packed_bytes() const { return packed_bytes_; }
  std::uint64_t copied_bytes() const { return copied_; }  // ever; from any thread

 private:
  // One expert's matrices of a wave, in it.
  struct Piece {
    int expert;
    std::uint64_t begin, end;
    std::uint64_t tiles[2], scale[2];
  };
  struct Wave {
    int layer, stage, n_matrices;  // 2: w1 and w3
    std::uint64_t at, bytes;       // in the layer's block; the table of pointers comes first
    std::vector<Piece> pieces;
  };
  struct Layer {
    Pinned block;
    std::uint64_t bytes = 0;
    std::vector<int> waves;
  };
  struct RingStage {
    std::unique_ptr<Device::Event> arrived, read;
    bool taken = false;  // by a wave that is on its way, or there and not asked for yet
  };
  ExpertStream(Device& device, const Weights& weights, int begin)
      : device_(device), weights_(weights), begin_(begin) {}
  std::vector<const kernels::Matrix*> matrices(int layer, int n_matrices, int expert) const;
  void lay(int layer, std::span<const char> resident, int n_matrices);
  bool used(const Wave& wave, const std::int32_t* begin) const;
  void expect(std::vector<int> coming, const std::int32_t* asked);
  void bring(const Wave& wave);
  void fill();
  void use(const Wave& wave, kc::ExpertLinearArgs a);
  std::uint8_t* stage_at(int stage) const {
    return ring_.data() + static_cast<std::uint64_t>(stage) * stage_bytes_;
  }

  Device& device_;
  const Weights& weights_;
  const int begin_;
  std::uint64_t stage_bytes_ = 0, packed_bytes_ = 0;
  std::atomic<std::uint64_t> copied_ = 0;
  std::vector<Wave> waves_;
  std::vector<Layer> layers_;
  Memory ring_;
  std::vector<RingStage> stages_;
  // What comes: waves by number, and how many of them have been asked for as copies, and
  // multiplied.
  std::vector<int> coming_;
  std::size_t n_brought_ = 0, n_used_ = 0;
  const std::int32_t* asked_ = nullptr;  // expect()'s begin; null: all are asked for
};

}  // namespace lares::engine::cuda
