// What compress() and put_raw() do for a token.
#pragma once

#include "kernels/cuda/attention/compress.h"
#include "kernels/cuda/rows.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

inline constexpr int kCompressThreads = 128;
constexpr int compress_shared(int dim) { return dim * 4; }

// Rows from which an entry is pooled: values, and gates that have their bias or still lack it.
struct RawRow {
  const float *value, *gate, *bias;
};
// The group that a token completes, as its place says it: entry j, pooled of the positions from
// `first` on, which is row `ring_row` of the ring.
struct CompletedGroup {
  bool any = false;  // else nothing else is said
  std::int64_t j = 0, first = 0;
  int ring_row = 0;
};
// Places are there before what enters is: so this division by 64 bits is no part of the way from
// the one to the other.
LARES_DEVICE CompletedGroup completed_group(const CompressArgs& a, const TokenPlace& place) {
  const std::int64_t j = place.position / a.ratio;
  if ((j + 1) * a.ratio - 1 != place.position) return {};
  const std::int64_t first = a.ratio == 4 && j > 0 ? 4 * (j - 1) : a.ratio * j;
  return {true, j, first, static_cast<int>(first % a.raw_capacity)};
}
struct RawRows {
  std::int64_t first;  // position of row 0, a multiple of the ratio
  int ring_row;        // its row of the ring, if it is there
  const float* ring;
};
// Row s, of at most 2 ratio: those of this launch are where its products are, earlier ones in the
// ring.
LARES_DEVICE RawRow raw_row(const CompressArgs& a, const Part& part, const RawRows& rows, int s) {
  const int width = a.ratio == 4 ? 2 * a.dim : a.dim;
  if (rows.first + s >= part.position) {
    const std::int64_t at = (part.begin + (rows.first + s - part.position)) * width;
    return {a.values + at, a.gates + at, a.ape + (s < a.ratio ? s : s - a.ratio) * width};
  }
  const int row = rows.ring_row + s;
  const float* const at =
      rows.ring +
      static_cast<std::int64_t>(row < a.raw_capacity ? row : row - a.raw_capacity) * 2 * width;
  return {at, at + width, nullptr};
}
LARES_DEVICE TwoFloats two_at(const float* p) { return *reinterpret_cast<const TwoFloats*>(p); }
LARES_DEVICE TwoFloats gate_at(const RawRow& raw, int i) {
  TwoFloats g = two_at(raw.gate + i);
  if (!raw.bias) return g;
  const TwoFloats bias = two_at(raw.bias + i);
  return {{g.v[0] + bias.v[0], g.v[1] + bias.v[1]}};
}
// Channels i and i + 1 pooled, in ascending order of tokens. Of overlapping groups the second has
// the second half of each row; all their rows are on their way at once.
LARES_DEVICE TwoFloats pool_overlapping(const CompressArgs& a, const Part& part,
                                        const RawRows& rows, int n, int i) {
  constexpr int kRows = 8;
  TwoFloats gate[kRows], value[kRows], out;
  LARES_UNROLL for (int s = 0; s < kRows; ++s) if (s < n) {
    const RawRow raw = raw_row(a, part, rows, s);
    const int at = s >= n - 4 ? a.dim + i : i;
    gate[s] = gate_at(raw, at);
    value[s] = two_at(raw.value + at);
  }
  LARES_UNROLL for (int c = 0; c < 2; ++c) {
    float top = gate[0].v[c], total = 0, sum = 0;
    LARES_UNROLL for (int s = 1; s < kRows; ++s) if (s < n) top = max2(gate[s].v[c], top);
    LARES_UNROLL for (int s = 0; s < kRows; ++s) if (s < n) {
      gate[s].v[c] = exponential(gate[s].v[c] - top);
      total = total + gate[s].v[c];
    }
    LARES_UNROLL for (int s = 0; s < kRows; ++s) if (s < n)
        sum = sum + value[s].v[c] * (gate[s].v[c] / total);
    out.v[c] = sum;
  }
  return out;
}
LARES_DEVICE TwoFloats pool_apart(const CompressArgs& a, const Part& part, const RawRows& rows,
                                  int i) {
  TwoFloats top = gate_at(raw_row(a, part, rows, 0), i), total = {}, out = {};
  LARES_UNROLL_8 for (int s = 1; s < a.ratio; ++s) {
    const TwoFloats gate = gate_at(raw_row(a, part, rows, s), i);
    LARES_UNROLL for (int c = 0; c < 2; ++c) top.v[c] = max2(gate.v[c], top.v[c]);
  }
  LARES_UNROLL_8 for (int s = 0; s < a.ratio; ++s) {
    const TwoFloats gate = gate_at(raw_row(a, part, rows, s), i);
    LARES_UNROLL for (int c = 0; c < 2; ++c)
        total.v[c] = total.v[c] + exponential(gate.v[c] - top.v[c]);
  }
  LARES_UNROLL_8 for (int s = 0; s < a.ratio; ++s) {
    const RawRow raw = raw_row(a, part, rows, s);
    const TwoFloats gate = gate_at(raw, i), value = two_at(raw.value + i);
    LARES_UNROLL for (int c = 0; c < 2; ++c)
        out.v[c] = out.v[c] + value.v[c] * (exponential(gate.v[c] - top.v[c]) / total.v[c]);
  }
  return out;
}

// The codes of an index key from its values [128] on Q4_32's grid, by one warp: kernels/indexer.cc,
// pack_index_key.
LARES_DEVICE void put_index_key(const float* row, std::uint8_t* key) {
  const int lane = thread() % 32;
  float v[4];
  std::uint32_t most = 0;
  LARES_UNROLL for (int i = 0; i < 4; ++i) {
    v[i] = row[4 * lane + i];
    const std::uint32_t m = bits_of(v[i]) & 0x7FFFFFFFu;
    most = m > most ? m : most;
  }
  for (int mask = 4; mask > 0; mask /= 2) {
    const std::uint32_t other = shuffle(most, lane ^ mask);
    most = other > most ? other : most;
  }
  const int e = static_cast<int>(most >> 23);
  const int own = e == 255 ? 255 : e < 27 ? 0 : e - 2;
  int least = 255;
  LARES_UNROLL for (int g = 0; g < 4; ++g) {
    const int other = static_cast<int>(shuffle(static_cast<std::uint32_t>(own), 8 * g));
    if (other != 0) least = smaller(least, other);
  }
  const int exponent = own != 0 ? own : least == 255 ? 127 : least;
  std::uint32_t nibbles = 0;
  if (own != 0 && own != 255) {
    const float scale = e8m0(static_cast<std::uint32_t>(255 - own));
    LARES_UNROLL for (int i = 0; i < 4; ++i) {
      // Twice an e2m1 value
      const int code = static_cast<int>(v[i] * scale), m = code < 0 ? -code : code;
      nibbles |= static_cast<std::uint32_t>((m <= 4   ? m
                                             : m == 6 ? 5
                                             : m == 8 ? 6
                                                      : 7) |
                                            (code < 0 ? 8 : 0))
                 << 4 * i;
    }
  }
  *reinterpret_cast<std::uint16_t*>(key + 2 * lane) = static_cast<std::uint16_t>(nibbles);
  if (lane % 8 == 0) key[64 + lane / 8] = static_cast<std::uint8_t>(exponent);
}

// By a block; of tokens that complete no group nothing comes.
LARES_DEVICE void compress_token(const CompressArgs& a, const TokenPlace& place,
                                 const CompletedGroup& group, float* row) {
  if (!group.any) return;
  const int r = a.ratio;
  const Part& part = place.part;
  const std::int64_t position = place.position, j = group.j, first = group.first;
  const RawRows rows{first, group.ring_row, a.index ? part.raw_index : part.raw};
  for (int i = 2 * thread(); i < a.dim; i += 2 * kCompressThreads) {
    const TwoFloats out = r == 4 ? pool_overlapping(a, part, rows,
                                                    static_cast<int>(position - first) + 1, i)
                                 : pool_apart(a, part, rows, i);
    row[i] = bf16_rounded(out.v[0]);
    row[i + 1] = bf16_rounded(out.v[1]);
  }
  sync_block();
  const float root = rms_root(sum_of_squares(row, a.dim), a.dim, a.eps);  // each warp for itself
  sync_block();
  const int plain = a.dim - a.rope_dim;
  for (int i = 2 * thread(); i < a.dim; i += 2 * kCompressThreads) {
    float v0 = bf16_rounded(row[i] / root * a.norm[i]),
          v1 = bf16_rounded(row[i + 1] / root * a.norm[i + 1]);
    if (i >= plain) {
      const double angle =
          static_cast<double>(static_cast<float>(j * r) * a.frequencies[(i - plain) / 2]);
      turn(v0, v1, cos(angle), sin(angle));
      v0 = bf16_rounded(v0);
      v1 = bf16_rounded(v1);
    }
    row[i] = v0;
    row[i + 1] = v1;
  }
  sync_block();
  if (!a.index) {
    const int rope_at = (plain + plain / 64 + 7) / 8 * 8,
              bytes = (rope_at + 2 * a.rope_dim + 7) / 8 * 8;
    put_cell(row, a.dim, a.rope_dim,
             part.pages[j / a.cells.per_page] + a.cells.offset + j % a.cells.per_page * bytes,
             thread() / 32, threads() / 32);
    return;
  }
  for (int h = 1; h < a.dim; h *= 2) {
    for (int p = thread(); p < a.dim / 2; p += kCompressThreads) {
      const int i = p / h * 2 * h + p % h;
      const float u = row[i], v = row[i + h];
      row[i] = u + v;
      row[i + h] = u - v;
    }
    sync_block();
  }
  if (thread() < 32) {
    const float norm = static_cast<float>(1.0 / sqrt(static_cast<double>(a.dim)));
    const int lane = thread();
    // Q4_32: a group is eight lanes' four values.
    float v[4], most = kFp4Least;
    LARES_UNROLL for (int i = 0; i < 4; ++i) {
      v[i] = bf16_rounded(row[4 * lane + i] * norm);
      most = max2(magnitude(v[i]), most);
    }
    for (int mask = 4; mask > 0; mask /= 2) most = max2(shuffle_xor(most, mask), most);
    const float s = fp4_scale(most);
    sync_warp();
    LARES_UNROLL for (int i = 0; i < 4; ++i)
        row[4 * lane + i] = v[i] != v[i] ? v[i] : e2m1_rounded(fp4_scaled(v[i], s)) * s;
    sync_warp();
    put_index_key(row,
                  part.pages[j / a.cells.per_page] + a.cells.offset + j % a.cells.per_page * 68);
  }
}
// By a block. Nothing is stored before all is on its way.
LARES_DEVICE void put_raw_token(const CompressArgs& a, int token, const TokenPlace& place) {
  const int width = a.ratio == 4 ? 2 * a.dim : a.dim;
  const Part& part = place.part;
  if (token + a.raw_capacity < part.begin + part.n) return;
  float* const row = (a.index ? part.raw_index : part.raw) +
                     place.position % a.raw_capacity * 2 * width;
  const float* const bias = a.ape + place.position % a.ratio * width;
  const std::int64_t at = static_cast<std::int64_t>(token) * width;
  constexpr int kTogether = 2;
  for (int base = 4 * thread(); base < width; base += 4 * kTogether * kCompressThreads) {
    FourFloats value[kTogether], gate[kTogether], more[kTogether];
    LARES_UNROLL for (int c = 0; c < kTogether;
                      ++c) if (const int i = base + 4 * kCompressThreads * c; i < width) {
      value[c] = *reinterpret_cast<const FourFloats*>(a.values + at + i);
      gate[c] = *reinterpret_cast<const FourFloats*>(a.gates + at + i);
      more[c] = *reinterpret_cast<const FourFloats*>(bias + i);
    }
    LARES_UNROLL for (int c = 0; c < kTogether;
                      ++c) if (const int i = base + 4 * kCompressThreads * c; i < width) {
      LARES_UNROLL for (int e = 0; e < 4; ++e) gate[c].v[e] = gate[c].v[e] + more[c].v[e];
      *reinterpret_cast<FourFloats*>(row + i) = value[c];
      *reinterpret_cast<FourFloats*>(row + width + i) = gate[c];
    }
  }
}
}  // namespace lares::kernels::cuda::inline LARES_SIDE
