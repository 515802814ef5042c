// Which tiles a block of a stream takes: its stretch of all pieces, and the visits it makes there.
#pragma once

#include "kernels/cuda/products/stream_block.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

template <int kinds, bool experts>
LARES_DEVICE void StreamBlock<kinds, experts>::share_out(Divisor blocks) {
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
    const auto block = static_cast<std::uint32_t>(block_x());
    // The first `rest` blocks have one more
    const std::uint32_t each = divided(total, blocks), rest = total - each * blocks.by;
    const std::uint32_t from = each * block + (block < rest ? block : rest),
                        to = from + each + (block < rest);
    const bool cuts = all.scratch && each >= static_cast<std::uint32_t>(all.cut_from);
    int n = 1;
    bool any_tail = false;
    LARES_ROLLED for (int base = 0; base < n_pieces; base += 32) {
      const int i = base + thread();
      Segment whole{i, 0, 0, 0}, tail{i, 0, 0, 0};
      if (i < n_pieces) {
        const int item = p[i].item;
        const Product& product = all.item[item];
        const int along = along_of(product.n_in), unit = cuts ? together(product) : along;
        const std::uint32_t first = i > 0 ? p[i - 1].cost : 0, cost = p[i].cost - first;
        const Divisor of_unit = all.cost[item + (cuts ? kExpertItems : 0)];
        const auto tile = [&](std::uint32_t at) {
          const std::uint32_t own = at <= first ? 0 : at - first >= cost ? cost : at - first;
          return static_cast<int>(divided(own + of_unit.by - 1, of_unit)) * unit;
        };
        whole.begin = tile(from);
        whole.end = tail.begin = tail.end = tile(to);
        const int row = divided(whole.end, all.along[item]) * along;
        if (whole.begin < whole.end && row != whole.end)
          whole.end = tail.begin = larger(whole.begin, row);
      }
      const std::uint32_t some = ballot(whole.begin < whole.end);
      if (whole.begin < whole.end)
        segments()[n + count_bits(some & ((1u << thread()) - 1))] = whole;
      n += count_bits(some);
      if (tail.begin < tail.end) segments()[0] = tail;
      any_tail |= ballot(tail.begin < tail.end) != 0;
    }
    if (thread() == 0) {
      if (!any_tail) segments()[0] = {0, 0, 0, 0};
      counts().segments = n;
    }
    sync_warp();
    int units = 0;  // of segments before
    LARES_ROLLED for (int base = 0; base < n; base += 32) {
      Segment& of = segments()[base + thread()];
      const int here = smaller(n - base, 32);
      const int own = thread() < here
                          ? units_of(of.end - of.begin, together(all.item[p[of.piece].item]))
                          : 0;
      int before = units;
      LARES_ROLLED for (int i = 0; i < here; ++i) {
        const int other = shuffle(own, i);
        units += other;
        if (i < thread()) before += other;
      }
      if (thread() < here) of.before = before;
    }
  }
  sync_block();
}

template <int kinds, bool experts>
LARES_DEVICE void StreamBlock<kinds, experts>::put_shares(const StreamShares& shares) const {
  const int lane = thread() & 31, item = lane & (kLinearTogether - 1);
  if (lane < n_pieces) {
    const Product& p = all.item[lane];
    pieces()[lane] = {p.tiles, p.scale, 0, lane, 0, all.n_tokens, shares.run[lane].key};
  }
  const StreamPart part = lane < kStreamParts ? part_of(shares, block_x(), lane) : StreamPart{};
  const std::uint32_t some = ballot(part.begin < part.end),
                      whole = some & ((1u << kLinearTogether) - 1);
  if (part.begin < part.end) {
    const StreamRun& run = shares.run[item];
    segments()[lane == item ? 1 + count_bits(whole & ((1u << lane) - 1)) : 0] = {
        item, (part.begin - run.units_before) * run.unit, (part.end - run.units_before) * run.unit,
        part.before};
  }
  if (lane > 0) return;
  if (some == whole) segments()[0] = {0, 0, 0, 0};
  counts().segments = 1 + count_bits(whole);
}

template <int kinds, bool experts>
LARES_DEVICE void StreamBlock<kinds, experts>::plan_visits() const {
  Visit* const to = visits();
  int n = 0;
  LARES_ROLLED for (int i = 0; i < counts().segments; ++i) {
    const Segment& s = segments()[i];
    const Piece& p = pieces()[s.piece];
    const Product& product = all.item[p.item];
    const Divisor of_row = all.along[p.item], of_group = all.group_rows[p.item];
    const int along = along_of(product.n_in);
    LARES_ROLLED for (int begin = s.begin, end; begin < s.end; begin = end) {
      const int row = divided(begin, of_row), group = divided(row, of_group);
      // The next group multiplies other columns
      end = smaller(s.end, (group + 1) * static_cast<int>(of_group.by) * along);
      if (begin != row * along)
        end = smaller(end, (row + 1) * along);
      else if (const int whole = divided(end, of_row) * along; whole > begin)
        end = whole;
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

}  // namespace lares::kernels::cuda::inline LARES_SIDE
