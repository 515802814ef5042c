// Weights on their way to a GPU: all threads pack some into pinned memory while those before are
// being copied.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/cuda/device.h"
#include "kernels/thread_pool.h"

namespace lares::engine::cuda {

inline constexpr std::size_t kStagingBlock = std::size_t{32} << 20;  // bytes; there are two

// Rows of a matrix, a multiple of kc::kScaleBlock but for the last, and where their tiles and
// scales go in host memory.
struct PackJob {
  const kernels::Matrix* matrix;
  int row_begin, row_end;
  std::uint8_t* tiles;
  float* scale;
};
// Jobs for rows [row_begin, row_end) of a matrix, of which row_begin is a multiple of
// kc::kScaleBlock, whose tiles [tiles_bytes()] and scales [tiles_scales()] go to `tiles` and
// `scale`.
void add_jobs(std::vector<PackJob>& to, const kernels::Matrix& m, int row_begin, int row_end,
              std::uint8_t* tiles, float* scale);
void pack(Device& device, kernels::ThreadPool& pool, std::vector<PackJob>& jobs);

class Staging {
 public:
  // Without pinned memory all works, more slowly.
  Staging(Device& device, kernels::ThreadPool& pool, std::size_t block_bytes = kStagingBlock);

  // What is put is there after finish(), in any order before. Bytes may go away at once, a matrix
  // must stay until then.
  void bytes(void* to, const void* from, std::size_t n);
  void matrix(const kernels::Matrix& m, std::uint8_t* tiles, float* scale);
  void finish();

 private:
  struct Copy {
    std::uint8_t* to;
    std::size_t at, bytes;
  };
  struct Block {
    Pinned pinned;
    std::vector<std::uint8_t> plain;  // where there is no pinned memory
    std::uint8_t* data = nullptr;
    std::unique_ptr<Device::Event> sent;
    bool on_its_way = false;
  };
  void make_blocks(std::size_t bytes);
  std::size_t room() const { return used_ < block_bytes_ ? block_bytes_ - used_ : 0; }
  std::uint8_t* take(void* to, std::size_t bytes);
  void flush();
  void wait(Block& block);

  Device& device_;
  kernels::ThreadPool& pool_;
  std::size_t block_bytes_ = 0, used_ = 0;
  Block blocks_[2];
  int current_ = 0;
  std::vector<Copy> copies_;  // out of the current block
  std::vector<PackJob> jobs_;
};

}  // namespace lares::engine::cuda
