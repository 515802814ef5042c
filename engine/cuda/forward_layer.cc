// The launches of one layer, in the order of engine/model/forward.h.
#include <algorithm>
#include <cmath>

#include "engine/cuda/forward_step.h"
#include "kernels/cells.h"

namespace lares::engine::cuda {

kc::Places DeviceForward::places(const Step& s, int layer, int begin, int n) const {
  return {.position = s.position + begin,
          .part = s.part + begin,
          .parts = s.parts + static_cast<std::size_t>(layer - w_.begin()) *
                                 static_cast<std::size_t>(s.n_parts),
          .n_tokens = n};
}

// What enters: codes where the weights are quantised, else bf16.
void DeviceForward::product(std::vector<kc::LinearArgs>& to, const kc::Weight& w, const bf16* x,
                            const std::uint8_t* codes, const float* scale, int n, void* y, bool f32,
                            void* room) const {
  kc::LinearArgs a{.w = w,
                   .y = y,
                   .x_stride = w.n_in,
                   .y_stride = w.n_out,
                   .n_tokens = n,
                   .y_f32 = f32,
                   .room = room};
  if (codes && quantises(w)) {
    a.codes = codes;
    a.code_scale = scale;
    a.code_scale_stride = blocks(w.n_in);
  } else {
    a.x = x;
  }
  to.push_back(a);
}

kc::ExpertOutputs DeviceForward::outputs(const Step& s, int first) const {
  return {.out = ws_.out,
          .slot_of = ws_.slot_of,
          .stride = c_.hidden_size,
          .n_tokens = s.n,
          .k = c_.num_experts_per_tok,
          .first = first};
}

// Of tokens [first, first + n): what leaves goes into their streams, and nothing enters.
kc::HyperArgs DeviceForward::leaving(const Step& s, int first, int n, Leaves leaves) const {
  const auto at = static_cast<std::size_t>(first), D = static_cast<std::size_t>(c_.hidden_size),
             S = static_cast<std::size_t>(c_.hc_mult);
  const bool sums = leaves == Leaves::experts && s.n <= kc::kTokensFew;
  return {.x = s.x.streams + at * S * D,
          .y = leaves == Leaves::nothing || sums ? nullptr : s.x.y + at * D,
          .experts = sums ? outputs(s, first) : kc::ExpertOutputs{},
          .post = s.x.post + at * S,
          .comb = s.x.comb + at * S * S,
          .fn = nullptr,
          .base = nullptr,
          .scale = nullptr,
          .norm = nullptr,
          .entered = nullptr,
          .normed = ws_.normed,
          .codes = nullptr,
          .code_scale = nullptr,
          .partial = ws_.partial,
          .n_tokens = n,
          .dim = c_.hidden_size,
          .iters = c_.hc_sinkhorn_iters,
          .head = false,
          .eps = c_.hc_eps,
          .norm_eps = c_.rms_norm_eps,
          .rms_eps = c_.rms_norm_eps,
          .arrived = ws_.arrived};
}

// From one sub-layer to the next: the streams take what it gave, and what enters the next is made
// of them.
void DeviceForward::boundary(const Step& s, const DeviceHyper& w, const float* norm,
                             Leaves leaves) {
  kc::HyperArgs a = leaving(s, 0, s.n, leaves);
  a.fn = w.fn, a.base = w.base, a.scale = w.scale;
  a.norm = norm;
  a.codes = ws_.codes, a.code_scale = ws_.code_scale;
  a.later = leaves_mixes(s);
  device_.hyper(a);
}

// Few tokens' post and comb are made beside what follows a boundary: wq_b's product, or the first
// of the experts'.
bool DeviceForward::leaves_mixes(const Step& s) const { return s.n <= kc::kTokensFew && !s.alone; }
kc::HyperMixes DeviceForward::left_mixes(const Step& s) const {
  if (!leaves_mixes(s)) return {};
  return kc::hyper_mixes(ws_.partial, c_.hidden_size, s.x.post, s.x.comb, s.n, c_.hc_sinkhorn_iters,
                         c_.hc_eps);
}

// The cells before a long chunk into the work space's ring, or the chunk's newest back into the
// sequence's, which still has those before.
void DeviceForward::move_window(const Step& s, int i, bool back) {
  const std::size_t cell = kernels::cell_bytes(c_.head_dim, c_.qk_rope_head_dim);
  const std::int64_t ours = options_.chunk + c_.sliding_window,
                     theirs = DeviceState::window_capacity(c_);
  const std::int64_t begin = s.alone->size(), end = begin + (back ? s.n : 0);
  std::uint8_t* const ring = s.alone->part(i, 0, 0).window;
  for (std::int64_t p = back ? std::max(begin, end - theirs)
                             : std::max<std::int64_t>(0, begin - c_.sliding_window);
       p < end;) {
    const std::int64_t run = std::min({end - p, ours - p % ours, theirs - p % theirs});
    std::uint8_t* const here = ws_.window + static_cast<std::size_t>(p % ours) * cell;
    std::uint8_t* const there = ring + static_cast<std::size_t>(p % theirs) * cell;
    device_.on_device(back ? there : here, back ? here : there,
                      static_cast<std::size_t>(run) * cell);
    p += run;
  }
}

kc::CompressArgs DeviceForward::compress_args(const Step& s, int i, bool index) const {
  const DeviceLayer& l = w_.layer(i);
  const DeviceCompressor& w = index ? l.indexer->compressor : *l.compressor;
  const LayerWeights& host = *l.host;
  const int dim = index ? c_.index_head_dim : c_.head_dim;
  return {.values = index ? ws_.index_values : ws_.values,
          .gates = index ? ws_.index_gates : ws_.gates,
          .ape = w.ape,
          .norm = w.norm,
          .frequencies = w_.frequencies(true),
          .places = places(s, i, 0, s.n),
          .cells = index ? cells_[static_cast<std::size_t>(i - w_.begin())].index_keys
                         : cells_[static_cast<std::size_t>(i - w_.begin())].entries,
          .ratio = host.ratio,
          .dim = dim,
          .rope_dim = c_.qk_rope_head_dim,
          .raw_capacity = (host.ratio == 4 ? 2 * host.ratio : host.ratio) + kRollback,
          .index = index,
          .eps = c_.rms_norm_eps};
}

// The first token of a long chunk that sees more entries than it may choose: those before attend
// all they see, and nothing of the indexer's queries and scores is made for them.
int DeviceForward::first_that_chooses(const Step& s) const {
  if (!s.alone) return 0;
  constexpr std::int64_t kWhole = 8;  // so that what begins there is aligned
  return static_cast<int>(
      std::clamp<std::int64_t>(4 * (c_.index_topk + 1LL) - 1 - s.alone->size(), 0, s.n) / kWhole *
      kWhole);
}

kc::IndexQueryArgs DeviceForward::index_query_args(const Step& s) const {
  const int Hi = c_.index_n_heads, Ci = c_.index_head_dim, first = first_that_chooses(s);
  const auto at = static_cast<std::size_t>(first), heads = at * static_cast<std::size_t>(Hi);
  return {.q = ws_.iq + heads * static_cast<std::size_t>(Ci),
          .w = ws_.iw + heads,
          .rope = ws_.rope[1] + at * static_cast<std::size_t>(c_.qk_rope_head_dim),
          .codes = ws_.index_codes + heads * static_cast<std::size_t>(Ci),
          .scale = ws_.index_scale + heads * 4,
          .weight = ws_.index_weight + heads,
          .n_tokens = s.n - first,
          .n_heads = Hi,
          .rope_dim = c_.qk_rope_head_dim,
          .weight_scale = static_cast<float>(std::pow(Ci, -0.5) * std::pow(Hi, -0.5))};
}

void DeviceForward::select(const Step& s, int i) {
  const int n_keys = s.entries(4), Hi = c_.index_n_heads, Ci = c_.index_head_dim;
  const int together = tokens_scored(n_keys);
  for (int t = first_that_chooses(s); t < s.n; t += together) {
    const int m = std::min(together, s.n - t);
    const auto at = static_cast<std::size_t>(t);
    device_.index_scores({.codes = ws_.index_codes +
                                   at * static_cast<std::size_t>(Hi) * static_cast<std::size_t>(Ci),
                          .scale = ws_.index_scale + at * static_cast<std::size_t>(Hi) * 4,
                          .weight = ws_.index_weight + at * static_cast<std::size_t>(Hi),
                          .places = places(s, i, t, m),
                          .keys = cells_[static_cast<std::size_t>(i - w_.begin())].index_keys,
                          .score = ws_.scores,
                          .score_stride = n_keys,
                          .n_heads = Hi,
                          .n_keys_max = n_keys});
    device_.top_k({.score = ws_.scores,
                   .score_stride = n_keys,
                   .places = places(s, i, t, m),
                   .chosen = ws_.chosen + at * static_cast<std::size_t>(c_.index_topk),
                   .bins = reinterpret_cast<std::uint32_t*>(scratch_.data()),
                   .scratch = reinterpret_cast<std::uint32_t*>(scratch_.data()) +
                              std::min(options_.chunk, kScoredMax) * kc::kTopKBins,
                   .ratio = 4,
                   .k = c_.index_topk,
                   .n_max = n_keys});
  }
}

void DeviceForward::attend(const Step& s, int i) {
  const int ratio = w_.layer(i).host->ratio, H = c_.num_attention_heads, C = c_.head_dim,
            R = c_.qk_rope_head_dim;
  const bool chooses = s.chooses(c_, ratio);
  const int entries = chooses ? c_.index_topk : s.entries(ratio),
            together = kc::attention_apart(s.n, H) ? tokens_attending(c_, entries) : s.n;
  for (int t = 0; t < s.n; t += together) {
    const auto at = static_cast<std::size_t>(t),
               width = static_cast<std::size_t>(H) * static_cast<std::size_t>(C);
    kc::Places where = places(s, i, t, std::min(together, s.n - t));
    if (s.seen) where.position = s.seen + at;
    const bool turned = reads_together(s);
    device_.attention(
        {.q = turned ? ws_.q + at * width : nullptr,
         .sink = w_.layer(i).attn_sink,
         .rope = ws_.rope[ratio != 0] + at * static_cast<std::size_t>(R),
         .out = ws_.o + at * width,
         .workspace = ws_.partials,
         .places = where,
         .entries = cells_[static_cast<std::size_t>(i - w_.begin())].entries,
         .chosen = chooses ? ws_.chosen + at * static_cast<std::size_t>(c_.index_topk) : nullptr,
         .k = c_.index_topk,
         .ratio = ratio,
         .n_heads = H,
         .head_dim = C,
         .rope_dim = R,
         .window = c_.sliding_window + (s.seen ? s.n : 0),
         .window_capacity = s.alone ? options_.chunk + c_.sliding_window
                                    : DeviceState::window_capacity(c_),
         .n_entries_max = entries,
         .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(C))),
         .raw_q = turned ? nullptr : ws_.q + at * width,
         .query_eps = c_.rms_norm_eps});
  }
}

// What attention reads of few tokens is one launch; of many the queries are attention's own.
bool DeviceForward::reads_together(const Step& s) const {
  return s.n <= kc::kTokensFew && !s.alone;
}

// What attention reads: few tokens' queries, the window's cells, and what the layer's compressors
// and indexer make.
void DeviceForward::read_inputs(const Step& s, int i) {
  const DeviceLayer& l = w_.layer(i);
  const int ratio = w_.layer(i).host->ratio;
  const bool chooses = s.chooses(c_, ratio);
  kc::AttentionInputsArgs a{
      .queries = {.q = ws_.q,
                  .rope = ws_.rope[ratio != 0],
                  .n_tokens = s.n,
                  .n_heads = c_.num_attention_heads,
                  .head_dim = c_.head_dim,
                  .rope_dim = c_.qk_rope_head_dim,
                  .eps = c_.rms_norm_eps},
      .window = {.kv = ws_.kv,
                 .norm = l.kv_norm,
                 .rope = ws_.rope[ratio != 0],
                 .places = places(s, i, 0, s.n),
                 .head_dim = c_.head_dim,
                 .rope_dim = c_.qk_rope_head_dim,
                 .window_capacity = s.alone ? options_.chunk + c_.sliding_window
                                            : DeviceState::window_capacity(c_),
                 .eps = c_.rms_norm_eps}};
  if (l.compressor) a.compress[a.n_compress++] = compress_args(s, i, false);
  if (l.indexer) a.compress[a.n_compress++] = compress_args(s, i, true);
  if (chooses) a.index_queries = index_query_args(s);
  if (reads_together(s)) return device_.attention_inputs(a);
  if (s.alone) move_window(s, i, false);
  device_.put_window(a.window);
  for (int c = 0; c < a.n_compress; ++c) {
    device_.compress(a.compress[c]);
    device_.put_raw(a.compress[c]);
  }
  if (chooses) device_.index_queries(a.index_queries);
}

void DeviceForward::attention(const Step& s, int i) {
  const DeviceLayer& l = w_.layer(i);
  const int n = s.n, Q = c_.q_lora_rank, ratio = w_.layer(i).host->ratio,
            GA = c_.o_groups * c_.o_lora_rank;
  const bool chooses = s.chooses(c_, ratio), q_codes = quantises(l.wq_b);
  std::vector<kc::LinearArgs> products;
  product(products, l.wq_a, ws_.normed, ws_.codes, ws_.code_scale, n, ws_.qr, false, ws_.o);
  product(products, l.wkv, ws_.normed, ws_.codes, ws_.code_scale, n, ws_.kv, false, ws_.o);
  if (l.compressor) {
    product(products, l.compressor->wkv, ws_.normed, nullptr, nullptr, n, ws_.values, true,
            nullptr);
    product(products, l.compressor->wgate, ws_.normed, nullptr, nullptr, n, ws_.gates, true,
            nullptr);
  }
  if (l.indexer) {
    product(products, l.indexer->compressor.wkv, ws_.normed, nullptr, nullptr, n, ws_.index_values,
            true, nullptr);
    product(products, l.indexer->compressor.wgate, ws_.normed, nullptr, nullptr, n, ws_.index_gates,
            true, nullptr);
    if (chooses)
      product(products, l.indexer->weights_proj, ws_.normed, nullptr, nullptr, n, ws_.iw, false,
              nullptr);
  }
  device_.linear(products);
  // Few tokens' queries are normed by who multiplies them.
  const bool norms = q_codes && n <= kc::kTokensFew && (!chooses || quantises(l.indexer->wq_b));
  if (!norms)
    device_.rms_norm({.x = ws_.qr,
                      .w = l.q_norm,
                      .y = ws_.qr,
                      .codes = q_codes ? ws_.qr_codes : nullptr,
                      .code_scale = ws_.qr_scale,
                      .x_stride = Q,
                      .y_stride = Q,
                      .codes_stride = Q,
                      .code_scale_stride = blocks(Q),
                      .n_rows = n,
                      .dim = Q,
                      .eps = c_.rms_norm_eps});
  products.clear();
  const std::uint8_t* const qr_codes = q_codes && !norms ? ws_.qr_codes : nullptr;
  product(products, l.wq_b, ws_.qr, qr_codes, ws_.qr_scale, n, ws_.q, false, ws_.o);
  const int first = first_that_chooses(s);
  if (chooses && first > 0) {  // other tokens, so another call
    device_.linear(products);
    products.clear();
  }
  if (chooses && first < n) {
    const auto at = static_cast<std::size_t>(first);
    product(products, l.indexer->wq_b, ws_.qr + at * static_cast<std::size_t>(Q),
            qr_codes ? qr_codes + at * static_cast<std::size_t>(Q) : nullptr,
            ws_.qr_scale + at * static_cast<std::size_t>(blocks(Q)), n - first,
            ws_.iq + at * static_cast<std::size_t>(c_.index_n_heads) *
                         static_cast<std::size_t>(c_.index_head_dim),
            false, ws_.o);
  }
  for (kc::LinearArgs& a : products) {
    if (!norms) break;
    a.quantise = true;
    a.quantised = ws_.qr_codes, a.quantised_scale = ws_.qr_scale;
    a.code_scale_stride = blocks(Q);
    a.norm = l.q_norm, a.norm_eps = c_.rms_norm_eps;
  }
  if (!products.empty()) device_.linear(products, left_mixes(s));
  read_inputs(s, i);
  if (chooses) select(s, i);
  attend(s, i);
  if (s.alone) move_window(s, i, true);
  products.clear();
  kc::LinearArgs out_a{.w = l.wo_a,
                       .x = ws_.o,
                       .y = ws_.z,
                       .x_stride = static_cast<std::int64_t>(c_.num_attention_heads) * c_.head_dim,
                       .y_stride = GA,
                       .n_tokens = n,
                       .rows_per_group = c_.o_lora_rank};
  device_.linear({&out_a, 1});
  product(products, l.wo_b, ws_.z, nullptr, nullptr, n, s.x.y, false, ws_.q);
  kc::LinearArgs& out_b = products.front();
  out_b.quantise = quantises(l.wo_b);
  out_b.code_scale_stride = blocks(GA);
  out_b.quantised = ws_.z_codes, out_b.quantised_scale = ws_.z_scale;
  device_.linear(products);
}

// The two products of routed experts, and of the shared one, and what lies between.
DeviceForward::ExpertLaunches DeviceForward::expert_launches(const Step& s, int i) const {
  const DeviceLayer& l = w_.layer(i);
  const int n = s.n, D = c_.hidden_size, I = c_.moe_intermediate_size, E = c_.n_routed_experts,
            k = c_.num_experts_per_tok;
  const bool in_codes = l.w1.format == kernels::Format::fp8 || l.w1.format == kernels::Format::fp4,
             out_codes = l.w2.format == kernels::Format::fp8 || l.w2.format == kernels::Format::fp4;
  const auto matrix = [](const DeviceExperts& of, bf16* y) {
    return kc::ExpertMatrix{.tiles = of.tiles, .scale = of.scale, .shared = of.shared, .y = y};
  };
  ExpertLaunches a{.in = {.matrix = {matrix(l.w1, ws_.gate), matrix(l.w3, ws_.up)},
                          .n_matrices = 2,
                          .format = l.w1.format,
                          .n_out = I,
                          .n_in = D,
                          .x_stride = D,
                          .code_scale_stride = blocks(D),
                          .y_stride = I,
                          .room = ws_.h_codes,
                          .row_of = ws_.token_of,
                          .jobs = ws_.jobs,
                          .n_tokens = n,
                          .n_experts = E,
                          .k = k},
                   .out = {.matrix = {matrix(l.w2, ws_.out), {}},
                           .n_matrices = 1,
                           .format = l.w2.format,
                           .n_out = D,
                           .n_in = I,
                           .x_stride = I,
                           .code_scale_stride = blocks(I),
                           .y_stride = D,
                           .room = ws_.h_codes,
                           .jobs = ws_.jobs,
                           .n_tokens = n,
                           .n_experts = E,
                           .k = k},
                   .gated = {.gate = ws_.gate,
                             .up = ws_.up,
                             .factor = ws_.factor,
                             .h = ws_.gate,
                             .codes = nullptr,
                             .code_scale = nullptr,
                             .stride = I,
                             .scale_stride = blocks(I),
                             .n_rows = n * (k + 1),
                             .n = I,
                             .limit = c_.swiglu_limit},
                   .gates = !out_codes};
  if (in_codes)
    a.in.codes = ws_.codes, a.in.code_scale = ws_.code_scale;
  else
    a.in.x = ws_.normed;
  a.out.x = ws_.gate;
  if (out_codes)
    a.out.up = ws_.up, a.out.factor = ws_.factor, a.out.limit = c_.swiglu_limit,
    a.out.quantise = true, a.out.quantised = ws_.h_codes, a.out.quantised_scale = ws_.h_scale;
  a.out.jobs_known = n <= kc::kTokensFew && out_codes;  // the first matrices' launch is between
  return a;
}

void DeviceForward::experts(const Step& s, int i, const std::function<void(int)>& host) {
  const DeviceLayer& l = w_.layer(i);
  const int n = s.n, D = c_.hidden_size, I = c_.moe_intermediate_size, E = c_.n_routed_experts,
            k = c_.num_experts_per_tok;
  const bool in_codes = l.w1.format == kernels::Format::fp8 || l.w1.format == kernels::Format::fp4;
  const bool few = n <= kc::kTokensFew;
  // With few tokens the shared expert's first matrices are read while nobody knows yet which others
  // will be.
  const bool shared_first = few && in_codes && l.w1.shared.tiles && quantises(l.w1.shared);
  std::vector<kc::LinearArgs> gate;
  product(gate, l.gate, ws_.normed, nullptr, nullptr, n, ws_.u, true, nullptr);
  if (shared_first) {
    const std::size_t slots_before = static_cast<std::size_t>(n) * static_cast<std::size_t>(k) *
                                     static_cast<std::size_t>(I);
    product(gate, l.w1.shared, ws_.normed, ws_.codes, ws_.code_scale, n, ws_.gate + slots_before,
            false, nullptr);
    product(gate, l.w3.shared, ws_.normed, ws_.codes, ws_.code_scale, n, ws_.up + slots_before,
            false, nullptr);
  }
  device_.linear(gate);
  const kc::RouteArgs route{.u = ws_.u,
                            .bias = l.gate_bias,
                            .given = l.tid2eid,
                            .tokens = s.tokens,
                            .expert = ws_.expert,
                            .weight = ws_.weight,
                            .n_tokens = n,
                            .n_experts = E,
                            .k = k,
                            .factor = c_.routed_scaling_factor};
  const kc::GroupArgs group{.expert = ws_.expert,
                            .weight = ws_.weight,
                            .begin = ws_.begin,
                            .slot_of = ws_.slot_of,
                            .token_of = ws_.token_of,
                            .factor = ws_.factor,
                            .jobs = ws_.jobs,
                            .n_tokens = n,
                            .n_experts = E,
                            .k = k};
  if (few) {
    device_.route_and_group(route, group);
  } else {
    device_.route(route);
    device_.group(group);
  }
  ExpertLaunches launches = expert_launches(s, i);
  if (shared_first) launches.in.matrix[0].shared = launches.in.matrix[1].shared = {};
  launches.in.mixes = left_mixes(s);
  device_.experts_linear(launches.in);
  if (!s.streams || l.all_resident) {
    if (launches.gates) device_.swiglu(launches.gated);
    device_.experts_linear(launches.out);
  }
  if (!l.all_resident) host(i);
  if (!few || hands_on(i))
    device_.combine({.out = ws_.out,
                     .slot_of = ws_.slot_of,
                     .y = s.x.y,
                     .stride = D,
                     .n_tokens = n,
                     .k = k,
                     .dim = D});
}

// Slots of experts that are not on the GPU: behind the launches of those that are, by the CPU; or
// as they come, behind w1 and w3 of those that are, and then what follows for all.
void DeviceForward::missing_experts(const Step& s, int i) {
  const std::int32_t* const begin = uses_->ask(i, ws_);
  if (!s.streams)
    return host_experts_->compute(*w_.layer(i).host, w_.layer(i).resident, begin, ws_, s.n);
  ExpertStream& stream = *options_.stream;
  if (!s.streams_all) {
    device_.synchronise();
    stream.expect(i, begin);
  }
  ExpertLaunches a = expert_launches(s, i);
  stream.multiply(i, a.in);
  if (a.gates) device_.swiglu(a.gated);
  device_.experts_linear(a.out);
  a.out.laid = true;
  stream.multiply(i, a.out);
}

}  // namespace lares::engine::cuda
