#include "engine/bench/loops.h"

#include <cmath>
#include <cstring>

namespace lares::engine::bench {

#ifdef LARES_BENCH_X86
extern const PeakLoop kFmaAvx2, kFmaAvx512, kDotBf16, kDotInt8;
std::uint64_t read_bytes_avx2(const std::uint8_t* data, std::size_t bytes);
#endif

namespace {

// For other processors: whatever the compiler makes of independent multiply-adds.
float fma_plain(std::int64_t passes) {
  constexpr int kChains = 64;
  float acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = 0.001f * static_cast<float>(i);
  for (std::int64_t p = 0; p < passes; ++p)
    for (int i = 0; i < kChains; ++i) acc[i] = acc[i] * 0.5f + 1.0f;
  float total = 0;
  for (const float v : acc) total += v;
  return total;
}
constexpr PeakLoop kPlain{.name = "plain",
                          .peak = Peak::fp32,
                          .available = [] { return true; },
                          .flops = 128,
                          .run = fma_plain};

constexpr const PeakLoop* kLoops[] = {
#ifdef LARES_BENCH_X86
    &kFmaAvx2, &kFmaAvx512, &kDotBf16, &kDotInt8,
#endif
    &kPlain,
};

}  // namespace

std::span<const PeakLoop* const> peak_loops() { return kLoops; }

std::uint64_t read_bytes(const std::uint8_t* data, std::size_t bytes) {
#ifdef LARES_BENCH_X86
  static const bool avx2 = kFmaAvx2.available();
  if (avx2) return read_bytes_avx2(data, bytes);
#endif
  std::uint64_t acc[8] = {};
  for (std::size_t at = 0; at < bytes; at += 64) {
    std::uint64_t v[8];
    std::memcpy(v, data + at, sizeof v);
    for (int i = 0; i < 8; ++i) acc[i] ^= v[i];
  }
  return acc[0] ^ acc[1] ^ acc[2] ^ acc[3] ^ acc[4] ^ acc[5] ^ acc[6] ^ acc[7];
}

}  // namespace lares::engine::bench
