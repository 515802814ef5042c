#include "kernels/linear.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include "kernels/rows.h"

namespace lares::kernels {

namespace {

bool available() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c");
}

struct Own {
  static constexpr auto linear = linear_avx2;
  static constexpr auto pack = pack_avx2;
  static constexpr auto linear_tiles = linear_tiles_avx2;
  static constexpr auto index_codes = index_scores_avx2;
  static constexpr auto unpack_cells = unpack_cells_avx2;
};

}  // namespace

extern const Kernels kAvx2Row;
constexpr Kernels kAvx2Row = row<Avx8, Own>("avx2", available);

}  // namespace lares::kernels

#endif
