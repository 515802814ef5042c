// Products of few tokens, bound by their weights: each block streams a stretch of the tiles through
// shared memory without a pause between row tiles, matrices or experts, and begins before what
// enters is there. The sums are linear.h's.
#pragma once

#include "kernels/cuda/simt/bulk.h"
#include "kernels/cuda/hyper/hyper_mixes.h"
#include "kernels/cuda/products/linear_rows.h"
#include "kernels/cuda/products/stream_plan.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// `few`: of fp4, at most two tokens, whose lanes scale two groups (2 (q % 2) and the next) of rows
// g and g + 8.
template <Format format, bool few>
LARES_DEVICE void read_tile(LaneTile<format>& t, const unsigned char* tile, int lane) {
  LARES_UNROLL for (int i = 0; i < LaneTile<format>::vectors; ++i)
      t.v[i] = *reinterpret_cast<const Vec16*>(tile + (i * 32 + lane) * 16);
  if constexpr (format == Format::fp4 && few) {
    const auto* s =
        reinterpret_cast<const std::uint16_t*>(tile + 1024 + lane / 4 * 8 + lane % 2 * 2);
    t.scale[0] = s[0];
    t.scale[1] = s[2];
  } else if constexpr (format == Format::fp4) {
    const auto* s = reinterpret_cast<const Vec8*>(tile + 1024 + lane / 4 * 8);
    t.scale[0] = s->w[0];
    t.scale[1] = s->w[1];
  }
}
// Where a lane finds x of a tile's first group: of the token that is its column in mma, and of the
// last one for columns beyond.
template <Format format, bool few>
LARES_DEVICE int lane_x(int row, int n, int lane) {
  const int g = lane / 4, q = lane % 4;
  if constexpr (format == Format::fp4 && few)
    return smaller(g / 4, n - 1) * row + 32 * (g % 4) + 8 * q;
  return smaller(g, n - 1) * row + 8 * q;
}

// A tile by n tokens; its sums go to [n, 16], fp4's to [n, 16, 4]. x: where lane_x() says, of this
// tile's k.
template <Format format, bool codes_in>
LARES_DEVICE void put_sums(const LaneTile<format>& tile, const std::uint16_t* x, int n, int lane,
                           float* to) {
  const int g = lane / 4, q = lane % 4;
  float sum[tile_sums_of(format)][4];
  LARES_UNROLL for (int i = 0; i < 4; ++i) sum[0][i] = 0;
  LARES_UNROLL for (int j = 0; j < 4; ++j) {
    std::uint32_t a[2][4];
    operands<format, codes_in>(&tile.v[0].w[0] + group_words(format) * j, a);
    const Vec16 b = *reinterpret_cast<const Vec16*>(x + 32 * j);
    if constexpr (format == Format::fp4)
      scaled_group(sum[j], a, b, tile.scale, j);
    else
      add_group<codes_in>(sum[0], a, b);
  }
  LARES_UNROLL for (int i = 0; i < 4; ++i) {
    const int token = 2 * q + i % 2, at = token * kTileRows + g + i / 2 * 8;
    if (token >= n) continue;
    if constexpr (format == Format::fp4) {
      Vec16 groups;
      LARES_UNROLL for (int j = 0; j < 4; ++j) groups.w[j] = bits_of(sum[j][i]);
      *reinterpret_cast<Vec16*>(to + 4 * at) = groups;
    } else {
      to[at] = sum[0][i];
    }
  }
}
// The same of fp4 with at most two tokens, whose integer and scaling operations would bound it.
// Column 4 i + j of an mma is token i's group j, in every group's mma: with weights of another
// group it gives what nobody looks at, and a lane loads x once and scales two sums a row in place
// of four of which most belong to no token.
LARES_DEVICE void put_sums_few(const LaneTile<Format::fp4>& tile, const std::uint16_t* x, int n,
                               int lane, float* to) {
  const int g = lane / 4, q = lane % 4;
  const Vec16 b = *reinterpret_cast<const Vec16*>(x);
  float sum[4][4];
  LARES_UNROLL for (int j = 0; j < 4; ++j) {
    std::uint32_t a[2][4];
    operands<Format::fp4, true>(&tile.v[0].w[0] + group_words(Format::fp4) * j, a);
    product_f16(sum[j], a[0][0], a[0][1], a[0][2], a[0][3], b.w[0], b.w[1]);
    multiply<true>(sum[j], a[1], b.w[2], b.w[3]);
  }
  const bool upper = q % 2 != 0;  // groups 2 and 3
  LARES_UNROLL for (int half = 0; half < 2; ++half) {
    const float first = upper ? sum[2][2 * half] : sum[0][2 * half],
                second = upper ? sum[3][2 * half + 1] : sum[1][2 * half + 1];
    const Vec8 out{{bits_of(first * fp4_block_scale(tile.scale[half] & 255)),
                    bits_of(second * fp4_block_scale(tile.scale[half] >> 8))}};
    if (q / 2 < n)
      *reinterpret_cast<Vec8*>(to + (q / 2 * kTileRows + g + 8 * half) * 4 + q % 2 * 2) = out;
  }
}

// A warp's place in its ring: the slot that is next, and how often it was filled before.
struct StreamSlot {
  int slot = 0, use = 0;
};
// What a warp is to fetch of a segment: its next tiles, how many units of so many bytes.
struct StreamFetch {
  const std::uint8_t* from = nullptr;
  int left = 0, bytes = 0;
};

template <int kinds, bool experts>
struct StreamBlock {
  // What only some can: others have no registers for it (linear()).
  static constexpr bool kNorms = !experts && kinds == kFp8Codes, kMixes = experts || kNorms;
  static constexpr int kBlockTiles = kScaleBlock / kTileRows;  // row tiles of an fp8 scale

  const StreamArgs& all;
  int n_pieces;
  StreamFetch fetch{};
  StreamSlot next{};
  int batch = 0;      // how many were before
  FourFloats norm{};  // the weights of the k that a lane norms: of the same for all its tokens

  LARES_DEVICE const StreamPlan& plan() const { return all.plan; }
  LARES_DEVICE unsigned char* memory() const { return shared<unsigned char>(); }
  LARES_DEVICE BulkBarrier* barrier(int warp, int slot) const {
    return reinterpret_cast<BulkBarrier*>(memory()) + warp * kSlotsMax + slot;
  }
  LARES_DEVICE Piece* pieces() const {
    return reinterpret_cast<Piece*>(memory() + plan().piece_at);
  }
  LARES_DEVICE Segment* segments() const {
    return reinterpret_cast<Segment*>(memory() + plan().segment_at);
  }
  LARES_DEVICE Visit* visits() const {
    return reinterpret_cast<Visit*>(memory() + plan().visit_at);
  }
  LARES_DEVICE StreamCounts& counts() const {
    return *reinterpret_cast<StreamCounts*>(memory() + plan().count_at);
  }
  LARES_DEVICE unsigned char* slot(int warp, int i) const {
    return memory() + plan().ring_at + (warp * plan().slots + i) * plan().slot;
  }
  LARES_DEVICE std::uint16_t* x(int i) const {
    return reinterpret_cast<std::uint16_t*>(memory() + plan().x_at + i * plan().x_bytes);
  }
  LARES_DEVICE float* scales(int i) const {
    return reinterpret_cast<float*>(memory() + plan().scale_at + i * plan().scale_bytes);
  }
  LARES_DEVICE float* factors(int round) const {
    return reinterpret_cast<float*>(memory() + plan().factor_at) +
           round * plan().batch * plan().n_tokens;
  }
  LARES_DEVICE float* sums(int round) const {
    return reinterpret_cast<float*>(memory() + plan().sum_at) +
           round * plan().batch * plan().of_tile * plan().n_tokens * kTileRows;
  }

  // Costs, and so this block's stretch of all tiles, once every piece's own cost is there. All
  // threads. A stretch begins and ends with a row, or, where that may be, within one, which it then
  // shares with the block before or the next: the next one's part is first in both, so that nobody
  // waits in the end. Segment 0 is that part of the stretch's last row, or empty; the others are in
  // order.
  LARES_DEVICE void share_out() {
    Piece* const p = pieces();
    sync_block();
    if (thread() < 32) {
      std::uint32_t total = 0;
      LARES_ROLLED for (int base = 0; base < n_pieces; base += 32) {
        const int i = base + thread();
        std::uint32_t v = i < n_pieces ? p[i].cost : 0;
        for (int d = 1; d < 32; d *= 2) {
          const std::uint32_t other = shuffle(v, thread() >= d ? thread() - d : thread());
          if (thread() >= d) v += other;
        }
        if (i < n_pieces) p[i].cost = total + v;
        total += shuffle(v, 31);
      }
      sync_warp();
      const auto blocks = static_cast<std::uint32_t>(grid_x()),
                 block = static_cast<std::uint32_t>(block_x());
      // The first `rest` blocks have one more
      const std::uint32_t each = total / blocks, rest = total - each * blocks;
      const std::uint32_t from = each * block + (block < rest ? block : rest),
                          to = from + each + (block < rest);
      const bool cuts = all.scratch && each >= static_cast<std::uint32_t>(all.cut_from);
      int n = 1;
      bool any_tail = false;
      LARES_ROLLED for (int base = 0; base < n_pieces; base += 32) {
        const int i = base + thread();
        Segment whole{i, 0, 0, 0}, tail{i, 0, 0, 0};
        if (i < n_pieces) {
          const Product& product = all.item[p[i].item];
          const int along = along_of(product.n_in), unit = cuts ? together(product) : along;
          const std::uint32_t first = i > 0 ? p[i - 1].cost : 0, cost = p[i].cost - first,
                              of_unit =
                                  static_cast<std::uint32_t>(unit * tile_cost(product.format));
          const auto tile = [&](std::uint32_t at) {
            return static_cast<int>(((at <= first          ? 0
                                      : at - first >= cost ? cost
                                                           : at - first) +
                                     of_unit - 1) /
                                    of_unit) *
                   unit;
          };
          whole.begin = tile(from);
          whole.end = tail.begin = tail.end = tile(to);
          if (whole.begin < whole.end && whole.end % along != 0)
            whole.end = tail.begin = larger(whole.begin, whole.end - whole.end % along);
        }
        const std::uint32_t some = ballot(whole.begin < whole.end);
        if (whole.begin < whole.end)
          segments()[n + count_bits(some & ((1u << thread()) - 1))] = whole;
        n += count_bits(some);
        if (tail.begin < tail.end) segments()[0] = tail;
        any_tail |= ballot(tail.begin < tail.end) != 0;
      }
      sync_warp();
      if (thread() == 0) {
        if (!any_tail) segments()[0] = {0, 0, 0, 0};
        counts().segments = n;
        LARES_ROLLED for (int i = 0, units = 0; i < n; ++i) {
          Segment& of = segments()[i];
          of.before = units;
          units += units_of(of.end - of.begin, together(all.item[p[of.piece].item]));
        }
      }
    }
    sync_block();
  }
  LARES_DEVICE static int tile_cost(Format format) { return tile_bytes(format) / 64; }
  LARES_DEVICE static std::uint32_t row_cost(const Product& p) {
    return static_cast<std::uint32_t>(along_of(p.n_in) * tile_cost(p.format));
  }

  // Tiles that go into a slot together.
  LARES_DEVICE int together(const Product& p) const {
    return along_of(p.n_in) % 2 == 0 && 2 * tile_bytes(p.format) <= plan().slot ? 2 : 1;
  }
  LARES_DEVICE static int units_of(int tiles, int unit) { return unit == 2 ? tiles / 2 : tiles; }
  // The first tile of a segment that is a warp's: they take units in turns, through all segments.
  LARES_DEVICE static int first_tile(int begin, int before, int unit, int warp) {
    return begin + (warp + kStreamWarps - before % kStreamWarps) % kStreamWarps * unit;
  }
  // The next tiles into a slot, by one lane; false: there are none.
  LARES_DEVICE bool fetch_next(int warp, int slot_at) {
    while (fetch.left == 0) {
      int& next_one = counts().next_segment[warp];
      if (next_one >= counts().segments) return false;
      const Segment& s = segments()[next_one++];
      const Piece& p = pieces()[s.piece];
      const Product& product = all.item[p.item];
      const int unit = together(product), tile = first_tile(s.begin, s.before, unit, warp);
      fetch.bytes = unit * tile_bytes(product.format);
      fetch.from = p.tiles + static_cast<std::int64_t>(tile) * tile_bytes(product.format);
      fetch.left = (units_of(larger(s.end - tile, 0), unit) + kStreamWarps - 1) / kStreamWarps;
    }
    bulk_copy(slot(warp, slot_at), fetch.from, fetch.bytes, barrier(warp, slot_at));
    fetch.from += kStreamWarps * fetch.bytes;
    --fetch.left;
    return true;
  }
  // Every ring's barriers, by a warp that has nothing to do while another one cuts: before
  // share_out()'s.
  LARES_DEVICE void make_rings() const {
    const int warp = thread() - 32 * kStreamWarps;
    if (warp < 0 || warp >= kStreamWarps) return;
    make_barriers(barrier(warp, 0), plan().slots);
    counts().next_segment[warp] = 0;
  }
  LARES_DEVICE void fetch_first() {
    const int warp = thread() / 32;
    if (thread() % 32 == 0 && warp < kStreamWarps) {
      LARES_ROLLED for (int i = 0; i < plan().slots; ++i) if (!fetch_next(warp, i)) break;
    }
    sync_warp();
  }

  // Brings the weights' scales that this block needs nearer, before it waits; by the warps that
  // will use them.
  LARES_DEVICE void ask_scales() const {
    constexpr int kLine = 128;
    if (thread() < 32 * kStreamWarps) return;
    LARES_ROLLED for (int i = 0; i < counts().segments; ++i) {
      const Segment& s = segments()[i];
      const Piece& p = pieces()[s.piece];
      const Product& product = all.item[p.item];
      if (product.format != Format::fp8 || s.begin == s.end) continue;
      const int along = along_of(product.n_in);
      const auto block = [&](int tile) {
        return p.scale + static_cast<std::int64_t>(tile / along / kBlockTiles) * along;
      };
      const auto* const last = reinterpret_cast<const char*>(block(s.end - 1) + along);
      for (const char* line = reinterpret_cast<const char*>(block(s.begin)) +
                              (thread() - 32 * kStreamWarps) * kLine;
           line < last; line += 32 * kFoldWarps * kLine)
        ask_line(line);
    }
  }

  // Cuts segments into visits and says what they need in x, by one thread. Where a visit's x is in
  // no buffer, what the next one with another x multiplies is brought with it, so that a block
  // whose rows are of two groups or experts stops no second time.
  LARES_DEVICE void plan_visits() const {
    Visit* const to = visits();
    int n = 0;
    LARES_ROLLED for (int i = 0; i < counts().segments; ++i) {
      const Segment& s = segments()[i];
      const Piece& p = pieces()[s.piece];
      const Product& product = all.item[p.item];
      const int along = along_of(product.n_in),
                of_group = (product.rows_per_group + kTileRows - 1) / kTileRows;
      LARES_ROLLED for (int begin = s.begin, end; begin < s.end; begin = end) {
        const int row = begin / along, group = row / of_group;
        // The next group multiplies other columns
        end = smaller(s.end, (group + 1) * of_group * along);
        if (begin % along != 0)
          end = smaller(end, (row + 1) * along);
        else if (end / along > row)
          end = end / along * along;
        to[n++] = {s.piece,
                   begin,
                   end,
                   begin == s.begin ? s.before : -1,
                   p.key + group,
                   group * product.n_in,
                   0,
                   -1};
      }
    }
    int keys[2] = {-1, -1};
    LARES_ROLLED for (int i = 0; i < n; ++i) {
      if (to[i].key != keys[0] && to[i].key != keys[1]) {
        keys[0] = to[i].key;
        keys[1] = -1;
        int with = i;
        if (plan().x_buffers > 1)
          while (with < n && to[with].key == keys[0]) ++with;
        if (with == n) with = i;
        if (with != i) keys[1] = to[with].key;
        to[i].bring = with;
      }
      to[i].buffer = to[i].key != keys[0];
    }
    counts().visits = n;
  }

  // All of the block's rows of all pieces.
  LARES_DEVICE void run_all() {
    sync_block();
    int mine = 0;  // the warp's next tile of the piece
    const Visit* const end = visits() + counts().visits;
    LARES_ROLLED for (const Visit* at = visits();; ++at) {
      if (at != end && at->bring >= 0) {
        if (at != visits()) sync_block();  // nobody reads the last ones any more
        stage(*at, visits()[at->bring]);
        sync_block();
      }
      // By the warps that add up, which have nothing to add for a while.
      if constexpr (kMixes) {
        if (at == visits() && thread() >= 32 * kStreamWarps) put_mixes();
      }
      if (at == end) break;
      const Visit& v = *at;
      const Piece& p = pieces()[v.piece];
      const Product& product = all.item[p.item];
      if (v.before >= 0) mine = first_tile(v.begin, v.before, together(product), thread() / 32);
      if constexpr ((kinds & kFp4) != 0) {
        if (product.format == Format::fp4 && p.n <= 2)
          run<Format::fp4, true, true>(p, product, v, mine);
        else if (product.format == Format::fp4)
          run<Format::fp4, true, false>(p, product, v, mine);
      }
      if constexpr ((kinds & kFp8Codes) != 0) {
        if (product.format == Format::fp8 && product.codes_in)
          run<Format::fp8, true, false>(p, product, v, mine);
      }
      if constexpr ((kinds & kFp8Plain) != 0) {
        if (product.format == Format::fp8 && !product.codes_in)
          run<Format::fp8, false, false>(p, product, v, mine);
      }
      if constexpr ((kinds & kBf16) != 0) {
        if (product.format == Format::bf16) run<Format::bf16, false, false>(p, product, v, mine);
      }
    }
  }

  // A warp that norms has the same block of 128 of all its tokens, so that their weights are one
  // load of a lane's, before the wait.
  LARES_DEVICE void ask_norm() {
    if constexpr (kNorms) {
      const Product& p = all.item[0];
      const int k = thread() / 32 % along_of(p.n_in) * kTileK + 4 * (thread() % 32);
      if (p.norm && k < p.n_in) norm = *reinterpret_cast<const FourFloats*>(p.norm + k);
    }
  }

 private:
  // What a boundary left. The last block's, which is as good as any.
  LARES_DEVICE void put_mixes() const {
    if (block_x() != grid_x() - 1) return;
    for (int t = thread() / 32 - kStreamWarps; t < all.mixes.n_tokens; t += kFoldWarps)
      put_left(all.mixes, t);
  }

  // What enters of products that norm it: rms_norm()'s sums and values, then stage_block()'s codes.
  // x lies in its buffer as it is meanwhile, roots where factors will.
  LARES_DEVICE void stage_normed(const Piece& p, const Product& product) {
    const int along = along_of(product.n_in), warp = thread() / 32, lane = thread() % 32,
              step = kStreamThreads / 32 / along,  // tokens at a time
        k = warp % along * kTileK + 4 * lane;
    const bool inside = k < product.n_in;
    const int first = warp < step * along ? warp / along : p.n;
    const auto at = [&](int token) { return x(0) + token * plan().row + k; };
    for (int token = first; token < p.n; token += step) {
      const Vec8 in = inside ? *reinterpret_cast<const Vec8*>(
                                   product.x + (p.first + token) * product.x_stride + k)
                             : Vec8{{0, 0}};
      *reinterpret_cast<Vec8*>(at(token)) = in;
    }
    sync_block();
    constexpr int kSumLanes = 8, kRows = 32 / kSumLanes, kAhead = 16;  // lanes: sum_of_squares()'s
    if (kRows * warp < p.n) {
      const int own = kRows * warp + lane / kSumLanes, token = smaller(own, p.n - 1);
      const std::uint16_t* const row = x(0) + token * plan().row + lane % kSumLanes;
      float acc = 0;
      LARES_UNROLL_2 for (int i = 0; i < along * kTileK; i += kAhead * kSumLanes) {
        float v[kAhead];
        LARES_UNROLL for (int j = 0; j < kAhead; ++j) v[j] = bf16_value(row[i + j * kSumLanes]);
        LARES_UNROLL for (int j = 0; j < kAhead; ++j) acc = fmaf(v[j], v[j], acc);
      }
      const float root = rms_root(fold_lanes(acc), product.n_in, product.norm_eps);
      if (lane % kSumLanes == 0 && own < p.n) factors(0)[own] = root;
    }
    sync_block();
    for (int token = first; token < p.n; token += step) {
      const Vec8 in = *reinterpret_cast<const Vec8*>(at(token));
      const float root = factors(0)[token];
      Entering e;
      LARES_UNROLL for (int i = 0; i < 2; ++i)
          e.x.w[i] = pair(to_bf16(bf16_value(in.w[i] & 0xFFFFu) / root * norm.v[2 * i]),
                          to_bf16(bf16_value(in.w[i] >> 16) / root * norm.v[2 * i + 1]));
      const float s = stage_block(product, e, inside, at(token));
      if (lane == 0) scales(0)[token * along + warp % along] = s;
    }
  }

  // What enters, of all k, for one visit or two: a warp a block of 128.
  LARES_DEVICE void stage(const Visit& v, const Visit& other) {
    if constexpr (kNorms) {
      const Piece& p = pieces()[v.piece];
      if (const Product& product = all.item[p.item]; product.norm) return stage_normed(p, product);
    }
    const auto blocks_of = [&](const Visit& of) {
      return pieces()[of.piece].n * along_of(all.item[pieces()[of.piece].item].n_in);
    };
    const int warp = thread() / 32, lane = thread() % 32, first = blocks_of(v),
              blocks = &other == &v ? first : first + blocks_of(other);
    // Blocks of a warp whose loads are on their way at a time: of wo_a's and wo_b's launches all
    // that one token has.
    constexpr int kAll = kStreamThreads / 32,
                  kTogether = kinds == kFp8Codes || kinds == kFp8Plain ? 4 : 2;
    LARES_ROLLED for (int base = warp; base < blocks; base += kTogether * kAll) {
      Entering e[kTogether];
      const auto each = [&](int i, auto what) {
        const Visit& of = i < first ? v : other;
        const Piece& p = pieces()[of.piece];
        const Product& product = all.item[p.item];
        const int own = i < first ? i : i - first, along = along_of(product.n_in),
                  token = p.n == 1 ? 0 : own / along, k = (own - token * along) * kTileK + 4 * lane;
        what(p, product, i >= first, own, token, of.column, k);
      };
      LARES_UNROLL for (int d = 0; d < kTogether; ++d) if (const int i = base + d * kAll;
                                                           i < blocks)
          each(i, [&](const Piece& p, const Product& product, int, int, int token, int column,
                      int k) {
            e[d] = entering(product, all.row_of ? all.row_of[p.first + token] : p.first + token,
                            column, k, k < product.n_in);
          });
      LARES_UNROLL for (int d = 0; d < kTogether; ++d) if (const int i = base + d * kAll;
                                                           i < blocks)
          each(i, [&](const Piece&, const Product& product, int buffer, int own, int token, int,
                      int k) {
            std::uint16_t* const to = x(buffer) + token * plan().row + k;
            if constexpr ((kinds & (kFp8Codes | kFp4)) != 0) {
              const float s = stage_block(product, e[d], k < product.n_in, to);
              if (lane == 0) scales(buffer)[own] = s;
            } else {
              *reinterpret_cast<Vec8*>(to) = e[d].x;
              if (lane == 0) scales(buffer)[own] = 1.0f;
            }
          });
    }
  }

  // A visit, in batches: some row tiles whole, or a part of one.
  template <Format format, bool codes_in, bool few>
  LARES_DEVICE void run(const Piece& p, const Product& product, const Visit& v, int& mine) {
    const int along = along_of(product.n_in), row = v.begin / along, low = v.begin % along;
    // Tiles; more where an expert's are by fewer tokens than the launch has.
    const int in_batch = format == Format::fp4 ? plan().batch * plan().n_tokens / p.n / 2 * 2
                                               : plan().batch;
    const bool shared_row = v.end - v.begin < along;  // with another block
    const int high = shared_row ? low + v.end - v.begin : along,
              end = shared_row ? row + 1 : v.end / along;
    const int units = along <= in_batch ? in_batch / along : 1,
              parts = (high - low + in_batch - 1) / in_batch;
    const bool folds = thread() >= 32 * kStreamWarps;
    for (int unit = row; unit < end; unit += units)
      for (int part = 0; part < parts; ++part) {
        const int here = smaller(units, end - unit), t0 = low + part * in_batch,
                  t1 = parts == 1 ? high : smaller(high, t0 + in_batch);
        const int first = unit * along + t0, last = first + (here - 1) * along + t1 - t0;
        const int round = batch % kRounds;
        if (!folds) {
          if (batch >= kRounds) sync_some(kEmpty + round, kStreamThreads);
          multiply_batch<format, codes_in, few>(x(v.buffer), p.n, along, together(product), first,
                                                last, mine, sums(round));
          arrive_some(kFull + round, kStreamThreads);
        } else if (shared_row) {
          sync_some(kFull + round, kStreamThreads);
          put_part(p, t0, t1, tile_sums_of(format), sums(round), low == 0);
          arrive_some(kEmpty + round, kStreamThreads);
          if (t1 == high)
            fold_shared<format, codes_in>(p, product, scales(v.buffer), row, low == 0);
        } else {
          put_factors<format, codes_in>(p, product, scales(v.buffer), unit, here, t0, t1,
                                        factors(round));
          sync_some(kFull + round, kStreamThreads);
          fold<format>(p, product, unit, here, t0, t1, sums(round), factors(round));
          arrive_some(kEmpty + round, kStreamThreads);
        }
        ++batch;
      }
  }

  static constexpr int kFull = 1, kEmpty = kFull + kRounds, kFolded = kEmpty + kRounds;  // barriers

  // This warp's tiles before `last`; the sums of tile `first` come first.
  template <Format format, bool codes_in, bool few>
  LARES_DEVICE void multiply_batch(const std::uint16_t* x, int n, int along, int unit, int first,
                                   int last, int& mine, float* sums) {
    constexpr int kBytes = tile_bytes(format);
    const int warp = thread() / 32, lane = thread() % 32,
              tile_sums = tile_sums_of(format) * n * kTileRows, step = kStreamWarps * unit % along;
    const std::uint16_t* const own_x = x + lane_x<format, few>(plan().row, n, lane);
    float* out = sums + (mine - first) * tile_sums;
    int t = mine % along;
    for (; mine < last; mine += kStreamWarps * unit, out += kStreamWarps * unit * tile_sums) {
      const unsigned char* const from = slot(warp, next.slot);
      wait_bulk(barrier(warp, next.slot), next.use);
      LARES_ROLLED for (int i = 0; i < unit; ++i) {
        LaneTile<format> tile;
        read_tile<format, few>(tile, from + i * kBytes, lane);
        if (i == unit - 1) {  // the slot is free
          sync_warp();
          if (lane == 0) fetch_next(warp, next.slot);
          sync_warp();
        }
        if constexpr (few)
          put_sums_few(tile, own_x + (t + i) * kTileK, n, lane, out + i * tile_sums);
        else
          put_sums<format, codes_in>(tile, own_x + (t + i) * kTileK, n, lane, out + i * tile_sums);
      }
      if (++next.slot == plan().slots) next.slot = 0, ++next.use;
      t += step;
      if (t >= along) t -= along;
    }
  }

  // By the warps that fold, while the batch is multiplied: what its sums are multiplied by, [row
  // blocks, n, t1 - t0]. At most as many as the batch has tiles by tokens. Two batches' are held:
  // when a warp writes the next but one, all have read these.
  template <Format format, bool codes_in>
  LARES_DEVICE static void put_factors(const Piece& piece, const Product& p, const float* x_scale,
                                       int unit, int here, int t0, int t1, float* factor) {
    if constexpr (format == Format::bf16) return;
    const int along = along_of(p.n_in), n = piece.n, len = t1 - t0, block = unit / kBlockTiles;
    const int all_of = format == Format::fp8
                           ? ((unit + here - 1) / kBlockTiles - block + 1) * n * len
                           : n * len;
    for (int i = thread() - 32 * kStreamWarps; i < all_of; i += 32 * kFoldWarps) {
      const int k = t0 + i % len, token = i / len % n;
      factor[i] = product_scale(
          format, codes_in,
          weight_scale(piece, (block + i / len / n) * kBlockTiles, along, k, format),
          x_scale[token * along + k]);
    }
  }

  // Adds up the sums of tiles [t0, t1) of `here` row tiles from `unit` on; those of a row's last
  // tile go out.
  template <Format format>
  LARES_DEVICE void fold(const Piece& piece, const Product& p, int unit, int here, int t0, int t1,
                         const float* sums, const float* factor) const {
    const int along = along_of(p.n_in), n = piece.n, len = t1 - t0;
    auto* const unfinished = reinterpret_cast<float*>(memory() + plan().acc_at);
    for (int i = thread() - 32 * kStreamWarps; i < here * n * kTileRows; i += 32 * kFoldWarps) {
      const int r = i % kTileRows, token = i / kTileRows % n, u = i / kTileRows / n;
      const int row = (unit + u) * kTileRows + r;
      float acc = t0 == 0 ? 0 : unfinished[token * kTileRows + r];
      const int block = format == Format::fp8 ? (unit + u) / kBlockTiles - unit / kBlockTiles : 0,
                at = (u * len * n + token) * kTileRows + r;
      const float* const by = factor + (block * n + token) * len;
      if constexpr (format == Format::fp4) {
        const auto* const from = reinterpret_cast<const Vec16*>(sums) + at;
        LARES_UNROLL_4 for (int k = 0; k < len; ++k) {
          const Vec16 groups = from[k * n * kTileRows];
          LARES_UNROLL for (int j = 0; j < 4; ++j) acc = fmaf(float_of(groups.w[j]), by[k], acc);
        }
      } else {
        LARES_UNROLL_8 for (int k = 0; k < len; ++k)
            acc = fmaf(sums[at + k * n * kTileRows], format == Format::bf16 ? 1.0f : by[k], acc);
      }
      if (t1 < along)
        unfinished[token * kTileRows + r] = acc;
      else
        put_y(piece, p, row, token, acc);
    }
  }
  LARES_DEVICE static void put_y(const Piece& piece, const Product& p, int row, int token,
                                 float acc) {
    if (row >= p.n_out) return;
    const std::int64_t to = static_cast<std::int64_t>(piece.first + token) * p.y_stride + row;
    if (p.y_f32)
      static_cast<float*>(p.y)[to] = acc;
    else
      static_cast<bf16*>(p.y)[to] = to_bf16(acc);
  }

  // A row tile that two blocks share: each puts its tiles' sums into memory; who comes second adds
  // up all of them.
  LARES_DEVICE StreamScratch& scratch_of(bool low) const {
    return all.scratch[low ? block_x() : block_x() - 1];
  }
  LARES_DEVICE void put_part(const Piece& piece, int t0, int t1, int of_tile, const float* sums,
                             bool low) const {
    const int of_k = of_tile * piece.n * kTileRows;
    for (int i = thread() - 32 * kStreamWarps; i < (t1 - t0) * of_k; i += 32 * kFoldWarps)
      scratch_of(low).sums[t0 * of_k + i] = sums[i];
  }
  template <Format format, bool codes_in>
  LARES_DEVICE void fold_shared(const Piece& piece, const Product& p, const float* x_scale,
                                int tile_row, bool low) const {
    StreamScratch& of = scratch_of(low);
    sync_some(kFolded, 32 * kFoldWarps);
    if (thread() == 32 * kStreamWarps) counts().was_last = arrive_last(&of.arrived, 2);
    sync_some(kFolded, 32 * kFoldWarps);
    if (!counts().was_last) return;
    const int along = along_of(p.n_in), n = piece.n, i = thread() - 32 * kStreamWarps,
              r = i % kTileRows, token = i / kTileRows, row = tile_row * kTileRows + r;
    static_assert(32 * kFoldWarps >= kTokensFew * kTileRows);
    if (token >= n) return;
    const float* const by = x_scale + token * along;
    float acc = 0;
    LARES_UNROLL_8 for (int k = 0; k < along; ++k) {
      const float s = product_scale(format, codes_in,
                                    weight_scale(piece, tile_row, along, k, format),
                                    format == Format::bf16 ? 1.0f : by[k]);
      const int at = (k * n + token) * kTileRows + r;
      if constexpr (format == Format::fp4) {
        const Vec16 groups = load_fresh16(of.sums + 4 * at);
        LARES_UNROLL for (int j = 0; j < 4; ++j) acc = fmaf(float_of(groups.w[j]), s, acc);
      } else {
        acc = fmaf(load_fresh(of.sums + at), s, acc);
      }
    }
    put_y(piece, p, row, token, acc);
  }
  LARES_DEVICE static float weight_scale(const Piece& piece, int tile_row, int along, int k,
                                         Format format) {
    return format == Format::fp8
               ? piece.scale[static_cast<std::int64_t>(tile_row / kBlockTiles) * along + k]
               : 1.0f;
  }
};

// A linear() of few tokens.
template <int kinds>
LARES_DEVICE void stream_products(const StreamArgs& all) {
  StreamBlock<kinds, false> block{all, all.n_items};
  if (thread() < all.n_items) {
    const Product& p = all.item[thread()];
    int key = 0;  // groups of products before; or of the one whose x it shares
    for (int i = 0; i < thread(); ++i) key += all.item[i].n_out / all.item[i].rows_per_group;
    for (int i = 0, first = 0; i < thread(); ++i) {
      const Product& other = all.item[i];
      if (other.x == p.x && other.codes == p.codes && other.codes_in == p.codes_in &&
          other.quantise == p.quantise && other.n_in == p.n_in &&
          other.rows_per_group == other.n_out && p.rows_per_group == p.n_out) {
        key = first;
        break;
      }
      first += other.n_out / other.rows_per_group;
    }
    block.pieces()[thread()] = {
        p.tiles,
        p.scale,
        static_cast<std::uint32_t>((p.n_out + kTileRows - 1) / kTileRows) * block.row_cost(p),
        thread(),
        0,
        all.n_tokens,
        key};
  }
  block.make_rings();
  block.share_out();
  block.fetch_first();
  if (thread() == 32 * kStreamWarps) block.plan_visits();
  block.ask_scales();
  block.ask_norm();
  wait_for_inputs();
  block.run_all();
}

// An experts_linear(): which experts there are is among what enters.
template <int kinds>
LARES_DEVICE void stream_experts(const StreamArgs& all) {
  const int n_shared = all.n_items - all.n_routed;
  StreamBlock<kinds, true> block{all, all.n_routed * all.n_jobs + n_shared};
  block.make_rings();
  // Where each expert's tiles are is there all along; who is asked for may not be.
  auto* const tiles = reinterpret_cast<const std::uint8_t**>(block.sums(0));
  for (int i = thread(); i < all.n_routed * all.n_experts; i += kStreamThreads)
    tiles[i] = all.tiles[i / all.n_experts][i % all.n_experts];
  if (!all.jobs_known) wait_for_inputs();
  sync_block();
  for (int i = thread(); i < block.n_pieces; i += kStreamThreads) {
    Piece p{};
    p.item = i < all.n_routed * all.n_jobs ? i % all.n_routed
                                           : i - all.n_routed * all.n_jobs + all.n_routed;
    const Product& product = all.item[p.item];
    const int job = i / all.n_routed;
    if (p.item < all.n_routed) {
      const std::int32_t* const j = all.jobs + 3 * job;
      const int expert = load_fresh(j);
      p.first = load_fresh(j + 1);
      p.n = load_fresh(j + 2);
      if (p.n > 0) {
        p.tiles = tiles[p.item * all.n_experts + expert];
        p.scale = all.scale[p.item] ? all.scale[p.item][expert] : nullptr;
      }
    } else {
      p.first = all.n_tokens * all.k;
      p.n = all.n_tokens;
      p.tiles = product.tiles;
      p.scale = product.scale;
    }
    p.key = all.one_row ? 0 : job;
    if (p.tiles)
      p.cost = static_cast<std::uint32_t>((product.n_out + kTileRows - 1) / kTileRows) *
               block.row_cost(product);
    block.pieces()[i] = p;
  }
  block.share_out();
  block.fetch_first();
  if (thread() == 32 * kStreamWarps) block.plan_visits();
  block.ask_scales();
  if (all.jobs_known) wait_for_inputs();
  block.run_all();
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
