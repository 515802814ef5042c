#include "engine/cuda/staging.h"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/products/tiles.h"

namespace lares::engine::cuda {
namespace {

constexpr std::size_t kPlace = 64;  // bytes, where something in a block begins
static_assert(kc::kScaleBlock % kc::kTileRows == 0);

// Of kScaleBlock rows.
std::size_t unit_tiles(const kernels::Matrix& m) {
  return kc::tiles_bytes(m.format, kc::kScaleBlock, m.n_in);
}
std::size_t unit_scales(const kernels::Matrix& m) {
  return kc::tiles_scales(m.format, kc::kScaleBlock, m.n_in);
}

}  // namespace

void add_jobs(std::vector<PackJob>& to, const kernels::Matrix& m, int row_begin, int row_end,
              std::uint8_t* tiles, float* scale) {
  for (int row = row_begin; row < row_end; row += kc::kScaleBlock) {
    to.push_back({&m, row, std::min(row_end, row + kc::kScaleBlock), tiles, scale});
    tiles += unit_tiles(m);
    scale += unit_scales(m);
  }
}

void pack(Device& device, kernels::ThreadPool& pool, std::vector<PackJob>& jobs) {
  pool.run(std::ssize(jobs), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const PackJob& job = jobs[static_cast<std::size_t>(i)];
      device.pack_rows(*job.matrix, job.row_begin, job.row_end, job.tiles, job.scale);
    }
  });
  jobs.clear();
}

Staging::Staging(Device& device, kernels::ThreadPool& pool, std::size_t block_bytes)
    : device_(device), pool_(pool) {
  for (Block& block : blocks_) block.sent = device.event();
  make_blocks(block_bytes);
}

void Staging::make_blocks(std::size_t bytes) {
  block_bytes_ = bytes;
  for (Block& block : blocks_) {
    block.pinned = Pinned();
    block.pinned = Pinned(device_, bytes);
    block.plain = std::vector<std::uint8_t>(block.pinned ? 0 : bytes);
    block.data = block.pinned ? block.pinned.data() : block.plain.data();
  }
}

// Bytes in the current block, which has room for them, that are to be copied to `to`.
std::uint8_t* Staging::take(void* to, std::size_t bytes) {
  auto* const target = static_cast<std::uint8_t*>(to);
  if (!copies_.empty() && copies_.back().to + copies_.back().bytes == target &&
      copies_.back().at + copies_.back().bytes == used_)
    copies_.back().bytes += bytes;
  else
    copies_.push_back({target, used_, bytes});
  std::uint8_t* const at = blocks_[current_].data + used_;
  used_ += (bytes + kPlace - 1) / kPlace * kPlace;
  return at;
}

void Staging::bytes(void* to, const void* from, std::size_t n) {
  for (std::size_t done = 0; done < n;) {
    if (room() == 0) flush();
    const std::size_t some = std::min(room(), n - done);
    std::memcpy(take(static_cast<std::uint8_t*>(to) + done, some),
                static_cast<const std::uint8_t*>(from) + done, some);
    done += some;
  }
}

void Staging::matrix(const kernels::Matrix& m, std::uint8_t* tiles, float* scale) {
  const std::size_t scale_bytes = unit_scales(m) * sizeof(float),
                    unit = unit_tiles(m) + scale_bytes + kPlace;
  if (unit > block_bytes_) {
    finish();
    make_blocks(unit);
  }
  const int n_units = (m.n_out + kc::kScaleBlock - 1) / kc::kScaleBlock;
  for (int first = 0; first < n_units;) {
    if (room() < unit) flush();
    const int n = static_cast<int>(
        std::min<std::size_t>(room() / unit, static_cast<std::size_t>(n_units - first)));
    const int begin = first * kc::kScaleBlock,
              end = std::min(m.n_out, (first + n) * kc::kScaleBlock);
    const auto at = static_cast<std::size_t>(first);
    std::uint8_t* const packed = take(tiles + at * unit_tiles(m),
                                      kc::tiles_bytes(m.format, end - begin, m.n_in));
    float* scales = nullptr;
    if (scale_bytes > 0)
      scales = reinterpret_cast<float*>(
          take(scale + at * unit_scales(m), static_cast<std::size_t>(n) * scale_bytes));
    add_jobs(jobs_, m, begin, end, packed, scales);
    first += n;
  }
}

void Staging::flush() {
  if (copies_.empty()) return;
  pack(device_, pool_, jobs_);
  Block& block = blocks_[current_];
  for (const Copy& copy : copies_) device_.copy_beside(copy.to, block.data + copy.at, copy.bytes);
  device_.mark(Device::Queue::copies, *block.sent);
  block.on_its_way = true;
  copies_.clear();
  used_ = 0;
  current_ = 1 - current_;
  wait(blocks_[current_]);
}

// Until the block may be filled again.
void Staging::wait(Block& block) {
  if (!block.on_its_way) return;
  device_.wait(Device::Queue::work, *block.sent);
  device_.synchronise();
  block.on_its_way = false;
}

void Staging::finish() {
  flush();
  for (Block& block : blocks_) wait(block);
}

}  // namespace lares::engine::cuda
