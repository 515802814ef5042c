// What draft blocks take from the model's layers, and what they do before and behind their own: MTP
// (MTPBlock in DeepSeek-V4's inference/model.py), DSpark (tests/reference/v4_reference.py).
#include <algorithm>

#include "engine/cuda/forward_step.h"

namespace lares::engine::cuda {

// The first token whose row is looked at. A recorded step's are all, for which of them are wanted
// changes.
int DeviceForward::kept_from(const Step& s) const {
  return s.n <= kStepTokens ? 0 : std::max(0, s.n - rows_kept(c_));
}

// DSpark: the means of a target layer's streams, once the boundary behind it has made them.
void DeviceForward::keep_means(const Step& s, int layer) {
  const auto& targets = c_.dspark_target_layer_ids;
  const auto target = std::ranges::find(targets, layer);
  if (!options_.keeps || target == targets.end()) return;
  const int from = kept_from(s);
  const std::size_t width = static_cast<std::size_t>(c_.hc_mult) *
                            static_cast<std::size_t>(c_.hidden_size);
  device_.draft_rows({.what = kc::DraftRows::keep_means,
                      .x = s.x.streams + static_cast<std::size_t>(from) * width,
                      .row = s.rows + from,
                      .n_tokens = s.n - from,
                      .n_streams = c_.hc_mult,
                      .dim = c_.hidden_size,
                      .offset = (target - targets.begin()) * c_.hidden_size});
}

// What the last layer gave, of tokens that have no row of logits: where the head reads nothing,
// nothing has left yet.
void DeviceForward::keep_last(const Step& s) {
  if (!options_.keeps) return;
  const auto from = static_cast<std::size_t>(kept_from(s)),
             D = static_cast<std::size_t>(c_.hidden_size), S = static_cast<std::size_t>(c_.hc_mult);
  if (const int more = s.n - s.n_rows - kept_from(s); more > 0)
    device_.hyper(leaving(s, kept_from(s), more, last_leaves()));
  if (!c_.dspark_target_layer_ids.empty()) return keep_means(s, c_.num_hidden_layers - 1);
  device_.draft_rows({.what = kc::DraftRows::keep,
                      .x = s.x.streams + from * S * D,
                      .row = s.rows + from,
                      .n_tokens = s.n - static_cast<int>(from),
                      .n_streams = c_.hc_mult,
                      .dim = c_.hidden_size});
}

// MTP: X_s = e_proj RMSNorm(embedding of the token) + h_proj RMSNorm(X_s).
void DeviceForward::front(const Step& s) {
  const DeviceDraft& w = *w_.draft();
  const int n = s.n, S = c_.hc_mult, D = c_.hidden_size;
  const bool e_codes = quantises(w.e_proj), h_codes = quantises(w.h_proj);
  device_.draft_rows({.what = kc::DraftRows::recall,
                      .x = s.x.streams,
                      .row = s.rows,
                      .n_tokens = n,
                      .n_streams = S,
                      .dim = D});
  const auto norm = [&](const bf16* x, const float* weight, bf16* y, std::uint8_t* codes,
                        float* scale, int n_rows) {
    device_.rms_norm({.x = x,
                      .w = weight,
                      .y = y,
                      .codes = codes,
                      .code_scale = scale,
                      .x_stride = D,
                      .y_stride = D,
                      .codes_stride = D,
                      .code_scale_stride = blocks(D),
                      .n_rows = n_rows,
                      .dim = D,
                      .eps = c_.rms_norm_eps});
  };
  norm(ws_.rows, w.enorm, ws_.normed, e_codes ? ws_.codes : nullptr, ws_.code_scale, n);
  norm(s.x.streams, w.hnorm, ws_.front, h_codes ? ws_.front_codes : nullptr, ws_.front_scale,
       n * S);
  std::vector<kc::LinearArgs> products;
  product(products, w.e_proj, ws_.normed, e_codes ? ws_.codes : nullptr, ws_.code_scale, n, s.x.y,
          false, ws_.o);
  device_.linear(products);
  products.clear();
  product(products, w.h_proj, ws_.front, h_codes ? ws_.front_codes : nullptr, ws_.front_scale,
          n * S, s.x.streams, false, ws_.front_room);
  device_.linear(products);
  device_.add_to_streams({.x = s.x.streams, .y = s.x.y, .n_tokens = n, .n_streams = S, .dim = D});
}

void DeviceForward::context(const Sequence& q) {
  const DeviceDraft& w = *w_.draft();
  const int n = q.n, D = c_.hidden_size, T = static_cast<int>(c_.dspark_target_layer_ids.size()),
            width = T * D;
  Step s{.n = n, .n_parts = 1, .n_rows = 0};
  s.x = hand_over(c_, n, ws_.hand_over);
  write_inputs(s, {&q, 1}, {});
  device_.to_device(ws_.inputs, inputs_.data(), s.bytes);
  device_.rope_table({.frequencies = w_.frequencies(false),
                      .position = s.position,
                      .table = ws_.rope[0],
                      .n = n,
                      .dim = c_.qk_rope_head_dim});
  device_.draft_rows({.what = kc::DraftRows::recall,
                      .x = ws_.front,
                      .row = s.rows,
                      .n_tokens = n,
                      .n_streams = T,
                      .dim = D});
  const bool codes = quantises(w.main_proj);
  if (codes)
    device_.quantise({.x = ws_.front,
                      .codes = ws_.front_codes,
                      .scale = ws_.front_scale,
                      .x_stride = width,
                      .codes_stride = width,
                      .scale_stride = blocks(width),
                      .n_rows = n,
                      .n = width});
  std::vector<kc::LinearArgs> products;
  product(products, w.main_proj, ws_.front, codes ? ws_.front_codes : nullptr, ws_.front_scale, n,
          ws_.normed, false, ws_.front_room);
  device_.linear(products);
  device_.rms_norm({.x = ws_.normed,
                    .w = w.main_norm,
                    .y = ws_.normed,
                    .codes = ws_.codes,
                    .code_scale = ws_.code_scale,
                    .x_stride = D,
                    .y_stride = D,
                    .codes_stride = D,
                    .code_scale_stride = blocks(D),
                    .n_rows = n,
                    .dim = D,
                    .eps = c_.rms_norm_eps});
  for (int i = w_.begin(); i < w_.end(); ++i) {
    products.clear();
    product(products, w_.layer(i).wkv, ws_.normed, ws_.codes, ws_.code_scale, n, ws_.kv, false,
            ws_.o);
    device_.linear(products);
    device_.put_window({.kv = ws_.kv,
                        .norm = w_.layer(i).kv_norm,
                        .rope = ws_.rope[0],
                        .places = places(s, i, 0, n),
                        .head_dim = c_.head_dim,
                        .rope_dim = c_.qk_rope_head_dim,
                        .window_capacity = DeviceState::window_capacity(c_),
                        .eps = c_.rms_norm_eps});
  }
  device_.synchronise();
  q.state->advance(n);
}

const float* DeviceForward::markov(Token before) {
  const kernels::Matrix& table = weights_.dspark->markov_w1;
  const auto rank = static_cast<std::size_t>(c_.dspark_markov_rank),
             V = static_cast<std::size_t>(c_.vocab_size);
  auto* const row = reinterpret_cast<bf16*>(entry_.data());
  copy_row(table, before, row);
  device_.to_device(ws_.rows, row, rank * sizeof(bf16));
  std::vector<kc::LinearArgs> products;
  product(products, w_.draft()->markov_w2, ws_.rows, nullptr, nullptr, 1, ws_.logits, true,
          nullptr);
  device_.linear(products);
  auto* const out = reinterpret_cast<float*>(logits_.data()) +
                    static_cast<std::size_t>(kRowsMax - 1) * V;
  device_.to_host(out, ws_.logits, V * sizeof(float));
  device_.synchronise();
  return out;
}

}  // namespace lares::engine::cuda
