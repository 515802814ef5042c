// How a stream's tiles are shared out: by the host for linear(), on the device for experts, both as
// a scan over all products says, tile by tile.
#include <array>

#include "kernels/cuda/products/stream_kernels.h"
#include "tests/kernels/cuda_emulation.h"

namespace lares::kernels::cuda {
namespace {

TEST(CudaShares, DivideEveryNumber) {
  std::uint32_t random = 1;
  const auto next = [&] { return random = random * 1664525u + 1013904223u; };
  std::vector<std::uint32_t> by = {1,     2,          3,          7,          17,
                                   34,    64,         132,        4352,       65535,
                                   65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF};
  for (int i = 0; i < 200; ++i) by.push_back(std::max(next() >> i % 32, 1u));
  for (const std::uint32_t d : by) {
    std::vector<std::uint32_t> of = {0, 1, d - 1, d, d + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF};
    for (int i = 0; i < 200; ++i) {
      of.push_back(next() >> i % 32);
      of.push_back(of.back() / d * d);  // where rounding decides
      of.push_back(of.back() - 1);
    }
    for (const std::uint32_t n : of) ASSERT_EQ(divided(n, divisor(d)), n / d) << n << " by " << d;
  }
}

struct Share {
  int piece, begin, end, before;
  bool operator==(const Share&) const = default;
};
void PrintTo(const Share& s, std::ostream* to) {
  *to << s.piece << ": [" << s.begin << ", " << s.end << ") behind " << s.before;
}
// A block's segments, the tail first, which may be empty.
using Shares = std::vector<Share>;

// What a block takes by the costs of all pieces, which are products of `s`.
Shares by_scan(const StreamArgs& s, const std::vector<int>& item, std::uint32_t blocks,
               std::uint32_t block) {
  std::uint32_t total = 0;
  const auto cost_of = [&](int i) {
    return static_cast<std::uint32_t>(tile_rows(s.item[i].n_out) * along_of(s.item[i].n_in) *
                                      (cuda::tile_bytes(s.item[i].format) / 64));
  };
  for (const int i : item) total += cost_of(i);
  const std::uint32_t each = total / blocks, rest = total % blocks,
                      from = each * block + std::min(block, rest),
                      to = from + each + (block < rest);
  const bool cuts = s.scratch && each >= static_cast<std::uint32_t>(s.cut_from);
  Shares found = {{0, 0, 0, 0}};
  std::uint32_t first = 0;
  for (int piece = 0; piece < static_cast<int>(item.size()); ++piece) {
    const int own = item[static_cast<std::size_t>(piece)], along = along_of(s.item[own].n_in);
    const std::uint32_t cost = cost_of(own);
    const int unit = cuts ? together(s.plan, s.item[own]) : along,
              unit_cost = unit * (cuda::tile_bytes(s.item[own].format) / 64);
    const auto tile = [&](std::uint32_t at) {
      const std::uint32_t within = std::clamp(at, first, first + cost) - first;
      return (static_cast<int>(within) + unit_cost - 1) / unit_cost * unit;
    };
    const int begin = tile(from), end = tile(to), last_row = std::max(begin, end / along * along);
    if (begin < last_row) found.push_back({piece, begin, last_row, 0});
    if (last_row < end) found[0] = {piece, last_row, end, 0};
    first += cost;
  }
  int units = 0;
  for (Share& f : found) {
    f.before = units;
    units += (f.end - f.begin) / together(s.plan, s.item[item[static_cast<std::size_t>(f.piece)]]);
  }
  return found;
}

// What `share`, by all threads of each block, has left in shared memory.
template <class Block, class Do>
std::vector<Shares> left_by(const StreamArgs& s, int n_pieces, int blocks, Do share) {
  constexpr int kMost = kPiecesMax + 1;
  std::vector<Segment> segments(static_cast<std::size_t>(blocks) * kMost);
  std::vector<int> n(static_cast<std::size_t>(blocks));
  simt::Machine::get().run(
      {blocks}, kStreamThreads, static_cast<std::size_t>(s.plan.bytes), simt::Order::scattered,
      [&] {
        Block block{s, n_pieces};
        share(block);
        sync_block();
        if (thread() > 0) return;
        const auto own = static_cast<std::size_t>(block_x());
        n[own] = block.counts().segments;
        for (int i = 0; i < n[own]; ++i)
          segments[own * kMost + static_cast<std::size_t>(i)] = block.segments()[i];
      });
  std::vector<Shares> found(static_cast<std::size_t>(blocks));
  for (std::size_t b = 0; b < found.size(); ++b)
    for (std::size_t i = 0; i < static_cast<std::size_t>(n[b]); ++i) {
      const Segment& of = segments[b * kMost + i];
      found[b].push_back({of.piece, of.begin, of.end, of.before});
    }
  return found;
}

LinearArgs product_of(Format format, int n_out, int n_in, int n_tokens, int rows_per_group = 0) {
  alignas(16) static const std::array<bf16, 8> x{};
  static const std::array<float, 1> scale{};
  LinearArgs a{.w = {.format = format, .scale = scale.data(), .n_out = n_out, .n_in = n_in},
               .x = x.data(),
               .x_stride = n_in,
               .y_stride = n_out,
               .n_tokens = n_tokens,
               .rows_per_group = rows_per_group};
  a.quantise = format == Format::fp4 || (format == Format::fp8 && rows_per_group == 0);
  return a;
}

// `emulate`: what blocks make of the host's, too. Returns how many tails there were.
int agree(const std::vector<LinearArgs>& together, int blocks, bool cut, bool emulate) {
  Products all;
  EXPECT_TRUE(products(together, all).ok());
  StreamScratch* const scratch = reinterpret_cast<StreamScratch*>(alignof(StreamScratch));
  const StreamArgs s = stream_of(all, {cut ? scratch : nullptr});  // whose memory nobody reads
  EXPECT_GT(s.plan.slots, 0);
  std::vector<int> items;
  for (int i = 0; i < s.n_items; ++i) items.push_back(i);
  std::vector<Shares> want;
  int tails = 0;
  for (int b = 0; b < blocks; ++b) {
    want.push_back(
        by_scan(s, items, static_cast<std::uint32_t>(blocks), static_cast<std::uint32_t>(b)));
    tails += want.back()[0].begin < want.back()[0].end;
  }
  const StreamShares shares = shares_of(s, blocks);
  for (int b = 0; b < blocks; ++b) {
    Shares found = {{0, 0, 0, 0}};
    for (int i = 0; i < kStreamParts; ++i) {
      const StreamPart part = part_of(shares, b, i);
      const int piece = i % kLinearTogether;
      const StreamRun& run = shares.run[piece];
      if (part.begin >= part.end) continue;
      const Share of{piece, (part.begin - run.units_before) * run.unit,
                     (part.end - run.units_before) * run.unit, part.before};
      if (i < kLinearTogether)
        found.push_back(of);
      else
        found[0] = of;
    }
    EXPECT_EQ(found, want[static_cast<std::size_t>(b)]) << "block " << b << " of " << blocks;
  }
  if (!emulate) return tails;
  using Linear = StreamBlock<kFp8Codes | kFp8Plain | kBf16 | kFp4, false>;
  EXPECT_EQ(left_by<Linear>(s, s.n_items, blocks,
                            [&](Linear& block) {
                              if (thread() / 32 == kStreamWarps) block.put_shares(shares);
                            }),
            want);
  return tails;
}

TEST(CudaShares, OfALinearAreThoseOfAScan) {
  const Format formats[] = {Format::fp8, Format::bf16, Format::fp4};
  std::uint32_t random = 7;
  const auto up_to = [&](int n) {
    random = random * 1664525u + 1013904223u;
    return static_cast<int>((random >> 8) % static_cast<std::uint32_t>(n));
  };
  int tails = 0;
  for (int i = 0; i < 400; ++i) {
    SCOPED_TRACE(testing::Message() << "launch " << i);
    std::vector<LinearArgs> together;
    const int n_tokens = 1 + up_to(3), n = 1 + up_to(kLinearTogether),
              blocks = 1 + up_to(i < 40 ? 7 : kScratchBlocks);
    for (int p = 0; p < n; ++p)
      together.push_back(product_of(formats[up_to(3)], 1 + up_to(2000),
                                    32 * (1 + up_to(up_to(2) ? 64 : 9)), n_tokens));
    tails += agree(together, blocks, up_to(4) > 0, i < 40);
  }
  EXPECT_GT(tails, 1000);
}

TEST(CudaShares, OfAModelsProductsAreThoseOfAScan) {
  const std::vector<std::vector<LinearArgs>> launches = {
      {product_of(Format::fp8, 32768, 1024, 1)},
      {product_of(Format::fp8, 32768, 1024, 1), product_of(Format::fp8, 8192, 1024, 1)},
      {product_of(Format::fp8, 8192, 4096, 1, 1024)},
      {product_of(Format::fp8, 4096, 8192, 1)},
      {product_of(Format::fp8, 1024, 4096, 1), product_of(Format::fp8, 512, 4096, 1),
       product_of(Format::bf16, 1024, 4096, 1), product_of(Format::bf16, 1024, 4096, 1),
       product_of(Format::bf16, 256, 4096, 1), product_of(Format::bf16, 256, 4096, 1),
       product_of(Format::bf16, 64, 4096, 1)},
      {product_of(Format::bf16, 256, 4096, 1), product_of(Format::fp8, 2048, 4096, 1),
       product_of(Format::fp8, 2048, 4096, 1)},
      {product_of(Format::bf16, 129280, 4096, 1)}};
  for (const auto& together : launches)
    for (const int blocks : {1, 5, 78, 114, 132, 144, kScratchBlocks})
      for (const bool cut : {false, true}) {
        SCOPED_TRACE(testing::Message() << blocks << " blocks, n_out " << together[0].w.n_out);
        agree(together, blocks, cut, false);
      }
}

TEST(CudaShares, OfExpertsAreThoseOfAScan) {
  using Experts = StreamBlock<kFp4 | kFp8Codes, true>;
  for (const int n_in : {128, 384, 1024, 2176})
    for (const int n_pieces : {1, 3, 14, 31, 33, 100})
      for (const int blocks : {1, 3, 13})
        for (const bool cut : {false, true}) {
          SCOPED_TRACE(testing::Message() << n_pieces << " of " << n_in << ", " << blocks
                                          << " blocks" << (cut ? ", cut" : ""));
          Products all;
          ASSERT_TRUE(products(std::array{product_of(Format::fp4, 200, n_in, 2),
                                          product_of(Format::fp8, 72, n_in, 2)},
                               all)
                          .ok());
          const StreamArgs s = stream_of(
              all, {cut ? reinterpret_cast<StreamScratch*>(alignof(StreamScratch)) : nullptr});
          std::vector<int> items;
          for (int i = 0; i < n_pieces; ++i) items.push_back(i % 3 == 2);
          std::vector<Shares> want;
          for (int b = 0; b < blocks; ++b)
            want.push_back(by_scan(s, items, static_cast<std::uint32_t>(blocks),
                                   static_cast<std::uint32_t>(b)));
          EXPECT_EQ(left_by<Experts>(s, n_pieces, blocks,
                                     [&](Experts& block) {
                                       if (thread() < n_pieces) {
                                         Piece& p = block.pieces()[thread()];
                                         p.item = items[static_cast<std::size_t>(thread())];
                                         p.cost = static_cast<std::uint32_t>(
                                                      tile_rows(s.item[p.item].n_out)) *
                                                  row_cost(s.item[p.item]);
                                       }
                                       block.share_out(divisor(static_cast<std::uint32_t>(blocks)));
                                     }),
                    want);
        }
}

}  // namespace
}  // namespace lares::kernels::cuda
