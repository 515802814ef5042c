// Body of index_scores(). A product is 32 values of a key's group by a query's, exact, and is
// scaled by both groups' scales before it is added. Where the scales of all groups are nearly the
// same, which they are after a Hadamard transform, codes are brought to one scale: then the sum
// over all groups is exact, too, so that the mma adds them, the bits are the same, and of eight
// operations a product one is left.
#pragma once

#include "kernels/cuda/simt/arithmetic.h"
#include "kernels/cuda/indexer/indexer_rows.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// Upper bytes of the f16 values of twice e2m1's times 2^raise, codes 0..3 of a word, then 4..7.
LARES_DEVICE void key_bytes(std::uint32_t word, std::uint32_t raise, std::uint32_t& first,
                            std::uint32_t& second) {
  const std::uint32_t low = 0x42403C00u + raise * 0x04040400u,
                      high = 0x4A484644u + raise * 0x04040404u;  // 0 1 2 3 | 4 6 8 12
  const std::uint32_t sel = word & 0x77777777u, sign = word >> 3 & 0x11111111u;
  first = permute_bytes(low, high, sel & 0xFFFFu) | permute_bytes(0x8000u, 0, sign & 0xFFFFu);
  second = permute_bytes(low, high, sel >> 16) | permute_bytes(0x8000u, 0, sign >> 16);
}

// A warp's 32 keys as they are stored: a lane has the exponents of the key it points to, and of
// keys g, g + 8, g + 16 and g + 24 every fourth word of codes.
struct KeyWords {
  std::uint32_t exponents, codes[2][2][4];
};
LARES_DEVICE void load_keys(KeyWords& to, const std::uint8_t* key) {
  const int lane = thread() % 32;
  to.exponents = *reinterpret_cast<const std::uint32_t*>(key + 64);
  LARES_UNROLL for (int tile = 0; tile < 2; ++tile)
      LARES_UNROLL for (int half = 0; half < 2; ++half) {
    const std::uint8_t* const codes = pointer_from(key, 16 * tile + 8 * half + lane / 4) +
                                      4 * (lane % 4);
    LARES_UNROLL for (int c = 0; c < 4; ++c)
        to.codes[tile][half][c] = *reinterpret_cast<const std::uint32_t*>(codes + 16 * c);
  }
}

inline constexpr int kScoreThreads = 128, kScoreWarpKeys = 32,
                     kScoreKeys = kScoreThreads / 32 * kScoreWarpKeys;  // of a block at a time
inline constexpr int kScoreRow = kIndexDim + 32;  // of a query in shared memory
// a pair of heads' terms: four of them lie in all banks
inline constexpr int kScoreTerms = kScoreWarpKeys + 8;
// Shared memory: queries, their scales and weights, terms of each warp; for as many heads as there
// may be, so that places are constants.
inline constexpr int kScoreShared = kIndexHeadsMax * (kScoreRow * 2 + 4 * 4 + 2) +
                                    kScoreThreads / 32 * (kIndexHeadsMax / 2) * kScoreTerms * 4;
// Blocks of a token's keys. A block that takes more keys reads its queries less often; an H100 has
// room for 396 blocks, and many tokens' blocks differ in length.
inline int score_blocks(int n_tokens, int n_keys_max) {
  const int most = larger(1, (n_tokens < 64 ? 384 : 2048) / n_tokens);
  return smaller(most, (n_keys_max + kScoreKeys - 1) / kScoreKeys);
}

// Whether a head has one scale for all its groups, and codes within exponents_level(). What pads
// the heads has.
LARES_DEVICE bool head_level(const Vec16* scale, int h, int n_heads) {
  if (h >= n_heads) return true;
  const Vec16 s = scale[h];
  const auto exponent = static_cast<int>(s.w[0] >> 23) + 2;  // index_query() has a factor of 1/4
  return s.w[0] == s.w[1] && s.w[0] == s.w[2] && s.w[0] == s.w[3] &&
         exponents_level(exponent, exponent);
}

// Block (x: keys, y: token). A warp has 32 keys, two mma of 16, and goes through all heads with
// them.
LARES_KERNEL(kScoreThreads, 3) index_scores_kernel(const IndexScoreArgs a) {
  const int t = block_y(), heads = (a.n_heads + 7) / 8 * 8, warp = thread() / 32,
            lane = thread() % 32, g = lane / 4, q = lane % 4;
  // Each lane finds a key. Places and pages are there before any launch; keys may be new.
  const auto seen = static_cast<int>((a.places.position[t] + 1) / 4);
  const int begin = block_x() * kScoreKeys, step = grid_x() * kScoreKeys;
  const std::uint8_t* const* const pages = a.places.parts[a.places.part[t]].pages;
  const auto place = [&](int block) {
    const int own = smaller(block + warp * kScoreWarpKeys + lane, seen - 1);
    return pages[own / a.keys.per_page] + a.keys.offset +
           static_cast<std::int64_t>(own % a.keys.per_page) * 68;
  };
  const std::uint8_t* key = begin < seen ? place(begin) : nullptr;
  wait_for_inputs();
  if (begin >= seen) return;
  // Keys are on their way while the ones before are multiplied, and where they are is asked for
  // one block before that.
  KeyWords next;
  load_keys(next, key);
  if (begin + step < seen) key = place(begin + step);
  auto* const qs = shared<std::uint16_t>();
  auto* const scale = reinterpret_cast<Vec16*>(qs + kIndexHeadsMax * kScoreRow);  // [heads] of four
  // [heads / 2] pairs of bf16
  auto* const weight = reinterpret_cast<std::uint32_t*>(scale + kIndexHeadsMax);
  std::uint32_t* const terms = weight + kIndexHeadsMax / 2 +
                               warp * (kIndexHeadsMax / 2) * kScoreTerms;
  const std::int64_t of_token = static_cast<std::int64_t>(t) * a.n_heads;
  for (int i = thread(); i < heads * (kIndexDim / 8); i += kScoreThreads) {
    const int h = i / (kIndexDim / 8), c = i % (kIndexDim / 8);
    std::uint16_t* const to = qs + h * kScoreRow + 8 * c;
    if (h < a.n_heads)
      copy_later<16>(to, a.codes + (of_token + h) * kIndexDim + 8 * c);
    else
      *reinterpret_cast<Vec16*>(to) = Vec16{{0, 0, 0, 0}};
  }
  for (int h = thread(); h < heads; h += kScoreThreads) {
    if (h < a.n_heads)
      copy_later<16>(scale + h, a.scale + (of_token + h) * 4);
    else
      scale[h] = Vec16{{0, 0, 0, 0}};
  }
  for (int p = thread(); p < heads / 2; p += kScoreThreads) {
    const auto of = [&](int h) { return h < a.n_heads ? a.weight[of_token + h] : 0.0f; };
    weight[p] = bf16_pair(of(2 * p), of(2 * p + 1));
  }
  finish_copies();
  sync_block();
  const std::uint32_t level_heads = ballot(head_level(scale, 2 * lane, a.n_heads) &&
                                           head_level(scale, 2 * lane + 1, a.n_heads));
  for (int block = begin; block < seen; block += step) {
    const int base = block + warp * kScoreWarpKeys;
    std::uint32_t keys[2][4][2][4];
    float key_scale[2][2][4];
    // Of its key, a lane: the exponents, and how far each is above the least.
    int least = 255, most = 0;
    LARES_UNROLL for (int c = 0; c < 4; ++c) {
      const auto e = static_cast<int>(next.exponents >> 8 * c & 255);
      least = smaller(e, least);
      most = larger(e, most);
    }
    const bool level = ballot(exponents_level(least, most)) == 0xFFFFFFFFu;
    const std::uint32_t exponents = level ? static_cast<std::uint32_t>(least) * 0x01010101u
                                          : next.exponents,
                        raises = next.exponents - exponents;
    LARES_UNROLL for (int tile = 0; tile < 2; ++tile)
        LARES_UNROLL for (int half = 0; half < 2; ++half) {
      const int at = 16 * tile + 8 * half + g;
      const std::uint32_t scales = shuffle(exponents, at), raise = shuffle(raises, at);
      LARES_UNROLL for (int c = 0; c < 4; ++c) {
        key_scale[tile][half][c] = e8m0(scales >> 8 * c & 255);
        std::uint32_t bytes[2];
        key_bytes(next.codes[tile][half][c], raise >> 8 * c & 255, bytes[0], bytes[1]);
        LARES_UNROLL for (int s = 0; s < 2; ++s) {
          keys[tile][c][s][half] = spread_low(bytes[s]);
          keys[tile][c][s][2 + half] = spread_high(bytes[s]);
        }
      }
    }
    if (block + step < seen) load_keys(next, key);
    if (block + 2 * step < seen) key = place(block + 2 * step);
    for (int h0 = 0; h0 < heads; h0 += 8) {
      float dot[2][4] = {};
      if (level && (level_heads >> h0 / 2 & 15u) == 15u) {
        LARES_UNROLL for (int c = 0; c < 4; ++c) {
          const Vec16 b =
              *reinterpret_cast<const Vec16*>(qs + (h0 + g) * kScoreRow + 32 * c + 8 * q);
          LARES_UNROLL for (int tile = 0; tile < 2; ++tile) {
            const auto& k = keys[tile][c];
            mma_f16(dot[tile], k[0][0], k[0][1], k[0][2], k[0][3], b.w[0], b.w[1]);
            mma_f16(dot[tile], k[1][0], k[1][1], k[1][2], k[1][3], b.w[2], b.w[3]);
          }
        }
        const float of_head[2] = {float_of(scale[h0 + 2 * q].w[0]),
                                  float_of(scale[h0 + 2 * q + 1].w[0])};
        LARES_UNROLL for (int tile = 0; tile < 2; ++tile) LARES_UNROLL for (int i = 0; i < 4; ++i)
            dot[tile][i] = dot[tile][i] * (key_scale[tile][i / 2][0] * of_head[i % 2]);
      } else {
        const Vec16 scales[2] = {scale[h0 + 2 * q], scale[h0 + 2 * q + 1]};
        LARES_UNROLL for (int c = 0; c < 4; ++c) {
          const Vec16 b =
              *reinterpret_cast<const Vec16*>(qs + (h0 + g) * kScoreRow + 32 * c + 8 * q);
          LARES_UNROLL for (int tile = 0; tile < 2; ++tile) {
            const auto& k = keys[tile][c];
            float sum[4];
            product_f16(sum, k[0][0], k[0][1], k[0][2], k[0][3], b.w[0], b.w[1]);
            mma_f16(sum, k[1][0], k[1][1], k[1][2], k[1][3], b.w[2], b.w[3]);
            LARES_UNROLL for (int i = 0; i < 4; ++i) dot[tile][i] = fmaf(
                sum[i], key_scale[tile][i / 2][c] * float_of(scales[i % 2].w[c]), dot[tile][i]);
          }
        }
      }
      const int p = h0 / 2 + q;
      const std::uint32_t w = weight[p];
      LARES_UNROLL for (int tile = 0; tile < 2; ++tile)
          LARES_UNROLL for (int half = 0; half < 2; ++half)
              terms[p * kScoreTerms + 16 * tile + 8 * half + g] = multiply_bf16(
                  positive_bf16(bf16_pair(dot[tile][2 * half], dot[tile][2 * half + 1])), w);
    }
    sync_warp();
    // A lane a key, the heads in order; what pads them adds zeros.
    float total = 0;
    LARES_UNROLL_8 for (int p = 0; p < heads / 2; ++p) {
      const std::uint32_t two = terms[p * kScoreTerms + lane];
      total = total + bf16_value(two & 0xFFFFu);
      total = total + float_of(two & 0xFFFF0000u);
    }
    if (base + lane < seen) a.score[t * a.score_stride + base + lane] = bf16_rounded(total);
    sync_warp();
  }
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
