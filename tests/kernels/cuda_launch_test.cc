// The launches as their callers see them, emulated (kernels/cuda/simt/emulated.cc): grids, shared
// memory and checks of arguments. What the bodies do is tested beside this.
#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/products/experts.h"
#include "kernels/cuda/hyper/hyper.h"
#include "kernels/cuda/indexer/indexer.h"
#include "kernels/cuda/norm.h"
#include "kernels/cuda/quantise.h"
#include "tests/kernels/cuda_mixes.h"
#include "tests/kernels/cuda_places.h"

namespace lares::kernels::cuda {
namespace {

using namespace test;

TEST(CudaLaunch, ProductsOfFewTokensAndManyAgree) {
  constexpr int n = 20, n_in = 256;
  const Stored fp8 = stored(Format::fp8, 200, n_in), half = stored(Format::bf16, 40, n_in);
  const Tiled t8 = tiled(fp8.m), t16 = tiled(half.m);
  const auto x = halves(normals(n * n_in, 1));
  Guarded<std::uint8_t> codes(n * n_in);
  Guarded<float> scale(n * 2), y8(n * 200), y16(n * 40), few8(3 * 200), few16(3 * 40);
  ASSERT_TRUE(
      quantise({x.data(), codes.data(), scale.data(), n_in, n_in, 2, n, n_in}, nullptr).ok());
  const Quantised q = quantised(x, n, n_in);
  EXPECT_EQ(codes.values(), q.codes);
  const auto args = [&](const Tiled& t, float* y, int tokens, bool entering) {
    LinearArgs a{.w = t.w,
                 .x = x.data(),
                 .y = y,
                 .x_stride = n_in,
                 .code_scale_stride = 2,
                 .y_stride = t.w.n_out,
                 .n_tokens = tokens,
                 .y_f32 = true};
    if (t.w.format == Format::fp8 && entering) a.quantise = true;
    if (t.w.format == Format::fp8 && !entering) a.codes = codes.data(), a.code_scale = scale.data();
    return a;
  };
  const LinearArgs many[] = {args(t8, y8.data(), n, false), args(t16, y16.data(), n, false)};
  const LinearArgs few[] = {args(t8, few8.data(), 3, true), args(t16, few16.data(), 3, true)};
  ASSERT_TRUE(linear(many, nullptr).ok());
  std::vector<StreamScratch> scratch(kScratchBlocks);
  ASSERT_TRUE(linear(few, nullptr, {scratch.data()}).ok());
  const auto all8 = y8.values(), all16 = y16.values();
  EXPECT_EQ(few8.values(), std::vector<float>(all8.begin(), all8.begin() + 3 * 200));
  EXPECT_EQ(few16.values(), std::vector<float>(all16.begin(), all16.begin() + 3 * 40));
  // Many tokens quantised on entry: laid out as they are, or where there is no room, before.
  LinearArgs entering = args(t8, y8.data(), n, true);
  EXPECT_FALSE(linear(entering, nullptr).ok());
  Guarded<std::uint8_t> own_codes(n * n_in), room(linear_room(n, n_in) + 256);
  Guarded<float> own_scale(n * 2);
  entering.quantised = own_codes.data(), entering.quantised_scale = own_scale.data();
  for (const bool has_room : {true, false}) {
    y8.poison();
    entering.room = has_room
                        ? reinterpret_cast<void*>(
                              (reinterpret_cast<std::uintptr_t>(room.data()) + 255) / 256 * 256)
                        : nullptr;
    ASSERT_TRUE(linear(entering, nullptr).ok());
    EXPECT_EQ(y8.values(), all8) << has_room;
    EXPECT_EQ(own_codes.values() == q.codes, !has_room);
  }
  std::vector<float> want(n * 200);
  find("cpu")->linear({.w = &fp8.m,
                       .x = q.values.data(),
                       .y = want.data(),
                       .x_stride = n_in,
                       .y_stride = 200,
                       .n_tokens = n,
                       .row_begin = 0,
                       .row_end = 200});
  double error = 0, size = 0;
  for (std::size_t i = 0; i < want.size(); ++i)
    error += std::pow(all8[i] - want[i], 2), size += std::pow(want[i], 2);
  EXPECT_LT(std::sqrt(error / size), 1e-6);
}

// Few tokens normed on entry, with what a boundary left beside them: by blocks that can do both,
// and where rows are too long, or kinds mixed, by launches of their own.
TEST(CudaLaunch, ProductsNormWhatEntersInWhateverLaunch) {
  constexpr int n = 3, n_out = 40;
  struct Case {
    int n_in;
    Format second;
  };
  for (const Case& c : {Case{256, Format::fp8}, {2688, Format::fp8}, {256, Format::fp4}}) {
    SCOPED_TRACE(testing::Message() << c.n_in << ", " << static_cast<int>(c.second));
    const int blocks = c.n_in / 128;
    const Tiled t[] = {tiled(stored(Format::fp8, n_out, c.n_in).m),
                       tiled(stored(c.second, n_out, c.n_in).m)};
    const auto x = halves(normals(static_cast<std::size_t>(n) * c.n_in, 1, 3));
    const auto norm = normals(static_cast<std::size_t>(c.n_in), 2);
    std::vector<std::uint8_t> codes(x.size()), own_codes(x.size());
    std::vector<float> scale(static_cast<std::size_t>(n) * blocks), own_scale(scale.size());
    ASSERT_TRUE(rms_norm({.x = x.data(),
                          .w = norm.data(),
                          .y = nullptr,
                          .codes = codes.data(),
                          .code_scale = scale.data(),
                          .x_stride = c.n_in,
                          .y_stride = 0,
                          .codes_stride = c.n_in,
                          .code_scale_stride = blocks,
                          .n_rows = n,
                          .dim = c.n_in,
                          .eps = 1e-6f},
                         nullptr)
                    .ok());
    const LeftMixes left(n);
    const auto mixes = left.wanted();
    Guarded<float> y[] = {Guarded<float>(n * n_out), Guarded<float>(n * n_out)};
    const auto made = [&](bool norms) {
      LinearArgs both[2];
      for (int i = 0; i < 2; ++i) {
        y[i].poison();
        both[i] = {.w = t[i].w,
                   .x = x.data(),
                   .codes = norms ? nullptr : codes.data(),
                   .code_scale = scale.data(),
                   .y = y[i].data(),
                   .x_stride = c.n_in,
                   .code_scale_stride = blocks,
                   .y_stride = n_out,
                   .n_tokens = n,
                   .quantise = norms,
                   .quantised = own_codes.data(),
                   .quantised_scale = own_scale.data(),
                   .norm = norms ? norm.data() : nullptr,
                   .norm_eps = 1e-6f,
                   .y_f32 = true};
      }
      left.poison();
      EXPECT_TRUE(linear(both, nullptr, {}, left.args()).ok());
      EXPECT_EQ(left.made(), mixes);
      return std::pair(y[0].values(), y[1].values());
    };
    EXPECT_EQ(made(true), made(false));
  }
}

// Four products of three kinds of rows by one call, as a layer has them: what enters is laid out
// again where it is another, and only there.
TEST(CudaLaunch, ProductsByWgmmaAreProductsByMma) {
  constexpr int n = 70, n_in = 256, groups = 2;
  const Stored a = stored(Format::fp8, 272, n_in), b = stored(Format::fp4, 40, n_in),
               c = stored(Format::bf16, 48, n_in), d = stored(Format::fp8, 96, n_in);
  const Tiled ta = tiled(a.m), tb = tiled(b.m), tc = tiled(c.m), td = tiled(d.m);
  const auto x = halves(normals(n * n_in * groups, 1));
  const Quantised q = quantised(halves(normals(n * n_in, 2)), n, n_in),
                  other = quantised(halves(normals(n * n_in, 3)), n, n_in);
  const std::size_t size = linear_room(n, n_in * groups);
  Guarded<std::uint8_t> room(size + 256);
  const auto run = [&](bool wgmma) {
    Guarded<float> ya(n * 272), yb(n * 40), yc(n * 48), yd(n * 96), ye(n * 272);
    LinearArgs all[5];
    const Tiled* const w[] = {&ta, &tb, &tc, &td, &ta};
    float* const y[] = {ya.data(), yb.data(), yc.data(), yd.data(), ye.data()};
    for (int i = 0; i < 5; ++i)
      all[i] = {.w = w[i]->w,
                .x = x.data(),
                .y = y[i],
                .x_stride = i == 3 ? n_in * groups : n_in,
                .code_scale_stride = 2,
                .y_stride = w[i]->w.n_out,
                .n_tokens = n,
                .y_f32 = true,
                .wgmma = wgmma,
                .room = reinterpret_cast<void*>(
                    (reinterpret_cast<std::uintptr_t>(room.data()) + 255) / 256 * 256)};
    for (const int i : {0, 1, 4})
      all[i].codes = i == 4 ? other.codes.data() : q.codes.data(),
      all[i].code_scale = i == 4 ? other.scale.data() : q.scale.data();
    all[3].rows_per_group = 48;
    EXPECT_TRUE(linear(all, nullptr).ok());
    return std::vector{ya.values(), yb.values(), yc.values(), yd.values(), ye.values()};
  };
  const auto by_mma = run(false);
  EXPECT_TRUE(
      std::all_of(room.data(), room.data() + size, [](std::uint8_t v) { return v == 0xFF; }));
  EXPECT_EQ(run(true), by_mma);
  EXPECT_FALSE(
      std::all_of(room.data(), room.data() + size, [](std::uint8_t v) { return v == 0xFF; }));
}

TEST(CudaLaunch, ATokenAloneGetsWhatItGetsInAChunk) {
  constexpr int n = 70, C = 128, R = 64, heads = 64, window = 40, capacity = 160;
  std::deque<TestSequence> sequences;
  sequences.emplace_back(capacity * cell_bytes(C, R), 0, 1, 24 * cell_bytes(C, R));
  TestPlaces chunk(sequences, {{30, n}});
  const auto table = angles(chunk.position, frequencies(R));
  const auto norm = normals(C, 2), sink = normals(heads, 3);
  const auto kv = halves(normals(n * C, 4));
  auto q = halves(normals(n * heads * C, 5));
  TestPlaces before(sequences, {{0, 30}});
  ASSERT_TRUE(put_window({.kv = kv.data(),
                          .norm = norm.data(),
                          .rope = table.data(),
                          .places = before.places,
                          .head_dim = C,
                          .rope_dim = R,
                          .window_capacity = capacity,
                          .eps = 1e-6f},
                         nullptr)
                  .ok());
  TestPlaces places(sequences, {{30, n}});
  ASSERT_TRUE(put_window({.kv = kv.data(),
                          .norm = norm.data(),
                          .rope = table.data(),
                          .places = places.places,
                          .head_dim = C,
                          .rope_dim = R,
                          .window_capacity = capacity,
                          .eps = 1e-6f},
                         nullptr)
                  .ok());
  ASSERT_TRUE(queries({.q = q.data(),
                       .rope = table.data(),
                       .n_tokens = n,
                       .n_heads = heads,
                       .head_dim = C,
                       .rope_dim = R,
                       .eps = 1e-6f},
                      nullptr)
                  .ok());
  Guarded<std::uint16_t> out(q.size()), one(heads * C);
  Guarded<float> workspace(attention_workspace(n, heads, C, attention_blocks(window, 0)));
  AttentionArgs a{.q = q.data(),
                  .sink = sink.data(),
                  .rope = table.data(),
                  .out = out.data(),
                  .workspace = workspace.data(),
                  .places = places.places,
                  .ratio = 0,
                  .n_heads = heads,
                  .head_dim = C,
                  .rope_dim = R,
                  .window = window,
                  .window_capacity = capacity,
                  .n_entries_max = 0,
                  .scale = 0.0883883f};
  ASSERT_TRUE(attention(a, nullptr).ok());
  a.out = one.data();
  a.places.n_tokens = 1;
  ASSERT_TRUE(attention(a, nullptr).ok());
  const auto all = out.values();
  EXPECT_EQ(one.values(), std::vector<std::uint16_t>(all.begin(), all.begin() + heads * C));
  a.head_dim = 256;
  EXPECT_EQ(std::string(attention(a, nullptr).what), "attention: heads have 128, 192 or 512 dims");
}

TEST(CudaLaunch, ABoundaryOfManyTokensIsThatOfEach) {
  constexpr int n = 1030, dim = 128;  // beyond what is done between two visits of the streams
  const auto fn = normals(24 * 4 * dim, 6, 0.05f), base = normals(24, 7), scale = normals(3, 8),
             norm = normals(dim, 9);
  const auto x = halves(normals(n * 4 * dim, 10)), y = halves(normals(n * dim, 11));
  const auto posts = normals(n * 4, 12), combs = normals(n * 16, 13, 0.3f);
  std::uint32_t arrived = 0;
  struct Out {
    std::vector<std::uint16_t> streams, entered, normed;
    std::vector<float> post, comb, scale;
    std::vector<std::uint8_t> codes;
  };
  const auto run = [&](int first, int tokens) {
    std::vector<std::uint16_t> streams(x.begin() + first * 4 * dim,
                                       x.begin() + (first + tokens) * 4 * dim);
    std::vector<float> post(posts.begin() + first * 4, posts.begin() + (first + tokens) * 4),
        comb(combs.begin() + first * 16, combs.begin() + (first + tokens) * 16),
        partial(hyper_partials(tokens, dim));
    const std::size_t rows = static_cast<std::size_t>(tokens);
    Guarded<std::uint16_t> entered(rows * dim), normed(rows * dim);
    Guarded<std::uint8_t> codes(rows * dim);
    Guarded<float> code_scale(rows);
    const HyperArgs a{.x = streams.data(),
                      .y = y.data() + first * dim,
                      .post = post.data(),
                      .comb = comb.data(),
                      .fn = fn.data(),
                      .base = base.data(),
                      .scale = scale.data(),
                      .norm = norm.data(),
                      .entered = entered.data(),
                      .normed = normed.data(),
                      .codes = codes.data(),
                      .code_scale = code_scale.data(),
                      .partial = partial.data(),
                      .n_tokens = tokens,
                      .dim = dim,
                      .iters = 20,
                      .head = false,
                      .eps = 1e-6f,
                      .norm_eps = 1e-6f,
                      .rms_eps = 1e-6f,
                      .arrived = &arrived};
    EXPECT_TRUE(hyper(a, nullptr).ok());
    return Out{streams, entered.values(),    normed.values(), post,
               comb,    code_scale.values(), codes.values()};
  };
  const auto all = run(0, n);
  for (const int t : {0, 33, 1023, 1024, n - 1}) {
    SCOPED_TRACE(t);
    const Out one = run(t, 1);
    const auto of_t = [&](const auto& v) {
      return std::decay_t<decltype(v)>(
          v.begin() + static_cast<std::ptrdiff_t>(v.size() / n) * t,
          v.begin() + static_cast<std::ptrdiff_t>(v.size() / n) * (t + 1));
    };
    EXPECT_EQ(one.streams, of_t(all.streams));
    EXPECT_EQ(one.entered, of_t(all.entered));
    EXPECT_EQ(one.normed, of_t(all.normed));
    EXPECT_EQ(one.post, of_t(all.post));
    EXPECT_EQ(one.comb, of_t(all.comb));
    EXPECT_EQ(one.scale, of_t(all.scale));
    EXPECT_EQ(one.codes, of_t(all.codes));
  }
}

TEST(CudaLaunch, TopKOfMoreThanOneSliceIsTheCpus) {
  constexpr int n = 9000, k = 100;
  auto scores = normals(n, 12);
  for (float& v : scores) v = bf16_value(bf16_bits(v));
  std::deque<TestSequence> sequences;
  sequences.emplace_back(0, 0, 0, 0);
  TestPlaces places(sequences, {{4LL * n - 1, 1}});
  Guarded<std::int32_t> chosen(k);
  std::vector<std::uint32_t> bins(kTopKBins, 0), scratch(top_k_scratch(1, n)), words(n);
  ASSERT_TRUE(
      top_k({scores.data(), n, places.places, chosen.data(), bins.data(), scratch.data(), 4, k, n},
            nullptr)
          .ok());
  std::vector<std::int32_t> want(k);
  kernels::top_k(scores.data(), n, k, words.data(), want.data());
  EXPECT_EQ(chosen.values(), want);
}

TEST(CudaLaunch, ExpertsFromRoutesToTheSum) {
  constexpr int E = 4, k = 2, D = 128, I = 128;
  std::vector<Tiled> tiles;
  std::vector<Stored> kept;
  for (int i = 0; i < 3 * E; ++i) {
    Stored s = stored(Format::fp4, I, D);
    s.codes = bytes(s.codes.size(), static_cast<std::uint64_t>(20 + i));
    s.m.data = s.codes.data() + 1;
    s.m.scale = s.scales.data();
    tiles.push_back(tiled(s.m));
  }
  const Stored shared_stored = stored(Format::fp8, I, D);
  const Tiled shared_one = tiled(shared_stored.m);
  const std::uint8_t* tables[3][E];
  for (int i = 0; i < 3 * E; ++i)
    tables[i / E][i % E] = tiles[static_cast<std::size_t>(i)].tiles.data();
  const auto u = normals(12 * E, 13, 2), bias = normals(E, 14);
  const auto x = halves(normals(12 * D, 15, 0.1f));
  const auto run = [&](int first, int n) {
    const std::size_t slots = static_cast<std::size_t>(n) * (k + 1);
    std::vector<std::int32_t> expert(slots), begin(E + 1), slot_of(slots), token_of(slots),
        jobs(3 * static_cast<std::size_t>(expert_jobs(n, E, k)));
    std::vector<float> weight(slots), factor(slots), scale(slots), h_scale(slots);
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(n) * D), h(slots * I);
    std::vector<std::uint16_t> gate(slots * I), up(slots * I), down(slots * D);
    std::vector<std::uint64_t> room(experts_room(n, E, k, D) / 8 + 33);
    Guarded<std::uint16_t> y(static_cast<std::size_t>(n) * D);
    EXPECT_TRUE(route({.u = u.data() + first * E,
                       .bias = bias.data(),
                       .expert = expert.data(),
                       .weight = weight.data(),
                       .n_tokens = n,
                       .n_experts = E,
                       .k = k,
                       .factor = 1.5f},
                      nullptr)
                    .ok());
    EXPECT_TRUE(group({.expert = expert.data(),
                       .weight = weight.data(),
                       .begin = begin.data(),
                       .slot_of = slot_of.data(),
                       .token_of = token_of.data(),
                       .factor = factor.data(),
                       .jobs = jobs.data(),
                       .n_tokens = n,
                       .n_experts = E,
                       .k = k},
                      nullptr)
                    .ok());
    EXPECT_TRUE(
        quantise({x.data() + first * D, codes.data(), scale.data(), D, D, 1, n, D}, nullptr).ok());
    ExpertLinearArgs a{.n_matrices = 2,
                       .format = Format::fp4,
                       .n_out = I,
                       .n_in = D,
                       .codes = codes.data(),
                       .code_scale = scale.data(),
                       .x_stride = D,
                       .code_scale_stride = 1,
                       .y_stride = I,
                       .room = reinterpret_cast<void*>(
                           (reinterpret_cast<std::uintptr_t>(room.data()) + 255) / 256 * 256),
                       .row_of = token_of.data(),
                       .jobs = jobs.data(),
                       .n_tokens = n,
                       .n_experts = E,
                       .k = k};
    a.matrix[0] = {.tiles = tables[0], .shared = shared_one.w, .y = gate.data()};
    a.matrix[1] = {.tiles = tables[1], .shared = shared_one.w, .y = up.data()};
    EXPECT_TRUE(experts_linear(a, nullptr).ok());
    a.n_matrices = 1;
    a.codes = nullptr;
    a.x = gate.data(), a.up = up.data(), a.factor = factor.data(), a.limit = 10;
    a.quantise = true;
    a.row_of = nullptr;
    a.matrix[0] = {.tiles = tables[2], .shared = shared_one.w, .y = down.data()};
    if (n > kTokensFew) {
      EXPECT_FALSE(experts_linear(a, nullptr).ok());
      a.quantised = h.data(), a.quantised_scale = h_scale.data();
    }
    EXPECT_TRUE(experts_linear(a, nullptr).ok());
    const auto product = down;
    const std::vector<std::uint16_t> spoiled(gate.size(), 0x7FFF);
    if (n > kTokensFew)  // what is laid out, or quantised, serves other launches, too
      for (const bool wgmma : {true, false}) {
        a.wgmma = wgmma;
        for (const bool again : {false, true}) {
          std::ranges::fill(down, std::uint16_t{0xFFFF});
          a.laid = again;
          a.x = again ? spoiled.data() : gate.data(), a.up = again ? spoiled.data() : up.data();
          EXPECT_TRUE(experts_linear(a, nullptr).ok());
          EXPECT_EQ(down, product) << wgmma << again;
        }
      }
    EXPECT_TRUE(combine({.out = down.data(),
                         .slot_of = slot_of.data(),
                         .y = y.data(),
                         .stride = D,
                         .n_tokens = n,
                         .k = k,
                         .dim = D},
                        nullptr)
                    .ok());
    return y.values();
  };
  // Twelve tokens go by 256 rows and up to 128 slots, one by 16 rows: the same bits.
  const auto all = run(0, 12);
  for (const int t : {0, 5, 11})
    EXPECT_EQ(run(t, 1), std::vector<std::uint16_t>(all.begin() + t * D, all.begin() + (t + 1) * D))
        << t;
  EXPECT_TRUE(
      std::any_of(all.begin(), all.end(), [](std::uint16_t v) { return bf16_value(v) != 0; }));
}

}  // namespace
}  // namespace lares::kernels::cuda
