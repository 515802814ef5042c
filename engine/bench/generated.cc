#include "engine/bench/generated.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "engine/bench/fill.h"
#include "engine/bench/floors.h"
#include "kernels/indexer.h"

namespace lares::engine::bench {
namespace {

using kernels::Format;

constexpr std::size_t kPiece = std::size_t{1} << 20;  // of generating, on one thread

// Lays tensors out one after the other; with no base it only counts.
class Builder {
 public:
  Builder(std::uint8_t* base, std::deque<kernels::Tiles>& tiles) : base_(base), tiles_(tiles) {}
  std::size_t used() const { return used_; }

  kernels::Matrix matrix(Format format, int n_out, int n_in) {
    const bool tiled = format != Format::f32;
    const std::size_t codes =
        tiled ? static_cast<std::size_t>(kernels::tiles_bytes(format, n_out, n_in))
              : stored_bytes(format, n_out, n_in);
    std::uint8_t* at = take(tiled ? laid_bytes(format, n_out, n_in) : codes);
    if (!at) return {};
    const std::size_t piece =
        tiled ? kPiece - kPiece % static_cast<std::size_t>(kernels::tile_bytes(format)) : kPiece;
    for (std::size_t i = 0; i < codes; i += piece)
      pieces_.push_back({format, n_in, at + i, std::min(piece, codes - i)});
    if (!tiled) return lay_out(format, n_out, n_in, at);
    tiles_.push_back(lay_out_tiles(format, n_out, n_in, at));
    return {.format = format, .n_out = n_out, .n_in = n_in, .tiles = &tiles_.back()};
  }
  const float* floats(int n, float value) {
    auto* at = reinterpret_cast<float*>(take(sizeof(float) * static_cast<std::size_t>(n)));
    if (at) std::fill(at, at + n, value);
    return at;
  }
  HyperWeights hyper(const Config& c, bool head) {
    const int rows = head ? c.hc_mult : (2 + c.hc_mult) * c.hc_mult;
    return {matrix(Format::f32, rows, c.hc_mult * c.hidden_size), floats(rows, 0.1f),
            floats(3, 0.5f)};
  }
  CompressorWeights compressor(const Config& c, int ratio, int dim) {
    CompressorWeights w{};
    w.ratio = ratio;
    w.dim = dim;
    w.wkv = matrix(Format::bf16, w.width(), c.hidden_size);
    w.wgate = matrix(Format::bf16, w.width(), c.hidden_size);
    w.ape = floats(ratio * w.width(), 0.01f);
    w.norm = floats(dim, 1);
    return w;
  }
  ExpertWeights expert(const Config& c, Format format) {
    const int D = c.hidden_size, I = c.moe_intermediate_size;
    return {matrix(format, I, D), matrix(format, D, I), matrix(format, I, D)};
  }
  LayerWeights layer(const Config& c, int ratio) {
    const int D = c.hidden_size, H = c.num_attention_heads, C = c.head_dim, Q = c.q_lora_rank,
              G = c.o_groups, A = c.o_lora_rank;
    LayerWeights w{};
    w.ratio = ratio;
    w.hc_attn = hyper(c, false);
    w.attn_norm = floats(D, 1);
    w.wq_a = matrix(Format::fp8, Q, D);
    w.q_norm = floats(Q, 1);
    w.wq_b = matrix(Format::fp8, H * C, Q);
    w.wkv = matrix(Format::fp8, C, D);
    w.kv_norm = floats(C, 1);
    w.attn_sink = floats(H, 0);
    w.compressor = compressor(c, ratio, C);
    if (ratio == 4)
      w.indexer = IndexerWeights{matrix(Format::fp8, c.index_n_heads * c.index_head_dim, Q),
                                 matrix(Format::bf16, c.index_n_heads, D),
                                 compressor(c, 4, c.index_head_dim)};
    w.wo_a = matrix(Format::fp8, G * A, H * C / G);
    w.wo_b = matrix(Format::fp8, D, G * A);
    w.hc_ffn = hyper(c, false);
    w.ffn_norm = floats(D, 1);
    w.gate = matrix(Format::bf16, c.n_routed_experts, D);
    w.gate_bias = floats(c.n_routed_experts, 0);
    for (int e = 0; e < c.n_routed_experts; ++e) w.experts.push_back(expert(c, Format::fp4));
    w.shared = expert(c, Format::fp8);
    return w;
  }
  void model(const Config& c, Weights& w) {
    w.layers.push_back(layer(c, 4));
    w.layers.push_back(layer(c, 128));
    w.layers.push_back(w.layers[kHcaLayer]);
    w.layers[kSwaLayer].ratio = 0;
    w.layers[kSwaLayer].compressor.reset();
    w.head = matrix(Format::bf16, c.vocab_size, c.hidden_size);
    w.norm = floats(c.hidden_size, 1);
    w.hc_head = hyper(c, true);
  }
  void fill(Team& team) const {
    team.run([&](int thread) {
      for (auto i = static_cast<std::size_t>(thread); i < pieces_.size();
           i += static_cast<std::size_t>(team.size()))
        fill(pieces_[i], i);
    });
  }

 private:
  struct Piece {  // of codes
    Format format;
    int n_in;
    std::uint8_t* at;
    std::size_t bytes;
  };
  static void fill(const Piece& p, std::uint64_t seed) {
    (p.format == Format::f32 ? fill_codes : fill_tiles)(p.format, p.n_in, seed, p.at, p.bytes);
  }
  std::uint8_t* take(std::size_t bytes) {
    const std::size_t at = used_;
    used_ += (bytes + 63) / 64 * 64;
    return base_ ? base_ + at : nullptr;
  }
  std::uint8_t* base_;
  std::deque<kernels::Tiles>& tiles_;
  std::size_t used_ = 0;
  std::vector<Piece> pieces_;
};

std::uint64_t weight_bytes(const Config& c) {
  std::deque<kernels::Tiles> tiles;
  Builder count(nullptr, tiles);
  Weights none{.checkpoint = Checkpoint::of_shape(c)};
  count.model(c, none);
  return count.used();
}

std::uint64_t cache_bytes(const Config& c, std::int64_t context) {
  const PageLayout layout = page_layout(c, /*exact=*/false);
  return static_cast<std::uint64_t>(context / layout.tokens + 1) * layout.bytes;
}

// Floats of one chunk's activations in every buffer of the forward pass, and of each thread's
// scores over the context.
std::uint64_t work_bytes(const Config& c, std::int64_t context, int chunk, int threads) {
  const double D = c.hidden_size, S = c.hc_mult,
               HC = static_cast<double>(c.num_attention_heads) * c.head_dim,
               I = c.moe_intermediate_size, k = c.num_experts_per_tok,
               GA = static_cast<double>(c.o_groups) * c.o_lora_rank;
  const double token =
      2 * S * D + 6 * D + 2 * HC + 2 * GA + 8.0 * c.head_dim + 3.0 * c.q_lora_rank +
      static_cast<double>(c.index_n_heads) * c.index_head_dim + (k + 1) * (2 * D + 2 * I);
  const double ring = (c.sliding_window + 2.0 * chunk + kRollback + 128) * 8.0 * c.head_dim;
  return static_cast<std::uint64_t>(4 * (token * chunk + 3 * ring + c.vocab_size +
                                         threads * 4.0 * static_cast<double>(context) / 4));
}

}  // namespace

Result<LayerPlan> plan_layers(const Config& shape, double memory_gb, std::int64_t context_max,
                              int chunk, int threads) {
  LayerPlan plan{.config = shape, .experts_of_shape = shape.n_routed_experts};
  Config& c = plan.config;
  c.num_hidden_layers = 3;
  c.num_hash_layers = 0;
  c.compress_ratios = {4, 128, 0};
  plan.other_bytes = cache_bytes(c, context_max) + work_bytes(c, context_max, chunk, threads);
  const auto budget = static_cast<std::uint64_t>(memory_gb * 1e9);
  c.n_routed_experts = 0;
  const std::uint64_t without = weight_bytes(c) + plan.other_bytes;
  c.n_routed_experts = 1;
  // An expert of both layers
  const std::uint64_t one = weight_bytes(c) + plan.other_bytes - without;
  const auto fit = budget > without ? static_cast<int>(std::min<std::uint64_t>(
                                          (budget - without) / one,
                                          static_cast<std::uint64_t>(shape.n_routed_experts)))
                                    : 0;
  if (fit < c.num_experts_per_tok) {
    const double wanted =
        static_cast<double>(without + one * static_cast<std::uint64_t>(c.num_experts_per_tok)) *
        1e-9;
    return tl::unexpected(
        Error{Errc::no_memory, fmt::format("bench: layers of this shape need {:.2f} GB with {} "
                                           "experts each, and --memory is {:g}; "
                                           "give more, or a smaller --shape",
                                           wanted, c.num_experts_per_tok, memory_gb)});
  }
  c.n_routed_experts = fit;
  plan.weight_bytes = weight_bytes(c);
  if (auto fits = check_fits(plan.weight_bytes + plan.other_bytes, "generated layers"); !fits)
    return tl::unexpected(fits.error());
  return plan;
}

Result<GeneratedLayers> generate_layers(const LayerPlan& plan, Team& team) {
  auto region = Region::map(plan.weight_bytes, "generated layers");
  if (!region) return tl::unexpected(region.error());
  GeneratedLayers out{
      std::move(*region),
      {},
      std::make_unique<Weights>(Weights{.checkpoint = Checkpoint::of_shape(plan.config)})};
  Builder builder(out.region.data(), out.tiles);
  builder.model(plan.config, *out.weights);
  builder.fill(team);
  return out;
}

void fill_pages(const Config& c, State& state, std::int64_t position, std::int64_t room) {
  const PageLayout& layout = state.pages().layout();
  state.open(0, position + room);  // growing is the engine's cost to spread, not a token's
  for (std::int64_t i = 0; i < state.pages().n_pages(); ++i) {
    std::uint8_t* const page = state.pages().page(i)->data();
    const auto seed = static_cast<std::uint64_t>(i);
    for (const PageLayout::Layer& layer : layout.layers) {
      for (int j = 0; j < layer.entries.n; ++j)
        fill_cell(
            c.head_dim, c.qk_rope_head_dim, seed * 64 + static_cast<std::uint64_t>(j),
            page + layer.entries.offset + static_cast<std::size_t>(j) * layer.entries.row_bytes);
      if (layer.index_keys.n)
        fill_index_keys(c.index_head_dim, seed, page + layer.index_keys.offset,
                        static_cast<std::size_t>(layer.index_keys.n) * layer.index_keys.row_bytes);
    }
  }
}

void fill_rings(const Config& c, const LayerWeights& w, LayerState& state, int chunk) {
  const auto rows = [](auto& ring, int n, Format format) {
    for (int i = 0; i < n; ++i)
      fill_codes(format, 1, static_cast<std::uint64_t>(i), ring.row(i), ring.row_bytes());
  };
  rows(state.window, c.sliding_window + chunk + kRollback, Format::bf16);
  if (w.compressor) rows(state.raw, w.compressor->rows() + kRollback, Format::f32);
  if (w.indexer) rows(state.raw_index, w.indexer->compressor.rows() + kRollback, Format::f32);
}

}  // namespace lares::engine::bench
