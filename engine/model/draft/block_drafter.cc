#include "engine/model/draft/block_drafter.h"

#include <algorithm>

#include "engine/model/draft/dspark_drafter.h"
#include "engine/model/draft/mtp_drafter.h"

namespace lares::engine {

std::unique_ptr<BlockDrafter> BlockDrafter::of(const Weights& weights, Forward& forward) {
  if (weights.dspark) return std::make_unique<CpuDspark>(weights, forward);
  if (!weights.mtp.empty()) return std::make_unique<CpuMtp>(weights, forward);
  return nullptr;
}

void RecentPositions::extend(std::int64_t position, int n) {
  if (position != end_) begin_ = position;
  end_ = position + n;
  begin_ = std::max(begin_, end_ - window_);
}

void RecentPositions::drop_to(std::int64_t size) {
  end_ = std::min(end_, size);
  begin_ = std::min(begin_, end_);
}

void RecentRows::copy(std::int64_t first, std::int64_t last, std::vector<float>& out) {
  out.reserve(rows_.size());  // once: growing would take up to twice what is needed
  out.resize(static_cast<std::size_t>(last - first) * width_);
  for (std::int64_t p = first; p < last; ++p)
    std::copy_n(row(p), width_, out.data() + static_cast<std::size_t>(p - first) * width_);
}

}  // namespace lares::engine
