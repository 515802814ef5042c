#include "engine/bench/prefix_bench.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "engine/bench/generated.h"
#include "engine/bench/run_delay.h"
#include "engine/model/memory/available_memory.h"
#include "engine/model/memory/memory_plan.h"
#include "engine/model/timeline.h"
#include "kernels/thread_pool.h"

namespace lares::engine::bench {
namespace {

constexpr int kForks = 200, kFirstUses = 15, kPageCopies = 200, kIndexes = 15;
constexpr std::int64_t kShortTokens = 100'000, kTaskTokens = 64;

// Layers as states need them: kinds, ratios and widths, without a matrix.
std::unique_ptr<Weights> geometry(const Config& c) {
  auto weights = std::make_unique<Weights>(Weights{.checkpoint = Checkpoint::of_shape(c)});
  const auto compressor = [](int ratio, int dim) {
    CompressorWeights w{};
    w.ratio = ratio;
    w.dim = dim;
    return w;
  };
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    LayerWeights& layer = weights->layers.emplace_back();
    layer.index = i;
    layer.ratio = c.ratio(i);
    if (layer.ratio == 0) continue;
    layer.compressor = compressor(layer.ratio, c.head_dim);
    if (layer.ratio == 4) layer.indexer = IndexerWeights{{}, {}, compressor(4, c.index_head_dim)};
  }
  return weights;
}

std::uint64_t resident_bytes() {
  unsigned long long total = 0, resident = 0;
  if (std::FILE* f = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(f, "%llu %llu", &total, &resident) != 2) resident = 0;
    std::fclose(f);
  }
  return resident * 4096;
}

template <class F>
BenchRow timed_row(std::string name, std::string shape, int n, F once) {
  std::vector<Sample> samples;
  for (int i = 0; i <= n; ++i) {
    const Sample s = timed([&] { once(i); });
    if (i > 0) samples.push_back(s);
  }
  const Summary s = summarise(samples);
  BenchRow row{.section = "prefix",
               .name = std::move(name),
               .shape = std::move(shape),
               .median_s = s.median_s};
  row.rate = s.median_s > 0 ? 1 / s.median_s : 0;
  row.unit = "/s";
  row.samples = s.samples, row.dropped = s.dropped, row.disturbed = s.disturbed;
  return row;
}

// A text of this vocabulary in which little comes twice, which is what costs an index most.
std::vector<Token> noise(std::int64_t n, int vocab) {
  std::vector<Token> out(static_cast<std::size_t>(n));
  std::uint64_t x = 1;
  for (Token& t : out) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    t = static_cast<Token>((x >> 33) % static_cast<std::uint64_t>(vocab));
  }
  return out;
}

// What is known of the places of a text's tokens: made of all of it, and what a fork's first guess
// behind a task of its own costs.
void add_index_rows(const Config& c, const std::string& shape, std::int64_t n_tokens,
                    std::vector<BenchRow>& rows) {
  auto text = noise(n_tokens + kTaskTokens, c.vocab_size);
  const auto before = std::span(text).first(static_cast<std::size_t>(n_tokens));
  const std::string row_shape = fmt::format("{}, {} tokens", shape, n_tokens);
  CopyIndex whole;
  rows.push_back(timed_row("index of copies", row_shape, kIndexes, [&](int) {
    CopyIndex index;
    index.take_in(before);
    whole = std::move(index);
  }));
  rows.push_back(
      timed_row(fmt::format("a fork's, {} more", kTaskTokens), row_shape, kForks, [&](int i) {
        text.back() = i;
        CopyIndex(whole).find(text);
      }));
}

Result<std::vector<BenchRow>> prefix_rows(Runner& r) {
  const Config& c = r.config;
  const auto weights = geometry(c);
  kernels::ThreadPool pool(r.threads());
  Forward forward(*weights, /*exact=*/false, pool, r.kernels);
  const std::string shape = fmt::format("{}, {} tokens", r.shape, kPrefixTokens);
  const PageLayout layout = page_layout(c, /*exact=*/false);
  const std::uint64_t wanted = State::bytes(*weights, false, kPrefixTokens, kChunk);
  if (const std::uint64_t free = available_bytes(); wanted > free)
    return tl::unexpected(Error{
        Errc::no_memory,
        fmt::format("bench: a prefix of {} takes {:.2f} GB and {:.2f} GB are available; free some, "
                    "or take a smaller --shape",
                    shape, static_cast<double>(wanted) / 1e9, static_cast<double>(free) / 1e9)});
  const std::uint64_t before = resident_bytes();
  std::shared_ptr<const ModelPrefix> prefix;
  {
    State state(*weights, /*exact=*/false, 1);
    fill_pages(c, state, kPrefixTokens, 0);
    for (std::size_t i = 0; i < weights->layers.size(); ++i)
      fill_rings(c, weights->layers[i], state.layer(static_cast<int>(i)), 1);
    state.advance(kPrefixTokens);
    std::vector<Token> tokens(static_cast<std::size_t>(kPrefixTokens), 1);
    prefix = std::make_shared<ModelPrefix>(
        std::move(tokens), state.pages(),
        std::make_shared<Frontier>(state.frontier(kPrefixTokens)));
  }
  const std::uint64_t held = resident_bytes() - before;
  std::vector<BenchRow> rows;
  const auto figure = [&](const char* name, double value, const char* unit) {
    BenchRow row{.section = "prefix", .name = name, .shape = shape};
    row.rate = value;
    row.unit = unit;
    rows.push_back(row);
  };
  figure("cells", static_cast<double>(layout.bytes) / layout.tokens, "B/token");
  figure("frontier", static_cast<double>(prefix->frontier().size()) / 1e6, "MB");
  figure("resident memory", static_cast<double>(held) / 1e9, "GB");
  rows.push_back(timed_row("fork", shape, kForks, [&](int) {
    ModelTimeline(*weights, forward, c.max_position_embeddings, kChunk, {}, prefix);
  }));
  rows.push_back(timed_row("its first use", shape, kFirstUses, [&](int) {
    State state(*weights, /*exact=*/false, kChunk);
    state.pages().adopt(prefix->pages());
    state.restore(*prefix->frontier_at_end());
  }));
  State state(*weights, /*exact=*/false, kChunk);
  rows.push_back(timed_row(
      "a shared page written", fmt::format("{}, {} bytes", r.shape, layout.bytes), kPageCopies,
      [&](int i) {
        state.pages().adopt(prefix->pages());
        state.pages().open(
            static_cast<std::int64_t>(i) * layout.tokens % (kPrefixTokens - layout.tokens), 1);
      }));
  for (const std::int64_t n : {kShortTokens, kPrefixTokens}) add_index_rows(c, r.shape, n, rows);
  return rows;
}

}  // namespace

std::vector<Step> prefix_steps() {
  return {{"a prefix of 1M tokens", [](Runner& r) { return prefix_rows(r); }}};
}

}  // namespace lares::engine::bench
