// Bodies of hyper(), emulated: what leaves has the CPU's bits, what enters is compared with
// float64, and no token sees another.
#include "kernels/cuda/products/experts_kernels.h"
#include "kernels/cuda/hyper/hyper_cluster_kernels.h"
#include "kernels/cuda/hyper/hyper_many_kernels.h"
#include "tests/kernels/cuda_emulation.h"

namespace lares::kernels::cuda {
namespace {

using namespace test;
constexpr int S = kHyperStreams;

struct Weights {
  std::vector<float> fn, base, scale, norm;
  Weights(int dim, bool head)
      : fn(normals(static_cast<std::size_t>(head ? S : kHyperRows) * S * dim, 21, 0.02f)),
        base(normals(head ? S : kHyperRows, 22)),
        scale(normals(3, 23)),
        norm(normals(static_cast<std::size_t>(dim), 24)) {}
};
struct Out {
  std::vector<std::uint16_t> x, entered, normed;
  std::vector<float> post, comb, scale;
  std::vector<std::uint8_t> codes;
  bool operator==(const Out&) const = default;
};

struct Case {
  int n, dim;
  bool leaves, head;
  int iters = 20;  // by 20 a sweep that is missing does not show
};

// The launches that there are for a token: one, by a cluster or by blocks of which the last one
// mixes; or two, for few tokens or for many.
enum class Form { cluster, one, few, many };

// What is left for later, made by the warps of one block.
LARES_KERNEL(256, 1) left_kernel(const HyperMixes a) {
  if (thread() / 32 < a.n_tokens) put_left(a, thread() / 32);
}

Out run(const Case& c, Form form, bool later, const Weights& w, const std::vector<std::uint16_t>& x,
        const std::vector<std::uint16_t>& y, const std::vector<float>& post,
        const std::vector<float>& comb, const ExpertOutputs& experts = {}) {
  const std::size_t n = static_cast<std::size_t>(c.n),
                    blocks = static_cast<std::size_t>((c.dim + 127) / 128);
  Guarded<std::uint16_t> gx(x.size()), entered(n * c.dim), normed(n * c.dim);
  Guarded<float> gpost(n * S), gcomb(n * S * S), scale(n * blocks),
      partial(hyper_partials(c.n, c.dim));
  Guarded<std::uint8_t> codes(n * c.dim);
  std::uint32_t arrived = 0;
  const HyperArgs a{.x = gx.data(),
                    .y = c.leaves && !experts.out ? y.data() : nullptr,
                    .experts = experts,
                    .post = gpost.data(),
                    .comb = gcomb.data(),
                    .fn = w.fn.data(),
                    .base = w.base.data(),
                    .scale = w.scale.data(),
                    .norm = w.norm.data(),
                    .entered = entered.data(),
                    .normed = normed.data(),
                    .codes = codes.data(),
                    .code_scale = scale.data(),
                    .partial = partial.data(),
                    .n_tokens = c.n,
                    .dim = c.dim,
                    .iters = c.iters,
                    .head = c.head,
                    .eps = 1e-6f,
                    .norm_eps = 1e-6f,
                    .rms_eps = 1e-6f,
                    .later = later,
                    .arrived = &arrived};
  const auto fresh = [&] {
    gx.poison(), entered.poison(), normed.poison(), scale.poison(), partial.poison(),
        codes.poison(), gpost.poison(), gcomb.poison();
    std::copy(x.begin(), x.end(), gx.data());
    std::copy(post.begin(), post.end(), gpost.data());
    std::copy(comb.begin(), comb.end(), gcomb.data());
  };
  const auto result = [&] {
    return Out{gx.values(),    entered.values(), normed.values(), gpost.values(),
               gcomb.values(), scale.values(),   codes.values()};
  };
  Out first;
  for (const simt::Order order : in_turn({simt::Order::ascending, simt::Order::descending,
                                          simt::Order::scattered, simt::Order::greedy})) {
    if (order == simt::Order::greedy && c.dim > 512) continue;  // slow with so many threads
    fresh();
    simt::Machine& machine = simt::Machine::get();
    const int slices = c.dim / kHyperSlice;
    if (form == Form::cluster) {
      const int cluster = cluster_blocks(c.dim);
      machine.run(
          {cluster}, kClusterThreads, static_cast<std::size_t>(cluster_shared(c.dim)), order,
          [&] { hyper_cluster_kernel(a); }, cluster);
    } else if (form == Form::one) {
      machine.run({slices}, kMixThreads + 32, static_cast<std::size_t>(token_shared()), order,
                  [&] { hyper_token_kernel(a); });
    } else {
      const auto run_many = [&] {
        machine.run({slices, (c.n + kManyTokens - 1) / kManyTokens}, kSliceThreads,
                    static_cast<std::size_t>(slice_many_shared()), order,
                    [&] { hyper_slice_many_kernel(a); });
        machine.run({c.n}, kMixManyThreads + 32, static_cast<std::size_t>(mix_many_shared(c.dim)),
                    order, [&] { hyper_mix_many_kernel(a); });
      };
      const auto run_few = [&] {
        machine.run({slices, (c.n + kSliceTokens - 1) / kSliceTokens}, kSliceThreads,
                    static_cast<std::size_t>(slice_shared(std::min(c.n, kSliceTokens))), order,
                    [&] { hyper_slice_kernel(a); });
        machine.run({c.n}, kMixThreads + 32, static_cast<std::size_t>(mix_shared()), order,
                    [&] { hyper_mix_kernel(a); });
      };
      form == Form::few ? run_few() : run_many();
    }
    if (later) {
      EXPECT_EQ(gcomb.values(), comb);
      const HyperMixes left = hyper_mixes(partial.data(), c.dim, gpost.data(), gcomb.data(), c.n,
                                          c.iters, a.eps);
      machine.run({1}, 256, 0, order, [&] { left_kernel(left); });
    }
    if (order == simt::Order::ascending) first = result();
    EXPECT_TRUE(result() == first) << "depends on the order of threads";
    EXPECT_EQ(arrived, 0u);
  }
  return first;
}

// What experts made of n tokens, and its sum as combine() gives it.
struct Experts {
  Experts(int tokens, int ranks, int dims)
      : n(tokens),
        k(ranks),
        dim(dims),
        out(halves(normals(static_cast<std::size_t>(n * (k + 1) * dim), 64, 100))) {
    for (int i = 0; i < n * k; ++i) slot_of.push_back((7 * i + 3) % (n * k));
    Guarded<std::uint16_t> y(static_cast<std::size_t>(n * dim));
    const CombineArgs combine{.out = out.data(),
                              .slot_of = slot_of.data(),
                              .y = y.data(),
                              .stride = dim,
                              .n_tokens = n,
                              .k = k,
                              .dim = dim};
    simt::Machine::get().run({1, n}, 256, 0, simt::Order::ascending,
                             [&] { combine_kernel(combine); });
    sum = y.values();
  }
  ExpertOutputs from(int first) const {
    return {.out = out.data(),
            .slot_of = slot_of.data(),
            .stride = dim,
            .n_tokens = n,
            .k = k,
            .first = first};
  }
  int n, k, dim;
  std::vector<std::uint16_t> out, sum;
  std::vector<std::int32_t> slot_of;
};

// What experts made is summed where it leaves, as combine() sums it.
TEST(CudaHyperExperts, LeaveAsTheirSum) {
  constexpr int n = 3, k = 9, dim = 128, first = 1;
  const Weights w(dim, false);
  const Experts made(n + first, k, dim);
  const auto x = halves(normals(n * S * dim, 25));
  const auto post = normals(n * S, 27), comb = normals(n * S * S, 28, 0.3f);
  const auto leave = [&](bool many, const bf16* leaving, const ExpertOutputs& experts) {
    auto streams = x;
    auto p = post, c = comb;
    const HyperArgs a{.x = streams.data(),
                      .y = leaving,
                      .experts = experts,
                      .post = p.data(),
                      .comb = c.data(),
                      .fn = nullptr,
                      .base = nullptr,
                      .scale = nullptr,
                      .norm = nullptr,
                      .entered = nullptr,
                      .normed = nullptr,
                      .codes = nullptr,
                      .code_scale = nullptr,
                      .partial = nullptr,
                      .n_tokens = n,
                      .dim = dim,
                      .iters = 1,
                      .head = false,
                      .eps = 0,
                      .norm_eps = 0,
                      .rms_eps = 0};
    simt::Machine::get().run({dim / kHyperSlice, 1}, kSliceThreads,
                             static_cast<std::size_t>(many ? slice_many_shared() : slice_shared(n)),
                             simt::Order::scattered,
                             [&] { many ? hyper_slice_many_kernel(a) : hyper_slice_kernel(a); });
    return streams;
  };
  const auto want = leave(false, made.sum.data() + first * dim, {});
  EXPECT_NE(want, x);
  const ExpertOutputs experts = made.from(first);
  EXPECT_EQ(leave(false, nullptr, experts), want);
  EXPECT_EQ(leave(true, nullptr, experts), want);
}

// ... and what then enters is what would have, whichever way one token goes.
TEST(CudaHyperExperts, OneTokenGoesOnFromTheirSum) {
  constexpr int n = 3, k = 9, dim = 320, first = 2;  // three groups, and a block without any
  const Weights w(dim, false);
  const Experts made(n, k, dim);
  const std::vector<std::uint16_t> y(made.sum.begin() + first * dim,
                                     made.sum.begin() + (first + 1) * dim);
  const auto x = halves(normals(S * dim, 25));
  const auto post = normals(S, 27), comb = normals(S * S, 28, 0.3f);
  const Case one{1, dim, true, false};
  const Out want = run(one, Form::few, true, w, x, y, post, comb);
  const ExpertOutputs experts = made.from(first);
  for (const Form form : {Form::cluster, Form::one, Form::few})
    EXPECT_TRUE(run(one, form, true, w, x, {}, post, comb, experts) == want);
}

class CudaHyper : public testing::TestWithParam<Case> {};

TEST_P(CudaHyper, AgreesWithTheCpuAndWithFloat64) {
  const Case c = GetParam();
  const Kernels& cpu = *find("cpu");
  const Weights w(c.dim, c.head);
  const std::size_t n = static_cast<std::size_t>(c.n);
  const auto x = halves(normals(n * S * c.dim, 25)), y = halves(normals(n * c.dim, 26));
  const auto post = normals(n * S, 27), comb = normals(n * S * S, 28, 0.3f);
  const Out got = run(c, Form::few, false, w, x, y, post, comb);
  auto streams = floats(x);
  const auto leaving = floats(y);
  if (c.leaves)
    cpu.hyper_leave({.x = streams.data(),
                     .y = leaving.data(),
                     .post = post.data(),
                     .comb = comb.data(),
                     .n_tokens = c.n,
                     .n_streams = S,
                     .dim = c.dim,
                     .round_bf16 = true});
  EXPECT_EQ(got.x, halves(streams));
  // Dots in float64, rounded once; the CPU's split of those is what mixing should be, but for the
  // few ulps that the dots differ by.
  const int rows = c.head ? S : kHyperRows, flat = S * c.dim;
  std::vector<float> dots(n * rows), want_pre(n * S), want_post(n * S), want_comb(n * S * S),
      want(n * c.dim);
  for (std::size_t t = 0; t < n; ++t)
    for (int r = 0; r < rows; ++r) {
      double sum = 0;
      for (int k = 0; k < flat; ++k)
        sum += static_cast<double>(w.fn[static_cast<std::size_t>(r) * flat + k]) *
               streams[t * flat + k];
      dots[t * rows + r] = static_cast<float>(sum);
    }
  cpu.hyper_split({.dots = dots.data(),
                   .x = streams.data(),
                   .scale = w.scale.data(),
                   .base = w.base.data(),
                   .pre = want_pre.data(),
                   .post = c.head ? nullptr : want_post.data(),
                   .comb = c.head ? nullptr : want_comb.data(),
                   .n_tokens = c.n,
                   .n_streams = S,
                   .dim = c.dim,
                   .iters = c.iters,
                   .eps = 1e-6f,
                   .norm_eps = 1e-6f});
  cpu.hyper_enter({.x = streams.data(),
                   .pre = want_pre.data(),
                   .y = want.data(),
                   .n_tokens = c.n,
                   .n_streams = S,
                   .dim = c.dim,
                   .round_bf16 = false});
  const auto near = [](const std::vector<float>& a, const std::vector<float>& b, double absolute,
                       double relative) {
    return close(a, {b.begin(), b.end()}, absolute, relative);
  };
  if (!c.head) {
    EXPECT_TRUE(near(got.post, want_post, 2e-6, 0));
    // 20 sweeps renormalise: errors do not pile up
    EXPECT_TRUE(near(got.comb, want_comb, 4e-6, 0));
  } else {
    EXPECT_EQ(got.post, post);  // nothing but the input's form is asked for
  }
  EXPECT_TRUE(near(floats(got.entered), want, 1e-5, 0x1p-8));
  // The norm is of what entered.
  std::vector<float> normed;
  for (std::size_t t = 0; t < n; ++t) {
    double squares = 0;
    const auto in = floats({got.entered.begin() + static_cast<std::ptrdiff_t>(t) * c.dim,
                            got.entered.begin() + static_cast<std::ptrdiff_t>(t + 1) * c.dim});
    for (const float v : in) squares += static_cast<double>(v) * v;
    for (int d = 0; d < c.dim; ++d)
      normed.push_back(
          static_cast<float>(in[static_cast<std::size_t>(d)] / std::sqrt(squares / c.dim + 1e-6) *
                             w.norm[static_cast<std::size_t>(d)]));
  }
  EXPECT_TRUE(near(floats(got.normed), normed, 1e-6, 0x1p-8));
  const Quantised q = quantised(got.normed, c.n, c.dim);
  EXPECT_EQ(got.codes, q.codes);
  EXPECT_EQ(got.scale, q.scale);
  // The last token alone: the same bits.
  const auto last = [&](const auto& v) {
    return std::decay_t<decltype(v)>(v.end() - static_cast<std::ptrdiff_t>(v.size() / n), v.end());
  };
  const Case one{1, c.dim, c.leaves, c.head, c.iters};
  const Out alone = run(one, Form::few, false, w, last(x), last(y), last(post), last(comb));
  EXPECT_EQ(alone.x, last(got.x));
  EXPECT_EQ(alone.normed, last(got.normed));
  EXPECT_EQ(alone.post, last(got.post));
  EXPECT_EQ(alone.comb, last(got.comb));
  // And whatever the launches.
  for (const Form form : {Form::cluster, Form::one})
    EXPECT_TRUE(run(one, form, false, w, last(x), last(y), last(post), last(comb)) == alone);
  EXPECT_TRUE(run(c, Form::many, false, w, x, y, post, comb) == got);
  if (c.head || c.n > kTokensFew) return;
  for (const Form form : {Form::cluster, Form::one})
    EXPECT_TRUE(run(one, form, true, w, last(x), last(y), last(post), last(comb)) == alone);
  EXPECT_TRUE(run(c, Form::few, true, w, x, y, post, comb) == got);
}

INSTANTIATE_TEST_SUITE_P(, CudaHyper,
                         testing::Values(Case{1, 128, false, false}, Case{5, 256, true, false, 2},
                                         Case{3, 1024, true, false}, Case{35, 128, true, false},
                                         Case{2, 256, true, true}, Case{1, 8192, true, false},
                                         // Groups of six slices, the last ones short or empty.
                                         Case{2, 4160, true, false}));

}  // namespace
}  // namespace lares::kernels::cuda
