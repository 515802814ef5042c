// Everything but products on a device, each launch against its body emulated on the CPU: bit for
// bit, and attention within what an mma rounds.
#include <fmt/format.h>

#include <numeric>

#include "kernels/cuda/attention/attention_kernels.h"
#include "kernels/cuda/attention/compress_kernels.h"
#include "kernels/cuda/draft_rows_kernels.h"
#include "kernels/cuda/elementwise_kernels.h"
#include "kernels/cuda/products/experts_kernels.h"
#include "kernels/cuda/hyper/hyper_kernels.h"
#include "kernels/cuda/indexer/indexer_kernels.h"
#include "tests/kernels/cuda_device.h"

namespace lares::kernels::cuda {
namespace {

using namespace test;
constexpr simt::Order kOrder = simt::Order::ascending;

// One sequence's rings and pages on both sides, and a chunk's places.
struct Sequence {
  static constexpr int kPages = 6, kPerPage = 64;
  Mirror<std::uint8_t> window, cells;
  Mirror<float> raw;
  Mirror<std::uint8_t*> bases_host, bases_device;
  std::vector<std::int64_t> position;
  Mirror<std::int64_t> positions;
  Mirror<std::int32_t> part_of;
  Mirror<Part> host_part, device_part;
  int n;

  static std::vector<std::uint8_t*> bases(std::uint8_t* first, std::size_t page) {
    std::vector<std::uint8_t*> out;
    for (int i = 0; i < kPages; ++i) out.push_back(first + static_cast<std::size_t>(i) * page);
    return out;
  }
  static std::vector<std::int64_t> counted(std::int64_t from, int n) {
    std::vector<std::int64_t> out;
    for (int t = 0; t < n; ++t) out.push_back(from + t);
    return out;
  }
  Sequence(std::int64_t from, int n_tokens, std::size_t window_bytes, std::size_t cell,
           const std::vector<float>& raw_rows)
      : window(std::vector<std::uint8_t>(window_bytes, 0)),
        cells(std::vector<std::uint8_t>(kPages * kPerPage * cell, 0)),
        raw(raw_rows),
        bases_host(bases(cells.host(), kPerPage * cell)),
        bases_device(bases(cells.device(), kPerPage * cell)),
        position(counted(from, n_tokens)),
        positions(position),
        part_of(std::vector<std::int32_t>(static_cast<std::size_t>(n_tokens), 0)),
        host_part(std::vector<Part>{
            {window.host(), raw.host(), raw.host(), bases_host.host(), from, 0, n_tokens}}),
        device_part(std::vector<Part>{{window.device(), raw.device(), raw.device(),
                                       bases_device.device(), from, 0, n_tokens}}),
        n(n_tokens) {}
  Places places(bool device) {
    return {positions.on(device), part_of.on(device),
            device ? device_part.device() : host_part.host(), n};
  }
};

TEST(CudaRowsDevice, QuantiseAndNorms) {
  LARES_NEEDS_DEVICE();
  constexpr int rows = 33, dim = 4096, blocks = 32;
  Mirror<std::uint16_t> x(halves(normals(rows * dim, 1))), y(rows * dim);
  Mirror<float> w(normals(dim, 2)), scale(rows * blocks);
  Mirror<std::uint8_t> codes(rows * dim);
  const auto quantise_args = [&](bool d) {
    return QuantiseArgs{x.on(d), codes.on(d), scale.on(d), dim, dim, blocks, rows, dim};
  };
  simt::Machine::get().run({quantise_blocks(rows, dim)}, 256, 0, kOrder,
                           [&] { quantise_kernel(quantise_args(false)); });
  LARES_EXPECT_OK(quantise(quantise_args(true), nullptr));
  expect_same(codes.device_values(), codes.host_values(), "codes");
  expect_same(scale.device_values(), scale.host_values(), "scales");
  codes.renew(), scale.renew();
  const auto norm_args = [&](bool d) {
    return RmsNormArgs{x.on(d), w.on(d), y.on(d), codes.on(d), scale.on(d), dim,
                       dim,     dim,     blocks,  rows,        dim,         1e-6f};
  };
  simt::Machine::get().run({rows}, kNormThreads, static_cast<std::size_t>(rms_norm_shared(dim)),
                           kOrder, [&] { rms_norm_kernel(norm_args(false)); });
  LARES_EXPECT_OK(rms_norm(norm_args(true), nullptr));
  expect_same(y.device_values(), y.host_values(), "normed rows");
  expect_same(codes.device_values(), codes.host_values(), "codes of normed rows");
}

TEST(CudaRowsDevice, QueriesWindowAndTable) {
  LARES_NEEDS_DEVICE();
  constexpr int n = 5, heads = 64, C = 512, R = 64, capacity = 200;
  Sequence s(1'000'003, n, capacity * cell_bytes(C, R), 584, {0});
  Mirror<float> f(frequencies(R)), norm(normals(C, 3));
  Mirror<double> table(n * R);
  const auto table_args = [&](bool d) {
    return RopeTableArgs{f.on(d), s.positions.on(d), table.on(d), n, R};
  };
  simt::Machine::get().run({(n * R / 2 + 127) / 128}, 128, 0, kOrder,
                           [&] { rope_table_kernel(table_args(false)); });
  LARES_EXPECT_OK(rope_table(table_args(true), nullptr));
  const auto device_table = table.device_values(), host_table = table.host_values();
  for (std::size_t i = 0; i < host_table.size(); ++i)
    ASSERT_NEAR(device_table[i], host_table[i], 1e-15) << i;  // 2 ulp of another libm
  Mirror<std::uint16_t> q(halves(normals(n * heads * C, 4))), kv(halves(normals(n * C, 5)));
  const auto query_args = [&](bool d) {
    return QueryArgs{q.on(d), table.on(d), n, heads, C, R, 1e-6f};
  };
  simt::Machine::get().run({queries_blocks(n, heads)}, kRowThreads,
                           static_cast<std::size_t>(queries_shared(C)), kOrder,
                           [&] { queries_kernel(query_args(false)); });
  LARES_EXPECT_OK(queries(query_args(true), nullptr));
  expect_same(q.device_values(), q.host_values(), "queries");
  const auto window_args = [&](bool d) {
    return WindowArgs{kv.on(d), norm.on(d), table.on(d), s.places(d), C, R, capacity, 1e-6f};
  };
  simt::Machine::get().run({n}, kRowThreads, C * 4, kOrder,
                           [&] { put_window_kernel(window_args(false)); });
  LARES_EXPECT_OK(put_window(window_args(true), nullptr));
  expect_same(s.window.device_values(), s.window.host_values(), "window cells");
}

TEST(CudaRowsDevice, Compressors) {
  LARES_NEEDS_DEVICE();
  for (const auto& [ratio, dim, index] :
       {std::tuple{4, 512, false}, {4, 128, true}, {128, 512, false}}) {
    const int width = ratio == 4 ? 2 * dim : dim, capacity = 2 * ratio + 9, n = 2 * ratio + 3;
    Sequence s(5 * ratio + 2, n, 64, index ? 68 : 584,
               normals(static_cast<std::size_t>(capacity) * 2 * width, 6));
    Mirror<float> values(normals(static_cast<std::size_t>(n) * width, 7)),
        gates(normals(static_cast<std::size_t>(n) * width, 8)),
        ape(normals(static_cast<std::size_t>(ratio) * width, 9)),
        norm(normals(static_cast<std::size_t>(dim), 10)), f(frequencies(64));
    const auto args = [&, r = ratio, d_out = dim, i = index](bool d) {
      return CompressArgs{values.on(d),
                          gates.on(d),
                          ape.on(d),
                          norm.on(d),
                          f.on(d),
                          s.places(d),
                          {0, Sequence::kPerPage},
                          r,
                          d_out,
                          64,
                          capacity,
                          i,
                          1e-6f};
    };
    simt::Machine::get().run({n}, kCompressThreads, static_cast<std::size_t>(compress_shared(dim)),
                             kOrder, [&] { compress_kernel(args(false)); });
    LARES_EXPECT_OK(compress(args(true), nullptr));
    expect_same(s.cells.device_values(), s.cells.host_values(), index ? "index keys" : "entries");
    simt::Machine::get().run({n}, kCompressThreads, 0, kOrder,
                             [&] { put_raw_kernel(args(false)); });
    LARES_EXPECT_OK(put_raw(args(true), nullptr));
    expect_same(s.raw.device_values(), s.raw.host_values(), "raw rows");
  }
}

TEST(CudaRowsDevice, HyperConnections) {
  LARES_NEEDS_DEVICE();
  // How one token goes: by a cluster, in one launch, in two. What leaves: nothing, y, experts' sum.
  enum class Way { cluster, one, two };
  enum class Leaves { nothing, y, experts };
  struct Case {
    int n, dim;
    Way way;
    Leaves leaves = Leaves::y;
    bool later = false, head = false;
  };
  constexpr int kRanks = 6;
  Mirror<std::uint32_t> arrived(std::vector<std::uint32_t>{0});
  for (const Case& c :
       {Case{1, 4096, Way::cluster}, Case{1, 4096, Way::cluster, Leaves::experts, true},
        Case{1, 4096, Way::cluster, Leaves::y, true}, Case{1, 4096, Way::cluster, Leaves::nothing},
        Case{1, 4096, Way::cluster, Leaves::experts, false, true}, Case{1, 7168, Way::cluster},
        Case{1, 128, Way::cluster}, Case{1, 4096, Way::one},
        Case{1, 4096, Way::one, Leaves::experts, true}, Case{1, 128, Way::one},
        Case{1, 4096, Way::two}, Case{70, 4096, Way::two},
        Case{3, 128, Way::two, Leaves::experts, true}}) {
    SCOPED_TRACE(fmt::format("{} tokens of {}, way {}, leaves {}{}{}", c.n, c.dim,
                             static_cast<int>(c.way), static_cast<int>(c.leaves),
                             c.later ? ", later" : "", c.head ? ", head" : ""));
    if (c.way == Way::cluster && devices().front().sm == 90) {
      EXPECT_TRUE(hyper_has_cluster(c.dim)) << "it goes another way";
    }
    const int n = c.n, dim = c.dim;
    const std::size_t rows = static_cast<std::size_t>(n);
    Mirror<std::uint16_t> x(halves(normals(rows * 4 * dim, 11))),
        y(halves(normals(rows * dim, 12))), outputs(halves(normals(rows * (kRanks + 1) * dim, 19))),
        entered(rows * dim), normed(rows * dim);
    Mirror<float> post(normals(rows * 4, 13)), comb(normals(rows * 16, 14, 0.3f)),
        fn(normals(static_cast<std::size_t>(24) * 4 * dim, 15, 0.02f)), base(normals(24, 16)),
        scale(normals(3, 17)), norm(normals(static_cast<std::size_t>(dim), 18)),
        code_scale(rows * (dim / 128)), partial(hyper_partials(n, dim));
    Mirror<std::uint8_t> codes(rows * dim);
    std::vector<std::int32_t> slots(rows * kRanks);
    std::iota(slots.rbegin(), slots.rend(), 0);
    Mirror<std::int32_t> slot_of(slots);
    const auto args = [&](bool d) {
      HyperArgs a{.x = x.on(d),
                  .y = c.leaves == Leaves::y ? y.on(d) : nullptr,
                  .post = post.on(d),
                  .comb = comb.on(d),
                  .fn = fn.on(d),
                  .base = base.on(d),
                  .scale = scale.on(d),
                  .norm = norm.on(d),
                  .entered = entered.on(d),
                  .normed = normed.on(d),
                  .codes = codes.on(d),
                  .code_scale = code_scale.on(d),
                  .partial = partial.on(d),
                  .n_tokens = n,
                  .dim = dim,
                  .iters = 20,
                  .head = c.head,
                  .eps = 1e-6f,
                  .norm_eps = 1e-6f,
                  .rms_eps = 1e-6f,
                  .later = c.later,
                  .cluster = c.way == Way::cluster,
                  .arrived = c.way == Way::one ? arrived.on(d) : nullptr};
      if (c.leaves == Leaves::experts)
        a.experts = {.out = outputs.on(d),
                     .slot_of = slot_of.on(d),
                     .stride = dim,
                     .n_tokens = n,
                     .k = kRanks};
      return a;
    };
    simt::Machine::get().run({dim / kHyperSlice, (n + kSliceTokens - 1) / kSliceTokens},
                             kSliceThreads,
                             static_cast<std::size_t>(slice_shared(std::min(n, kSliceTokens))),
                             kOrder, [&] { hyper_slice_kernel(args(false)); });
    simt::Machine::get().run({n}, kMixThreads + 32, static_cast<std::size_t>(mix_shared()), kOrder,
                             [&] { hyper_mix_kernel(args(false)); });
    LARES_EXPECT_OK(hyper(args(true), nullptr));
    expect_same(x.device_values(), x.host_values(), "streams");
    expect_same(post.device_values(), post.host_values(), "post");
    expect_same(comb.device_values(), comb.host_values(), "comb");
    expect_same(entered.device_values(), entered.host_values(), "what entered");
    expect_same(normed.device_values(), normed.host_values(), "what is normed");
    expect_same(codes.device_values(), codes.host_values(), "codes");
    expect_same(code_scale.device_values(), code_scale.host_values(), "scales");
    if (!c.later) continue;
    const auto mixes = [&](const std::vector<float>& all) {
      std::vector<float> out;
      for (std::size_t t = 0; t < rows; ++t)
        out.insert(out.end(), &all[t * all.size() / rows],
                   &all[t * all.size() / rows] + kHyperRows);
      return out;
    };
    expect_same(mixes(partial.device_values()), mixes(partial.host_values()), "mixes");
  }
}

TEST(CudaRowsDevice, RouterAndGroups) {
  LARES_NEEDS_DEVICE();
  for (const int n : {1, 8, 1000}) {
    constexpr int E = 256, k = 6;
    const std::size_t slots = static_cast<std::size_t>(n) * k;
    Mirror<float> u(normals(static_cast<std::size_t>(n) * E, 19, 3)), bias(normals(E, 20)),
        weight(slots), factor(slots + n);
    Mirror<std::int32_t> expert(slots), begin(E + 1), slot_of(slots), token_of(slots + n),
        jobs(3 * static_cast<std::size_t>(expert_jobs(n, E, k)));
    const auto route_args = [&](bool d) {
      return RouteArgs{u.on(d),      bias.on(d), nullptr, nullptr, expert.on(d),
                       weight.on(d), n,          E,       k,       1.5f};
    };
    simt::Machine::get().run({n}, 32, E * 4, kOrder, [&] { route_kernel(route_args(false)); });
    LARES_EXPECT_OK(route(route_args(true), nullptr));
    expect_same(expert.device_values(), expert.host_values(), "experts");
    const auto got = weight.device_values(), want = weight.host_values();
    for (std::size_t i = 0; i < slots; ++i)
      ASSERT_NEAR(got[i], want[i], 1e-6) << i;  // another libm's exp and log1p, rounded to f32
    if (n == 1000) continue;                    // emulated blocks count all routes each
    const auto group_args = [&](bool d) {
      return GroupArgs{expert.on(d),
                       weight.on(d),
                       begin.on(d),
                       slot_of.on(d),
                       token_of.on(d),
                       factor.on(d),
                       jobs.on(d),
                       n,
                       E,
                       k};
    };
    simt::Machine::get().run({E + 1}, kGroupThreads, static_cast<std::size_t>(group_shared(E)),
                             kOrder, [&] { group_kernel(group_args(false)); });
    LARES_EXPECT_OK(group(group_args(true), nullptr));
    expect_same(begin.device_values(), begin.host_values(), "begins");
    expect_same(slot_of.device_values(), slot_of.host_values(), "slots");
    expect_same(token_of.device_values(), token_of.host_values(), "tokens");
    expect_same(jobs.device_values(), jobs.host_values(), "jobs");
  }
}

TEST(CudaRowsDevice, SwigluCombineEmbedArgmax) {
  LARES_NEEDS_DEVICE();
  constexpr int n = 7, k = 6, I = 2048, slots = n * (k + 1), V = 10000, D = 512;
  Mirror<std::uint16_t> gate(halves(normals(slots * I, 21, 5))),
      up(halves(normals(slots * I, 22, 5))), h(slots * I), y(n * I),
      table(halves(normals(100 * D, 23))), x(n * 4 * D);
  Mirror<float> factor(normals(slots, 24)), scale(slots * 16), logits(normals(n * V, 25)), value(n);
  Mirror<std::uint8_t> codes(slots * I);
  std::vector<std::int32_t> order(n * k), ids;
  for (int i = 0; i < n * k; ++i) order[static_cast<std::size_t>(i)] = (i * 5) % (n * k);
  for (int t = 0; t < n; ++t) ids.push_back(t * 13);
  Mirror<std::int32_t> slot_of(order), tokens(ids), token(n);
  Mirror<std::uint64_t> scratch(n * kArgmaxParts);
  const auto swiglu_args = [&](bool d) {
    return SwigluArgs{gate.on(d), up.on(d), factor.on(d), h.on(d), codes.on(d), scale.on(d),
                      I,          16,       slots,        I,       10};
  };
  simt::Machine::get().run({swiglu_blocks(slots, I)}, 256, 0, kOrder,
                           [&] { swiglu_kernel(swiglu_args(false)); });
  LARES_EXPECT_OK(swiglu(swiglu_args(true), nullptr));
  expect_same(h.device_values(), h.host_values(), "h");
  expect_same(codes.device_values(), codes.host_values(), "codes of h");
  const auto combine_args = [&](bool d) {
    return CombineArgs{h.on(d), slot_of.on(d), y.on(d), I, n, k, I};
  };
  simt::Machine::get().run({(I + 1023) / 1024, n}, 256, 0, kOrder,
                           [&] { combine_kernel(combine_args(false)); });
  LARES_EXPECT_OK(combine(combine_args(true), nullptr));
  expect_same(y.device_values(), y.host_values(), "combined rows");
  const auto embed_args = [&](bool d) {
    return EmbedArgs{table.on(d), tokens.on(d), x.on(d), n, 4, D};
  };
  simt::Machine::get().run({n}, 256, 0, kOrder, [&] { embed_kernel(embed_args(false)); });
  LARES_EXPECT_OK(embed(embed_args(true), nullptr));
  expect_same(x.device_values(), x.host_values(), "streams");
  const auto argmax_args = [&](bool d) {
    return ArgmaxArgs{logits.on(d), nullptr, token.on(d), value.on(d), scratch.on(d), n, V};
  };
  simt::Machine::get().run({kArgmaxParts, n}, 256, 256 * 8, kOrder,
                           [&] { argmax_parts_kernel(argmax_args(false)); });
  simt::Machine::get().run({n}, kArgmaxParts, kArgmaxParts * 8, kOrder,
                           [&] { argmax_kernel(argmax_args(false)); });
  LARES_EXPECT_OK(argmax(argmax_args(true), nullptr));
  expect_same(token.device_values(), token.host_values(), "tokens");
}

TEST(CudaRowsDevice, DraftRows) {
  LARES_NEEDS_DEVICE();
  constexpr int n = 9, S = 4, D = 4096;
  Mirror<std::uint16_t> x(halves(normals(n * S * D, 31))), y(halves(normals(n * D, 32))),
      kept(n * S * D), means(n * 3 * D);
  const auto compare = [&](DraftRows what, Mirror<std::uint16_t>& rows, int row_size,
                           std::int64_t offset) {
    std::vector<bf16*> on_host, on_device;
    for (int t = 0; t < n; ++t) {
      on_host.push_back(t == 4 ? nullptr
                               : rows.on(false) + static_cast<std::size_t>((t * 2) % n * row_size));
      on_device.push_back(
          t == 4 ? nullptr : rows.on(true) + static_cast<std::size_t>((t * 2) % n * row_size));
    }
    Mirror<bf16*> addresses(on_device);
    const auto args = [&](bool d) {
      return DraftRowsArgs{what, x.on(d), d ? addresses.on(true) : on_host.data(), n, S, D, offset};
    };
    const int values = what == DraftRows::keep_means ? D : S * D;
    simt::Machine::get().run({n, draft_blocks(values)}, kDraftThreads, 0, kOrder,
                             [&] { draft_rows_kernel(args(false)); });
    LARES_EXPECT_OK(draft_rows(args(true), nullptr));
    expect_same(rows.device_values(), rows.host_values(), "rows");
    expect_same(x.device_values(), x.host_values(), "streams");
  };
  compare(DraftRows::keep, kept, S * D, 0);
  compare(DraftRows::keep_means, means, 3 * D, D);
  const auto add = [&](bool d) { return AddToStreamsArgs{x.on(d), y.on(d), n, S, D}; };
  simt::Machine::get().run({n, draft_blocks(D)}, kDraftThreads, 0, kOrder,
                           [&] { add_to_streams_kernel(add(false)); });
  LARES_EXPECT_OK(add_to_streams(add(true), nullptr));
  expect_same(x.device_values(), x.host_values(), "sums");
  compare(DraftRows::recall, kept, S * D, 0);
}

TEST(CudaRowsDevice, Indexer) {
  LARES_NEEDS_DEVICE();
  constexpr int n = 3, heads = 64, k = 128, n_keys = Sequence::kPages * Sequence::kPerPage;
  Sequence s(4 * n_keys - n, n, 64, 68, {0});
  std::vector<std::uint8_t> keys;
  for (int j = 0; j < n_keys; ++j) {
    auto key = normals(kIndexDim, static_cast<std::uint64_t>(j));
    find("cpu")->quantise({.x = key.data(),
                           .stride = kIndexDim,
                           .n_rows = 1,
                           .n = kIndexDim,
                           .block = 32,
                           .fp4 = true});
    keys.resize(keys.size() + 68);
    pack_index_key(key.data(), kIndexDim, keys.data() + keys.size() - 68);
  }
  std::copy(keys.begin(), keys.end(), s.cells.host());
  LARES_EXPECT_OK(copy_to_device(s.cells.device(), keys.data(), keys.size(), nullptr));
  LARES_EXPECT_OK(synchronise(nullptr));
  Mirror<double> table(angles(s.position, frequencies(64)));
  Mirror<std::uint16_t> q(halves(normals(n * heads * kIndexDim, 26))),
      w(halves(normals(n * heads, 27))), codes(n * heads * kIndexDim);
  Mirror<float> scale(n * heads * 4), weight(n * heads), score(n * n_keys);
  const auto query_args = [&](bool d) {
    return IndexQueryArgs{q.on(d),      w.on(d), table.on(d), codes.on(d), scale.on(d),
                          weight.on(d), n,       heads,       64,          0.011f};
  };
  simt::Machine::get().run({index_queries_blocks(n, heads)}, 128, 0, kOrder,
                           [&] { index_queries_kernel(query_args(false)); });
  LARES_EXPECT_OK(index_queries(query_args(true), nullptr));
  expect_same(codes.device_values(), codes.host_values(), "query codes");
  expect_same(scale.device_values(), scale.host_values(), "query scales");
  const auto score_args = [&](bool d) {
    return IndexScoreArgs{
        codes.on(d), scale.on(d), weight.on(d), s.places(d), {0, Sequence::kPerPage},
        score.on(d), n_keys,      heads,        n_keys};
  };
  simt::Machine::get().run({score_blocks(n, n_keys), n}, kScoreThreads, kScoreShared, kOrder,
                           [&] { index_scores_kernel(score_args(false)); });
  LARES_EXPECT_OK(index_scores(score_args(true), nullptr));
  for (int t = 0; t < n; ++t) {
    const int seen = static_cast<int>((s.position[static_cast<std::size_t>(t)] + 1) / 4);
    const auto got = score.device_values(), want = score.host_values();
    expect_same(std::vector<float>(got.begin() + t * n_keys, got.begin() + t * n_keys + seen),
                std::vector<float>(want.begin() + t * n_keys, want.begin() + t * n_keys + seen),
                "scores");
  }
  Mirror<std::int32_t> chosen(n * k);
  Mirror<std::uint32_t> bins(std::vector<std::uint32_t>(n * kTopKBins, 0)),
      scratch(top_k_scratch(n, n_keys));
  LARES_EXPECT_OK(top_k({score.device(), n_keys, s.places(true), chosen.device(), bins.device(),
                         scratch.device(), 4, k, n_keys},
                        nullptr));
  const auto scores = score.device_values();
  for (int t = 0; t < n; ++t) {
    const int seen = static_cast<int>((s.position[static_cast<std::size_t>(t)] + 1) / 4);
    std::vector<std::uint32_t> words(static_cast<std::size_t>(seen));
    std::vector<std::int32_t> want(k);
    kernels::top_k(scores.data() + t * n_keys, seen, k, words.data(), want.data());
    const auto got = chosen.device_values();
    expect_same(std::vector<std::int32_t>(got.begin() + t * k, got.begin() + (t + 1) * k), want,
                "chosen");
  }
}

TEST(CudaRowsDevice, TopKOfAMillionTokensContext) {
  LARES_NEEDS_DEVICE();
  constexpr int n = 262144, k = 512;
  auto scores = normals(n, 28);
  for (std::size_t i = 0; i < scores.size(); ++i)
    scores[i] = i % 3 ? bf16_rounded(scores[i]) : 0.0f;
  Sequence s(4 * static_cast<std::int64_t>(n) - 1, 1, 64, 68, {0});
  Mirror<float> score(scores);
  Mirror<std::int32_t> chosen(k);
  Mirror<std::uint32_t> bins(std::vector<std::uint32_t>(kTopKBins, 0)),
      scratch(top_k_scratch(1, n));
  std::vector<std::uint32_t> words(n);
  std::vector<std::int32_t> want(k);
  kernels::top_k(scores.data(), n, k, words.data(), want.data());
  for (int run = 0; run < reruns(100); ++run) {
    chosen.renew();
    LARES_EXPECT_OK(top_k({score.device(), n, s.places(true), chosen.device(), bins.device(),
                           scratch.device(), 4, k, n},
                          nullptr));
    expect_same(chosen.device_values(), want, "chosen");
  }
}

TEST(CudaRowsDevice, Attention) {
  LARES_NEEDS_DEVICE();
  constexpr int C = 512, R = 64, heads = 64, window = 128, capacity = 256, k = 100, ratio = 4;
  // The last are more than a device has SMs: blocks take several
  for (const int n : {1, 70, 300}) {
    Sequence s(1200, n, capacity * 584, 584, {0});
    std::vector<std::uint8_t> cells;
    for (int j = 0; j < Sequence::kPages * Sequence::kPerPage + capacity; ++j) {
      auto row = floats(halves(normals(C, static_cast<std::uint64_t>(j))));
      find("cpu")->quantise({.x = row.data(), .stride = C, .n_rows = 1, .n = C - R, .block = 64});
      find("cpu")->drop_small(row.data(), C);
      cells.resize(cells.size() + 584);
      pack_cell(row.data(), C, R, cells.data() + cells.size() - 584);
    }
    const std::size_t pages = static_cast<std::size_t>(Sequence::kPages) * Sequence::kPerPage * 584;
    std::copy_n(cells.begin(), pages, s.cells.host());
    std::copy(cells.begin() + static_cast<std::ptrdiff_t>(pages), cells.end(), s.window.host());
    LARES_EXPECT_OK(copy_to_device(s.cells.device(), cells.data(), pages, nullptr));
    LARES_EXPECT_OK(
        copy_to_device(s.window.device(), cells.data() + pages, cells.size() - pages, nullptr));
    LARES_EXPECT_OK(synchronise(nullptr));
    std::vector<std::int32_t> numbers;
    for (int t = 0; t < n; ++t)
      for (int i = 0; i < k; ++i) numbers.push_back(2 * i + t % 2);
    const int n_blocks = attention_blocks(window, k);
    Mirror<std::uint16_t> q(halves(normals(static_cast<std::size_t>(n) * heads * C, 29))),
        out(static_cast<std::size_t>(n) * heads * C);
    Mirror<float> sink(normals(heads, 30)), workspace(attention_workspace(n, heads, C, n_blocks));
    Mirror<double> table(angles(s.position, frequencies(R)));
    Mirror<std::int32_t> chosen(numbers);
    const auto args = [&](bool d) {
      return AttentionArgs{q.on(d),
                           sink.on(d),
                           table.on(d),
                           out.on(d),
                           workspace.on(d),
                           s.places(d),
                           {0, Sequence::kPerPage},
                           chosen.on(d),
                           k,
                           ratio,
                           heads,
                           C,
                           R,
                           window,
                           capacity,
                           k,
                           1 / std::sqrt(512.0f)};
    };
    LARES_EXPECT_OK(attention(args(true), nullptr));
    const auto first = out.device_values();
    for (int run = 0; run < reruns(100); ++run) {
      out.renew();
      LARES_EXPECT_OK(attention(args(true), nullptr));
      ASSERT_TRUE(out.device_values() == first) << "run " << run;
    }
    if (n > 1) {
      // Without wgmma, and the first token alone, whose blocks of rows are shared out: the bits are
      // the same.
      AttentionArgs by_mma = args(true);
      by_mma.wgmma = false;
      out.renew();
      LARES_EXPECT_OK(attention(by_mma, nullptr));
      expect_same(out.device_values(), first, "by mma");
      AttentionArgs alone = args(true);
      alone.places.n_tokens = 1;
      out.renew();
      LARES_EXPECT_OK(attention(alone, nullptr));
      const auto got = out.device_values();
      expect_same(std::vector<std::uint16_t>(got.begin(), got.begin() + heads * C),
                  std::vector<std::uint16_t>(first.begin(), first.begin() + heads * C), "alone");
      // Heads turned on their way, and before.
      AttentionArgs raw = args(true);
      raw.q = nullptr, raw.raw_q = q.device(), raw.query_eps = 1e-6f;
      out.renew();
      LARES_EXPECT_OK(attention(raw, nullptr));
      const auto turned = out.device_values();
      raw.wgmma = false;
      out.renew();
      LARES_EXPECT_OK(attention(raw, nullptr));
      expect_same(turned, out.device_values(), "heads turned on their way");
      continue;
    }
    simt::Machine::get().run(
        {1, n, heads / kHeadsWide}, kAttentionThreads,
        static_cast<std::size_t>(attention_shared<C, kHeadsWide, false>()), kOrder,
        [&] { attention_kernel<C, kHeadsWide, false>(args(false), n_blocks); });
    expect_near(floats(first), floats(out.host_values()), 2e-3, "attention");
  }
}

}  // namespace
}  // namespace lares::kernels::cuda
