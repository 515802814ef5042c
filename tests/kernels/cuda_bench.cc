// kernels_cuda_bench: the launches of a decode step and of prefill at V4-Flash's shapes, with
// generated weights, beside this device's own copy rate: one table, or its lines that contain
// argv[1]. Each line replays a graph of launches over weights larger than L2; the median is of
// whole replays.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <random>
#include <string_view>
#include <vector>

#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/products/experts.h"
#include "kernels/cuda/hyper/hyper.h"
#include "kernels/cuda/indexer/indexer.h"
#include "kernels/cuda/norm.h"
#include "kernels/cuda/quantise.h"

namespace lares::kernels::cuda {
namespace {

constexpr std::size_t kWeightBytes = std::size_t{4} << 30;  // of each kind, gone through in turn
constexpr std::size_t kWorkBytes = std::size_t{3} << 30;
constexpr int kReplays = 30, kCopies = 10;

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
  // Seconds of copying one half of it onto the other, which has the same numbers then.
  double copy_half(Stream stream) {
    Event begin, end;
    must(begin.create());
    must(end.create());
    const std::size_t half = memory_.size() / 2;
    std::vector<float> ms;
    for (int i = 0; i < kCopies; ++i) {
      must(begin.record(stream));
      must(copy_on_device(memory_.as<char>(), memory_.as<char>() + half, half, stream));
      must(end.record(stream));
      must(end.wait());
      must(end.since(begin, &ms.emplace_back()));
    }
    std::sort(ms.begin(), ms.end());
    return ms[ms.size() / 2] * 1e-3;
  }
  const std::uint8_t* take(std::size_t bytes) {
    bytes = (bytes + kUnit - 1) / kUnit * kUnit;
    if (at_ + bytes > memory_.size()) at_ = 0;
    const auto* p = memory_.as<std::uint8_t>() + at_;
    at_ += bytes;
    return p;
  }

 private:
  static constexpr std::size_t kUnit = 1088 * 64;  // so that tiles of fp4 begin where the block's
                                                   // do
  DeviceBuffer memory_;
  std::size_t at_ = 0;
};

std::vector<std::uint8_t> halves_block() {  // as bf16: 2^-8 to 2 of both signs; as e4m3: numbers
  std::vector<std::uint8_t> block(1088 * 65536);
  std::mt19937_64 random(1);
  for (std::size_t i = 0; i + 1 < block.size(); i += 2) {
    const auto r = random();
    block[i] = static_cast<std::uint8_t>(r & 0x7E);
    block[i + 1] = static_cast<std::uint8_t>((r >> 8 & 0x83) | 0x3C);
  }
  return block;
}
std::vector<std::uint8_t> fp4_block() {  // tiles of fp4, scales near 1
  std::vector<std::uint8_t> block(1088 * 65536);
  std::mt19937_64 random(2);
  for (std::size_t i = 0; i < block.size(); ++i)
    block[i] = i % 1088 < 1024 ? static_cast<std::uint8_t>(random())
                               : static_cast<std::uint8_t>(120 + random() % 8);
  return block;
}

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
    fmt::print("{:<58} {:>9.1f} us  {:>7.0f} GB/s {:>5.1f} % of copy  {:>6.1f} TFLOP/s\n", name,
               s * 1e6, bytes / s * 1e-9, 100 * floor / s, flops / s * 1e-12);
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
  Arena halves(halves_block(), kWeightBytes), fp4(fp4_block(), kWeightBytes);
  DeviceBuffer work;  // activations and results: numbers of ordinary size
  must(work.allocate(kWorkBytes));
  {
    const auto block = halves_block();
    for (std::size_t at = 0; at < kWorkBytes; at += block.size())
      must(copy_to_device(work.as<char>() + at, block.data(),
                          std::min(block.size(), kWorkBytes - at), nullptr));
  }
  b.copy_rate = static_cast<double>(kWeightBytes) / halves.copy_half(b.stream);
  fmt::print("copy, read and written: {:.0f} GB/s\n", b.copy_rate * 1e-9);
  std::size_t used = 0;
  const auto room = [&](std::size_t bytes) {
    char* const p = work.as<char>() + used;
    used += (bytes + 255) / 256 * 256;
    if (used > kWorkBytes)
      std::exit((fmt::print(stderr, "kernels_cuda_bench: work space too small\n"), 1));
    return static_cast<void*>(p);
  };
  const auto again = [&] { used = 0; };
  const auto weight = [&](Format f, int n_out, int n_in) {
    return Weight{
        .format = f,
        .tiles = (f == Format::fp4 ? fp4 : halves).take(tiles_bytes(f, n_out, n_in)),
        .scale = reinterpret_cast<const float*>(halves.take(tiles_scales(f, n_out, n_in) * 4)),
        .n_out = n_out,
        .n_in = n_in};
  };
  // What a product of few tokens is given: bf16 that it takes as it is, codes, or bf16 that it
  // quantises on entry. Of many tokens both of these have codes.
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
        .wgmma = wgmma};
    a.quantise = s.input == Input::quantised && n_tokens <= kTokensFew;
    if (n_tokens > kTokensFew)
      a.room =
          room(linear_room(static_cast<std::size_t>(n_tokens), static_cast<std::size_t>(columns)));
    if (s.input != Input::bf16 && !a.quantise) {
      a.codes = static_cast<std::uint8_t*>(room(static_cast<std::size_t>(n_tokens * columns)));
      a.code_scale = static_cast<float*>(room(static_cast<std::size_t>(n_tokens * columns / 32)));
    }
    const double bytes = static_cast<double>(tiles_bytes(s.format, s.n_out, s.n_in)) +
                         static_cast<double>(n_tokens) *
                             (static_cast<double>(columns) * 2 + s.n_out * 2);
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
    auto* const scale = static_cast<float*>(room(static_cast<std::size_t>(n_in) / 32));
    std::vector<LinearArgs> args;
    double bytes = 0;
    for (const Shape& s : all) {
      bytes += static_cast<double>(tiles_bytes(s.format, s.n_out, n_in));
      args.push_back({.x = x,
                      .codes = s.input == Input::codes ? codes : nullptr,
                      .code_scale = scale,
                      .y = room(static_cast<std::size_t>(s.n_out) * 4),
                      .x_stride = n_in,
                      .code_scale_stride = n_in / 128,
                      .y_stride = s.n_out,
                      .n_tokens = 1});
    }
    b.line(fmt::format("linear {}, 1 token", name).c_str(), bytes, 0, 20, [&](int, Stream stream) {
      for (std::size_t i = 0; i < args.size(); ++i)
        args[i].w = weight((all.begin() + i)->format, (all.begin() + i)->n_out, n_in);
      return linear(args, stream, b.scratch);
    });
  };
  together("first products", {{"wq_a", Format::fp8, 1024, 4096, 0, Input::codes},
                              {"wkv", Format::fp8, 512, 4096, 0, Input::codes},
                              {"compressor wkv", Format::bf16, 1024, 4096, 0, Input::bf16},
                              {"compressor wgate", Format::bf16, 1024, 4096, 0, Input::bf16},
                              {"indexer wkv", Format::bf16, 256, 4096, 0, Input::bf16},
                              {"indexer wgate", Format::bf16, 256, 4096, 0, Input::bf16},
                              {"indexer weights", Format::bf16, 64, 4096, 0, Input::bf16}});
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
    std::vector<std::int32_t> expert;
    std::mt19937 random(3);
    for (int t = 0; t < n; ++t)
      for (int i = 0, first = static_cast<int>(random() % E); i < k; ++i)
        expert.push_back((first + i * 37) % E);
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
    must(group({.expert = on_device,
                .weight = weights,
                .begin = begin,
                .slot_of = slot_of,
                .token_of = token_of,
                .factor = factor,
                .jobs = jobs,
                .n_tokens = n,
                .n_experts = E,
                .k = k},
               b.stream));
    const double distinct = n == 1 ? 6 : n == 8 ? 44 : 256;
    const int rounds = n > 8 ? 1 : 10;
    auto* const codes = static_cast<std::uint8_t*>(room(slots * D));
    auto* const scale = static_cast<float*>(room(slots * D / 32));
    void* const y[2] = {room(slots * I * 2), room(slots * I * 2)};
    void* const out = room(slots * D * 2);
    std::vector<const std::uint8_t*> table(static_cast<std::size_t>(E) *
                                           static_cast<std::size_t>(rounds) * 2);
    auto** const tables = static_cast<const std::uint8_t**>(room(table.size() * 8));
    void* const laid = n > kTokensFew ? room(experts_room(n, E, k, D)) : nullptr;
    const bool few = n <= kTokensFew;
    // As in a step: of few tokens the shared expert's w1 and w3 are in another launch, and w2's
    // takes what those gave.
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
                         .n_tokens = n,
                         .n_experts = E,
                         .k = k};
      if (down && few) {
        a.x = static_cast<const bf16*>(y[0]), a.up = static_cast<const bf16*>(y[1]);
        a.factor = factor, a.limit = 10, a.quantise = true;
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
    constexpr int D = 4096;
    const std::size_t rows = static_cast<std::size_t>(n);
    HyperArgs a{.x = static_cast<bf16*>(room(rows * 4 * D * 2)),
                .y = static_cast<bf16*>(room(rows * D * 2)),
                .post = static_cast<float*>(room(rows * 16)),
                .comb = static_cast<float*>(room(rows * 64)),
                .base = static_cast<float*>(room(96)),
                .scale = static_cast<float*>(room(12)),
                .norm = static_cast<float*>(room(D * 4)),
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
                .rms_eps = 1e-6f};
    auto* const arrived = static_cast<std::uint32_t*>(room(4));
    must(fill(arrived, 0, 4, b.stream));
    for (const char* const way : {"cluster", "one launch", "two launches"}) {
      a.cluster = way == std::string_view("cluster");
      a.arrived = way == std::string_view("one launch") ? arrived : nullptr;
      if (n != 1 && (a.cluster || a.arrived)) continue;
      if (a.cluster && !hyper_has_cluster(D)) continue;
      // One after the other, which no step does, they read streams of the round before while those
      // are written: any numbers will do here.
      b.line(fmt::format("hyper, a boundary, {} tokens, {}", n, way).c_str(),
             24.0 * 4 * D * 4 + static_cast<double>(n) * 4 * D * 2 * 2, 2.0 * n * 24 * 4 * D,
             n > 8 ? 1 : 40, [&](int, Stream stream) {
               a.fn = reinterpret_cast<const float*>(halves.take(24 * 4 * D * 4));
               return hyper(a, stream);
             });
    }
  }
  struct Selection {
    int n_keys, n_tokens;
  };
  for (const auto& [n_keys, n] : {Selection{2048, 1}, {262144, 1}, {2048, 8192}}) {
    again();
    const auto tokens = static_cast<std::size_t>(n);
    const auto line = [&](const std::string& what, double bytes, double flops, int rounds,
                          const std::function<Status(int, Stream)>& round) {
      b.line(fmt::format("{}, {} token{}", what, n, n > 1 ? "s" : "").c_str(), n * bytes, n * flops,
             n > 1 ? 2 : rounds, round);
    };
    std::vector<std::uint8_t*> pages;
    constexpr int kPerPage = 64;
    for (int i = 0; i < n_keys / kPerPage + 1; ++i)
      pages.push_back(const_cast<std::uint8_t*>(halves.take(kPerPage * 584)));
    auto** const bases = static_cast<std::uint8_t**>(room(pages.size() * 8));
    Part part{.window = const_cast<std::uint8_t*>(halves.take(256 * 584)),
              .pages = bases,
              .position = 4LL * n_keys - 1,
              .begin = 0,
              .n = n};
    auto* const parts = static_cast<Part*>(room(sizeof(Part)));
    const std::vector<std::int64_t> positions(tokens, part.position);  // all see all keys
    auto* const position = static_cast<std::int64_t*>(room(tokens * 8));
    auto* const zero = static_cast<std::int32_t*>(room(tokens * 4));
    must(fill(zero, 0, tokens * 4, b.stream));
    must(copy_to_device(bases, pages.data(), pages.size() * 8, b.stream));
    must(copy_to_device(parts, &part, sizeof part, b.stream));
    must(copy_to_device(position, positions.data(), tokens * 8, b.stream));
    must(synchronise(b.stream));
    const Places places{position, zero, parts, n};
    auto* const score = static_cast<float*>(room(tokens * static_cast<std::size_t>(n_keys) * 4));
    const IndexScoreArgs scores{.codes = static_cast<std::uint16_t*>(room(tokens * 64 * 256)),
                                .scale = static_cast<float*>(room(tokens * 1024)),
                                .weight = static_cast<float*>(room(tokens * 256)),
                                .places = places,
                                .keys = {0, kPerPage},
                                .score = score,
                                .score_stride = n_keys,
                                .n_heads = 64,
                                .n_keys_max = n_keys};
    line(fmt::format("index_scores, {} keys", n_keys), 68.0 * n_keys, 2.0 * 64 * 128 * n_keys, 10,
         [&](int, Stream stream) { return index_scores(scores, stream); });
    auto* const bins = static_cast<std::uint32_t*>(room(tokens * kTopKBins * 4));
    must(fill(bins, 0, tokens * kTopKBins * 4, b.stream));
    auto* const chosen = static_cast<std::int32_t*>(room(tokens * 512 * 4));
    const TopKArgs top{.score = score,
                       .score_stride = n_keys,
                       .places = places,
                       .chosen = chosen,
                       .bins = bins,
                       .scratch = static_cast<std::uint32_t*>(room(top_k_scratch(n, n_keys) * 4)),
                       .ratio = 4,
                       .k = 512,
                       .n_max = n_keys};
    line(fmt::format("top_k, 512 of {}", n_keys), 4.0 * n_keys, 0, 20,
         [&](int, Stream stream) { return top_k(top, stream); });
    const int entries = n_keys > 8192 ? 8192 : 512;
    AttentionArgs a{
        .q = static_cast<bf16*>(room(tokens * 64 * 512 * 2)),
        .sink = static_cast<float*>(room(256)),
        .rope = static_cast<double*>(room(tokens * 512)),
        .out = static_cast<bf16*>(room(tokens * 64 * 512 * 2)),
        .workspace = static_cast<float*>(
            room(n > 1 ? 0 : attention_workspace(n, 64, 512, attention_blocks(128, entries)) * 4)),
        .places = places,
        .entries = {0, kPerPage},
        .chosen = entries == 512 ? chosen : nullptr,
        .k = 512,
        .ratio = entries == 512 ? 4 : 128,
        .n_heads = 64,
        .head_dim = 512,
        .rope_dim = 64,
        .window = 128,
        .window_capacity = 256,
        .n_entries_max = entries,
        .scale = 0.0441941738f};
    line(fmt::format("attention, 128 + {} rows", entries), 584.0 * (128 + entries),
         4.0 * 64 * 512 * (128 + entries), 20,
         [&](int, Stream stream) { return attention(a, stream); });
  }
  return 0;
}

}  // namespace
}  // namespace lares::kernels::cuda

int main(int argc, char** argv) { return lares::kernels::cuda::run(argc > 1 ? argv[1] : ""); }
