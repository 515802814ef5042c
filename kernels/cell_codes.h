// What e4m3 codes are as bf16 values, for every implementation of unpack_cells.
#pragma once

#include <cstdint>

namespace lares::kernels {
namespace {

inline constexpr int kScaleOfNoNumber = 255;  // a block of such

// |code| -> the bits of the bf16 value; a scale 2^(b - 127) then adds (b - 127) << 7 to all but
// zeros.
struct alignas(64) CodeValues {
  std::uint16_t of[128];
  constexpr CodeValues() : of() {
    for (int code = 1; code < 128; ++code) {
      int exponent = code >> 3, fraction = code & 7;
      if (exponent == 0) {  // 2^-9 fraction
        exponent = 1;
        while (fraction < 8) fraction *= 2, --exponent;
        fraction -= 8;
      }
      of[code] = static_cast<std::uint16_t>((exponent - 7 + 127) << 7 | fraction << 4);
    }
  }
};
inline constexpr CodeValues kCodeValues{};

inline constexpr std::uint16_t kNoNumber = 0x7FC0;

}  // namespace
}  // namespace lares::kernels
