// Which tiles a block of a stream takes: its stretch of all pieces, and the visits it makes there.
#pragma once

#include "kernels/cuda/products/stream_block.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

template <int kinds, bool experts>
LARES_DEVICE void StreamBlock<kinds, experts>::share_out() {
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
                            of_unit = static_cast<std::uint32_t>(unit * tile_cost(product.format));
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

template <int kinds, bool experts>
LARES_DEVICE void StreamBlock<kinds, experts>::plan_visits() const {
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

}  // namespace lares::kernels::cuda::inline LARES_SIDE
