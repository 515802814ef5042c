// y = x W^T for weights as the checkpoint stores them.
//
// One order of operations, whatever the number of tokens, threads or instruction set:
//   acc = 0; for each group of 32 along k:
//     t = 0; for i in order: t = fma(w_i, x_i, t)
//     acc = fma(t, s, acc)
// where s is the group's scale. Inside a group pairs run odd element first, as AVX-512's vdpbf16ps
// does; fp4 pairs are (k + 4, k) within each 8, which is how a dword of nibbles unpacks. All scales
// of the release are powers of two, so it does not matter to which factor they belong; the
// association does.
// Source: DeepSeek-V4 inference/kernel.py (fp8_gemm, fp4_gemm); floor: the bytes of W, read once.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lares::kernels {

enum class Format : std::uint8_t { f32, bf16, fp8, fp4 };

inline constexpr int kGroup = 32;

struct Tiles;  // kernels/tiles.h

// [n_out, n_in], row-major, n_in a multiple of 32; no alignment is assumed for fp8 and fp4, natural
// alignment for the others.
struct Matrix {
  Format format = Format::f32;
  const void* data = nullptr;  // f32 | bf16 | e4m3 bytes | two e2m1 a byte, low nibble first
  // e8m0: fp8 one per 128 x 128, [ceil(n_out/128), ceil(n_in/128)]; fp4 [n_out, n_in/32]
  const std::uint8_t* scale = nullptr;
  const float* scale_f32 = nullptr;  // fp8 only, instead of `scale`: the same blocks, any value
  int n_out = 0, n_in = 0;
  const Tiles* tiles = nullptr;  // the same weights repacked, or null
};

struct LinearArgs {
  const Matrix* w;
  const float* x;  // [n_tokens, x_stride], the first n_in of each used
  float* y;        // [n_tokens, y_stride]; column `row - y_row` receives row `row`
  std::int64_t x_stride, y_stride;
  int n_tokens;
  int row_begin, row_end;  // the rows to compute
  int y_row = 0;
  bool round_bf16 = false;  // y rounded to bf16
};

// The value of every code; e8m0's 255 is NaN, e4m3's 0x7F and 0xFF too.
float e8m0_value(std::uint8_t code);
float e4m3_value(std::uint8_t code);
float e2m1_value(std::uint8_t code);  // 4 bits

void linear_cpu(const LinearArgs& a);
void linear_avx2(const LinearArgs& a);
void linear_avx512(const LinearArgs& a);  // with bf16 and VBMI

// Position i of a 32-group's processing order -> offset along k.
inline constexpr int ordered(Format format, int i) {
  if (format != Format::fp4) return i ^ 1;
  const int in8 = i & 7, pair = in8 >> 1;
  return (i & ~7) + pair + ((in8 & 1) ? 0 : 4);
}

}  // namespace lares::kernels
