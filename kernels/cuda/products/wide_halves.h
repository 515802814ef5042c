// Pairs of f16 values times powers of two.
#pragma once

#include "kernels/cuda/simt/simt.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

#ifdef __CUDACC__

LARES_DEVICE std::uint32_t multiply_f16(std::uint32_t a, std::uint32_t b) {
  std::uint32_t r;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
  return r;
}

#else

inline std::uint32_t multiply_f16(std::uint32_t a, std::uint32_t b) {
  std::uint32_t r = 0;
  for (int i = 0; i < 32; i += 16) {
    const float v = simt::Machine::get().f16(static_cast<std::uint16_t>(a >> i)) *
                    simt::Machine::get().f16(static_cast<std::uint16_t>(b >> i));
    const float m = std::fabs(v);
    std::uint32_t bits = 0x7E00;  // NaN
    if (m < 0x1p-14f)
      bits = static_cast<std::uint32_t>(std::nearbyint(m * 0x1p24f));
    else if (m >= 65520.0f)
      bits = 0x7C00;
    else if (m == m)
      bits = (bits_of(m) + 0xFFFu + (bits_of(m) >> 13 & 1u)) / 0x2000u - (112u << 10);
    r |= (bits | (bits_of(v) >> 16 & 0x8000u)) << i;
  }
  return r;
}

#endif

}  // namespace lares::kernels::cuda::inline LARES_SIDE
