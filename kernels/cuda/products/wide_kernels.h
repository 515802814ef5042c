// Products with many tokens where wgmma is: a block an SM takes pieces of 128 or 256 rows by 128
// tokens in turn, without a pause between them. A warp fills a ring of stages, 128 k each, by bulk
// copies, or its warpgroup does where tokens are to be gathered; two warpgroups empty it
// (wide_tile.h), each by its own pace, and write their rows of a piece while the next one's stages
// come. A stage is full when its bytes are there, empty when all eight warps have left it. Which
// piece is next who fills decides, and says so in a piece's first stage: of one product every
// grid_x()-th; of experts, whose runs are of any length, whichever is left.
#pragma once

#include "kernels/cuda/simt/bulk.h"
#include "kernels/cuda/products/experts.h"
#include "kernels/cuda/products/wide_tile.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// What a block makes at a time.
struct WideWork {
  const std::uint8_t* tiles = nullptr;  // of all the matrix
  const float* scale = nullptr;         // fp8
  void* y = nullptr;
  int row0 = 0, row_end = 0;       // row0 a multiple of 16
  int plane = 0;                   // the first that enters
  int n = 0;                       // tokens; 0: nothing to do, below: nothing behind it either
  std::int64_t at = 0, y_row = 0;  // rows of what enters, of y
};

// Tokens of one product.
struct WideLinear {
  Product p;
  WideInput in;  // of codes
  int n_tokens, row_blocks, n_work;
};
template <int blocks>
LARES_DEVICE WideWork wide_work(const WideLinear& all, int i) {
  constexpr int kRows = kWideConsumers * 64 * blocks;
  const Product& p = all.p;
  const WidePiece at = wide_piece(i, all.row_blocks,
                                  (all.n_tokens + kWideTokens - 1) / kWideTokens);
  const int in_group = (p.rows_per_group + kRows - 1) / kRows, group = at.row / in_group,
            first = at.token * kWideTokens;
  WideWork w;
  w.tiles = p.tiles;
  w.scale = p.scale;
  w.y = p.y;
  w.row0 = group * p.rows_per_group + at.row % in_group * kRows;
  w.row_end = smaller(w.row0 + kRows, (group + 1) * p.rows_per_group);
  w.plane = group * (p.n_in / kWidePlaneK);
  w.n = smaller(kWideTokens, all.n_tokens - first);
  w.at = w.y_row = first;
  return w;
}

// Runs of slots of routed experts: of a job one matrix after the other, so that its tokens are read
// together. Or, without jobs, runs of the shared one's slots.
struct WideExperts {
  Product p;  // what all have in common
  WideInput in;
  const std::uint8_t* const* tiles[2];
  const float* const* scale[2];
  const std::uint8_t* one_tiles[2];
  const float* one_scale[2];
  std::int64_t one_at;     // row of what enters of the shared one's first slot
  int one_slot, n_tokens;  // its first
  void* y[2];
  const std::int32_t* jobs;
  const std::int32_t* row_of;  // pieces: [slots]
  int n_matrices, row_blocks, n_work;
};
LARES_DEVICE const std::int32_t* rows_of(const WideLinear&) { return nullptr; }
LARES_DEVICE const std::int32_t* rows_of(const WideExperts& all) { return all.row_of; }
template <int blocks>
LARES_DEVICE WideWork wide_work(const WideExperts& all, int i) {
  constexpr int kRows = kWideConsumers * 64 * blocks;
  const int matrix = i / all.row_blocks % all.n_matrices, job = i / all.row_blocks / all.n_matrices;
  WideWork w;
  w.y = all.y[matrix];
  w.row0 = i % all.row_blocks * kRows;
  w.row_end = smaller(w.row0 + kRows, all.p.n_out);
  if (!all.jobs) {
    w.tiles = all.one_tiles[matrix];
    w.scale = all.one_scale[matrix];
    w.n = smaller(kWideTokens, all.n_tokens - job * kWideTokens);
    w.at = all.one_at + job * kWideTokens;
    w.y_row = all.one_slot + job * kWideTokens;
    return w;
  }
  const std::int32_t* const j = all.jobs + 3 * job;
  w.n = j[2] > 0 ? j[2] : -1;  // jobs left over are the last ones
  if (w.n < 0) return w;
  w.tiles = all.tiles[matrix][j[0]];
  if (!w.tiles) w.n = 0;
  w.scale = all.scale[matrix] ? all.scale[matrix][j[0]] : nullptr;
  w.at = wide_row_of(j[1], job);
  w.y_row = j[1];
  return w;
}

// How many others have taken before.
LARES_DEVICE std::uint32_t take_one(std::uint32_t* count) {
#ifdef __CUDACC__
  return atomicAdd(count, 1u);
#else
  return simt::Machine::get().add(count, 1);
#endif
}

// A block's shared memory.
template <Format format, int blocks>
struct WideRing {
  static constexpr WideShared kAt = wide_shared(format, blocks);
  unsigned char* memory = shared<unsigned char>();

  LARES_DEVICE unsigned char* stage(int i) const { return memory + i * kAt.stage; }
  LARES_DEVICE std::int32_t* work(int i) const {
    return reinterpret_cast<std::int32_t*>(stage(i) + kAt.work_at);
  }
  LARES_DEVICE BulkBarrier* full(int i) const {
    return reinterpret_cast<BulkBarrier*>(memory + kAt.barrier_at) + i;
  }
  LARES_DEVICE BulkBarrier* empty(int i) const { return full(kWideStages) + i; }
  LARES_DEVICE std::int32_t* next(int i) const {
    return reinterpret_cast<std::int32_t*>(memory + kAt.next_at) + i;
  }
  LARES_DEVICE std::int32_t* rows() const {
    return reinterpret_cast<std::int32_t*>(memory + kAt.row_at);
  }
  LARES_DEVICE volatile std::int32_t* keep() const {
    return reinterpret_cast<volatile std::int32_t*>(memory + kAt.keep_at) + thread() / 32 * 2;
  }
  LARES_DEVICE float* out(int consumer) const {
    return reinterpret_cast<float*>(memory + kAt.out_at) + consumer * kWideOutTokens * kWideOutRow;
  }
};
// Which stage is next, and the parity of its phase, in one register.
template <int stages>
struct WideTurn {
  std::uint32_t at = 0;
  LARES_DEVICE int stage() const { return static_cast<int>(at / 2); }
  LARES_DEVICE int parity() const { return static_cast<int>(at % 2); }
  LARES_DEVICE void next() {
    at += 2;
    if (at >= 2u * stages) at = (at - 2u * stages) ^ 1u;
  }
};

// The piece behind number i, the first behind -1. By a warp.
LARES_DEVICE int next_work(const WideLinear&, int i) { return i < 0 ? block_x() : i + grid_x(); }
LARES_DEVICE int next_work(const WideExperts& all, int i) {
  if (!all.jobs) return i < 0 ? block_x() : i + grid_x();
  return static_cast<int>(shuffle(thread() % 32 == 0 ? take_one(all.in.taken) : 0, 0));
}

// A warp's share of a piece's stages: a lane a copy, of a tile of 16 rows, or, as planes, of one of
// those, or of the tokens' scales. A tile's own scale comes a stage ahead.
template <Format format, int blocks, WideFrom from>
struct WideFill {
  using Ring = WideRing<format, blocks>;
  static constexpr WideShared kAt = Ring::kAt;
  static constexpr int kTiles = 4 * kWideConsumers * blocks, kTileBytes = tile_bytes(format);
  const std::uint8_t* at = nullptr;
  int step = 0;  // to the next 128 of k
  int to = 0, size = 0, bytes = 0;
  const float* scale = nullptr;
  float ahead = 0;

  LARES_DEVICE WideFill(const WideWork& w, const WideInput& in, int along) {
    const int lane = thread() % 32,
              n_tiles = smaller(kTiles, (w.row_end - w.row0 + kTileRows - 1) / kTileRows),
              rows = static_cast<int>(wide_rows(w.n));
    bytes = n_tiles * kTileBytes;
    if constexpr (from == WideFrom::planes) bytes += 2 * rows * 128 + rows * 4;
    if (lane < n_tiles) {
      at = w.tiles + static_cast<std::int64_t>(w.row0 / kTileRows + lane) * along * kTileBytes;
      step = size = kTileBytes;
      to = kAt.weights_at + lane * kTileBytes;
      if constexpr (format == Format::fp8) {
        scale = w.scale +
                static_cast<std::int64_t>((w.row0 + kTileRows * lane) / kScaleBlock) * along;
        ahead = *scale;
      }
    } else if constexpr (from == WideFrom::planes) {
      if (const int plane = lane - kTiles; plane == 0 || plane == 1) {
        at = in.values + ((w.plane + plane) * in.rows + w.at) * 128;
        step = static_cast<int>(2 * in.rows * 128);
        to = plane * kWidePlaneBytes;
        size = rows * 128;
      } else if (plane == 2) {
        at = reinterpret_cast<const std::uint8_t*>(in.scale + w.plane / 2 * in.rows + w.at);
        step = static_cast<int>(in.rows * 4);
        to = kAt.scale_at;
        size = rows * 4;
      }
    }
  }
  // The next 128 of k, number `t`, into an empty stage.
  LARES_DEVICE void fill(const Ring& ring, int stage, int t, int along, int work) {
    const int lane = thread() % 32;
    if (scale) {
      reinterpret_cast<float*>(ring.stage(stage) + kAt.tile_scale_at)[lane] = ahead;
      if (t + 1 < along) ahead = scale[t + 1];
    }
    if (t == 0 && lane == 0) *ring.work(stage) = work;
    sync_warp();
    if (lane == 0) announce_ring(ring.full(stage), bytes);
    sync_warp();
    if (size > 0) copy_ring(ring.stage(stage) + to, at, size, ring.full(stage));
    at += step;
  }
};

// By one warp: weights, and of planes tokens, too. Where others bring those, it tells them what the
// next piece is.
template <Format format, bool codes_in, int blocks, WideFrom from, class All>
LARES_DEVICE void fill_ring(const WideRing<format, blocks>& ring, const All& all) {
  constexpr WideShared kAt = WideRing<format, blocks>::kAt;
  const int lane = thread() % 32, along = along_of(all.p.n_in);
  WideTurn<kAt.stages> turn;
  int round = 0;
  for (int i = next_work(all, -1), next;; i = next) {
    if constexpr (from != WideFrom::planes) {
      if (lane == 0) *ring.next(round) = i;
      sync_some(1 + kWideConsumers, 32 + kWideGatherers);
      round ^= 1;
    }
    if (i >= all.n_work) break;
    next = next_work(all, i);  // long before it is needed
    const WideWork w = wide_work<blocks>(all, i);
    if (w.n < 0) break;
    if (w.n == 0) continue;
    WideFill<format, blocks, from> own(w, all.in, along);
    for (int t = 0; t < along; ++t) {
      wait_ring(ring.empty(turn.stage()), turn.parity() ^ 1);
      own.fill(ring, turn.stage(), t, along, i);
      turn.next();
    }
  }
  wait_ring(ring.empty(turn.stage()), turn.parity() ^ 1);
  if (lane == 0) {
    *ring.work(turn.stage()) = -1;
    arrive_ring(ring.full(turn.stage()));
  }
}

// By the other three warps of its warpgroup: tokens by rows, each thread some of their values. What
// a thread has copied it publishes, and arrives for, when it has the next stage of the piece on its
// way, or none is left.
template <Format format, int blocks, WideFrom from, class All>
LARES_DEVICE void gather_tokens(const WideRing<format, blocks>& ring, const All& all, int own) {
  constexpr WideShared kAt = WideRing<format, blocks>::kAt;
  // Of a copy; of a token's 128 bytes; tokens at a time
  constexpr int kBytes = from == WideFrom::pairs ? 4 : 16, kLanes = 128 / kBytes,
                kStep = kWideGatherers / kLanes;
  const int along = along_of(all.p.n_in), part = own % kLanes;
  // Where they go: pairs of a 32-group to its four pieces, as tiles.h orders k.
  const int piece = from == WideFrom::pairs ? part / 16 * 4 + part % 4 : part,
            within = from == WideFrom::pairs ? part % 16 / 4 * 4 : 0;
  WideTurn<kAt.stages> turn;
  for (int round = 0;; round ^= 1) {
    sync_some(1 + kWideConsumers, 32 + kWideGatherers);
    const int i = *ring.next(round);
    if (i >= all.n_work) break;
    const WideWork w = wide_work<blocks>(all, i);
    if (w.n < 0) break;
    if (w.n == 0) continue;
    const int n = w.n, plane0 = w.plane;
    const bf16* pairs = nullptr;
    if constexpr (from == WideFrom::pairs) {
      pairs = all.p.x + (w.at + own / kLanes) * all.p.x_stride + plane0 * kWidePlaneK + 2 * part;
    } else {
      for (int token = own; token < n; token += kWideGatherers)
        ring.rows()[token] = rows_of(all) ? rows_of(all)[w.y_row + token]
                                          : static_cast<std::int32_t>(w.at) + token;
      sync_some(2 + kWideConsumers, kWideGatherers);
    }
    int last = 0;  // the stage before
    for (int t = 0; t < along; ++t) {
      wait_ring(ring.empty(turn.stage()), turn.parity() ^ 1);
      unsigned char* const stage = ring.stage(turn.stage());
      if constexpr (from == WideFrom::pairs) {
        const int k = t * kTileK + 2 * part;
        const bf16* x = pairs + t * kTileK;
        LARES_UNROLL_2 for (int token = own / kLanes; token < n; token += kStep) {
          LARES_UNROLL for (int plane = 0; plane < 2; ++plane)
              copy_later<kBytes>(stage + plane * kWidePlaneBytes + swizzled(token, piece) + within,
                                 x + plane * kWidePlaneK, k + plane * kWidePlaneK < all.p.n_in);
          x += kStep * all.p.x_stride;
        }
      } else {
        LARES_UNROLL_4 for (int token = own / kLanes; token < n; token += kStep) {
          const std::uint8_t* const x = all.in.values + ring.rows()[token] * all.in.row_step +
                                        (plane0 + 2 * t) * 128 + 16 * part;
          LARES_UNROLL for (int plane = 0; plane < 2; ++plane) copy_later<kBytes>(
              stage + plane * kWidePlaneBytes + swizzled(token, piece), x + plane * 128);
        }
        for (int token = own; token < kWideTokens; token += kWideGatherers)
          copy_later<4>(
              stage + kAt.scale_at + 4 * token,
              all.in.scale + (plane0 / 2 + t) * all.in.rows + (token < n ? ring.rows()[token] : 0),
              token < n);
      }
      commit_copies();
      if (t > 0) {
        finish_copy_groups<1>();
        publish_shared();
        arrive_ring(ring.full(last));
      }
      last = turn.stage();
      turn.next();
    }
    finish_copy_groups<0>();
    publish_shared();
    arrive_ring(ring.full(last));
  }
  wait_ring(ring.empty(turn.stage()), turn.parity() ^ 1);
  arrive_ring(ring.full(turn.stage()));  // the one that says that there is no more
}

// A warpgroup's results [64, 128] of rows row0 .. to y, 32 tokens at a time by way of shared
// memory: eight lanes write 64 rows of a token.
LARES_DEVICE void write_wide(const Product& p, const WideWork& w, const float (&acc)[64], int row0,
                             float by, float* out, int barrier) {
  const int own = thread() % 128, warp = own / 32, lane = own % 32, g = lane / 4, q = lane % 4;
  LARES_UNROLL for (int part = 0; part < kWideTokens / kWideOutTokens; ++part) {
    const int first = part * kWideOutTokens;
    if (first >= w.n) break;
    sync_some(barrier, 128);  // what was there is written
    LARES_UNROLL for (int i = 0; i < 16; ++i)
        out[(i / 4 * 8 + 2 * q + i % 2) * kWideOutRow + 16 * warp + g + i % 4 / 2 * 8] =
            acc[16 * part + i] * by;
    sync_some(barrier, 128);
    LARES_UNROLL for (int round = 0; round < kWideOutTokens / 16; ++round) {
      const int token = own / 8 + 16 * round, row = row0 + own % 8 * 8,
                rows = smaller(8, w.row_end - row);
      if (first + token >= w.n || rows <= 0) continue;
      float v[8];
      LARES_UNROLL for (int i = 0; i < 2; ++i) {
        const Vec16 four =
            *reinterpret_cast<const Vec16*>(out + token * kWideOutRow + own % 8 * 8 + 4 * i);
        LARES_UNROLL for (int c = 0; c < 4; ++c) v[4 * i + c] = float_of(four.w[c]);
      }
      const std::int64_t to = (w.y_row + first + token) * p.y_stride + row;
      if (p.y_f32) {
        float* const y = static_cast<float*>(w.y) + to;
        if (rows == 8 && reinterpret_cast<std::uintptr_t>(y) % 16 == 0) {
          LARES_UNROLL for (int i = 0; i < 2; ++i) reinterpret_cast<Vec16*>(y)[i] =
              Vec16{{bits_of(v[4 * i]), bits_of(v[4 * i + 1]), bits_of(v[4 * i + 2]),
                     bits_of(v[4 * i + 3])}};
        } else {
          LARES_UNROLL for (int i = 0; i < 8; ++i) if (i < rows) y[i] = v[i];
        }
      } else {
        bf16* const y = static_cast<bf16*>(w.y) + to;
        if (rows == 8 && reinterpret_cast<std::uintptr_t>(y) % 16 == 0) {
          *reinterpret_cast<Vec16*>(y) = Vec16{{bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]),
                                                bf16_pair(v[4], v[5]), bf16_pair(v[6], v[7])}};
        } else {
          LARES_UNROLL for (int i = 0; i < 8; ++i) if (i < rows) y[i] = to_bf16(v[i]);
        }
      }
    }
  }
}

// One of two warpgroups.
template <Format format, bool codes_in, int blocks, class All>
LARES_DEVICE void empty_ring(const WideRing<format, blocks>& ring, const All& all, int consumer) {
  constexpr WideShared kAt = WideRing<format, blocks>::kAt;
  constexpr int kRows = 64 * blocks, kTiles = 4 * blocks, kTileBytes = tile_bytes(format);
  const int warp = thread() % 128 / 32, lane = thread() % 32, along = along_of(all.p.n_in);
  WideTurn<kAt.stages> turn;
  for (;;) {
    wait_ring(ring.full(turn.stage()), turn.parity());
    const int i = *ring.work(turn.stage());
    if (i < 0) break;
    if (lane == 0) {
      ring.keep()[0] = i;
      ring.keep()[1] = wide_work<blocks>(all, i).n;
    }
    sync_warp();
    float acc[blocks][64] = {};
    for (int t = 0; t < along; ++t) {
      wait_ring(ring.full(turn.stage()), turn.parity());
      unsigned char* const at = ring.stage(turn.stage());
      const unsigned char* const weights = at + kAt.weights_at + consumer * kTiles * kTileBytes;
      const WideStage stage{
          at, weights + warp * kTileBytes, reinterpret_cast<const float*>(at + kAt.scale_at),
          reinterpret_cast<const float*>(at + kAt.tile_scale_at) + consumer * kTiles + warp};
      const int n = ring.keep()[1];
      bool odd = false;
      if constexpr (codes_in) odd = odd_scales(stage.scale, static_cast<int>(wide_rows(n)));
      if (odd) {
        if constexpr (codes_in) slow_tile<format, blocks>(acc, stage);
      } else if (n > kWideHalf) {
        wide_tile<format, codes_in, blocks, 2>(acc, stage);
      } else {
        wide_tile<format, codes_in, blocks, 1>(acc, stage);
      }
      sync_warp();
      if (lane == 0) arrive_ring(ring.empty(turn.stage()));
      turn.next();
    }
    // The next one is kept behind write_wide()'s barriers
    const WideWork done = wide_work<blocks>(all, ring.keep()[0]);
    LARES_UNROLL for (int m = 0; m < blocks; ++m)
        write_wide(all.p, done, acc[m], done.row0 + consumer * kRows + 64 * m,
                   format == Format::fp4 ? kWideFp4 : 1.0f, ring.out(consumer), 1 + consumer);
  }
}

template <Format format, bool codes_in, int blocks, WideFrom from, class All>
LARES_DEVICE void wide_block(const All& all) {
  static_assert((from == WideFrom::pairs) == !codes_in);
  const WideRing<format, blocks> ring;
  if (thread() == 0) {
    LARES_ROLLED for (int i = 0; i < WideRing<format, blocks>::kAt.stages; ++i) {
      make_ring_barrier(ring.full(i), from == WideFrom::planes ? 1 : 1 + kWideGatherers);
      make_ring_barrier(ring.empty(i), 4 * kWideConsumers);
    }
    publish_ring_barriers();
  }
  sync_block();
  wait_for_inputs();
  const int group = thread() / 128;
  if (group == kWideConsumers) {
    give_registers<wide_producer_registers(from)>();
    if (thread() % 128 < 32) {
      fill_ring<format, codes_in, blocks, from>(ring, all);
    } else {
      if constexpr (from != WideFrom::planes)
        gather_tokens<format, blocks, from>(ring, all, thread() % 128 - 32);
    }
  } else {
    take_registers<wide_consumer_registers(from)>();
    empty_ring<format, codes_in, blocks>(ring, all, group);
  }
}

template <Format format, bool codes_in, int blocks>
LARES_KERNEL(kWideThreads, 1)
wide_linear_kernel(const WideLinear all) {
  wide_block<format, codes_in, blocks, codes_in ? WideFrom::planes : WideFrom::pairs>(all);
}
template <Format format, int blocks, WideFrom from>
LARES_KERNEL(kWideThreads, 1)
wide_experts_kernel(const WideExperts all) {
  wide_block<format, true, blocks, from>(all);
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
