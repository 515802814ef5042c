// A warpgroup's part of a stage: 128 k of its 64 or 128 rows by 128 tokens, or 64. The weights'
// words come from shared memory as their tiles have them and become operands in registers; wgmma
// reads the tokens' planes.
//
// A step is a 32-group of 64 rows, in one or two halves of 64 tokens: two wgmma each. Two sets of
// sums take turns, so that one is multiplied while the other is added to the results and while the
// next step's operands are made. Nothing that a wgmma reads or writes is touched before the wait
// that ends it: operands have two sets, too, and a step's is written again when that step is over.
#pragma once

#include "kernels/cuda/products/linear_rows.h"
#include "kernels/cuda/products/wgmma.h"
#include "kernels/cuda/products/wide_input.h"
#include "kernels/cuda/products/wide_plan.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

inline constexpr float kWideFp4 = kFp4Code / kWideCode;  // what results lack of fp4 weights

// What a warp has of a stage.
struct WideStage {
  const unsigned char* values;  // two planes
  // Of the warpgroup's first tile of this warp; the tile of its second 64 rows is four further
  const unsigned char* weights;
  const float* scale;       // [128] of tokens, codes
  const float* tile_scale;  // fp8: of the warp's first tile, as `weights`
};
// fp8: of its 64 rows; with codes times what results lack.
template <bool codes_in>
LARES_DEVICE float wide_weight_scale(const WideStage& stage, int m) {
  return codes_in ? stage.tile_scale[4 * m] * (kF16Code / kWideCode) : stage.tile_scale[4 * m];
}

template <Format format>
LARES_DEVICE void wide_words(std::uint32_t (&to)[group_words(format)], const unsigned char* tile,
                             int j) {
  const int lane = thread() % 32;
  if constexpr (format == Format::fp4) {
    const Vec8 v = *reinterpret_cast<const Vec8*>(tile + (j / 2 * 32 + lane) * 16 + j % 2 * 8);
    to[0] = v.w[0];
    to[1] = v.w[1];
  } else {
    LARES_UNROLL for (int i = 0; i < group_words(format) / 4; ++i) {
      const Vec16 v = *reinterpret_cast<const Vec16*>(
          tile + ((j * (group_words(format) / 4) + i) * 32 + lane) * 16);
      LARES_UNROLL for (int w = 0; w < 4; ++w) to[4 * i + w] = v.w[w];
    }
  }
}
// fp4: of rows g and g + 8.
LARES_DEVICE Vec8 wide_tile_scales(const unsigned char* tile) {
  return *reinterpret_cast<const Vec8*>(tile + 1024 + thread() % 32 / 4 * 8);
}

// Whether a token's scale is not in its values, of tokens [0, n), a multiple of 8; the same in all
// warps.
LARES_DEVICE bool odd_scales(const float* scale, int n) {
  const int lane = thread() % 32;
  bool odd = false;
  if (4 * lane < n) {
    const Vec16 s = *reinterpret_cast<const Vec16*>(scale + 4 * lane);
    odd = (s.w[0] | s.w[1] | s.w[2] | s.w[3]) << 1 != 0;
  }
  return ballot(odd) != 0;
}

template <int left>
struct WideLeft {
  static constexpr int value = left;
};

// Adds the stage's products to the results.
template <Format format, bool codes_in, int blocks, int halves>
LARES_DEVICE void wide_tile(float (&acc)[blocks][64], const WideStage& stage) {
  constexpr int kSteps = 4 * blocks;             // 32-groups of 64 rows
  constexpr bool kEach = format == Format::fp4;  // every group has a sum of its own; else 128 k
  // Words come when their set of operands is free: bf16's are operands, fp8's would be registers
  // too many
  constexpr bool kLate = !codes_in;
  constexpr int kHalfBytes = kWideHalf * 128;
  const WgmmaMatrix values = wgmma_matrix(stage.values);
  float t[2][32];
  std::uint32_t a[2][2][4], words[group_words(format)];
  const auto fetch = [&](int i) {
    wide_words<format>(words, stage.weights + i / 4 * 4 * tile_bytes(format), i % 4);
  };
  const auto decode = [&](int i) { operands<format, codes_in>(words, a[i % 2]); };
  // The weights' scales of rows g and g + 8 in the step that is being added
  [[maybe_unused]] float by[2] = {1, 1};
  // Adds step i's half from its set, when all but the `left` newest halves are over.
  const auto fold = [&](auto left, int set, int i, int half) {
    const int m = i / 4;
    if (half == 0) {
      if constexpr (format == Format::fp8) by[0] = by[1] = wide_weight_scale<codes_in>(stage, m);
      if constexpr (format == Format::fp4) {
        const Vec8 s = wide_tile_scales(stage.weights + 4 * m * tile_bytes(format));
        LARES_UNROLL for (int r = 0; r < 2; ++r)
            by[r] = fp4_block_scale(s.w[r] >> 8 * (i % 4) & 255);
      }
    }
    wgmma_wait<decltype(left)::value>();
    pin(t[set]);
    LARES_UNROLL for (int v = 0; v < 32; ++v) {
      float& to = acc[m][32 * half + v];
      to = format == Format::bf16 ? to + t[set][v] : fmaf(t[set][v], by[v % 4 / 2], to);
    }
  };
  fetch(0);
  decode(0);
  LARES_UNROLL for (int i = 0; i < kSteps; ++i) {
    const int m = i / 4, j = i % 4;
    if (i + 1 < kSteps && !kLate) fetch(i + 1);
    LARES_UNROLL for (int half = 0; half < halves; ++half) {
      const int set = halves == 2 ? half : kEach ? i % 2 : m % 2;
      if (kEach && i * halves + half >= 2)
        fold(WideLeft<1>{}, set, i - (halves == 2 ? 1 : 2), half);
      else if (!kEach && j == 0 && halves == 2 && m > 0)
        fold(WideLeft<1>{}, set, i - 1, half);
      wgmma_fence();
      LARES_UNROLL for (int s = 0; s < 2; ++s)
          wgmma<codes_in>(t[set], a[i % 2][s], values, j / 2 * kWidePlaneBytes + half * kHalfBytes,
                          j % 2 * 2 + s, (!kEach && j > 0) || s > 0);
      wgmma_commit();
    }
    if (i + 1 == kSteps) break;
    wgmma_wait<halves>();
    LARES_UNROLL for (int s = 0; s < 2; ++s) pin(a[(i + 1) % 2][s]);
    if (kLate) fetch(i + 1);
    decode(i + 1);
  }
  if constexpr (halves == 2) {
    fold(WideLeft<1>{}, 0, kSteps - 1, 0);
    fold(WideLeft<0>{}, 1, kSteps - 1, 1);
  } else if constexpr (kEach) {
    fold(WideLeft<1>{}, kSteps % 2, kSteps - 2, 0);
    fold(WideLeft<0>{}, (kSteps - 1) % 2, kSteps - 1, 0);
  } else {
    LARES_UNROLL for (int m = 0; m < blocks; ++m) fold(WideLeft<0>{}, m, 4 * m + 3, 0);
  }
  LARES_UNROLL for (int i = 0; i < 4; ++i) pin(a[i / 2][i % 2]);
}

// The same with tokens' scales of any size, one step after the other: as linear.h has it, but for
// the power of two that results lack.
template <Format format, int blocks>
LARES_DEVICE void slow_tile(float (&acc)[blocks][64], const WideStage& stage) {
  const int q = thread() % 4;
  const WgmmaMatrix values = wgmma_matrix(stage.values);
  LARES_UNROLL for (int m = 0; m < blocks; ++m) {
    const unsigned char* const tile = stage.weights + 4 * m * tile_bytes(format);
    LARES_UNROLL for (int half = 0; half < 2; ++half) {
      float t[32];
      const auto multiply = [&](int j) {
        std::uint32_t a[2][4], words[group_words(format)];
        wide_words<format>(words, tile, j);
        operands<format, true>(words, a);
        wgmma_fence();
        LARES_UNROLL for (int s = 0; s < 2; ++s)
            wgmma<true>(t, a[s], values, j / 2 * kWidePlaneBytes + half * kWideHalf * 128,
                        j % 2 * 2 + s, (format != Format::fp4 && j > 0) || s > 0);
        wgmma_commit();
        wgmma_wait<0>();
        LARES_UNROLL for (int s = 0; s < 2; ++s) pin(a[s]);
        pin(t);
      };
      const auto fold = [&](int j) {
        float by[2] = {1, 1};
        if constexpr (format == Format::fp4) {
          const Vec8 s = wide_tile_scales(tile);
          LARES_UNROLL for (int i = 0; i < 2; ++i) by[i] = fp4_block_scale(s.w[i] >> 8 * j & 255);
        }
        const float w = format == Format::fp8 ? wide_weight_scale<true>(stage, m) : 1;
        LARES_UNROLL for (int i = 0; i < 32; ++i) {
          const float s = stage.scale[half * kWideHalf + i / 4 * 8 + 2 * q + i % 2];
          const bool left = bits_of(s) << 1 != 0;
          const float x = format == Format::fp4
                              ? (left ? s * (kF16Code * kFp4Code / kWideFp4) : 1.0f)
                          : left ? (w * s) * (kF16Code * kWideCode)
                                 : w;
          acc[m][32 * half + i] = fmaf(format == Format::fp4 ? t[i] * by[i % 4 / 2] : t[i], x,
                                       acc[m][32 * half + i]);
        }
      };
      if constexpr (format == Format::fp4) {
        LARES_ROLLED for (int j = 0; j < 4; ++j) {
          multiply(j);
          fold(j);
        }
      } else {
        LARES_UNROLL for (int j = 0; j < 4; ++j) multiply(j);
        fold(3);
      }
    }
  }
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
