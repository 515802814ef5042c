// How the tiles of a linear() are shared out between the blocks of its stream: by the host when it
// launches, so that a block asks for its first tiles at once. Experts' blocks do it by themselves
// (share_out()), for which experts there are is known on the device.
#pragma once

#include "kernels/cuda/products/stream_plan.h"

namespace lares::kernels::cuda {

// A product of a linear() as its first copies need it.
struct StreamRun {
  const std::uint8_t* tiles;
  int units_before;  // of all products before; those behind the last have all
  int unit, bytes;   // tiles that go into a slot together, and theirs
  int key;           // of the first group of what enters: Piece's
};
// Where a block's stretch begins, in units of all products, and how many of its last units it takes
// first: its part of a row that it shares with the next block.
struct StreamCut {
  int unit, tail;
};
// All blocks' stretches, which the next one's beginning ends.
struct StreamShares {
  StreamRun run[kLinearTogether + 1];
  StreamCut cut[kScratchBlocks + 1];
};
static_assert(sizeof(StreamArgs) + sizeof(StreamShares) <= 4096,
              "what every driver lets a kernel have");
StreamShares shares_of(const StreamArgs& s, int blocks);  // up to kScratchBlocks

// Units [begin, end) of all products that are part `part` of a block's stretch, if begin < end, and
// how many of its units come before: first parts are the stretch without its tail, product by
// product, then the tail, product by product, which comes before all others.
struct StreamPart {
  int begin, end, before;
};
inline constexpr int kStreamParts = 2 * kLinearTogether;
LARES_BOTH StreamPart part_of(const StreamShares& s, int block, int part) {
  const StreamCut from = s.cut[block];
  static_assert((kLinearTogether & (kLinearTogether - 1)) == 0);
  const int run = part & (kLinearTogether - 1), end = s.cut[block + 1].unit, body = end - from.tail;
  const bool tail = part >= kLinearTogether;
  const int first = tail ? body : from.unit, begin = larger(first, s.run[run].units_before);
  return {begin, smaller(tail ? end : body, s.run[run + 1].units_before),
          (tail ? 0 : from.tail) + begin - first};
}

}  // namespace lares::kernels::cuda
