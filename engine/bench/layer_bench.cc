#include "engine/bench/layer_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "engine/bench/fill.h"
#include "engine/bench/run_delay.h"
#include "engine/model/forward.h"
#include "engine/model/timeline.h"
#include "kernels/thread_pool.h"

namespace lares::engine::bench {
namespace {

constexpr int kDecodeTurnsMax = 1000;  // caches have room for so many tokens more
constexpr std::size_t kReadPiece = std::size_t{1} << 20;
constexpr double kPeakPiece = 1e8;  // flops
// What is asked of a CSA and an HCA layer: of the speed of a plain read at the first context, of
// the dot products' peak in a prefill; and how much of its floor's growth theirs may be beyond the
// first context.
constexpr double kDecodeAsked = 0.80, kPrefillAsked = 0.75, kGrowthAsked = 1 / 1.25;

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point t) {
  return std::chrono::duration<double>(Clock::now() - t).count();
}

Sample operator+(const Sample& a, const Sample& b) {
  return {a.seconds + b.seconds, a.lost + b.lost};
}

struct Layers {
  LayerPlan plan;
  GeneratedLayers generated;
  std::unique_ptr<kernels::ThreadPool> pool;
  std::unique_ptr<Forward> forward;

  const Config& config() const { return plan.config; }
  const LayerWeights& weights(int layer) const {
    return generated.weights->layers[static_cast<std::size_t>(layer)];
  }
  std::string shape(const Runner& r, const std::string& rest) const {
    return fmt::format("{}, {} of {} experts, {}", r.shape, config().n_routed_experts,
                       plan.experts_of_shape, rest);
  }
  Result<> make(Runner& r) {
    r.arena = {};
    auto made = generate_layers(plan, r.team);
    if (!made) return tl::unexpected(made.error());
    generated = std::move(*made);
    pool = std::make_unique<kernels::ThreadPool>(r.threads());
    forward = std::make_unique<Forward>(*generated.weights, /*exact=*/false, *pool, r.kernels);
    return {};
  }
  // Reads `bytes` of the weights, on all threads, from a place that moves on with every turn.
  void read(std::size_t bytes, std::int64_t turn) {
    const std::size_t pieces = generated.region.size() / kReadPiece,
                      wanted = std::max<std::size_t>(1, bytes / kReadPiece);
    pool->run(static_cast<std::int64_t>(wanted), 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) {
        const auto at = (static_cast<std::size_t>(i) + static_cast<std::size_t>(turn) * wanted) %
                        pieces;
        sink = read_bytes(generated.region.data() + at * kReadPiece, kReadPiece);
      }
    });
  }
  // Takes `flops` of dot products out of registers, on all threads.
  void multiply(const PeakLoop& peak, double flops) {
    const auto passes = std::max<std::int64_t>(1,
                                               static_cast<std::int64_t>(kPeakPiece / peak.flops));
    const auto pieces =
        static_cast<std::int64_t>(flops / (static_cast<double>(passes) * peak.flops)) + 1;
    pool->run(pieces, 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) sink = static_cast<std::uint64_t>(peak.run(passes));
    });
  }
};

struct Kind {
  const char* name;
  int layer, ratio;
};
constexpr Kind kKinds[] = {
    {"CSA layer", kCsaLayer, 4}, {"HCA layer", kHcaLayer, 128}, {"SWA layer", kSwaLayer, 0}};

// Those the shape has.
std::vector<Kind> kinds_of(const Config& c) {
  const LayerCounts n = count_layers(c);
  std::vector<Kind> kinds;
  for (const Kind& k : kKinds)
    if ((k.ratio == 4 ? n.csa : k.ratio == 0 ? n.swa : n.hca) > 0) kinds.push_back(k);
  return kinds;
}

std::string context_name(std::int64_t n) {
  return n >= 1 << 20 ? fmt::format("{}M", n >> 20) : fmt::format("{}k", n >> 10);
}

BenchRow row_of(const char* section, std::string name, std::string shape, const Summary& s,
                double floor) {
  BenchRow row{.section = section,
               .name = std::move(name),
               .shape = std::move(shape),
               .median_s = s.median_s,
               .floor_s = floor};
  row.rate = s.median_s > 0 ? 1 / s.median_s : 0;
  row.unit = "layers/s";
  row.percent = s.median_s > 0 ? 100 * floor / s.median_s : 0;
  row.samples = s.samples;
  row.dropped = s.dropped;
  row.disturbed = s.disturbed;
  return row;
}

// `tokens` tokens through all layers of the shape and the head once, from the times of one layer of
// each kind and the head.
BenchRow model_row(const Runner& r, const char* section, std::string shape,
                   const double (&seconds)[3], const double (&floors)[3], double head_s, int tokens,
                   bool disturbed) {
  const LayerCounts n = count_layers(r.config);
  const auto sum = [&](const double(&t)[3], double head) {
    return n.csa * t[kCsaLayer] + n.hca * t[kHcaLayer] + n.swa * t[kSwaLayer] + head;
  };
  BenchRow row = row_of(section, "whole model, estimated", std::move(shape),
                        {.median_s = sum(seconds, head_s), .disturbed = disturbed},
                        sum(floors, floor_s(head_work(r.config), r.ceilings)));
  row.rate *= tokens;
  row.unit = "tokens/s";
  return row;
}

std::vector<BenchRow> head_rows(Runner& r, Layers& l, double& head_s) {
  const Config& c = l.config();
  std::vector<float> x(static_cast<std::size_t>(c.hc_mult) * c.hidden_size),
      logits(static_cast<std::size_t>(c.vocab_size));
  std::vector<Sample> samples;
  const auto began = Clock::now();
  for (int turn = 0;
       turn <= kCleanMin || (seconds_since(began) < r.seconds && turn < kDecodeTurnsMax); ++turn) {
    fill_activations(static_cast<std::uint64_t>(turn), x.data(), x.size());
    const Sample s = timed([&] { l.forward->head(x.data(), 1, logits.data()); });
    if (turn > 0) samples.push_back(s);
  }
  const Summary s = summarise(samples);
  head_s = s.median_s;
  BenchRow row = row_of("decode", "head",
                        fmt::format("{}, [{}, {}] bf16", r.shape, c.vocab_size, c.hidden_size), s,
                        floor_s(head_work(c), r.ceilings));
  rate_row(row, head_work(c), r.ceilings);
  return {row};
}

// How much longer the pair takes than at the first context, beside how much longer its floor is.
BenchRow growth_row(const BenchRow& first, const BenchRow& pair, std::string contexts) {
  BenchRow row{
      .section = "decode", .name = "CSA + HCA layer, growth", .shape = std::move(contexts)};
  row.median_s = pair.median_s;
  row.floor_s = pair.floor_s;
  row.rate = pair.median_s / first.median_s;
  row.unit = "times";
  row.percent = 100 * pair.floor_s / first.floor_s / row.rate;
  row.disturbed = first.disturbed || pair.disturbed;
  return row;
}

std::vector<BenchRow> decode_rows(Runner& r, Layers& l, std::int64_t context, double head_s,
                                  BenchRow& first) {
  const Config& c = l.config();
  const std::vector<Kind> kinds = kinds_of(r.config);
  State state(*l.generated.weights, /*exact=*/false, 1);
  constexpr int kRoom = kDecodeTurnsMax + kCleanMin;
  fill_pages(c, state, context - 1, kRoom);
  for (const Kind& k : kinds) fill_rings(c, l.weights(k.layer), state.layer(k.layer), 1);
  double floors[3] = {}, medians[3] = {};
  for (const Kind& k : kinds)
    floors[k.layer] = floor_s(layer_work(c, k.ratio, context - 1, 1), r.ceilings);
  const double pair_floor = floors[kCsaLayer] + floors[kHcaLayer];

  std::vector<float> x(static_cast<std::size_t>(c.hc_mult) * c.hidden_size);
  std::vector<Sample> samples[3], both;
  std::vector<Pair> pairs;
  const Token token = 1;  // layers that hash it aside, nothing looks at it
  const auto began = Clock::now();
  for (int turn = 0;
       turn <= kCleanMin || (seconds_since(began) < r.seconds && turn < kDecodeTurnsMax); ++turn) {
    fill_activations(static_cast<std::uint64_t>(turn), x.data(),
                     x.size());  // other tokens, other experts
    Sample taken[3];
    for (const Kind& k : kinds)
      taken[k.layer] = timed([&] {
        l.forward->layer(l.weights(k.layer), state.layer(k.layer), context - 1 + turn, {&token, 1},
                         x.data());
      });
    // A read of as many bytes as pass in the floor's time at the measured bandwidth.
    const Sample reference =
        timed([&] { l.read(static_cast<std::size_t>(pair_floor * r.ceilings.read), turn); });
    if (turn == 0) continue;
    for (const Kind& k : kinds) samples[k.layer].push_back(taken[k.layer]);
    both.push_back(taken[kCsaLayer] + taken[kHcaLayer]);
    pairs.push_back({both.back(), reference});
  }

  std::vector<BenchRow> rows;
  const std::string shape = l.shape(r, fmt::format("context {}", context_name(context)));
  bool disturbed = false;
  for (const Kind& k : kinds) {
    const Summary s = summarise(samples[k.layer]);
    medians[k.layer] = s.median_s;
    disturbed = disturbed || s.disturbed;
    rows.push_back(row_of("decode", k.name, shape, s, floors[k.layer]));
  }
  BenchRow pair = row_of("decode", "CSA + HCA layer", shape, summarise(both), pair_floor);
  pair.rate = pair.median_s > 0 ? 1 / pair.median_s : 0;
  pair.unit = "pairs/s";
  pair.paired = paired_speed(pairs);
  pair.paired_with = "read";
  if (context == kContexts[0] && !r.small()) pair.asked = kDecodeAsked;
  rows.push_back(pair);
  if (context == kContexts[0]) {
    first = pair;
  } else if (first.median_s > 0) {
    rows.push_back(growth_row(
        first, pair,
        fmt::format("context {} to {}", context_name(kContexts[0]), context_name(context))));
    if (!r.small()) rows.back().asked = kGrowthAsked;
  }
  rows.push_back(model_row(r, "decode", shape, medians, floors, head_s, 1, disturbed));
  return rows;
}

std::vector<BenchRow> prefill_rows(Runner& r, Layers& l, int tokens, double head_s) {
  const Config& c = l.config();
  const std::vector<Kind> kinds = kinds_of(r.config);
  State state(*l.generated.weights, /*exact=*/false, kChunk);
  std::vector<float> x(static_cast<std::size_t>(std::min(kChunk, tokens)) *
                       static_cast<std::size_t>(c.hc_mult) * c.hidden_size);
  const std::vector<Token> ids(kChunk, 1);
  // Once without a watch: the work space of a chunk is touched for the first time, as it is once in
  // a daemon's life.
  {
    State first(*l.generated.weights, /*exact=*/false, kChunk);
    const auto n = static_cast<std::size_t>(std::min(kChunk, tokens));
    fill_activations(1, x.data(), x.size());
    first.open(0, static_cast<std::int64_t>(n));
    for (const Kind& k : kinds)
      l.forward->layer(l.weights(k.layer), first.layer(k.layer), 0, {ids.data(), n}, x.data());
  }
  Sample taken[3];
  // Of a chunk through both layers, and as many dot products as pass in its floor's time
  std::vector<Pair> pairs;
  int done = 0, window_tokens = 0;
  double spent = 0;  // on chunks
  while (done < tokens && spent < kPrefillSeconds * r.seconds) {
    const int n = std::min(kChunk, tokens - done);
    fill_activations(static_cast<std::uint64_t>(done), x.data(), x.size());
    state.open(done, n);
    Pair pair{};
    double floor = 0;
    for (const Kind& k : kinds) {
      // A window layer's chunks cost the same from the second one on: two are enough.
      if (k.layer == kSwaLayer && done >= 2 * kChunk) continue;
      const Sample s = timed([&] {
        l.forward->layer(l.weights(k.layer), state.layer(k.layer), done,
                         {ids.data(), static_cast<std::size_t>(n)}, x.data());
      });
      spent += s.seconds;
      if (k.layer == kSwaLayer) {
        taken[k.layer] = s;  // of the last chunk that ran
        window_tokens = n;
      } else {
        taken[k.layer] = taken[k.layer] + s;
        pair.work = pair.work + s;
        floor += floor_s(layer_work(c, k.ratio, done, n), r.ceilings);
      }
    }
    pair.reference = timed([&] { l.multiply(*r.dot, floor * r.ceilings.dot); });
    pairs.push_back(pair);
    done += n;
  }
  const double scale = window_tokens > 0 ? static_cast<double>(done) / window_tokens : 0;
  taken[kSwaLayer].seconds *= scale;
  taken[kSwaLayer].lost *= scale;

  std::vector<BenchRow> rows;
  const std::string shape = l.shape(r, done == tokens
                                           ? fmt::format("{} tokens", done)
                                           : fmt::format("first {} of {} tokens", done, tokens));
  double floors[3] = {}, seconds[3] = {};
  bool disturbed = false;
  const auto add = [&](const char* name, const Sample& s, double floor) {
    BenchRow row = row_of(
        "prefill", name, shape,
        {.median_s = s.seconds, .samples = 1, .dropped = 0, .disturbed = !s.clean()}, floor);
    row.rate = s.seconds > 0 ? done / s.seconds : 0;
    row.unit = "tokens/s";
    disturbed = disturbed || row.disturbed;
    rows.push_back(std::move(row));
  };
  for (const Kind& k : kinds) {
    floors[k.layer] = floor_s(layer_work(c, k.ratio, 0, done), r.ceilings);
    seconds[k.layer] = taken[k.layer].seconds;
    add(k.name, taken[k.layer], floors[k.layer]);
  }
  add("CSA + HCA layer", taken[kCsaLayer] + taken[kHcaLayer],
      floors[kCsaLayer] + floors[kHcaLayer]);
  rows.back().paired = paired_speed(pairs);
  rows.back().paired_with = "peak";
  if (!r.small()) rows.back().asked = kPrefillAsked;
  rows.push_back(model_row(r, "prefill", shape, seconds, floors, head_s, done, disturbed));
  return rows;
}

}  // namespace

LayerCounts count_layers(const Config& c) {
  LayerCounts n;
  for (int i = 0; i < c.num_hidden_layers; ++i)
    ++(c.ratio(i) == 0 ? n.swa : c.ratio(i) == 4 ? n.csa : n.hca);
  return n;
}

std::vector<Step> layer_steps(const LayerPlan& plan, bool decode, int prefill_tokens) {
  struct Shared {
    Layers layers;
    double head_s = 0;
    BenchRow first;  // the pair at the first context
  };
  const auto shared = std::make_shared<Shared>();
  shared->layers.plan = plan;
  std::vector<Step> steps;
  const auto add = [&](std::string name, auto rows) {
    steps.push_back({std::move(name), [shared, rows](Runner& r) { return rows(r, *shared); }});
  };
  steps.push_back({"generate layers and measure the head",
                   [shared](Runner& r) -> Result<std::vector<BenchRow>> {
                     if (auto made = shared->layers.make(r); !made)
                       return tl::unexpected(made.error());
                     return head_rows(r, shared->layers, shared->head_s);
                   }});
  if (decode)
    for (const std::int64_t context : kContexts)
      add(fmt::format("decode at {}", context_name(context)), [context](Runner& r, Shared& s) {
        return decode_rows(r, s.layers, context, s.head_s, s.first);
      });
  if (prefill_tokens > 0)
    add(fmt::format("prefill of {} tokens", prefill_tokens),
        [prefill_tokens](Runner& r, Shared& s) {
          return prefill_rows(r, s.layers, prefill_tokens, s.head_s);
        });
  return steps;
}

}  // namespace lares::engine::bench
