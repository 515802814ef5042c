// Products of few tokens, bound by their weights: each block streams a stretch of the tiles through shared memory without a pause between
// row tiles, matrices or experts, and begins before what enters is there. The sums are linear.h's.
#pragma once

#include "kernels/cuda/bulk.h"
#include "kernels/cuda/linear_rows.h"
#include "kernels/cuda/stream_plan.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

template <Format format>
LARES_DEVICE void read_tile(LaneTile<format>& t, const unsigned char* tile, int lane) {
  LARES_UNROLL for (int i = 0; i < LaneTile<format>::vectors; ++i) t.v[i] = *reinterpret_cast<const Vec16*>(tile + (i * 32 + lane) * 16);
  if constexpr (format == Format::fp4) {
    const auto* s = reinterpret_cast<const Vec8*>(tile + 1024 + lane / 4 * 8);
    t.scale[0] = s->w[0];
    t.scale[1] = s->w[1];
  }
}

// A tile by the tokens at x (of this tile's k): the lane's part of its sums.
template <Format format, bool codes_in>
LARES_DEVICE void tile_sums(float (&sum)[tile_sums_of(format)][4], const LaneTile<format>& tile, const std::uint16_t* x, int row, int n, int lane) {
  const int g = lane / 4, q = lane % 4;
  LARES_UNROLL for (int i = 0; i < 4; ++i) sum[0][i] = 0;
  LARES_UNROLL for (int j = 0; j < 4; ++j) {
    std::uint32_t a[2][4];
    operands<format, codes_in>(&tile.v[0].w[0] + group_words(format) * j, a);
    Vec16 b{{0, 0, 0, 0}};
    if (g < n) b = *reinterpret_cast<const Vec16*>(x + g * row + 32 * j + 8 * q);
    if constexpr (format == Format::fp4) scaled_group(sum[j], a, b, tile.scale, j);
    else add_group<codes_in>(sum[0], a, b);
  }
}

// A block's place in the rings and in the sums.
struct StreamState {
  int slot = 0, use = 0;  // of this warp's ring: which is next, and how often it was filled before
  int batch = 0;          // batches folded
  int key = -1;           // of what is in x
};
// A warp's way through the tiles that are to be fetched.
struct StreamFetch {
  int piece = -1, at = 0, tiles = 0, bytes = 0;
  const std::uint8_t* from = nullptr;
};

template <int kinds>
struct StreamBlock {
  const StreamArgs& all;
  int n_pieces;
  StreamFetch fetch;
  StreamState at;

  LARES_DEVICE const StreamPlan& plan() const { return all.plan; }
  LARES_DEVICE unsigned char* memory() const { return shared<unsigned char>(); }
  LARES_DEVICE BulkBarrier* barrier(int warp, int slot) const { return reinterpret_cast<BulkBarrier*>(memory()) + warp * kSlotsMax + slot; }
  LARES_DEVICE Piece* pieces() const { return reinterpret_cast<Piece*>(memory() + plan().piece_at); }
  LARES_DEVICE unsigned char* slot(int warp, int i) const { return memory() + plan().ring_at + (warp * plan().slots + i) * plan().slot; }
  LARES_DEVICE std::uint16_t* x() const { return reinterpret_cast<std::uint16_t*>(memory() + plan().x_at); }
  LARES_DEVICE float* scales() const { return reinterpret_cast<float*>(memory() + plan().scale_at); }
  LARES_DEVICE float* sums(int round) const { return reinterpret_cast<float*>(memory() + plan().sum_at) + round * plan().batch * plan().of_tile * plan().n_tokens * kTileRows; }

  // Row costs, and so this block's rows, once every piece's own cost is there. All threads.
  LARES_DEVICE void share_out() {
    Piece* const p = pieces();
    sync_block();
    if (thread() < 32) {
      std::uint32_t before = 0;
      for (int base = 0; base < n_pieces; base += 32) {
        const int i = base + thread();
        std::uint32_t v = i < n_pieces ? p[i].cost : 0;
        for (int d = 1; d < 32; d *= 2) {
          const std::uint32_t other = shuffle(v, thread() >= d ? thread() - d : thread());
          if (thread() >= d) v += other;
        }
        if (i < n_pieces) p[i].cost = before + v;
        before += shuffle(v, 31);
      }
    }
    sync_block();
    const std::uint64_t total = p[n_pieces - 1].cost;
    const auto bound = [&](int block) { return static_cast<std::uint32_t>(total * static_cast<std::uint64_t>(block) / static_cast<std::uint64_t>(grid_x())); };
    const std::uint32_t begin = bound(block_x()), end = bound(block_x() + 1);
    for (int i = thread(); i < n_pieces; i += kStreamThreads) {
      const std::uint32_t first = i > 0 ? p[i - 1].cost : 0, row = row_cost(all.item[p[i].item]), rows = (p[i].cost - first) / row;
      const auto from = [&](std::uint32_t cost) { return static_cast<int>(cost <= first ? 0 : cost - first >= rows * row ? rows : (cost - first + row - 1) / row); };
      p[i].begin = from(begin);
      p[i].end = from(end);
    }
    sync_block();
  }
  LARES_DEVICE static std::uint32_t row_cost(const Product& p) { return static_cast<std::uint32_t>(along_of(p.n_in) * tile_bytes(p.format) / 64); }

  // The next tile into a slot, by one lane; false: there is none.
  LARES_DEVICE bool fetch_next(int warp, int slot_at) {
    while (fetch.at >= fetch.tiles) {
      if (fetch.piece >= n_pieces - 1) return false;
      const Piece& p = pieces()[++fetch.piece];
      const Product& product = all.item[p.item];
      const int along = along_of(product.n_in);
      fetch.bytes = tile_bytes(product.format);
      fetch.from = p.tiles + static_cast<std::int64_t>(p.begin) * along * fetch.bytes;
      fetch.tiles = (p.end - p.begin) * along;
      fetch.at = warp;
    }
    bulk_copy(slot(warp, slot_at), fetch.from + static_cast<std::int64_t>(fetch.at) * fetch.bytes, fetch.bytes, barrier(warp, slot_at));
    fetch.at += kStreamWarps;
    return true;
  }
  LARES_DEVICE void fetch_first() {
    const int warp = thread() / 32;
    if (thread() % 32 == 0 && warp < kStreamWarps) {
      make_barriers(barrier(warp, 0), plan().slots);
      for (int i = 0; i < plan().slots; ++i)
        if (!fetch_next(warp, i)) break;
    }
    sync_warp();
  }

  // Brings the weights' scales that this block needs nearer, before it waits; by the warps that will use them.
  LARES_DEVICE void ask_scales() const {
    constexpr int kLine = 128;
    if (thread() < 32 * kStreamWarps) return;
    for (int i = 0; i < n_pieces; ++i) {
      const Piece& p = pieces()[i];
      const Product& product = all.item[p.item];
      if (product.format != Format::fp8 || p.begin == p.end) continue;
      const int along = along_of(product.n_in);
      const auto block = [&](int tile_row) { return p.scale + static_cast<std::int64_t>(tile_row * kTileRows / kScaleBlock) * along; };
      const auto* const last = reinterpret_cast<const char*>(block(p.end - 1) + along);
      for (const char* line = reinterpret_cast<const char*>(block(p.begin)) + (thread() - 32 * kStreamWarps) * kLine; line < last; line += 32 * kFoldWarps * kLine) ask_line(line);
    }
  }

  // All of the block's rows of all pieces.
  LARES_DEVICE void run_all() {
    for (int i = 0; i < n_pieces; ++i) {
      const Piece& p = pieces()[i];
      if (p.begin == p.end) continue;
      const Product& product = all.item[p.item];
      const int along = along_of(product.n_in), of_group = (product.rows_per_group + kTileRows - 1) / kTileRows;
      int mine = thread() / 32, t = mine % along;  // the warp's next tile of the piece, and of its row
      for (int row = p.begin; row < p.end;) {      // a group's rows at a time: they multiply other columns
        const int group = row / of_group, end = smaller(p.end, (group + 1) * of_group);
        if (const int key = p.key + group; key != at.key) {
          stage(p, product, group * product.n_in);
          at.key = key;
        }
        if constexpr ((kinds & kFp4) != 0) {
          if (product.format == Format::fp4) run<Format::fp4, true>(p, product, row, end, mine, t);
        }
        if constexpr ((kinds & kFp8Codes) != 0) {
          if (product.format == Format::fp8 && product.codes_in) run<Format::fp8, true>(p, product, row, end, mine, t);
        }
        if constexpr ((kinds & kFp8Plain) != 0) {
          if (product.format == Format::fp8 && !product.codes_in) run<Format::fp8, false>(p, product, row, end, mine, t);
        }
        if constexpr ((kinds & kBf16) != 0) {
          if (product.format == Format::bf16) run<Format::bf16, false>(p, product, row, end, mine, t);
        }
        row = end;
      }
    }
  }

 private:
  // What enters, of all k.
  LARES_DEVICE void stage(const Piece& p, const Product& product, int column) {
    const int warp = thread() / 32, lane = thread() % 32, along = along_of(product.n_in), n = p.n;
    sync_block();  // nobody reads the last ones any more
    constexpr int kAll = kStreamThreads / 32, kTogether = 2;  // blocks of a warp whose loads are on their way at a time
    const int blocks = n * along;
    for (int base = warp; base < blocks; base += kTogether * kAll) {
      Entering e[kTogether];
      LARES_UNROLL for (int d = 0; d < kTogether; ++d)
        if (const int i = base + d * kAll; i < blocks) {
          const int token = i / along, k = i % along * kTileK + 4 * lane;
          e[d] = entering(product, all.row_of ? all.row_of[p.first + token] : p.first + token, column, k, k < product.n_in);
        }
      LARES_UNROLL for (int d = 0; d < kTogether; ++d)
        if (const int i = base + d * kAll; i < blocks) {
          const int token = i / along, k = i % along * kTileK + 4 * lane;
          const float s = stage_block(product, e[d], k < product.n_in, x() + token * plan().row + k);
          if (lane == 0) scales()[i] = s;
        }
    }
    sync_block();
  }

  // Row tiles [begin, end) of a piece, in batches: some row tiles whole, or a part of one.
  template <Format format, bool codes_in>
  LARES_DEVICE void run(const Piece& p, const Product& product, int begin, int end, int& mine, int& t) {
    const int along = along_of(product.n_in), batch = plan().batch;
    const int units = along <= batch ? batch / along : 1, parts = (along + batch - 1) / batch;
    const bool folds = thread() >= 32 * kStreamWarps;
    for (int unit = begin; unit < end; unit += units)
      for (int part = 0; part < parts; ++part) {
        const int here = smaller(units, end - unit), t0 = part * batch, t1 = parts == 1 ? along : smaller(along, t0 + batch);
        const int first = (unit - p.begin) * along + t0, last = parts == 1 ? first + here * along : first + (t1 - t0);
        const int round = at.batch % kRounds;
        if (folds) {
          sync_some(kFull + round, kStreamThreads);
          fold<format, codes_in>(p, product, unit, here, t0, t1, sums(round));
          arrive_some(kEmpty + round, kStreamThreads);
        } else {
          if (at.batch >= kRounds) sync_some(kEmpty + round, kStreamThreads);
          multiply_batch<format, codes_in>(p.n, along, first, last, mine, t, sums(round));
          arrive_some(kFull + round, kStreamThreads);
        }
        ++at.batch;
      }
  }

  static constexpr int kFull = 1, kEmpty = kFull + kRounds;  // barriers

  // This warp's tiles before `last`; the sums of tile `first` come first.
  template <Format format, bool codes_in>
  LARES_DEVICE void multiply_batch(int n, int along, int first, int last, int& mine, int& t, float* sums) {
    constexpr int kSums = tile_sums_of(format);
    const int warp = thread() / 32, lane = thread() % 32, g = lane / 4, q = lane % 4, step = kStreamWarps % along;
    float* out = sums + (mine - first) * kSums * n * kTileRows + 2 * q * kTileRows + g;
    for (; mine < last; mine += kStreamWarps, out += kStreamWarps * kSums * n * kTileRows) {
      unsigned char* const from = slot(warp, at.slot);
      BulkBarrier* const full = barrier(warp, at.slot);
      wait_bulk(full, at.use);
      LaneTile<format> tile;
      read_tile(tile, from, lane);
      sync_warp();
      if (lane == 0) fetch_next(warp, at.slot);
      sync_warp();
      if (++at.slot == plan().slots) at.slot = 0, ++at.use;
      float sum[kSums][4];
      tile_sums<format, codes_in>(sum, tile, x() + t * kTileK, plan().row, n, lane);
      LARES_UNROLL for (int i = 0; i < kSums; ++i) {
        float* const to = out + i * n * kTileRows;
        if (2 * q < n) to[0] = sum[i][0], to[8] = sum[i][2];
        if (2 * q + 1 < n) to[kTileRows] = sum[i][1], to[kTileRows + 8] = sum[i][3];
      }
      t += step;
      if (t >= along) t -= along;
    }
  }

  // Adds up the sums of tiles [t0, t1) of `here` row tiles from `unit` on; those of a row's last tile go out.
  template <Format format, bool codes_in>
  LARES_DEVICE void fold(const Piece& piece, const Product& p, int unit, int here, int t0, int t1, const float* sums) {
    constexpr int kSums = tile_sums_of(format);
    const int along = along_of(p.n_in), n = piece.n;
    auto* const unfinished = reinterpret_cast<float*>(memory() + plan().acc_at);
    for (int i = thread() - 32 * kStreamWarps; i < here * n * kTileRows; i += 32 * kFoldWarps) {
      const int r = i % kTileRows, token = i / kTileRows % n, u = i / kTileRows / n;
      const int row = (unit + u) * kTileRows + r;
      float acc = t0 == 0 ? 0 : unfinished[token * kTileRows + r];
      const float* const from = sums + (u * (t1 - t0) * kSums * n + token) * kTileRows + r;
      const float* const by = scales() + token * along;
      const float* const block = format == Format::fp8 ? piece.scale + static_cast<std::int64_t>((row < p.n_out ? row : row - r) / kScaleBlock) * along : nullptr;
      if constexpr (kSums == 1) {
        LARES_UNROLL_8 for (int k = t0; k < t1; ++k)
          acc = fmaf(from[(k - t0) * n * kTileRows], product_scale(format, codes_in, format == Format::fp8 ? block[k] : 1.0f, by[k]), acc);
      } else {
        LARES_UNROLL_4 for (int k = t0; k < t1; ++k) {
          const float s = product_scale(format, codes_in, 1.0f, by[k]);
          LARES_UNROLL for (int j = 0; j < kSums; ++j) acc = fmaf(from[((k - t0) * kSums + j) * n * kTileRows], s, acc);
        }
      }
      if (t1 < along) {
        unfinished[token * kTileRows + r] = acc;
      } else if (row < p.n_out) {
        const std::int64_t to = static_cast<std::int64_t>(piece.first + token) * p.y_stride + row;
        if (p.y_f32) static_cast<float*>(p.y)[to] = acc;
        else static_cast<bf16*>(p.y)[to] = to_bf16(acc);
      }
    }
  }
};

// A linear() of few tokens.
template <int kinds>
LARES_DEVICE void stream_products(const StreamArgs& all) {
  StreamBlock<kinds> block{all, all.n_items, {}, {}};
  if (thread() < all.n_items) {
    const Product& p = all.item[thread()];
    int key = 0;  // groups of products before; or of the one whose x it shares
    for (int i = 0; i < thread(); ++i) key += all.item[i].n_out / all.item[i].rows_per_group;
    for (int i = 0, first = 0; i < thread(); ++i) {
      const Product& other = all.item[i];
      if (other.x == p.x && other.codes == p.codes && other.codes_in == p.codes_in && other.quantise == p.quantise && other.n_in == p.n_in && other.rows_per_group == other.n_out &&
          p.rows_per_group == p.n_out) {
        key = first;
        break;
      }
      first += other.n_out / other.rows_per_group;
    }
    block.pieces()[thread()] = {p.tiles, p.scale, static_cast<std::uint32_t>((p.n_out + kTileRows - 1) / kTileRows) * block.row_cost(p), thread(), 0, all.n_tokens, key, 0, 0};
  }
  block.share_out();
  block.fetch_first();
  block.ask_scales();
  wait_for_inputs();
  block.run_all();
}

// An experts_linear(): which experts there are is among what enters.
template <int kinds>
LARES_DEVICE void stream_experts(const StreamArgs& all) {
  const int n_shared = all.n_items - all.n_routed;
  StreamBlock<kinds> block{all, all.n_routed * all.n_jobs + n_shared, {}, {}};
  if (!all.jobs_known) wait_for_inputs();
  for (int i = thread(); i < block.n_pieces; i += kStreamThreads) {
    Piece p{};
    p.item = i < all.n_routed * all.n_jobs ? i % all.n_routed : i - all.n_routed * all.n_jobs + all.n_routed;
    const Product& product = all.item[p.item];
    const int job = i / all.n_routed;
    if (p.item < all.n_routed) {
      const std::int32_t* const j = all.jobs + 3 * job;
      const int expert = load_fresh(j);
      p.first = load_fresh(j + 1);
      p.n = load_fresh(j + 2);
      if (p.n > 0) {
        p.tiles = all.tiles[p.item][expert];
        p.scale = all.scale[p.item] ? all.scale[p.item][expert] : nullptr;
      }
    } else {
      p.first = all.n_tokens * all.k;
      p.n = all.n_tokens;
      p.tiles = product.tiles;
      p.scale = product.scale;
    }
    p.key = all.one_row ? 0 : job;
    if (p.tiles) p.cost = static_cast<std::uint32_t>((product.n_out + kTileRows - 1) / kTileRows) * block.row_cost(product);
    block.pieces()[i] = p;
  }
  block.share_out();
  block.fetch_first();
  block.ask_scales();
  if (all.jobs_known) wait_for_inputs();
  block.run_all();
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
