// What linear() and experts_linear() do within a block. A block with few tokens takes 16 rows of
// weights and all of k, its warps every eighth tile; one with many takes 128 rows by up to 128
// tokens, and all of k one tile after the other. Both make the same sums.
#pragma once

#include "kernels/cuda/simt/arithmetic.h"
#include "kernels/cuda/products/linear_plan.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// A lane's part of a tile.
template <Format format>
struct LaneTile {
  static constexpr int vectors = format == Format::bf16 ? 8 : format == Format::fp8 ? 4 : 2;
  static constexpr int ahead = format == Format::bf16  ? 1
                               : format == Format::fp8 ? 2
                                                       : 4;  // tiles in flight, with few tokens
  Vec16 v[vectors];
  std::uint32_t scale[2];  // fp4: four e8m0 of row g, of row g + 8
};

template <Format format>
LARES_DEVICE void load_tile(LaneTile<format>& t, const std::uint8_t* tile, int lane) {
  LARES_UNROLL for (int i = 0; i < LaneTile<format>::vectors; ++i)
      t.v[i] = load_once(tile + (i * 32 + lane) * 16);
  if constexpr (format == Format::fp4) {
    const auto* s = reinterpret_cast<const Vec8*>(tile + 1024 + lane / 4 * 8);
    t.scale[0] = s->w[0];
    t.scale[1] = s->w[1];
  }
}

// The operands of both steps of a 32-group, rows g and g + 8, from the lane's words of it.
template <Format format, bool codes_in>
LARES_DEVICE void operands(const std::uint32_t* words, std::uint32_t (&a)[2][4]) {
  if constexpr (format == Format::bf16) {
    LARES_UNROLL for (int s = 0; s < 2; ++s) {
      a[s][0] = words[2 * s];
      a[s][1] = words[4 + 2 * s];
      a[s][2] = words[2 * s + 1];
      a[s][3] = words[4 + 2 * s + 1];
    }
  } else if constexpr (format == Format::fp8) {
    LARES_UNROLL for (int s = 0; s < 2; ++s) LARES_UNROLL for (int half = 0; half < 2; ++half) {
      if constexpr (codes_in) {
        fp8_pairs(words[2 * half + s], a[s][half], a[s][2 + half]);
      } else {
        fp8_pairs_bf16(words[2 * half + s], a[s][half], a[s][2 + half]);
        a[s][half] = times_2_120(a[s][half]);
        a[s][2 + half] = times_2_120(a[s][2 + half]);
      }
    }
  } else {
    LARES_UNROLL for (int half = 0; half < 2; ++half) {
      std::uint32_t pairs[4];
      fp4_pairs(words[half], pairs);
      LARES_UNROLL for (int s = 0; s < 2; ++s) {
        a[s][half] = pairs[2 * s];
        a[s][2 + half] = pairs[2 * s + 1];
      }
    }
  }
}
// Words of a group: fp4 half a vector, fp8 one, bf16 two.
constexpr int group_words(Format format) {
  return format == Format::bf16 ? 8 : format == Format::fp8 ? 4 : 2;
}

template <bool codes_in>
LARES_DEVICE void multiply(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                           std::uint32_t b1) {
  if constexpr (codes_in)
    mma_f16(d, a[0], a[1], a[2], a[3], b0, b1);
  else
    mma_bf16(d, a[0], a[1], a[2], a[3], b0, b1);
}

// Adds a group's products to p.
template <bool codes_in>
LARES_DEVICE void add_group(float (&p)[4], const std::uint32_t (&a)[2][4], const Vec16& b) {
  multiply<codes_in>(p, a[0], b.w[0], b.w[1]);
  multiply<codes_in>(p, a[1], b.w[2], b.w[3]);
}
// fp4's group j: its sum times the weights' scale, a power of two. Words: the lane's scales of rows
// g and g + 8.
LARES_DEVICE void scaled_group(float (&t)[4], const std::uint32_t (&a)[2][4], const Vec16& b,
                               const std::uint32_t (&scale)[2], int j) {
  LARES_UNROLL for (int i = 0; i < 4; ++i) t[i] = 0;
  add_group<true>(t, a, b);
  const float s[2] = {fp4_block_scale(scale[0] >> 8 * j & 255),
                      fp4_block_scale(scale[1] >> 8 * j & 255)};
  LARES_UNROLL for (int i = 0; i < 4; ++i) t[i] *= s[i / 2];
}

// What a sum is multiplied by when it is added: the weights' block scale (1 with fp4, whose scales
// it has already), the activations', and what the f16 values of codes lack.
LARES_BOTH float product_scale(Format format, bool codes_in, float weights, float activations) {
  if (format == Format::bf16) return 1.0f;
  if (!codes_in) return weights;
  return format == Format::fp4 ? activations * (kF16Code * kFp4Code)
                               : (weights * activations) * (kF16Code * kF16Code);
}
LARES_DEVICE float weight_scale(const Product& p, int row, int tile) {
  return p.format == Format::fp8
             ? p.scale[static_cast<std::int64_t>(row / kScaleBlock) * along_of(p.n_in) + tile]
             : 1.0f;
}

// A lane's four values k .. k + 3 of a row that enters, as they are in memory; zeros where it is
// not inside.
struct Entering {
  Vec8 x{{0, 0}}, up{{0, 0}};  // bf16; or the codes in x.w[0]
  float scale = 1;             // of the codes' block, or the row's factor
};
LARES_DEVICE Entering entering(const Product& p, std::int64_t row, int column, int k, bool inside) {
  Entering e;
  if (!inside) return e;
  if (p.codes_in && !p.quantise) {
    e.x.w[0] = *reinterpret_cast<const std::uint32_t*>(p.codes + row * p.x_stride + column + k);
    e.scale = p.code_scale[row * p.code_scale_stride + (column + k) / kScaleBlock];
    return e;
  }
  e.x = *reinterpret_cast<const Vec8*>(p.x + row * p.x_stride + column + k);
  if (p.up) {
    e.up = *reinterpret_cast<const Vec8*>(p.up + row * p.x_stride + column + k);
    e.scale = p.factor[row];
  }
  return e;
}
// ... into shared memory, as operands: a warp has a block of 128. Returns the block's scale.
LARES_DEVICE float stage_block(const Product& p, const Entering& e, bool inside,
                               std::uint16_t* to) {
  Vec8 out{{0, 0}};
  float scale = 1.0f;
  if (!p.codes_in) {
    out = e.x;
  } else if (p.quantise) {
    float v[4];
    LARES_UNROLL for (int i = 0; i < 4; ++i)
        v[i] = bf16_value(e.x.w[i / 2] >> i % 2 * 16 & 0xFFFFu);
    if (p.up && inside) {
      LARES_UNROLL for (int i = 0; i < 4; ++i)
          v[i] = gated(v[i], bf16_value(e.up.w[i / 2] >> i % 2 * 16 & 0xFFFFu), p.limit, e.scale);
    }
    float most = kFp8Least;
    bool odd = false;
    LARES_UNROLL for (int i = 0; i < 4; ++i) {
      most = fmaxf(magnitude(v[i]), most);
      odd |= v[i] != v[i];
    }
    for (int mask = 16; mask > 0; mask /= 2) most = fmaxf(shuffle_xor(most, mask), most);
    scale = ballot(odd) ? float_of(0x7FC00000u) : fp8_scale(most);
    const float inverse = inverse_power_of_two(scale);  // a product by it is the quotient
    LARES_UNROLL for (int i = 0; i < 4; ++i) v[i] = fminf(fmaxf(v[i] * inverse, -448.0f), 448.0f);
    const std::uint32_t codes = e4m3_codes(v);
    out.w[0] = e4m3_f16(spread_low(codes));
    out.w[1] = e4m3_f16(spread_high(codes));
  } else if (inside) {
    out.w[0] = e4m3_f16(spread_low(e.x.w[0]));
    out.w[1] = e4m3_f16(spread_high(e.x.w[0]));
    scale = e.scale;
  }
  *reinterpret_cast<Vec8*>(to) = out;
  return scale;
}

// Rows [16 tile, + 16) of a product with n <= 8 tokens; token i reads row row_of[i] of x (i
// without) and writes row y_row + i. Unless it has `waited`, the first weights are on their way
// before it waits for what enters.
template <Format format, bool codes_in, bool waited>
LARES_DEVICE void few_rows(const Product& p, int tile_row, const std::int32_t* row_of, int x_row,
                           int y_row, int n) {
  auto* const xs = shared<std::uint16_t>();
  const FewShared at = few_shared(n, p.n_in);
  auto* const scales = reinterpret_cast<float*>(shared<unsigned char>() + at.scale_at);
  auto* const sums = reinterpret_cast<float*>(shared<unsigned char>() + at.sum_at);
  const int warp = thread() / 32, lane = thread() % 32, g = lane / 4, q = lane % 4;
  const int along = along_of(p.n_in), seg_tiles = segment_of(p.n_in) / kTileK;
  const int row0 = tile_row * kTileRows, column = row0 / p.rows_per_group * p.n_in;
  const std::uint8_t* const tiles = p.tiles + static_cast<std::int64_t>(tile_row) * along *
                                                  tile_bytes(format);
  constexpr int kWarps = kLinearThreads / 32, kAhead = LaneTile<format>::ahead,
                kSums = tile_sums_of(format);
  float acc = 0;
  for (int first = 0; first < along; first += seg_tiles) {
    const int end = smaller(along, first + seg_tiles);
    LaneTile<format> ring[kAhead];
    LARES_UNROLL for (int d = 0; d < kAhead; ++d) if (const int t = first + warp + d * kWarps;
                                                      t < end)
        load_tile(ring[d], tiles + static_cast<std::int64_t>(t) * tile_bytes(format), lane);
    if (first == 0 && !waited) wait_for_inputs();
    for (int i = warp; i < n * (end - first); i += kWarps) {
      const int token = i / (end - first), t = i % (end - first),
                k = (first + t) * kTileK + 4 * lane;
      const std::int64_t row = row_of ? row_of[token] : x_row + token;
      const bool inside = k < p.n_in;
      const float s = stage_block(p, entering(p, row, column, k, inside), inside,
                                  xs + token * at.row + t * kTileK + 4 * lane);
      if (lane == 0) scales[token * seg_tiles + t] = s;
    }
    sync_block();
    for (int base = first + warp; base < end; base += kAhead * kWarps) {
      LARES_UNROLL for (int d = 0; d < kAhead; ++d) {
        const int t = base + d * kWarps;
        if (t < end) {
          const LaneTile<format> now = ring[d];
          if (const int next = t + kAhead * kWarps; next < end)
            load_tile(ring[d], tiles + static_cast<std::int64_t>(next) * tile_bytes(format), lane);
          float sum[4] = {0, 0, 0, 0};
          LARES_UNROLL for (int j = 0; j < 4; ++j) {
            std::uint32_t a[2][4];
            operands<format, codes_in>(&now.v[0].w[0] + group_words(format) * j, a);
            Vec16 b{{0, 0, 0, 0}};
            if (g < n)
              b = *reinterpret_cast<const Vec16*>(xs + g * at.row + (t - first) * kTileK + 32 * j +
                                                  8 * q);
            if constexpr (format == Format::fp4)
              scaled_group(sum, a, b, now.scale, j);
            else
              add_group<codes_in>(sum, a, b);
            if (j % (4 / kSums) != 4 / kSums - 1) continue;
            float* const to = sums + ((t - first) * kSums + j * kSums / 4) * n * kTileRows;
            LARES_UNROLL for (int i = 0; i < 4; ++i) if (const int token = 2 * q + i % 2; token < n)
                to[token * kTileRows + g + i / 2 * 8] = sum[i];
          }
        }
      }
    }
    sync_block();
    if (thread() < n * kTileRows) {
      const int token = thread() / kTileRows, r = thread() % kTileRows;
      for (int t = first; t < end; ++t) {
        const float s = product_scale(format, codes_in,
                                      weight_scale(p, row0 + r < p.n_out ? row0 + r : row0, t),
                                      scales[token * seg_tiles + t - first]);
        LARES_UNROLL for (int i = 0; i < kSums; ++i)
            acc = fmaf(sums[(((t - first) * kSums + i) * n + token) * kTileRows + r], s, acc);
      }
    }
    if (end < along) sync_block();  // before x and the sums are written again
  }
  if (thread() < n * kTileRows) {
    const int token = thread() / kTileRows, row = row0 + thread() % kTileRows;
    const std::int64_t to = static_cast<std::int64_t>(y_row + token) * p.y_stride + row;
    if (row < p.n_out) {
      if (p.y_f32)
        static_cast<float*>(p.y)[to] = acc;
      else
        static_cast<bf16*>(p.y)[to] = to_bf16(acc);
    }
  }
}

// Sums [n, kOutRow] of rows [row0, row_end), for all threads to see, into rows y_row .. of y.
LARES_DEVICE void write_rows(const Product& p, const float* out, int row0, int row_end, int y_row,
                             int n) {
  const int rows = row_end - row0;
  for (int i = thread(); i < n * (kManyRows / 2); i += kLinearThreads) {
    const int token = i / (kManyRows / 2), r = i % (kManyRows / 2) * 2;
    if (r >= rows) continue;
    const float v0 = out[token * kOutRow + r], v1 = out[token * kOutRow + r + 1];
    const std::int64_t to = static_cast<std::int64_t>(y_row + token) * p.y_stride + row0 + r;
    if (p.y_f32) {
      static_cast<float*>(p.y)[to] = v0;
      if (r + 1 < rows) static_cast<float*>(p.y)[to + 1] = v1;
    } else if (r + 1 < rows && to % 2 == 0) {
      *reinterpret_cast<std::uint32_t*>(static_cast<bf16*>(p.y) + to) = pair(to_bf16(v0),
                                                                             to_bf16(v1));
    } else {
      static_cast<bf16*>(p.y)[to] = to_bf16(v0);
      if (r + 1 < rows) static_cast<bf16*>(p.y)[to + 1] = to_bf16(v1);
    }
  }
}

// Rows [row0, row_end) (at most 128, row0 a multiple of 16) by tokens [0, n), n <= tokens.
template <int tokens, Format format, bool codes_in>
LARES_DEVICE void many_rows(const Product& p, int row0, int row_end, const std::int32_t* row_of,
                            int x_row, int y_row, int n) {
  constexpr int kStage = many_stage(tokens), kRow = kTileK + kRowPad,
                kAcross = tokens / 16;  // n8 tiles of a warp
  // Of four values, that a thread stages
  constexpr int kPieces = tokens * kTileK / 4 / kLinearThreads;
  constexpr int kWords = group_words(format), kStep = codes_in ? 1 : 2;  // words of a piece
  unsigned char* const memory = shared<unsigned char>();
  const int warp = thread() / 32, lane = thread() % 32, g = lane / 4, q = lane % 4;
  const int along = along_of(p.n_in), column = row0 / p.rows_per_group * p.n_in;
  const int first_row = row0 + warp / 2 * 32, first_token = warp % 2 * (tokens / 2);
  const auto values = [&](int stage) {
    return reinterpret_cast<std::uint16_t*>(memory + stage * kStage);
  };
  const auto scales = [&](int stage) {
    return reinterpret_cast<float*>(memory + stage * kStage + tokens * kRow * 2);
  };
  const auto x_row_of = [&](int token) -> std::int64_t {
    return row_of ? row_of[token] : x_row + token;
  };
  // x of the next tile, on its way while this one is multiplied: a warp has tokens warp, warp + 8,
  // ..., a thread a token's scale.
  std::uint32_t piece[kPieces][kStep];
  float piece_scale = 1;
  const auto fetch = [&](int t) {
    const int k = t * kTileK + 4 * lane;
    LARES_UNROLL for (int i = 0; i < kPieces; ++i) {
      const int token = warp + i * (kLinearThreads / 32);
      const bool inside = token < n && k < p.n_in;
      if constexpr (codes_in) {
        piece[i][0] = inside ? *reinterpret_cast<const std::uint32_t*>(
                                   p.codes + x_row_of(token) * p.x_stride + column + k)
                             : 0;
      } else {
        const Vec8 v =
            inside ? *reinterpret_cast<const Vec8*>(p.x + x_row_of(token) * p.x_stride + column + k)
                   : Vec8{{0, 0}};
        piece[i][0] = v.w[0];
        piece[i][1] = v.w[1];
      }
    }
    if (codes_in && thread() < n)
      piece_scale =
          p.code_scale[x_row_of(thread()) * p.code_scale_stride + column / kScaleBlock + t];
  };
  const auto put = [&](int to) {
    LARES_UNROLL for (int i = 0; i < kPieces; ++i) {
      const int token = warp + i * (kLinearThreads / 32);
      Vec8 v;
      if constexpr (codes_in)
        v = {{e4m3_f16(spread_low(piece[i][0])), e4m3_f16(spread_high(piece[i][0]))}};
      else
        v = {{piece[i][0], piece[i][1]}};
      *reinterpret_cast<Vec8*>(values(to) + token * kRow + 4 * lane) = v;
    }
    if (thread() < tokens) scales(to)[thread()] = piece_scale;
  };
  // A lane's words of group i of all (four a tile), one group ahead; and fp4's scales, one tile
  // ahead.
  std::uint32_t words[2][kWords], next[2][kWords], group_scales[2][2] = {};
  const auto tile_of = [&](int m, int t) {
    return p.tiles + (static_cast<std::int64_t>((first_row + 16 * m) / kTileRows) * along + t) *
                         tile_bytes(format);
  };
  const auto load_group = [&](int i) {
    LARES_UNROLL for (int m = 0; m < 2; ++m) {
      if (first_row + 16 * m >= row_end || i >= 4 * along) {
        LARES_UNROLL for (int w = 0; w < kWords; ++w) next[m][w] = 0;
        continue;
      }
      const std::uint8_t* const tile = tile_of(m, i / 4);
      if constexpr (format == Format::fp4) {
        const Vec8 v =
            *reinterpret_cast<const Vec8*>(tile + (i % 4 / 2 * 32 + lane) * 16 + i % 2 * 8);
        next[m][0] = v.w[0];
        next[m][1] = v.w[1];
      } else {
        LARES_UNROLL for (int v = 0; v < kWords / 4; ++v) {
          const Vec16 in =
              *reinterpret_cast<const Vec16*>(tile + ((i % 4 * (kWords / 4) + v) * 32 + lane) * 16);
          LARES_UNROLL for (int w = 0; w < 4; ++w) next[m][4 * v + w] = in.w[w];
        }
      }
    }
  };
  float acc[2][kAcross][4] = {};
  fetch(0);
  load_group(0);
  put(0);
  sync_block();
  for (int t = 0; t < along; ++t) {
    if (t + 1 < along) fetch(t + 1);
    if constexpr (format == Format::fp4) {
      LARES_UNROLL for (int m = 0; m < 2; ++m) if (first_row + 16 * m < row_end) {
        const Vec8 v = *reinterpret_cast<const Vec8*>(tile_of(m, t) + 1024 + g * 8);
        group_scales[m][0] = v.w[0];
        group_scales[m][1] = v.w[1];
      }
    }
    [[maybe_unused]] float sum[2][kAcross][4] = {};
    const std::uint16_t* const xs = values(t % 2);
    LARES_UNROLL for (int j = 0; j < 4; ++j) {
      LARES_UNROLL for (int m = 0; m < 2; ++m) LARES_UNROLL for (int w = 0; w < kWords; ++w)
          words[m][w] = next[m][w];
      load_group(4 * t + j + 1);
      std::uint32_t a[2][2][4];
      LARES_UNROLL for (int m = 0; m < 2; ++m) operands<format, codes_in>(words[m], a[m]);
      LARES_UNROLL for (int c = 0; c < kAcross; ++c) {
        const Vec16 b =
            *reinterpret_cast<const Vec16*>(xs + (first_token + 8 * c + g) * kRow + 32 * j + 8 * q);
        if constexpr (format == Format::fp4) {
          float s[2];
          LARES_UNROLL for (int i = 0; i < 2; ++i) s[i] = product_scale(
              format, codes_in, 1.0f, scales(t % 2)[first_token + 8 * c + 2 * q + i]);
          LARES_UNROLL for (int m = 0; m < 2; ++m) {
            float part[4];
            scaled_group(part, a[m], b, group_scales[m], j);
            LARES_UNROLL for (int i = 0; i < 4; ++i)
                acc[m][c][i] = fmaf(part[i], s[i % 2], acc[m][c][i]);
          }
        } else {
          LARES_UNROLL for (int m = 0; m < 2; ++m) add_group<codes_in>(sum[m][c], a[m], b);
        }
      }
    }
    if constexpr (format != Format::fp4) {
      LARES_UNROLL for (int m = 0; m < 2; ++m) {
        const int row = first_row + 16 * m;
        const float w = weight_scale(p, row < row_end ? row : row0, t);
        LARES_UNROLL for (int c = 0; c < kAcross; ++c) LARES_UNROLL for (int i = 0; i < 4; ++i)
            acc[m][c][i] = fmaf(sum[m][c][i],
                                product_scale(format, codes_in, w,
                                              scales(t % 2)[first_token + 8 * c + 2 * q + i % 2]),
                                acc[m][c][i]);
      }
    }
    if (t + 1 < along) put((t + 1) % 2);
    sync_block();
  }
  // Through shared memory, so that rows of y are written whole.
  auto* const out = reinterpret_cast<float*>(memory);
  LARES_UNROLL for (int m = 0; m < 2; ++m) LARES_UNROLL for (int c = 0; c < kAcross; ++c)
      LARES_UNROLL for (int i = 0; i < 4; ++i)
          out[(first_token + 8 * c + 2 * q + i % 2) * kOutRow + warp / 2 * 32 + 16 * m + g +
              i / 2 * 8] = acc[m][c][i];
  sync_block();
  write_rows(p, out, row0, row_end, y_row, n);
}

// Row block i of a product: groups begin new ones.
struct RowBlock {
  int begin, end;
};
LARES_BOTH RowBlock row_block(const Product& p, int i) {
  const int in_group = (p.rows_per_group + kManyRows - 1) / kManyRows, group = i / in_group;
  const int begin = group * p.rows_per_group + i % in_group * kManyRows;
  return {begin, smaller(smaller(begin + kManyRows, (group + 1) * p.rows_per_group), p.n_out)};
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
