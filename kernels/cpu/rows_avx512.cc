#include "kernels/linear.h"

#if defined(__AVX512BF16__) && defined(__AVX512VBMI__) && defined(__AVX512VNNI__)

#include "kernels/rows.h"

namespace lares::kernels {

namespace {

bool available() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bf16") &&
         __builtin_cpu_supports("avx512vnni");
}

struct Own {
  static constexpr auto linear = linear_avx512;
  static constexpr auto pack = pack_avx512;
  static constexpr auto linear_tiles = linear_tiles_avx512;
  static constexpr auto index_codes = index_scores_avx512;
  static constexpr auto unpack_cells = unpack_cells_avx512;
  static constexpr auto scores = attention_scores_avx512;
  static constexpr auto weights = attention_weights_avx512;
  static constexpr auto values = attention_values_avx512;
};

}  // namespace

extern const Kernels kAvx512Row;
constexpr Kernels kAvx512Row = row<Avx8, Own>("avx512", available);

}  // namespace lares::kernels

#endif
