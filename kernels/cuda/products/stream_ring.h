// A stream's rings: tiles on their way, and the warps that multiply them.
#pragma once

#include "kernels/cuda/products/stream_block.h"
#include "kernels/cuda/products/stream_tiles.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

template <int kinds, bool experts>
LARES_DEVICE bool StreamBlock<kinds, experts>::fetch_next(int warp, int slot_at) {
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

template <int kinds, bool experts>
LARES_DEVICE void StreamBlock<kinds, experts>::make_rings() const {
  const int warp = thread() - 32 * kStreamWarps;
  if (warp < 0 || warp >= kStreamWarps) return;
  make_barriers(barrier(warp, 0), plan().slots);
  counts().next_segment[warp] = 0;
}

template <int kinds, bool experts>
LARES_DEVICE void StreamBlock<kinds, experts>::fetch_first() {
  const int warp = thread() / 32;
  if (thread() % 32 == 0 && warp < kStreamWarps) {
    LARES_ROLLED for (int i = 0; i < plan().slots; ++i) if (!fetch_next(warp, i)) break;
  }
  sync_warp();
}

template <int kinds, bool experts>
LARES_DEVICE void StreamBlock<kinds, experts>::fetch_first(const StreamShares& shares) {
  static_assert((kStreamWarps & (kStreamWarps - 1)) == 0);
  const int warp = thread() / 32, lane = thread() & 31, item = lane & (kLinearTogether - 1);
  if (lane < plan().slots) make_barriers(barrier(warp, lane), 1);
  sync_warp();
  const StreamRun& run = shares.run[item];
  const StreamPart part = part_of(shares, block_x(), lane & (kStreamParts - 1));
  const bool some = lane < kStreamParts && part.begin < part.end;
  // A part's units that are the warp's: the first of them, how many, and how many before them.
  const int skip = (warp - part.before) & (kStreamWarps - 1);
  int unit = part.begin + skip, at = (part.before + skip) / kStreamWarps,
      left = some ? larger(part.end - unit + kStreamWarps - 1, 0) / kStreamWarps : 0;
  const std::uint8_t* from = run.tiles +
                             static_cast<std::int64_t>(unit - run.units_before) * run.bytes;
  LARES_ROLLED for (; left > 0 && at < plan().slots; ++at, --left, unit += kStreamWarps) {
    bulk_copy(slot(warp, at), from, run.bytes, barrier(warp, at));
    from += kStreamWarps * run.bytes;
  }
  // Who has the next one; the next segment is the one behind its.
  const std::uint32_t next_one = ballot(left > 0 && at == plan().slots),
                      whole = ballot(some && lane == item);
  const int owner = next_one ? count_bits(next_one - 1) : 0;
  const int next_unit = shuffle(unit, owner), units_left = shuffle(left, owner);
  if (lane > 0) return;
  int& next_segment = counts().next_segment[warp];
  if (!next_one) {
    next_segment = 1 + count_bits(whole);
    return;
  }
  next_segment = owner < kLinearTogether ? 2 + count_bits(whole & ((1u << owner) - 1)) : 1;
  const StreamRun& of = shares.run[owner & (kLinearTogether - 1)];
  fetch = {of.tiles + static_cast<std::int64_t>(next_unit - of.units_before) * of.bytes, units_left,
           of.bytes};
}

template <int kinds, bool experts>
LARES_DEVICE void StreamBlock<kinds, experts>::ask_scales() const {
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
    for (const char* line =
             reinterpret_cast<const char*>(block(s.begin)) + (thread() - 32 * kStreamWarps) * kLine;
         line < last; line += 32 * kFoldWarps * kLine)
      ask_line(line);
  }
}

template <int kinds, bool experts>
template <Format format, bool codes_in, bool few>
LARES_DEVICE void StreamBlock<kinds, experts>::multiply_batch(const std::uint16_t* x, int n,
                                                              int along, int unit, int first,
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

}  // namespace lares::kernels::cuda::inline LARES_SIDE
