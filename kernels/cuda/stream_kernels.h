// Products of few tokens, bound by their weights: each block streams a stretch of the tiles through shared memory without a pause between
// row tiles, matrices or experts, and begins before what enters is there. The sums are linear.h's.
#pragma once

#include "kernels/cuda/bulk.h"
#include "kernels/cuda/linear_rows.h"
#include "kernels/cuda/stream_plan.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// Row tiles of one matrix that multiply the same tokens: tile_rows of them from tile_row on.
struct Piece {
  Product p;
  int tile_row = 0, tile_rows = 0, column = 0;
  const std::int32_t* row_of = nullptr;
  int x_row = 0, y_row = 0, n = 0;
  int key = 0;  // the same: the same values enter
};

// What a block's stretch takes of a piece.
struct Stretch {
  std::uint32_t begin, end;  // costs, in 64 bytes
};
LARES_DEVICE std::uint32_t row_cost(const Product& p) { return static_cast<std::uint32_t>(along_of(p.n_in) * tile_bytes(p.format) / 64); }

// One warp's way through the tiles that are to be fetched.
template <class Pieces>
struct Fetch {
  const Pieces& pieces;
  const std::uint32_t* cost;
  Stretch stretch;
  int piece = -1, at = 0, tiles = 0, bytes = 0;
  const std::uint8_t* from = nullptr;

  LARES_DEVICE static void rows(const std::uint32_t* cost, const Stretch& s, int i, std::uint32_t row, int tile_rows, int& begin, int& end) {
    const std::uint32_t first = cost[i];
    begin = s.begin <= first ? 0 : static_cast<int>((s.begin - first + row - 1) / row);
    end = s.end <= first ? 0 : static_cast<int>((s.end - first + row - 1) / row);
    begin = smaller(begin, tile_rows);
    end = smaller(end, tile_rows);
  }
  // The next tile, into `to`; false: there is none.
  LARES_DEVICE bool next(void* to, BulkBarrier* barrier, int warp, int n_pieces) {
    while (at >= tiles) {
      if (++piece >= n_pieces || cost[piece] >= stretch.end) {
        piece = n_pieces;
        at = tiles = 0;
        return false;
      }
      if (cost[piece + 1] <= stretch.begin) continue;
      const Piece p = pieces(piece);
      int begin, end;
      rows(cost, stretch, piece, row_cost(p.p), p.tile_rows, begin, end);
      const int along = along_of(p.p.n_in);
      bytes = tile_bytes(p.p.format);
      from = p.p.tiles + static_cast<std::int64_t>(p.tile_row + begin) * along * bytes;
      at = warp;
      tiles = (end - begin) * along;
    }
    bulk_copy(to, from + static_cast<std::int64_t>(at) * bytes, bytes, barrier);
    at += kStreamWarps;
    return true;
  }
};

template <Format format>
LARES_DEVICE void read_tile(LaneTile<format>& t, const unsigned char* tile, int lane) {
  LARES_UNROLL for (int i = 0; i < LaneTile<format>::vectors; ++i) t.v[i] = *reinterpret_cast<const Vec16*>(tile + (i * 32 + lane) * 16);
  if constexpr (format == Format::fp4) {
    const auto* s = reinterpret_cast<const Vec8*>(tile + 1024 + lane / 4 * 8);
    t.scale[0] = s->w[0];
    t.scale[1] = s->w[1];
  }
}

// A tile by the tokens at x (of this tile's k): the lane's part of the sums.
template <Format format, bool codes_in>
LARES_DEVICE void tile_sums(float (&sum)[4], const LaneTile<format>& tile, const std::uint16_t* x, int row, int n, int lane) {
  const int g = lane / 4, q = lane % 4;
  LARES_UNROLL for (int i = 0; i < 4; ++i) sum[i] = 0;
  LARES_UNROLL for (int j = 0; j < 4; ++j) {
    std::uint32_t a[2][4];
    operands<format, codes_in>(&tile.v[0].w[0] + group_words(format) * j, a);
    Vec16 b{{0, 0, 0, 0}};
    if (g < n) b = *reinterpret_cast<const Vec16*>(x + g * row + 32 * j + 8 * q);
    const float s0 = format == Format::fp4 ? fp4_block_scale(tile.scale[0] >> 8 * j & 255) : 1, s1 = format == Format::fp4 ? fp4_block_scale(tile.scale[1] >> 8 * j & 255) : 1;
    add_group<format, codes_in>(sum, s0, s1, a, b);
  }
}

// A block's place in the rings and in the sums.
struct StreamState {
  int slot = 0, use = 0;  // of this warp's ring: which is next, and how often it was filled before
  int batch = 0;          // batches folded
  int key = 0;            // of what is in x
};

template <class Pieces>
struct StreamBlock {
  const Pieces& pieces;
  const StreamPlan& plan;
  int n_pieces;
  Fetch<Pieces> fetch;
  StreamState at;

  LARES_DEVICE unsigned char* memory() const { return shared<unsigned char>(); }
  LARES_DEVICE BulkBarrier* barrier(int warp, int slot) const { return reinterpret_cast<BulkBarrier*>(memory()) + warp * kSlotsMax + slot; }
  LARES_DEVICE unsigned char* slot(int warp, int i) const { return memory() + plan.ring_at + (warp * plan.slots + i) * plan.slot; }
  LARES_DEVICE std::uint16_t* x() const { return reinterpret_cast<std::uint16_t*>(memory() + plan.x_at); }
  LARES_DEVICE float* scales() const { return reinterpret_cast<float*>(memory() + plan.scale_at); }
  LARES_DEVICE float* sums(int round) const { return reinterpret_cast<float*>(memory() + plan.sum_at) + round * plan.batch * plan.n_tokens * kTileRows; }

  // What enters, of all k.
  LARES_DEVICE void stage(const Piece& piece) {
    const int warp = thread() / 32, lane = thread() % 32, along = along_of(piece.p.n_in);
    sync_block();  // nobody reads the last ones any more
    constexpr int kAll = kStreamThreads / 32, kTogether = 4;  // blocks of a warp whose loads are on their way at a time
    const int blocks = piece.n * along;
    for (int base = warp; base < blocks; base += kTogether * kAll) {
      Entering e[kTogether];
      LARES_UNROLL for (int d = 0; d < kTogether; ++d)
        if (const int i = base + d * kAll; i < blocks) {
          const int token = i / along, k = i % along * kTileK + 4 * lane;
          e[d] = entering(piece.p, piece.row_of ? piece.row_of[token] : piece.x_row + token, piece.column, k, k < piece.p.n_in);
        }
      LARES_UNROLL for (int d = 0; d < kTogether; ++d)
        if (const int i = base + d * kAll; i < blocks) {
          const int token = i / along, k = i % along * kTileK + 4 * lane;
          const float s = stage_block(piece.p, e[d], k < piece.p.n_in, x() + token * plan.row + k);
          if (lane == 0) scales()[i] = s;
        }
    }
    at.key = piece.key;
    sync_block();
  }

  // Brings the weights' scales that this block's stretch needs nearer, before it waits; by the warps that will use them.
  LARES_DEVICE void ask_scales() const {
    constexpr int kLine = 128;
    for (int i = 0; i < n_pieces && fetch.cost[i] < fetch.stretch.end; ++i) {
      if (fetch.cost[i + 1] <= fetch.stretch.begin) continue;
      const Piece piece = pieces(i);
      if (piece.p.format != Format::fp8) continue;
      int begin, end;
      Fetch<Pieces>::rows(fetch.cost, fetch.stretch, i, row_cost(piece.p), piece.tile_rows, begin, end);
      if (begin == end) continue;
      const int along = along_of(piece.p.n_in);
      const auto block = [&](int tile_row) { return piece.p.scale + static_cast<std::int64_t>((piece.tile_row + tile_row) * kTileRows / kScaleBlock) * along; };
      const auto* const last = reinterpret_cast<const char*>(block(end - 1) + along);
      for (const char* line = reinterpret_cast<const char*>(block(begin)) + (thread() - 32 * kStreamWarps) * kLine; line < last; line += 32 * kFoldWarps * kLine) ask_line(line);
    }
  }

  // Row tiles [begin, end) of a piece, in batches: some row tiles whole, or a part of one.
  template <Format format, bool codes_in>
  LARES_DEVICE void run(const Piece& piece, int begin, int end) {
    const int along = along_of(piece.p.n_in);
    const int units = along <= plan.batch ? plan.batch / along : 1, parts = (along + plan.batch - 1) / plan.batch;
    const bool folds = thread() >= 32 * kStreamWarps;
    int mine = thread() / 32, t = mine % along;  // the warp's next tile of the piece, and of its row
    for (int unit = begin; unit < end; unit += units)
      for (int part = 0; part < parts; ++part) {
        const int here = smaller(units, end - unit), t0 = part * plan.batch, t1 = parts == 1 ? along : smaller(along, t0 + plan.batch);
        const int first = (unit - begin) * along + t0, last = parts == 1 ? first + here * along : first + (t1 - t0);
        const int round = at.batch % kRounds;
        if (folds) {
          sync_some(kFull + round, kStreamThreads);
          fold<format, codes_in>(piece, unit, here, t0, t1, sums(round));
          arrive_some(kEmpty + round, kStreamThreads);
        } else {
          if (at.batch >= kRounds) sync_some(kEmpty + round, kStreamThreads);
          multiply_batch<format, codes_in>(piece.n, along, first, last, mine, t, sums(round));
          arrive_some(kFull + round, kStreamThreads);
        }
        ++at.batch;
      }
  }

 private:
  static constexpr int kFull = 1, kEmpty = kFull + kRounds;  // barriers

  // This warp's tiles before `last`; the sums of tile `first` come first.
  template <Format format, bool codes_in>
  LARES_DEVICE void multiply_batch(int n, int along, int first, int last, int& mine, int& t, float* sums) {
    const int warp = thread() / 32, lane = thread() % 32, g = lane / 4, q = lane % 4, step = kStreamWarps % along;
    float* out = sums + (mine - first) * n * kTileRows + 2 * q * kTileRows + g;
    for (; mine < last; mine += kStreamWarps, out += kStreamWarps * n * kTileRows) {
      unsigned char* const from = slot(warp, at.slot);
      BulkBarrier* const full = barrier(warp, at.slot);
      wait_bulk(full, at.use);
      LaneTile<format> tile;
      read_tile(tile, from, lane);
      sync_warp();
      if (lane == 0) fetch.next(from, full, warp, n_pieces);
      sync_warp();
      if (++at.slot == plan.slots) at.slot = 0, ++at.use;
      float sum[4];
      tile_sums<format, codes_in>(sum, tile, x() + t * kTileK, plan.row, n, lane);
      if (2 * q < n) out[0] = sum[0], out[8] = sum[2];
      if (2 * q + 1 < n) out[kTileRows] = sum[1], out[kTileRows + 8] = sum[3];
      t += step;
      if (t >= along) t -= along;
    }
  }

  // Adds up the sums of tiles [t0, t1) of `here` row tiles from `unit` on; those of a row's last tile go out.
  template <Format format, bool codes_in>
  LARES_DEVICE void fold(const Piece& piece, int unit, int here, int t0, int t1, const float* sums) {
    const Product& p = piece.p;
    const int along = along_of(p.n_in), n = piece.n;
    auto* const unfinished = reinterpret_cast<float*>(memory() + plan.acc_at);
    for (int i = thread() - 32 * kStreamWarps; i < here * n * kTileRows; i += 32 * kFoldWarps) {
      const int r = i % kTileRows, token = i / kTileRows % n, u = i / kTileRows / n;
      const int row = (piece.tile_row + unit + u) * kTileRows + r;
      float acc = t0 == 0 ? 0 : unfinished[token * kTileRows + r];
      const float* const from = sums + (u * (t1 - t0) * n + token) * kTileRows + r;
      const float* const by = scales() + token * along;
      const float* const block = format == Format::fp8 ? p.scale + static_cast<std::int64_t>((row < p.n_out ? row : row - r) / kScaleBlock) * along : nullptr;
      LARES_UNROLL_8 for (int k = t0; k < t1; ++k)
        acc = fmaf(from[(k - t0) * n * kTileRows], product_scale(format, codes_in, format == Format::fp8 ? block[k] : 1.0f, by[k]), acc);
      if (t1 < along) {
        unfinished[token * kTileRows + r] = acc;
      } else if (row < p.n_out) {
        const std::int64_t to = static_cast<std::int64_t>(piece.y_row + token) * p.y_stride + row;
        if (p.y_f32) static_cast<float*>(p.y)[to] = acc;
        else static_cast<bf16*>(p.y)[to] = to_bf16(acc);
      }
    }
  }
};

template <class Pieces>
LARES_DEVICE void stream(const Pieces& pieces, const StreamPlan& plan, int n_pieces) {
  const int warp = thread() / 32, lane = thread() % 32;
  auto* const cost = reinterpret_cast<std::uint32_t*>(shared<unsigned char>() + plan.cost_at);
  if (Pieces::kWait) wait_for_inputs();
  for (int i = thread(); i < n_pieces; i += kStreamThreads) {
    const Piece p = pieces(i);
    cost[i + 1] = static_cast<std::uint32_t>(p.tile_rows) * row_cost(p.p);
  }
  if (thread() == 0) cost[0] = 0;
  sync_block();
  if (warp == 0) {  // sums of all before
    std::uint32_t before = 0;
    for (int base = 0; base < n_pieces; base += 32) {
      std::uint32_t v = base + lane < n_pieces ? cost[base + lane + 1] : 0;
      for (int d = 1; d < 32; d *= 2) {
        const std::uint32_t other = shuffle(v, lane - d < 0 ? lane : lane - d);
        if (lane >= d) v += other;
      }
      if (base + lane < n_pieces) cost[base + lane + 1] = before + v;
      before += shuffle(v, 31);
    }
  }
  sync_block();
  const std::uint64_t all = cost[n_pieces];
  const Stretch stretch{static_cast<std::uint32_t>(all * static_cast<std::uint64_t>(block_x()) / static_cast<std::uint64_t>(grid_x())),
                        static_cast<std::uint32_t>(all * static_cast<std::uint64_t>(block_x() + 1) / static_cast<std::uint64_t>(grid_x()))};
  StreamBlock<Pieces> block{pieces, plan, n_pieces, {pieces, cost, stretch}, {}};
  if (lane == 0 && warp < kStreamWarps) {
    make_barriers(block.barrier(warp, 0), plan.slots);
    for (int i = 0; i < plan.slots; ++i)
      if (!block.fetch.next(block.slot(warp, i), block.barrier(warp, i), warp, n_pieces)) break;
  }
  if (warp >= kStreamWarps) block.ask_scales();
  sync_warp();
  if (!Pieces::kWait) wait_for_inputs();
  for (int i = 0; i < n_pieces && cost[i] < stretch.end; ++i) {
    if (cost[i + 1] <= stretch.begin) continue;
    const Piece piece = pieces(i);
    int begin, end;
    Fetch<Pieces>::rows(cost, stretch, i, row_cost(piece.p), piece.tile_rows, begin, end);
    if (begin == end) continue;
    if (piece.key != block.at.key) block.stage(piece);
    if (piece.p.format == Format::fp4) block.template run<Format::fp4, true>(piece, begin, end);
    else if (piece.p.format == Format::fp8 && piece.p.codes_in) block.template run<Format::fp8, true>(piece, begin, end);
    else if constexpr (!Pieces::kWait) {
      if (piece.p.format == Format::fp8) block.template run<Format::fp8, false>(piece, begin, end);
      else block.template run<Format::bf16, false>(piece, begin, end);
    }
  }
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
