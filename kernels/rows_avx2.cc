#include "kernels/linear.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include "kernels/rows.h"

namespace lares::kernels {

namespace {

bool available() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

}  // namespace

extern const Kernels kAvx2Row;
constexpr Kernels kAvx2Row = row<Avx8, Avx8, linear_avx2, pack_avx2, linear_tiles_avx2>("avx2", available);

}  // namespace lares::kernels

#endif
