#include "kernels/rows.h"

namespace lares::kernels {

namespace {

struct Own {
  static constexpr auto linear = linear_cpu;
  static constexpr auto pack = pack_cpu;
  static constexpr auto linear_tiles = linear_tiles_cpu;
  static constexpr auto index_codes = index_scores_cpu;
  static constexpr auto unpack_cells = unpack_cells_cpu;
};

}  // namespace

extern const Kernels kCpuRow;
constexpr Kernels kCpuRow = row<Plain8, Own>("cpu", [] { return true; });

}  // namespace lares::kernels
