// What compress() and put_raw() do for a token.
#pragma once

#include "kernels/cuda/compress.h"
#include "kernels/cuda/rows.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

inline constexpr int kCompressThreads = 128;
constexpr int compress_shared(int dim) { return dim * 4; }

// Where the raw row of position t is: values in *value, gates in *gate; bias is what the gates still lack.
struct RawRow {
  const float *value, *gate, *bias;
};
LARES_DEVICE RawRow raw_row(const CompressArgs& a, const Part& part, const float* ring, std::int64_t t) {
  const int width = a.ratio == 4 ? 2 * a.dim : a.dim;
  if (t >= part.position) {
    const std::int64_t at = (part.begin + (t - part.position)) * width;
    return {a.values + at, a.gates + at, a.ape + t % a.ratio * width};
  }
  const float* const row = ring + t % a.raw_capacity * 2 * width;
  return {row, row + width, nullptr};
}

// The codes of an index key from its values [128] on Q4_32's grid, by one warp: kernels/indexer.cc, pack_index_key.
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
      const int code = static_cast<int>(v[i] * scale), m = code < 0 ? -code : code;  // twice an e2m1 value
      nibbles |= static_cast<std::uint32_t>((m <= 4 ? m : m == 6 ? 5 : m == 8 ? 6 : 7) | (code < 0 ? 8 : 0)) << 4 * i;
    }
  }
  *reinterpret_cast<std::uint16_t*>(key + 2 * lane) = static_cast<std::uint16_t>(nibbles);
  if (lane % 8 == 0) key[64 + lane / 8] = static_cast<std::uint8_t>(exponent);
}

// By a block; of tokens that complete no group nothing comes.
LARES_DEVICE void compress_token(const CompressArgs& a, int token, float* row) {
  const int r = a.ratio;
  const std::int64_t position = a.places.position[token];
  if ((position + 1) % r != 0) return;
  const Part& part = a.places.parts[a.places.part[token]];
  const float* const ring = a.index ? part.raw_index : part.raw;
  const std::int64_t j = position / r, first = r == 4 && j > 0 ? 4 * (j - 1) : r * j;
  for (int i = thread(); i < a.dim; i += kCompressThreads) {
    const auto at = [&](std::int64_t t) { return r == 4 && t >= r * j ? a.dim + i : i; };
    const auto gate = [&](std::int64_t t) {
      const RawRow raw = raw_row(a, part, ring, t);
      return raw.bias ? raw.gate[at(t)] + raw.bias[at(t)] : raw.gate[at(t)];
    };
    float top = gate(first);
    for (std::int64_t t = first + 1; t <= position; ++t) top = max2(gate(t), top);
    float total = 0, out = 0;
    for (std::int64_t t = first; t <= position; ++t) total = total + exponential(gate(t) - top);
    for (std::int64_t t = first; t <= position; ++t)
      out = out + raw_row(a, part, ring, t).value[at(t)] * (exponential(gate(t) - top) / total);
    row[i] = bf16_rounded(out);
  }
  sync_block();
  const float root = rms_root(sum_of_squares(row, a.dim), a.dim, a.eps);  // each warp for itself
  sync_block();
  const int plain = a.dim - a.rope_dim;
  for (int i = 2 * thread(); i < a.dim; i += 2 * kCompressThreads) {
    float v0 = bf16_rounded(row[i] / root * a.norm[i]), v1 = bf16_rounded(row[i + 1] / root * a.norm[i + 1]);
    if (i >= plain) {
      const double angle = static_cast<double>(static_cast<float>(j * r) * a.frequencies[(i - plain) / 2]);
      turn(v0, v1, cos(angle), sin(angle));
      v0 = bf16_rounded(v0);
      v1 = bf16_rounded(v1);
    }
    row[i] = v0;
    row[i + 1] = v1;
  }
  sync_block();
  if (!a.index) {
    const int rope_at = (plain + plain / 64 + 7) / 8 * 8, bytes = (rope_at + 2 * a.rope_dim + 7) / 8 * 8;
    put_cell(row, a.dim, a.rope_dim, part.pages[j / a.cells.per_page] + a.cells.offset + j % a.cells.per_page * bytes, thread() / 32, threads() / 32);
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
    LARES_UNROLL for (int i = 0; i < 4; ++i) row[4 * lane + i] = v[i] != v[i] ? v[i] : e2m1_rounded(fp4_scaled(v[i], s)) * s;
    sync_warp();
    put_index_key(row, part.pages[j / a.cells.per_page] + a.cells.offset + j % a.cells.per_page * 68);
  }
}
// By a block.
LARES_DEVICE void put_raw_token(const CompressArgs& a, int token) {
  const int width = a.ratio == 4 ? 2 * a.dim : a.dim;
  const Part& part = a.places.parts[a.places.part[token]];
  const std::int64_t position = a.places.position[token];
  if (token + a.raw_capacity < part.begin + part.n) return;
  float* const row = (a.index ? part.raw_index : part.raw) + position % a.raw_capacity * 2 * width;
  const float* const bias = a.ape + position % a.ratio * width;
  LARES_UNROLL_8 for (int i = thread(); i < width; i += kCompressThreads) {
    row[i] = a.values[static_cast<std::int64_t>(token) * width + i];
    row[width + i] = a.gates[static_cast<std::int64_t>(token) * width + i] + bias[i];
  }
}
}  // namespace lares::kernels::cuda::inline LARES_SIDE
