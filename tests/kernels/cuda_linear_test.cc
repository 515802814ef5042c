// The bodies of linear() on the CPU, a fiber a thread: against float64, few tokens against many,
// and every order of threads.
#include "kernels/cuda/elementwise_kernels.h"
#include "kernels/cuda/products/linear_kernels.h"
#include "kernels/cuda/products/linear_stream.h"
#include "tests/kernels/cuda_few.h"
#include "tests/kernels/cuda_mixes.h"

namespace lares::kernels::cuda {
namespace {

using namespace test;

TEST(CudaTiles, EveryWeightHasAPlaceOfItsOwn) {
  for (const Format format : {Format::bf16, Format::fp8, Format::fp4}) {
    std::vector<int> bits(static_cast<std::size_t>(cuda::tile_bytes(format)) * 8, 0);
    for (int row = 0; row < kTileRows; ++row)
      for (int k = 0; k < kTileK; ++k) {
        const TilePlace at = tile_place(format, row, k);
        for (int b = 0; b < at.n_bits; ++b) ++bits[static_cast<std::size_t>(at.magnitude + b)];
        if (format != Format::bf16) ++bits[static_cast<std::size_t>(at.sign)];
      }
    if (format == Format::fp4)
      for (int row = 0; row < kTileRows; ++row)
        for (int j = 0; j < 4; ++j)
          for (int b = 0; b < 8; ++b)
            ++bits[static_cast<std::size_t>(tile_scale_at(row, j) * 8 + b)];
    EXPECT_EQ(std::count(bits.begin(), bits.end(), 1), static_cast<std::ptrdiff_t>(bits.size()))
        << static_cast<int>(format);
  }
}

TEST(CudaFormats, EveryCodeIsExactAsAnOperand) {
  simt::Machine& machine = simt::Machine::get();
  for (int c = 0; c < 256; ++c) {
    if ((c & 127) == 127) continue;
    const std::uint32_t word = static_cast<std::uint32_t>(c) << 8 |
                               static_cast<std::uint32_t>(c ^ 128) << 16;
    const float want = e4m3_value(static_cast<std::uint8_t>(c));
    EXPECT_EQ(machine.f16(static_cast<std::uint16_t>(e4m3_f16(spread_low(word)) >> 16)) * kF16Code,
              want)
        << c;
    EXPECT_EQ(machine.f16(static_cast<std::uint16_t>(e4m3_f16(spread_high(word)))) * kF16Code,
              -want)
        << c;
    EXPECT_EQ(bf16_value(times_2_120(e4m3_bf16(spread_low(word))) >> 16), want) << c;
    EXPECT_EQ(e4m3_code(want), c);
    EXPECT_EQ(e4m3_rounded(want), want);
    // In a tile's word, beside others.
    for (int pair = 0; pair < 2; ++pair)
      for (const int half : {0, 16}) {
        const CodePair at = kFp8Pairs[pair];
        const std::uint32_t own = 0x7Fu << (at.magnitude + half) | 1u << (at.sign + half);
        std::uint32_t f16[2], bf16[2];
        const std::uint32_t tile = (0xA5C33C5Au & ~own) |
                                   static_cast<std::uint32_t>(c & 127) << (at.magnitude + half) |
                                   static_cast<std::uint32_t>(c >> 7) << (at.sign + half);
        fp8_pairs(tile, f16[0], f16[1]);
        fp8_pairs_bf16(tile, bf16[0], bf16[1]);
        EXPECT_EQ(machine.f16(static_cast<std::uint16_t>(f16[pair] >> half)) * kF16Code, want) << c;
        EXPECT_EQ(bf16_value(times_2_120(bf16[pair]) >> half & 0xFFFFu), want) << c;
      }
  }
  for (int e = -126; e <= 126; ++e)
    EXPECT_EQ(inverse_power_of_two(std::ldexp(1.0f, e)), 1 / std::ldexp(1.0f, e)) << e;
  EXPECT_EQ(bits_of(inverse_power_of_two(INFINITY)), 0u);
  EXPECT_NE(inverse_power_of_two(NAN), inverse_power_of_two(NAN));
  // Beside every value that the other half may have, and others around.
  for (int c = 0; c < 16; ++c)
    for (int pair = 0; pair < 4; ++pair)
      for (const int half : {0, 16})
        for (int other = 0; other < 16; ++other)
          for (const std::uint32_t around : {0xA5C33C5Au, 0u, 0xFFFFFFFFu}) {
            const CodePair at = kFp4Pairs[pair];
            const auto code = [&](int value, int to) {
              return static_cast<std::uint32_t>(value & 7) << (at.magnitude + to) |
                     static_cast<std::uint32_t>(value >> 3) << (at.sign + to);
            };
            const std::uint32_t both = code(15, 0) | code(15, 16);
            std::uint32_t pairs[4];
            fp4_pairs((around & ~both) | code(c, half) | code(other, 16 - half), pairs);
            EXPECT_EQ(machine.f16(static_cast<std::uint16_t>(pairs[pair] >> half)) * kFp4Code,
                      e2m1_value(static_cast<std::uint8_t>(c)))
                << c << " beside " << other;
          }
}

struct Case {
  Format format;
  bool codes_in, f32_scale;
  int n_out, n_in, n_tokens, rows_per_group;
};
class CudaLinear : public testing::TestWithParam<Case> {};

// As one launch streams them, with so many blocks.
std::vector<std::uint32_t> streamed(const LinearArgs& args, int blocks, Guarded<std::uint32_t>& y,
                                    const Scratch& scratch = {}) {
  Products all;
  EXPECT_TRUE(products({&args, 1}, all).ok());
  const StreamArgs s = stream_of(all, scratch);
  const StreamShares shares = shares_of(s, blocks);
  EXPECT_GT(s.plan.slots, 0);
  return in_every_order(
      {blocks}, kStreamThreads, static_cast<std::size_t>(s.plan.bytes), [&] { y.poison(); },
      [&] {
        s.kinds == kFp8Codes ? linear_stream_kernel<kFp8Codes>(s, shares)
        : s.kinds == kFp8Plain
            ? linear_stream_kernel<kFp8Plain>(s, shares)
            : linear_stream_kernel<kFp8Codes | kFp8Plain | kBf16 | kFp4>(s, shares);
      },
      [&] { return y.values(); });
}

enum class Path { few, many };
std::vector<std::uint32_t> run(const LinearArgs& args, Path path, Guarded<std::uint32_t>& y) {
  Products all;
  const Status s = products({&args, 1}, all);
  EXPECT_TRUE(s.ok()) << s.what;
  Product& p = all.item[0];
  const auto fresh = [&] { y.poison(); };
  const auto values = [&] { return y.values(); };
  if (path == Path::few)
    return in_every_order(
        {few_blocks(p)}, kLinearThreads,
        static_cast<std::size_t>(few_shared(args.n_tokens, p.n_in).bytes), fresh,
        [&] { few_kernel(all); }, values);
  const int tokens = many_tokens(p.format);
  const simt::Dim grid{many_row_blocks(p), (args.n_tokens + tokens - 1) / tokens};
  return in_every_order(
      grid, kLinearThreads, static_cast<std::size_t>(many_shared(tokens)), fresh,
      [&] {
        if (p.format == Format::bf16)
          linear_many_kernel<Format::bf16, false>(p, args.n_tokens);
        else if (p.format == Format::fp4)
          linear_many_kernel<Format::fp4, true>(p, args.n_tokens);
        else if (p.codes_in)
          linear_many_kernel<Format::fp8, true>(p, args.n_tokens);
        else
          linear_many_kernel<Format::fp8, false>(p, args.n_tokens);
      },
      values);
}

// The CPU's bits, x [n_tokens, n_in].
std::vector<std::uint32_t> cpus(const Matrix& m, const std::vector<float>& x, int n_tokens) {
  std::vector<float> y(static_cast<std::size_t>(n_tokens) * m.n_out);
  find("cpu")->linear({.w = &m,
                       .x = x.data(),
                       .y = y.data(),
                       .x_stride = m.n_in,
                       .y_stride = m.n_out,
                       .n_tokens = n_tokens,
                       .row_begin = 0,
                       .row_end = m.n_out});
  std::vector<std::uint32_t> bits;
  for (const float v : y) bits.push_back(bits_of(v));
  return bits;
}

TEST_P(CudaLinear, MatchesFloat64AndAgreesForAnyNumberOfTokens) {
  const Case c = GetParam();
  const Stored s = stored(c.format, c.n_out, c.n_in, c.f32_scale);
  const Tiled t = tiled(s.m);
  const int groups = c.rows_per_group ? c.n_out / c.rows_per_group : 1, columns = c.n_in * groups;
  const auto x = halves(normals(static_cast<std::size_t>(c.n_tokens) * columns, 5));
  const Quantised q = quantised(x, c.n_tokens, columns);
  const std::vector<float> entering = c.codes_in ? q.values : floats(x);
  // float64 of the same stored weights, one at a time by the CPU's kernel: x = 1 at one k gives the
  // weight.
  std::vector<double> want, size;
  std::vector<float> weights(static_cast<std::size_t>(c.n_out) * c.n_in);
  for (int k = 0; k < c.n_in; ++k) {
    std::vector<float> unit(static_cast<std::size_t>(c.n_in), 0.0f),
        column(static_cast<std::size_t>(c.n_out));
    unit[static_cast<std::size_t>(k)] = 1;
    find("cpu")->linear({.w = &s.m,
                         .x = unit.data(),
                         .y = column.data(),
                         .x_stride = c.n_in,
                         .y_stride = c.n_out,
                         .n_tokens = 1,
                         .row_begin = 0,
                         .row_end = c.n_out});
    for (int r = 0; r < c.n_out; ++r)
      weights[static_cast<std::size_t>(r) * c.n_in + k] = column[static_cast<std::size_t>(r)];
  }
  for (int token = 0; token < c.n_tokens; ++token)
    for (int r = 0; r < c.n_out; ++r) {
      const int group = c.rows_per_group ? r / c.rows_per_group : 0;
      double sum = 0, all = 0;
      for (int k = 0; k < c.n_in; ++k) {
        const double p = static_cast<double>(weights[static_cast<std::size_t>(r) * c.n_in + k]) *
                         entering[static_cast<std::size_t>(token) * columns + group * c.n_in + k];
        sum += p;
        all += std::fabs(p);
      }
      want.push_back(sum);
      size.push_back(all);
    }
  LinearArgs args{.w = t.w,
                  .x = x.data(),
                  .codes = c.codes_in ? q.codes.data() : nullptr,
                  .code_scale = q.scale.data(),
                  .x_stride = columns,
                  .code_scale_stride = (columns + 127) / 128,
                  .y_stride = c.n_out,
                  .n_tokens = c.n_tokens,
                  .rows_per_group = c.rows_per_group,
                  .y_f32 = true};
  Guarded<std::uint32_t> y(want.size());
  args.y = y.data();
  const auto many = run(args, Path::many, y);
  if (c.format == Format::fp4) {
    EXPECT_EQ(many, cpus(s.m, entering, c.n_tokens));
  }
  // The emulated mma rounds once for 16 products; 2^-24 for each, and for each scale's fma, of what
  // was summed so far.
  for (std::size_t i = 0; i < want.size(); ++i)
    ASSERT_LE(std::fabs(float_of(many[i]) - want[i]),
              (c.n_in / 16 + c.n_in / 32 + 2) * 0x1p-24 * size[i] + 1e-30)
        << i;
  // One token, eight, and those that quantise by themselves: the same bits.
  for (const int n : {1, std::min(5, c.n_tokens), std::min(8, c.n_tokens)}) {
    Guarded<std::uint32_t> some(static_cast<std::size_t>(n) * c.n_out);
    LinearArgs few = args;
    few.n_tokens = n;
    few.y = some.data();
    EXPECT_EQ(run(few, Path::few, some),
              std::vector<std::uint32_t>(many.begin(), many.begin() + n * c.n_out))
        << n << " tokens";
    for (const int blocks : {1, 4})
      EXPECT_EQ(streamed(few, blocks, some),
                std::vector<std::uint32_t>(many.begin(), many.begin() + n * c.n_out))
          << n << " tokens, streamed";
    if (!c.codes_in) continue;
    few.codes = nullptr;
    few.quantise = true;
    EXPECT_EQ(streamed(few, 3, some),
              std::vector<std::uint32_t>(many.begin(), many.begin() + n * c.n_out))
        << n << " tokens, quantised and streamed";
    EXPECT_EQ(run(few, Path::few, some),
              std::vector<std::uint32_t>(many.begin(), many.begin() + n * c.n_out))
        << n << " tokens, quantised on entry";
  }
  // As bf16.
  Guarded<std::uint16_t> rounded(want.size());
  Products all;
  args.y = rounded.data();
  args.y_f32 = false;
  args.n_tokens = std::min(8, c.n_tokens);
  ASSERT_TRUE(products({&args, 1}, all).ok());
  simt::Machine::get().run({few_blocks(all.item[0])}, kLinearThreads,
                           static_cast<std::size_t>(few_shared(args.n_tokens, c.n_in).bytes),
                           simt::Order::ascending, [&] { few_kernel(all); });
  const auto got = rounded.values();
  for (std::size_t i = 0; i < static_cast<std::size_t>(args.n_tokens) * c.n_out; ++i)
    ASSERT_EQ(got[i], bf16_bits(float_of(many[i]))) << i;
}

// fp4's bits are the CPU's while no part of a 32-group's sum exceeds 2^14: six products of 448 and
// 6 beside others of a few 2^-10 do not, seven do.
TEST(CudaProducts, Fp4SumsOfAGroupAreExactUpTo2To14) {
  constexpr int n_out = 32, n_in = 256, n = 9;
  for (const int large : {5, 6, 7, 16}) {
    Stored s = stored(Format::fp4, n_out, n_in);
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(n) * n_in);
    std::vector<float> entering, scale(static_cast<std::size_t>(n) * (n_in / 128), 0.5f);
    const auto where = normals(n_in, 9);
    for (int k = 0; k < n_in; ++k) {  // of each group the `large` first in an order of its own
      int before = 0;
      for (int i = k / 32 * 32; i < k / 32 * 32 + 32; ++i)
        before += where[static_cast<std::size_t>(i)] < where[static_cast<std::size_t>(k)];
      const bool high = before < large;
      for (int row = 0; row < n_out; ++row) {
        const int at = row * n_in + k, code = high ? 7 : 1;  // 6 or 0.5
        std::uint8_t& byte = s.codes[static_cast<std::size_t>(at / 2 + 1)];
        byte = static_cast<std::uint8_t>(at % 2 ? (byte & 15) | code << 4 : (byte & 240) | code);
      }
      for (int t = 0; t < n; ++t)
        codes[static_cast<std::size_t>(t * n_in + k)] =
            static_cast<std::uint8_t>(high ? 0x7E : 1 + (t + k) % 3);  // 448, or 1 to 3 times 2^-9
    }
    double size = 0;  // of a row's sum, its largest scale
    for (const std::uint8_t code : codes) entering.push_back(0.5f * e4m3_value(code));
    for (int k = 0; k < n_in; ++k)
      size += 6 * std::fabs(static_cast<double>(entering[static_cast<std::size_t>(k)]));
    size *= 0x1p12;  // stored()'s scales end there
    const Tiled t = tiled(s.m);
    LinearArgs args{.w = t.w,
                    .codes = codes.data(),
                    .code_scale = scale.data(),
                    .x_stride = n_in,
                    .code_scale_stride = n_in / 128,
                    .y_stride = n_out,
                    .n_tokens = n,
                    .y_f32 = true};
    Guarded<std::uint32_t> y(static_cast<std::size_t>(n) * n_out);
    args.y = y.data();
    const auto many = run(args, Path::many, y), want = cpus(s.m, entering, n);
    args.n_tokens = 8;
    Guarded<std::uint32_t> few(static_cast<std::size_t>(8) * n_out);
    args.y = few.data();
    EXPECT_EQ(run(args, Path::few, few),
              std::vector<std::uint32_t>(many.begin(), many.begin() + 8 * n_out));
    EXPECT_EQ(streamed(args, 2, few),
              std::vector<std::uint32_t>(many.begin(), many.begin() + 8 * n_out));
    if (6 * 448 * large < 0x1p14) {
      EXPECT_EQ(many, want) << large;
    } else {
      EXPECT_NE(many, want) << large << ": then the bound is higher than linear.h says";
    }
    // Each way rounds at most 32 + 1 times a group.
    for (std::size_t i = 0; i < want.size(); ++i)
      ASSERT_LE(std::fabs(static_cast<double>(float_of(many[i])) - float_of(want[i])),
                2 * 33 * 0x1p-24 * size)
          << i;
  }
}

// What blocks handed to each other: as many rows as were cut. The counts are 0 again.
int rows_shared(std::vector<StreamScratch>& scratch) {
  int n = 0;
  for (StreamScratch& s : scratch) {
    EXPECT_EQ(s.arrived, 0u);
    n += std::any_of(std::begin(s.sums), std::end(s.sums), [](float v) { return v != 0; });
    s = {};
  }
  return n;
}

// Rows longer than a batch of sums, pairs of tiles in a slot and rows with an odd one, more groups
// than x has buffers, rows cut between two blocks: any number of blocks gives the same.
TEST(CudaProducts, StreamsGiveTheSameBitsHoweverTheyAreCut) {
  struct Shape {
    Format format;
    bool quantise;
    int n_out, n_in, rows_per_group;
  };
  std::vector<StreamScratch> scratch(7);
  for (const Shape& c : {Shape{Format::fp4, true, 112, 2560, 0},
                         {Format::fp4, true, 48, 2432, 0},
                         {Format::fp8, true, 144, 2304, 0},
                         {Format::fp8, false, 192, 512, 48},
                         {Format::bf16, false, 176, 2304, 0}}) {
    const Stored s = stored(c.format, c.n_out, c.n_in);
    const Tiled t = tiled(s.m);
    const int columns = c.rows_per_group ? c.n_out / c.rows_per_group * c.n_in : c.n_in;
    const auto x = halves(normals(static_cast<std::size_t>(8) * columns, 21));
    int cut = 0;
    for (const int n : {1, 2, 3, 8}) {
      SCOPED_TRACE(testing::Message()
                   << "format " << static_cast<int>(c.format) << ", " << n << " tokens");
      Guarded<std::uint32_t> y(static_cast<std::size_t>(n) * c.n_out);
      const LinearArgs args{.w = t.w,
                            .x = x.data(),
                            .y = y.data(),
                            .x_stride = columns,
                            .y_stride = c.n_out,
                            .n_tokens = n,
                            .rows_per_group = c.rows_per_group,
                            .quantise = c.quantise,
                            .y_f32 = true};
      const auto want = run(args, Path::few, y);
      for (const int blocks : {1, 2, 5}) {
        EXPECT_EQ(streamed(args, blocks, y), want) << blocks << " blocks";
        EXPECT_EQ(streamed(args, blocks, y, {scratch.data()}), want)
            << blocks << " blocks, rows cut";
        cut += rows_shared(scratch);
      }
    }
    EXPECT_GT(cut, 0) << static_cast<int>(c.format);
  }
}

INSTANTIATE_TEST_SUITE_P(, CudaLinear,
                         testing::Values(Case{Format::fp8, true, false, 200, 384, 9, 0},
                                         Case{Format::fp8, true, true, 40, 160, 130, 0},
                                         Case{Format::fp8, false, false, 48, 256, 11, 0},
                                         Case{Format::fp8, false, false, 128, 256, 12, 64},
                                         Case{Format::fp4, true, false, 33, 288, 17, 0},
                                         Case{Format::fp4, true, false, 160, 1152, 8, 0},
                                         Case{Format::bf16, false, false, 8, 128, 9, 0},
                                         Case{Format::bf16, false, false, 145, 416, 66, 0}));

// K beyond one segment: x is held a part at a time.
TEST(CudaProducts, SegmentsOfKMakeOneSum) {
  const int n_in = kSegment + 384, n = 3;
  const Stored s = stored(Format::fp8, 16, n_in);
  const Tiled t = tiled(s.m);
  const auto x = halves(normals(static_cast<std::size_t>(n) * n_in, 6));
  LinearArgs args{
      .w = t.w, .x = x.data(), .x_stride = n_in, .y_stride = 16, .n_tokens = n, .y_f32 = true};
  Guarded<std::uint32_t> few(static_cast<std::size_t>(n) * 16),
      many(static_cast<std::size_t>(n) * 16);
  args.y = few.data();
  const auto a = run(args, Path::few, few);
  EXPECT_EQ(a, streamed(args, 1, few));
  args.y = many.data();
  EXPECT_EQ(a, run(args, Path::many, many));
  // Codes' scales are written once a segment, too.
  args.y = few.data();
  args.quantise = true;
  const auto quantised = run(args, Path::few, few);
  EXPECT_EQ(quantised, streamed(args, 1, few));
}

TEST(CudaProducts, ProductsOfOneLaunchKeepTheirOwnRows) {
  const Stored a = stored(Format::fp8, 40, 128), b = stored(Format::bf16, 24, 128);
  const Tiled ta = tiled(a.m), tb = tiled(b.m);
  const auto x = halves(normals(2 * 128, 7));
  Guarded<std::uint32_t> ya(80), yb(48), alone_a(80), alone_b(48);
  const LinearArgs both[] = {{.w = ta.w,
                              .x = x.data(),
                              .y = ya.data(),
                              .x_stride = 128,
                              .y_stride = 40,
                              .n_tokens = 2,
                              .quantise = true,
                              .y_f32 = true},
                             {.w = tb.w,
                              .x = x.data(),
                              .y = yb.data(),
                              .x_stride = 128,
                              .y_stride = 24,
                              .n_tokens = 2,
                              .y_f32 = true}};
  Products all;
  ASSERT_TRUE(products(both, all).ok());
  int blocks = 0, bytes = 0;
  for (int i = 0; i < all.n; ++i) {
    all.item[i].first_block = blocks;
    blocks += few_blocks(all.item[i]);
    bytes = std::max(bytes, few_shared(2, all.item[i].n_in).bytes);
  }
  simt::Machine::get().run({blocks}, kLinearThreads, static_cast<std::size_t>(bytes),
                           simt::Order::scattered, [&] { few_kernel(all); });
  LinearArgs one = both[0];
  one.y = alone_a.data();
  EXPECT_EQ(ya.values(), run(one, Path::few, alone_a));
  one = both[1];
  one.y = alone_b.data();
  EXPECT_EQ(yb.values(), run(one, Path::few, alone_b));
  const auto a_alone = alone_a.values(), b_alone = alone_b.values();
  std::vector<StreamScratch> scratch(7);
  const StreamArgs args = stream_of(all, {scratch.data()});
  for (const int n : {1, 2, 3, 7}) {
    ya.poison();
    yb.poison();
    simt::Machine::get().run({n}, kStreamThreads, static_cast<std::size_t>(args.plan.bytes),
                             simt::Order::scattered, [&, shares = shares_of(args, n)] {
                               linear_stream_kernel<kFp8Codes | kBf16>(args, shares);
                             });
    EXPECT_EQ(ya.values(), a_alone) << n << " blocks";
    EXPECT_EQ(yb.values(), b_alone) << n << " blocks";
  }
}

// Two products of what is normed on entry, and beside them what a boundary left: what rms_norm()
// and then products of its codes give, and put_left() by itself.
TEST(CudaProducts, NormWhatEntersAndMakeWhatABoundaryLeft) {
  for (const int n_in : {1536, 160})
    for (const int n : {1, 3, 8}) {
      SCOPED_TRACE(testing::Message() << n << " tokens of " << n_in);
      const Stored a = stored(Format::fp8, 72, n_in), b = stored(Format::fp8, 24, n_in);
      const Tiled ta = tiled(a.m), tb = tiled(b.m);
      const int blocks_in = (n_in + 127) / 128;
      const auto x = halves(normals(static_cast<std::size_t>(n) * n_in, 31, 3));
      const auto norm = normals(static_cast<std::size_t>(n_in), 32);
      Guarded<std::uint8_t> codes(x.size());
      Guarded<float> scale(static_cast<std::size_t>(n) * blocks_in);
      Guarded<std::uint32_t> ya(static_cast<std::size_t>(n) * 72),
          yb(static_cast<std::size_t>(n) * 24);
      const LeftMixes left(n);
      const auto args = [&](const Tiled& t, std::uint32_t* y, bool norms) {
        LinearArgs l{.w = t.w,
                     .x = x.data(),
                     .y = y,
                     .x_stride = n_in,
                     .code_scale_stride = blocks_in,
                     .y_stride = t.w.n_out,
                     .n_tokens = n,
                     .y_f32 = true};
        if (norms)
          l.quantise = true, l.norm = norm.data(), l.norm_eps = 1e-6f, l.quantised = codes.data(),
          l.quantised_scale = scale.data();
        else
          l.codes = codes.data(), l.code_scale = scale.data();
        return l;
      };
      simt::Machine::get().run({n}, kNormThreads, static_cast<std::size_t>(rms_norm_shared(n_in)),
                               simt::Order::scattered, [&] {
                                 rms_norm_kernel({.x = x.data(),
                                                  .w = norm.data(),
                                                  .y = nullptr,
                                                  .codes = codes.data(),
                                                  .code_scale = scale.data(),
                                                  .x_stride = n_in,
                                                  .y_stride = n_in,
                                                  .codes_stride = n_in,
                                                  .code_scale_stride = blocks_in,
                                                  .n_rows = n,
                                                  .dim = n_in,
                                                  .eps = 1e-6f});
                               });
      const auto want_a = run(args(ta, ya.data(), false), Path::few, ya),
                 want_b = run(args(tb, yb.data(), false), Path::few, yb);
      const LinearArgs both[] = {args(ta, ya.data(), true), args(tb, yb.data(), true)};
      Products all;
      ASSERT_TRUE(products(both, all).ok());
      all.mixes = left.args();
      std::vector<StreamScratch> scratch(7);
      const StreamArgs s = stream_of(all, {scratch.data()});
      ASSERT_GT(s.plan.slots, 0);
      for (const int blocks : {1, 3})
        in_every_order(
            {blocks}, kStreamThreads, static_cast<std::size_t>(s.plan.bytes),
            [&] { ya.poison(), yb.poison(), left.poison(); },
            [&, shares = shares_of(s, blocks)] { linear_stream_kernel<kFp8Codes>(s, shares); },
            [&] {
              EXPECT_EQ(ya.values(), want_a) << blocks << " blocks";
              EXPECT_EQ(yb.values(), want_b) << blocks << " blocks";
              return left.made();
            });
      const auto mixes = left.made();
      // Where nothing streams: of codes, and by a block behind those of rows.
      const LinearArgs of_codes[] = {args(ta, ya.data(), false), args(tb, yb.data(), false)};
      ASSERT_TRUE(products(of_codes, all).ok());
      all.item[1].first_block = few_blocks(all.item[0]);
      all.n_blocks = all.item[1].first_block + few_blocks(all.item[1]);
      ya.poison(), yb.poison(), left.poison();
      simt::Machine::get().run({all.n_blocks + 1}, kLinearThreads,
                               static_cast<std::size_t>(few_shared(n, n_in).bytes),
                               simt::Order::scattered, [&] { few_kernel(all); });
      EXPECT_EQ(ya.values(), want_a);
      EXPECT_EQ(yb.values(), want_b);
      EXPECT_EQ(left.made(), mixes);
      EXPECT_EQ(left.wanted(), mixes);
    }
}

TEST(CudaProducts, RefusesWhatItsKernelsDoNotTake) {
  alignas(16) std::uint16_t x[64] = {};
  Products all;
  const auto why = [&](const LinearArgs& a) { return std::string(products({&a, 1}, all).what); };
  EXPECT_EQ(why({.w = {.format = Format::bf16, .n_out = 16, .n_in = 32},
                 .x = x,
                 .n_tokens = 1,
                 .quantise = true}),
            "linear: bf16 weights do not multiply codes");
  EXPECT_EQ(why({.w = {.format = Format::fp4, .n_out = 16, .n_in = 32}, .x = x, .n_tokens = 1}),
            "linear: fp4 weights multiply codes only");
  EXPECT_EQ(why({.w = {.format = Format::fp8, .n_out = 16, .n_in = 48}, .x = x, .n_tokens = 1}),
            "linear: n_in is not a multiple of 32");
  EXPECT_EQ(why({.w = {.format = Format::fp8, .n_out = 16, .n_in = 32},
                 .x = x,
                 .n_tokens = 9,
                 .quantise = true}),
            "linear: with many tokens what is quantised on entry needs memory for it");
  EXPECT_EQ(why({.w = {.format = Format::fp8, .n_out = 16, .n_in = 32}, .x = x + 1, .n_tokens = 1}),
            "linear: x is not aligned to 16 bytes");
  float norm[32], scale[9];
  std::uint8_t codes[64];
  LinearArgs normed{.w = {.format = Format::fp8, .n_out = 16, .n_in = 32},
                    .x = x,
                    .n_tokens = 1,
                    .quantise = true,
                    .quantised = codes,
                    .quantised_scale = scale,
                    .norm = norm};
  EXPECT_EQ(why(normed), "");
  LinearArgs plain = normed;
  plain.norm = nullptr;
  const LinearArgs mixed[] = {normed, plain};
  EXPECT_STREQ(products(mixed, all).what,
               "linear: of a launch all products' x is normed, and the same, or none's");
  normed.n_tokens = 9;
  EXPECT_EQ(why(normed),
            "linear: what is normed on entry is few tokens' x, and has memory for its codes");
}

}  // namespace
}  // namespace lares::kernels::cuda
