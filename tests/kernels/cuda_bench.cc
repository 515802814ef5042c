// kernels_cuda_bench: the launches of a decode step and of prefill at V4-Flash's shapes, as the
// engine makes them (engine/cuda/forward_layer.cc), with generated weights, beside this device's
// own copy rate: one table, or its lines that contain argv[1]. Each line replays a graph of
// launches over weights larger than L2; the median is of whole replays.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <string_view>
#include <vector>

#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/products/experts.h"
#include "kernels/cuda/hyper/hyper.h"
#include "kernels/cuda/indexer/indexer.h"
#include "kernels/cuda/norm.h"
#include "kernels/cuda/quantise.h"
#include "tests/kernels/cuda_bench_data.h"

namespace lares::kernels::cuda {
namespace {

constexpr std::size_t kWeightBytes = std::size_t{4} << 30;  // of each kind, gone through in turn
constexpr std::size_t kWorkBytes = std::size_t{3} << 30;
constexpr int kReplays = 30;
constexpr float kCopyMs = 200;
constexpr int kScoredTogether = 2048;  // tokens: the engine's kScoredMax
constexpr int kKeysMax = 262144;       // of 1M tokens
constexpr int kPagesMade = 256;        // which repeat

void must(const Status& s) {
  if (s.ok()) return;
  fmt::print(stderr, "kernels_cuda_bench: {}\n", s.message());
  std::exit(1);
}

// Memory that repeats a random block, and is handed out from its beginning again when it ends.
class Arena {
 public:
  Arena(const std::vector<std::uint8_t>& block, std::size_t bytes) {
    must(memory_.allocate(bytes));
    for (std::size_t at = 0; at < bytes; at += block.size())
      must(copy_to_device(memory_.as<char>() + at, block.data(), std::min(block.size(), bytes - at),
                          nullptr));
    must(synchronise(nullptr));
  }
  // Seconds of copying one half of it onto the other, which has the same numbers then: the fastest
  // of kCopyMs, by which a device's clocks are up.
  double copy_half(Stream stream) {
    Event begin, end;
    must(begin.create());
    must(end.create());
    const std::size_t half = memory_.size() / 2;
    float best = 0, all = 0;
    while (all < kCopyMs) {
      float ms = 0;
      must(begin.record(stream));
      must(copy_on_device(memory_.as<char>(), memory_.as<char>() + half, half, stream));
      must(end.record(stream));
      must(end.wait());
      must(end.since(begin, &ms));
      best = all > 0 ? std::min(best, ms) : ms;
      all += ms;
    }
    return best * 1e-3;
  }
  const void* data() const { return memory_.data(); }
  const std::uint8_t* take(std::size_t bytes) {
    bytes = (bytes + kUnit - 1) / kUnit * kUnit;
    if (at_ + bytes > memory_.size()) at_ = 0;
    const auto* p = memory_.as<std::uint8_t>() + at_;
    at_ += bytes;
    return p;
  }

 private:
  // So that tiles of fp4 begin where the block's do
  static constexpr std::size_t kUnit = bench::kTileFp4 * 64;
  DeviceBuffer memory_;
  std::size_t at_ = 0;
};

struct Bench {
  OwnedStream stream;
  DeviceBuffer shared_rows;
  Scratch scratch;
  double copy_rate = 0;  // bytes a second
  std::string_view only;

  // Median seconds of one of `n` rounds of launches, replayed as a graph.
  double time(int n, const std::function<Status(int, Stream)>& round) {
    must(round(0, stream));  // loads the kernels
    must(synchronise(stream));
    Graph graph;
    must(Graph::begin(stream));
    for (int i = 0; i < n; ++i) must(round(i, stream));
    must(graph.end(stream));
    Event begin, end;
    must(begin.create());
    must(end.create());
    std::vector<float> ms;
    for (int i = 0; i < kReplays + 3; ++i) {
      must(begin.record(stream));
      must(graph.launch(stream));
      must(end.record(stream));
      must(end.wait());
      float t = 0;
      must(end.since(begin, &t));
      if (i >= 3) ms.push_back(t);
    }
    std::sort(ms.begin(), ms.end());
    return ms[ms.size() / 2] * 1e-3 / n;
  }
  void line(const char* name, double bytes, double flops, int n,
            const std::function<Status(int, Stream)>& round) {
    if (std::string_view(name).find(only) == std::string_view::npos) return;
    const double s = time(n, round), floor = bytes / copy_rate;
    fmt::print("{:<58} {:>9.1f} us {:>6.0f} GB/s {:>5.1f} % {:>6.1f} TFLOP/s\n", name, s * 1e6,
               bytes / s * 1e-9, 100 * floor / s, flops / s * 1e-12);
    std::fflush(stdout);
  }
};

int run(std::string_view only) {
  Status why;
  const auto found = devices(&why);
  if (found.empty()) {
    fmt::print("kernels_cuda_bench: no CUDA device: {}\n",
               why.ok() ? "the driver lists none" : why.message());
    return 1;
  }
  fmt::print("{}, sm_{}, {} SMs, {:.1f} GiB\n", found[0].name, found[0].sm, found[0].n_sms,
             static_cast<double>(found[0].memory_bytes) / (1 << 30));
  Bench b;
  b.only = only;
  must(b.stream.create());
  must(b.shared_rows.allocate(sizeof(StreamScratch) * kScratchBlocks));
  must(fill(b.shared_rows.data(), 0, sizeof(StreamScratch) * kScratchBlocks, b.stream));
  b.scratch = {b.shared_rows.as<StreamScratch>()};
  Arena halves(bench::halves(bench::kBlockBytes, 1), kWeightBytes),
      fp4(bench::fp4_tiles(bench::kBlockBytes, 2), kWeightBytes);
  DeviceBuffer work;  // activations and results
  must(work.allocate(kWorkBytes));
  b.copy_rate = static_cast<double>(kWeightBytes) / halves.copy_half(b.stream);
  fmt::print("copy, read and written: {:.0f} GB/s, which % are of\n", b.copy_rate * 1e-9);
  std::size_t used = 0;
  const auto room = [&](std::size_t bytes) {
    char* const p = work.as<char>() + used;
    used += (bytes + 255) / 256 * 256;
    if (used > kWorkBytes)
      std::exit((fmt::print(stderr, "kernels_cuda_bench: work space too small\n"), 1));
    return static_cast<void*>(p);
  };
  // Numbers of ordinary size everywhere, whatever the lines before have left.
  const auto again = [&] {
    used = 0;
    must(copy_on_device(work.data(), halves.data(), kWorkBytes, b.stream));
    must(synchronise(b.stream));
  };
  const auto floats = [&](std::size_t n, float value) {
    auto* const p = static_cast<float*>(room(n * 4));
    const std::vector<float> all(n, value);
    must(copy_to_device(p, all.data(), n * 4, b.stream));
    must(synchronise(b.stream));
    return p;
  };
  const auto weight = [&](Format f, int n_out, int n_in) {
    return Weight{
        .format = f,
        .tiles = (f == Format::fp4 ? fp4 : halves).take(tiles_bytes(f, n_out, n_in)),
        .scale = reinterpret_cast<const float*>(halves.take(tiles_scales(f, n_out, n_in) * 4)),
        .n_out = n_out,
        .n_in = n_in};
  };
  // What a product is given: bf16 that it takes as it is, codes, or bf16 that it quantises on
  // entry.
  enum class Input { bf16, codes, quantised };
  struct Shape {
    const char* name;
    Format format;
    int n_out, n_in, rows_per_group;
    Input input;
  };
  const auto product = [&](const Shape& s, int n_tokens, int rounds, bool wgmma = true) {
    again();
    const int groups = s.rows_per_group ? s.n_out / s.rows_per_group : 1;
    const std::int64_t columns = static_cast<std::int64_t>(s.n_in) * groups;
    LinearArgs a{
        .x = static_cast<bf16*>(room(static_cast<std::size_t>(n_tokens * columns * 2))),
        .y = room(static_cast<std::size_t>(n_tokens) * static_cast<std::size_t>(s.n_out) * 4),
        .x_stride = columns,
        .code_scale_stride = columns / 128,
        .y_stride = s.n_out,
        .n_tokens = n_tokens,
        .rows_per_group = s.rows_per_group,
        .y_f32 = s.format == Format::bf16,
        .wgmma = wgmma};
    a.quantise = s.input == Input::quantised;
    if (n_tokens > kTokensFew) {
      a.room =
          room(linear_room(static_cast<std::size_t>(n_tokens), static_cast<std::size_t>(columns)));
      a.quantised = static_cast<std::uint8_t*>(room(static_cast<std::size_t>(n_tokens * columns)));
      a.quantised_scale = floats(static_cast<std::size_t>(n_tokens * columns / 128), 1);
    }
    if (s.input == Input::codes) {
      a.codes = static_cast<std::uint8_t*>(room(static_cast<std::size_t>(n_tokens * columns)));
      a.code_scale = floats(static_cast<std::size_t>(n_tokens * columns / 128), bench::kCodeScale);
    }
    const double bytes = static_cast<double>(tiles_bytes(s.format, s.n_out, s.n_in)) +
                         static_cast<double>(n_tokens) *
                             (static_cast<double>(columns) * 2 + s.n_out * (a.y_f32 ? 4 : 2));
    b.line(fmt::format("linear {} [{}, {}], {} tokens{}", s.name, s.n_out, s.n_in, n_tokens,
                       wgmma ? "" : ", mma")
               .c_str(),
           bytes, 2.0 * n_tokens * s.n_out * s.n_in, rounds, [&](int, Stream stream) {
             a.w = weight(s.format, s.n_out, s.n_in);
             return linear({&a, 1}, stream, b.scratch);
           });
  };
  const Shape shapes[] = {{"wq_b fp8", Format::fp8, 32768, 1024, 0, Input::codes},
                          {"wq_a fp8", Format::fp8, 1024, 4096, 0, Input::codes},
                          {"wo_a fp8, bf16 in", Format::fp8, 8192, 4096, 1024, Input::bf16},
                          {"wo_b fp8", Format::fp8, 4096, 8192, 0, Input::quantised},
                          {"compressor bf16", Format::bf16, 2048, 4096, 0, Input::bf16},
                          {"head bf16", Format::bf16, 129280, 4096, 0, Input::bf16}};
  for (const Shape& s : shapes)
    for (const int n : {1, 4}) product(s, n, s.n_out > 100000 ? 3 : 40);
  // What a step launches together: rows of unequal bytes.
  const auto together = [&](const char* name, std::initializer_list<Shape> all) {
    again();
    const int n_in = all.begin()->n_in;
    auto* const x = static_cast<bf16*>(room(static_cast<std::size_t>(n_in) * 2));
    auto* const codes = static_cast<std::uint8_t*>(room(static_cast<std::size_t>(n_in)));
    float* const scale = floats(static_cast<std::size_t>(n_in) / 128, bench::kCodeScale);
    const float* const norm = floats(static_cast<std::size_t>(n_in), 1);
    HyperMixes mixes;
    std::vector<LinearArgs> args;
    double bytes = 0;
    for (const Shape& s : all) {
      bytes += static_cast<double>(tiles_bytes(s.format, s.n_out, n_in));
      args.push_back({.x = s.input == Input::codes ? nullptr : x,
                      .codes = s.input == Input::codes ? codes : nullptr,
                      .code_scale = scale,
                      .y = room(static_cast<std::size_t>(s.n_out) * 4),
                      .x_stride = n_in,
                      .code_scale_stride = n_in / 128,
                      .y_stride = s.n_out,
                      .n_tokens = 1,
                      .y_f32 = s.format == Format::bf16});
      if (s.input != Input::quantised) continue;
      LinearArgs& a = args.back();
      a.quantise = true, a.norm = norm, a.norm_eps = 1e-6f;
      a.quantised = codes, a.quantised_scale = scale;
      mixes = hyper_mixes(floats(hyper_partials(1, 4096), 1), 4096, floats(4, 0), floats(16, 0), 1,
                          20, 1e-6f);
    }
    b.line(fmt::format("linear {}, 1 token", name).c_str(), bytes, 0, 20, [&](int, Stream stream) {
      for (std::size_t i = 0; i < args.size(); ++i)
        args[i].w = weight((all.begin() + i)->format, (all.begin() + i)->n_out, n_in);
      return linear(args, stream, b.scratch, mixes);
    });
  };
  together("first products", {{"wq_a", Format::fp8, 1024, 4096, 0, Input::codes},
                              {"wkv", Format::fp8, 512, 4096, 0, Input::codes},
                              {"compressor wkv", Format::bf16, 1024, 4096, 0, Input::bf16},
                              {"compressor wgate", Format::bf16, 1024, 4096, 0, Input::bf16},
                              {"indexer wkv", Format::bf16, 256, 4096, 0, Input::bf16},
                              {"indexer wgate", Format::bf16, 256, 4096, 0, Input::bf16},
                              {"indexer weights", Format::bf16, 64, 4096, 0, Input::bf16}});
  together("wq_b with the indexer's", {{"wq_b", Format::fp8, 32768, 1024, 0, Input::codes},
                                       {"indexer wq_b", Format::fp8, 8192, 1024, 0, Input::codes}});
  together("the same, normed on entry, and mixes",
           {{"wq_b", Format::fp8, 32768, 1024, 0, Input::quantised},
            {"indexer wq_b", Format::fp8, 8192, 1024, 0, Input::quantised}});
  together("gate, shared w1 w3", {{"gate", Format::bf16, 256, 4096, 0, Input::bf16},
                                  {"w1", Format::fp8, 2048, 4096, 0, Input::codes},
                                  {"w3", Format::fp8, 2048, 4096, 0, Input::codes}});
  for (const Shape& s : shapes)
    for (const bool wgmma : {true, false})
      if (s.n_out < 100000) product(s, 8192, 2, wgmma);

  for (const int n : {1, 8, 8192}) {
    constexpr int E = 256, k = 6, I = 2048, D = 4096;
    again();
    const std::size_t slots = static_cast<std::size_t>(n) * (k + 1);
    const std::vector<std::int32_t> expert = bench::routes(n, E, k, 3);
    auto* const on_device = static_cast<std::int32_t*>(room(expert.size() * 4));
    must(copy_to_device(on_device, expert.data(), expert.size() * 4, b.stream));
    must(synchronise(b.stream));
    auto* const begin = static_cast<std::int32_t*>(room((E + 1) * 4));
    auto* const slot_of = static_cast<std::int32_t*>(room(slots * 4));
    auto* const token_of = static_cast<std::int32_t*>(room(slots * 4));
    auto* const jobs =
        static_cast<std::int32_t*>(room(static_cast<std::size_t>(expert_jobs(n, E, k)) * 12));
    auto* const factor = static_cast<float*>(room(slots * 4));
    const auto* const weights = static_cast<const float*>(room(slots * 4));
    const GroupArgs grouping{.expert = on_device,
                             .weight = weights,
                             .begin = begin,
                             .slot_of = slot_of,
                             .token_of = token_of,
                             .factor = factor,
                             .jobs = jobs,
                             .n_tokens = n,
                             .n_experts = E,
                             .k = k};
    must(group(grouping, b.stream));
    const double distinct = bench::distinct(expert);
    const int rounds = n > 8 ? 1 : 10;
    auto* const codes = static_cast<std::uint8_t*>(room(slots * D));
    const float* const scale = floats(slots * D / 128, bench::kCodeScale);
    float* const h_scale = floats(slots * I / 128, 1);
    void* const y[2] = {room(slots * I * 2), room(slots * I * 2)};
    void* const out = room(slots * D * 2);
    std::vector<const std::uint8_t*> table(static_cast<std::size_t>(E) *
                                           static_cast<std::size_t>(rounds) * 2);
    auto** const tables = static_cast<const std::uint8_t**>(room(table.size() * 8));
    void* const laid = n > kTokensFew ? room(experts_room(n, E, k, D)) : nullptr;
    const bool few = n <= kTokensFew;
    if (!few) {
      b.line(fmt::format("group, {} tokens", n).c_str(), static_cast<double>(slots) * 16, 0, 10,
             [&](int, Stream stream) { return group(grouping, stream); });
      b.line(fmt::format("combine, {} tokens", n).c_str(),
             static_cast<double>(slots + static_cast<std::size_t>(n)) * D * 2, 0, 2,
             [&](int, Stream stream) {
               return combine({.out = static_cast<const bf16*>(out),
                               .slot_of = slot_of,
                               .y = static_cast<bf16*>(y[0]),
                               .stride = D,
                               .n_tokens = n,
                               .k = k,
                               .dim = D},
                              stream);
             });
    }
    // As in a step: w2's launch takes what w1 and w3 gave, which of few tokens are another launch's
    // where they are the shared expert's.
    for (const bool down : {false, true}) {
      const int n_out = down ? D : I, n_in = down ? I : D, matrices = down ? 1 : 2;
      for (auto& p : table) p = fp4.take(tiles_bytes(Format::fp4, n_out, n_in));
      must(copy_to_device(tables, table.data(), table.size() * 8, b.stream));
      must(synchronise(b.stream));
      ExpertLinearArgs a{.n_matrices = matrices,
                         .format = Format::fp4,
                         .n_out = n_out,
                         .n_in = n_in,
                         .x_stride = n_in,
                         .code_scale_stride = n_in / 128,
                         .y_stride = n_out,
                         .room = laid,
                         .row_of = down ? nullptr : token_of,
                         .jobs = jobs,
                         .jobs_known = down && few,
                         .n_tokens = n,
                         .n_experts = E,
                         .k = k};
      if (down) {
        a.x = static_cast<const bf16*>(y[0]), a.up = static_cast<const bf16*>(y[1]);
        a.factor = factor, a.limit = 10, a.quantise = true;
        a.quantised = codes, a.quantised_scale = h_scale;
      } else {
        a.codes = codes, a.code_scale = scale;
      }
      for (const bool shared : {false, true}) {
        if (!few && !shared) continue;
        const double bytes =
            matrices * (distinct * static_cast<double>(tiles_bytes(Format::fp4, n_out, n_in)) +
                        shared * static_cast<double>(tiles_bytes(Format::fp8, n_out, n_in)));
        const double rows = static_cast<double>(n) * (k + shared);
        for (const bool wgmma : {true, false}) {
          if (!wgmma && few) continue;
          a.wgmma = wgmma;
          b.line(
              fmt::format("experts {}, {} token{}{}{}", down ? "w2" : "w1 w3", n, n > 1 ? "s" : "",
                          shared ? ", with the shared one" : "", wgmma ? "" : ", mma")
                  .c_str(),
              bytes, 2.0 * rows * matrices * n_out * n_in, rounds, [&](int i, Stream stream) {
                for (int m = 0; m < matrices; ++m)
                  a.matrix[m] = {.tiles = tables + (2 * i + m) * E,
                                 .shared = shared ? weight(Format::fp8, n_out, n_in) : Weight{},
                                 .y = down ? out : y[m]};
                return experts_linear(a, stream, b.scratch);
              });
        }
      }
    }
  }
  for (const int n : {1, 4, 8192}) {
    again();
    constexpr int D = 4096, k = 6;
    const std::size_t rows = static_cast<std::size_t>(n);
    const HyperArgs plain{.x = static_cast<bf16*>(room(rows * 4 * D * 2)),
                          .y = static_cast<bf16*>(room(rows * D * 2)),
                          .post = floats(rows * 4, bench::kPost),
                          .comb = floats(rows * 16, bench::kComb),
                          .fn = nullptr,
                          .base = static_cast<float*>(room(96)),
                          .scale = static_cast<float*>(room(12)),
                          .norm = static_cast<float*>(room(D * 4)),
                          .entered = nullptr,
                          .normed = static_cast<bf16*>(room(rows * D * 2)),
                          .codes = static_cast<std::uint8_t*>(room(rows * D)),
                          .code_scale = static_cast<float*>(room(rows * D / 32)),
                          .partial = static_cast<float*>(room(hyper_partials(n, D) * 4)),
                          .n_tokens = n,
                          .dim = D,
                          .iters = 20,
                          .head = false,
                          .eps = 1e-6f,
                          .norm_eps = 1e-6f,
                          .rms_eps = 1e-6f,
                          .later = n <= kTokensFew};  // attention_inputs() or route_and_group()
    auto* const arrived = static_cast<std::uint32_t*>(room(4));
    must(fill(arrived, 0, 4, b.stream));
    // What experts leave: the sum of their slots, which are the tokens' in turn.
    ExpertOutputs outputs{.out = static_cast<const bf16*>(room(rows * (k + 1) * D * 2)),
                          .stride = D,
                          .n_tokens = n,
                          .k = k};
    std::vector<std::int32_t> slots(rows * k);
    for (std::size_t i = 0; i < slots.size(); ++i) slots[i] = static_cast<std::int32_t>(i);
    auto* const slot_of = static_cast<std::int32_t*>(room(slots.size() * 4));
    must(copy_to_device(slot_of, slots.data(), slots.size() * 4, b.stream));
    must(synchronise(b.stream));
    outputs.slot_of = slot_of;
    struct Way {
      const char* name;
      bool cluster, in_one, later, experts;
    };
    const Way ways[] = {{"cluster", true, false, true, false},
                        {"cluster, behind experts", true, false, true, true},
                        {"cluster, with post and comb", true, false, false, false},
                        {"one launch", false, true, true, false},
                        {"two launches", false, false, true, false},
                        {"two launches, behind experts", false, false, true, true}};
    for (const Way& way : ways) {
      if (n != 1 && (way.cluster || way.in_one)) continue;
      if (n > kTokensFew && way.experts) continue;  // combine() sums them
      if (way.cluster && !hyper_has_cluster(D)) continue;
      HyperArgs a = plain;
      a.cluster = way.cluster;
      a.arrived = way.in_one ? arrived : nullptr;
      a.later = plain.later && way.later;
      if (way.experts) a.y = nullptr, a.experts = outputs;
      // One after the other, which no step does, they read streams of the round before while those
      // are written: any numbers will do here.
      b.line(fmt::format("hyper, a boundary, {} tokens, {}", n, way.name).c_str(),
             24.0 * 4 * D * 4 + static_cast<double>(n) * (4 * D * 2 * 2 + way.experts * k * D * 2),
             2.0 * n * 24 * 4 * D, n > 8 ? 1 : 80, [&](int, Stream stream) {
               a.fn = reinterpret_cast<const float*>(halves.take(24 * 4 * D * 4));
               return hyper(a, stream);
             });
    }
  }
  DeviceBuffer page_memory;
  constexpr int kPages = kKeysMax / bench::kCsaRows + 1;
  must(page_memory.allocate(kPages * bench::kPageBytes));
  {
    const auto some = bench::pages(kPagesMade, 4);
    for (int i = 0; i < kPages; i += kPagesMade)
      must(copy_to_device(
          page_memory.as<char>() + static_cast<std::size_t>(i) * bench::kPageBytes, some.data(),
          static_cast<std::size_t>(std::min(kPagesMade, kPages - i)) * bench::kPageBytes, nullptr));
    must(synchronise(nullptr));
  }
  struct Selection {
    int n_keys, n_tokens;
  };
  for (const auto& [n_keys, n] : {Selection{2048, 1}, {kKeysMax, 1}, {2048, 8192}}) {
    again();
    const auto tokens = static_cast<std::size_t>(n);
    const int scored = std::min(n, kScoredTogether);
    // What all tokens share counts once; flops are a token's.
    const auto line = [&](const std::string& what, double shared, double each, double flops,
                          const std::function<Status(int, Stream)>& round) {
      b.line(fmt::format("{}, {} token{}", what, n, n > 1 ? "s" : "").c_str(), shared + n * each,
             n * flops, n > 1 ? 2 : 20, round);
    };
    std::vector<std::uint8_t*> pages;
    for (int i = 0; i < n_keys / bench::kCsaRows + 1; ++i)
      pages.push_back(page_memory.as<std::uint8_t>() +
                      static_cast<std::size_t>(i) * bench::kPageBytes);
    auto** const bases = static_cast<std::uint8_t**>(room(pages.size() * 8));
    std::vector<std::uint8_t> ring = bench::halves(256 * bench::kCell, 5);
    bench::make_cells(ring.data(), 256);
    auto* const window = static_cast<std::uint8_t*>(room(ring.size()));
    // All see all keys, and a window that begins within a block of rows, as nearly all do.
    Part part{.window = window, .pages = bases, .position = 4LL * n_keys + 2, .begin = 0, .n = n};
    auto* const parts = static_cast<Part*>(room(sizeof(Part)));
    const std::vector<std::int64_t> positions(tokens, part.position);
    auto* const position = static_cast<std::int64_t*>(room(tokens * 8));
    auto* const zero = static_cast<std::int32_t*>(room(tokens * 4));
    must(fill(zero, 0, tokens * 4, b.stream));
    must(copy_to_device(bases, pages.data(), pages.size() * 8, b.stream));
    must(copy_to_device(window, ring.data(), ring.size(), b.stream));
    must(copy_to_device(parts, &part, sizeof part, b.stream));
    must(copy_to_device(position, positions.data(), tokens * 8, b.stream));
    must(synchronise(b.stream));
    const auto places = [&](int first, int count) {
      return Places{position + first, zero + first, parts, count};
    };
    auto* const score = static_cast<float*>(
        room(static_cast<std::size_t>(scored) * static_cast<std::size_t>(n_keys) * 4));
    auto* const codes = static_cast<std::uint16_t*>(room(tokens * 64 * 256));
    const float* const query_scale = floats(tokens * 64 * 4, bench::kQueryScale);
    const auto* const weights = static_cast<const float*>(room(tokens * 256));
    auto* const bins =
        static_cast<std::uint32_t*>(room(static_cast<std::size_t>(scored) * kTopKBins * 4));
    must(fill(bins, 0, static_cast<std::size_t>(scored) * kTopKBins * 4, b.stream));
    auto* const chosen = static_cast<std::int32_t*>(room(tokens * 512 * 4));
    auto* const scratch = static_cast<std::uint32_t*>(room(top_k_scratch(scored, n_keys) * 4));
    const auto score_all = [&](int layer, int first, Stream stream) {
      const auto at = static_cast<std::size_t>(first);
      return index_scores({.codes = codes + at * 64 * 128,
                           .scale = query_scale + at * 64 * 4,
                           .weight = weights + at * 64,
                           .places = places(first, scored),
                           .keys = {bench::index_keys_at(layer), bench::kCsaRows},
                           .score = score,
                           .score_stride = n_keys,
                           .n_heads = 64,
                           .n_keys_max = n_keys},
                          stream);
    };
    const auto choose = [&](int first, Stream stream) {
      return top_k({.score = score,
                    .score_stride = n_keys,
                    .places = places(first, scored),
                    .chosen = chosen + static_cast<std::size_t>(first) * 512,
                    .bins = bins,
                    .scratch = scratch,
                    .ratio = 4,
                    .k = 512,
                    .n_max = n_keys},
                   stream);
    };
    // Of many tokens so many together as the engine takes.
    const auto in_turn = [&](const std::function<Status(int)>& one) {
      for (int first = 0; first < n; first += scored)
        if (const Status s = one(first); !s.ok()) return s;
      return Status{};
    };
    line(fmt::format("index_scores, {} keys", n_keys), 68.0 * n_keys, 64.0 * 128 * 2 + 4.0 * n_keys,
         2.0 * 64 * 128 * n_keys, [&](int i, Stream stream) {
           return in_turn([&](int first) { return score_all(i, first, stream); });
         });
    must(in_turn([&](int first) {  // whichever lines are asked for
      const Status s = score_all(0, first, b.stream);
      return s.ok() ? choose(first, b.stream) : s;
    }));
    must(synchronise(b.stream));
    line(fmt::format("top_k, 512 of {}", n_keys), 0, 4.0 * n_keys, 0, [&](int, Stream stream) {
      return in_turn([&](int first) { return choose(first, stream); });
    });
    const bool few_chosen = n_keys <= 8192;  // a CSA layer; else an HCA layer, of all it sees
    const int entries = few_chosen ? 512 : n_keys / 32;
    AttentionArgs a{
        .q = static_cast<bf16*>(room(tokens * 64 * 512 * 2)),
        .sink = static_cast<float*>(room(256)),
        .rope = static_cast<double*>(room(tokens * 512)),
        .out = static_cast<bf16*>(room(tokens * 64 * 512 * 2)),
        .workspace = static_cast<float*>(
            room(n > 1 ? 0 : attention_workspace(n, 64, 512, attention_blocks(128, entries)) * 4)),
        .places = places(0, n),
        .entries = {},
        .chosen = few_chosen ? chosen : nullptr,
        .k = 512,
        .ratio = few_chosen ? 4 : 128,
        .n_heads = 64,
        .head_dim = 512,
        .rope_dim = 64,
        .window = 128,
        .window_capacity = 256,
        .n_entries_max = entries,
        .scale = 0.0441941738f};
    // Tokens of a chunk choose of the same cells, and each begins the window with one of its own.
    const double cells = few_chosen && n > 1 ? 584.0 * (128 + n_keys) : 584.0 * (128 + entries),
                 heads = 2.0 * 64 * 512 * 2;  // q and the output
    line(fmt::format("attention, 128 + {} rows", entries), cells, heads,
         4.0 * 64 * 512 * (128 + entries), [&](int i, Stream stream) {
           a.entries = few_chosen ? PageCells{bench::csa_entries_at(i), bench::kCsaRows}
                                  : PageCells{bench::hca_entries_at(i), bench::kHcaRows};
           return attention(a, stream);
         });
    if (n > 1) {  // as a chunk has them, and what turns heads without wgmma
      a.raw_q = const_cast<bf16*>(a.q), a.query_eps = 1e-6f;
      line(fmt::format("attention, 128 + {} rows, heads turned on their way", entries), cells,
           heads, 4.0 * 64 * 512 * (128 + entries), [&](int i, Stream stream) {
             a.entries = {bench::csa_entries_at(i), bench::kCsaRows};
             return attention(a, stream);
           });
      line("queries", 0, heads, 0, [&](int, Stream stream) {
        return queries({.q = a.raw_q,
                        .rope = a.rope,
                        .n_tokens = n,
                        .n_heads = 64,
                        .head_dim = 512,
                        .rope_dim = 64,
                        .eps = 1e-6f},
                       stream);
      });
    }
  }
  return 0;
}

}  // namespace
}  // namespace lares::kernels::cuda

int main(int argc, char** argv) { return lares::kernels::cuda::run(argc > 1 ? argv[1] : ""); }
