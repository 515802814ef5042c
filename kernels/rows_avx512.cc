#include "kernels/linear.h"

#if defined(__AVX512BF16__) && defined(__AVX512VBMI__)

#include "kernels/rows.h"

namespace lares::kernels {

namespace {

bool available() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bf16");
}

}  // namespace

extern const Kernels kAvx512Row;
constexpr Kernels kAvx512Row = row<Avx8, Avx16, linear_avx512, pack_avx512, linear_tiles_avx512>("avx512", available);

}  // namespace lares::kernels

#endif
