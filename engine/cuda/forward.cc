#include "engine/cuda/forward.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <utility>

#include "engine/cuda/forward_step.h"
#include "engine/cuda/layout.h"
#include "engine/cuda/no_room.h"

namespace lares::engine::cuda {
namespace {

// A broken promise of the caller's.
void check(bool holds, const char* what) {
  if (holds) return;
  fmt::print(stderr, "evaluate on a GPU: {} was promised not to come\n", what);
  std::abort();
}

}  // namespace

DeviceForward::DeviceForward(Device& device, const Weights& weights, const DeviceWeights& on_device,
                             const Options& options)
    : device_(device),
      weights_(weights),
      c_(weights.checkpoint.config()),
      w_(on_device),
      options_(options) {
  if (w_.draft()) {  // blocks without pages
    cells_.resize(static_cast<std::size_t>(w_.end()));
    return;
  }
  const PageLayout pages = page_layout(c_, false);
  const std::size_t offset = page_offset(pages, w_.begin());
  for (int i = w_.begin(); i < w_.end(); ++i) {
    const PageLayout::Layer& l = pages.layers[static_cast<std::size_t>(i)];
    cells_.push_back(
        {{l.entries.offset - offset, l.entries.n}, {l.index_keys.offset - offset, l.index_keys.n}});
    if (!w_.layer(i).all_resident) host_layers_.push_back(i);
  }
}

Result<std::unique_ptr<DeviceForward>> DeviceForward::make(Device& device, const Weights& weights,
                                                           const DeviceWeights& on_device,
                                                           const Options& options,
                                                           kernels::ThreadPool& pool,
                                                           const kernels::Kernels& kernels) {
  auto out = std::unique_ptr<DeviceForward>(new DeviceForward(device, weights, on_device, options));
  const Config& c = out->c_;
  WorkSpace nowhere;
  const std::uint64_t bytes = lay(nowhere, c, options.chunk, options.n_context, nullptr,
                                  on_device.draft());
  std::size_t scratch = 0, bins = 0;
  if (!on_device.draft()) {  // whose blocks choose no entries
    for (std::int64_t reach = kReachLeast;; reach *= 2) {
      const auto n_keys =
          static_cast<int>(std::min(reach, std::max(options.n_context, kReachLeast)) / 4);
      const int together = std::min(options.chunk, tokens_scored(n_keys));
      scratch = std::max(scratch, sizeof(std::uint32_t) * device.top_k_scratch(together, n_keys));
      if (reach >= options.n_context) break;
    }
    bins = sizeof(std::uint32_t) * static_cast<std::size_t>(std::min(options.chunk, kScoredMax)) *
           kc::kTopKBins;
    scratch += bins;
  }
  out->memory_ = Memory(device, bytes);
  out->scratch_ = Memory(device, std::max<std::size_t>(kAlign, scratch));
  out->inputs_ = Pinned(device, nowhere.inputs_bytes);
  out->entry_ = Pinned(device, entry_bytes(c, options.chunk, out->first()));
  if (on_device.has_head())
    out->logits_ = Pinned(device,
                          sizeof(float) * kRowsMax * static_cast<std::size_t>(c.vocab_size));
  const bool dspark = on_device.is_dspark();
  if (dspark)
    out->entered_ = Pinned(device,
                           sizeof(bf16) * kRowsMax * static_cast<std::size_t>(c.hidden_size));
  const std::string work_space = fmt::format("the work space for {} tokens", options.chunk);
  const int few = out->look_at_misses(pool.size());
  if (!out->host_layers_.empty())
    out->uses_ = std::make_unique<ExpertUses>(device, c, on_device, options.heat);
  if (few > 0) out->host_experts_ = std::make_unique<HostExperts>(device, c, few, pool, kernels);
  if (!out->inputs_ || !out->entry_ || (on_device.has_head() && !out->logits_) ||
      (dspark && !out->entered_) || (out->uses_ && !out->uses_->ready()) ||
      (out->host_experts_ && !out->host_experts_->ready())) {
    const std::uint64_t pinned = host_work_bytes(
        c, options.chunk, {.first = out->first(), .last = on_device.has_head(), .misses = few > 0});
    return tl::unexpected(
        no_pinned_room(device, weights.checkpoint.directory(), work_space, pinned));
  }
  if (!out->memory_ || !out->scratch_) {
    out->memory_ = Memory();
    out->scratch_ = Memory();
    return tl::unexpected(
        no_room(device, weights.checkpoint.directory(), work_space, bytes + scratch));
  }
  lay(out->ws_, c, options.chunk, options.n_context, out->memory_.data(), on_device.draft());
  if (bins > 0) device.clear(out->scratch_.data(), bins);
  device.clear(out->ws_.arrived, sizeof *out->ws_.arrived);
  return out;
}

// From how many tokens on missing experts come to the GPU; returns how many the CPU computes them
// for at most.
int DeviceForward::look_at_misses(int n_threads) {
  if (host_layers_.empty()) return 0;
  stream_from_ = !options_.stream ? options_.chunk + 1 : options_.stream_from;
  if (stream_from_ == 0) {
    stream_from_ = options_.chunk + 1;
    for (const int i : host_layers_)
      stream_from_ = std::min(
          stream_from_,
          cuda::stream_from(c_, weights_.layers[static_cast<std::size_t>(i)].experts.front(),
                            n_threads));
  }
  return std::min(options_.chunk, stream_from_ - 1);
}

bool DeviceForward::streams(int n_tokens) const {
  return options_.stream && !host_layers_.empty() && n_tokens >= stream_from_;
}

bool DeviceForward::streams_all(int n_tokens) const {
  return streams(n_tokens) && n_tokens > kStepTokens &&
         static_cast<std::int64_t>(n_tokens) * c_.num_experts_per_tok >=
             static_cast<std::int64_t>(kRowsEach) * c_.n_routed_experts;
}

void DeviceForward::expect(int n_tokens) {
  expected_ = streams_all(n_tokens);
  if (expected_) options_.stream->expect_all();
}

// The step's positions, tokens, parts and, for layer 0, embedding rows, in pinned memory; where
// they will be on the GPU.
void DeviceForward::write_inputs(Step& s, std::span<const Sequence> sequences,
                                 std::span<const Token> tokens) {
  std::uint8_t* const host = inputs_.data();
  std::uint64_t at = 0;
  const auto place = [&](auto*& on_device, std::uint64_t count) {
    using T =
        std::remove_const_t<std::remove_pointer_t<std::remove_reference_t<decltype(on_device)>>>;
    at = (at + alignof(T) - 1) / alignof(T) * alignof(T);
    on_device = reinterpret_cast<const T*>(ws_.inputs + at);
    auto* const out = reinterpret_cast<T*>(host + at);
    at += count * sizeof(T);
    return out;
  };
  const auto n = static_cast<std::uint64_t>(s.n);
  auto* const position = place(s.position, n);
  auto* const ids = place(s.tokens, n);
  auto* const iota = place(s.iota, n);
  auto* const part = place(s.part, n);
  auto* const parts = place(s.parts, static_cast<std::uint64_t>(w_.end() - w_.begin()) *
                                         static_cast<std::uint64_t>(s.n_parts));
  auto* const row = options_.keeps || w_.draft() ? place(s.rows, n) : nullptr;
  auto* const seen = w_.is_dspark() ? place(s.seen, n) : nullptr;
  s.bytes = at;
  std::copy(tokens.begin(), tokens.end(), ids);
  std::iota(iota, iota + s.n, 0);
  int begin = 0;
  for (std::size_t k = 0; k < sequences.size(); ++k) {
    const Sequence& q = sequences[k];
    for (int t = 0; t < q.n; ++t) {
      position[begin + t] = q.state->size() + t;
      part[begin + t] = static_cast<std::int32_t>(k);
      if (row) row[begin + t] = q.rows.empty() ? nullptr : q.rows[static_cast<std::size_t>(t)];
      if (seen) seen[begin + t] = q.state->size() + q.n - 1;
    }
    for (int i = w_.begin(); i < w_.end(); ++i) {
      kc::Part& p = parts[static_cast<std::size_t>(i - w_.begin()) * sequences.size() + k];
      p = q.state->part(i, begin, q.n);
      if (s.alone) p.window = ws_.window;
    }
    begin += q.n;
  }
  if (!first()) return;
  auto* const rows = reinterpret_cast<bf16*>(entry_.data());
  const auto D = static_cast<std::size_t>(c_.hidden_size);
  for (std::size_t t = 0; t < tokens.size(); ++t) copy_row(weights_.embed, tokens[t], rows + t * D);
}

// After the last layer: the last n_rows tokens take what it gave, and their logits come of them.
void DeviceForward::head(const Step& s) {
  if (s.n_rows == 0) return;
  const auto D = static_cast<std::size_t>(c_.hidden_size);
  const DeviceHyper& w = w_.hc_head();
  kc::HyperArgs a = leaving(s, s.n - s.n_rows, s.n_rows, last_leaves());
  a.head = true;
  a.fn = w.fn, a.base = w.base, a.scale = w.scale;
  a.norm = w_.norm();
  if (entered_) a.entered = ws_.entered;
  device_.hyper(a);
  if (entered_)
    device_.to_host(entered_.data(), ws_.entered,
                    sizeof(bf16) * static_cast<std::size_t>(s.n_rows) * D);
  for (int r = 0; r < s.n_rows; r += kRowsMax) {
    const int m = std::min(kRowsMax, s.n_rows - r);
    std::vector<kc::LinearArgs> products;
    product(products, w_.head(), ws_.normed + static_cast<std::size_t>(r) * D, nullptr, nullptr, m,
            ws_.logits, true, nullptr);
    device_.linear(products);
    const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(m) *
                              static_cast<std::size_t>(c_.vocab_size);
    device_.to_host(logits_.data(), ws_.logits, bytes);
    if (s.n_rows > kRowsMax) {  // so nothing is recorded
      device_.synchronise();
      std::memcpy(s.logits + static_cast<std::size_t>(r) * static_cast<std::size_t>(c_.vocab_size),
                  logits_.data(), bytes);
    }
  }
}

// All of a step's launches. `host` is called where a layer lacks experts, before their sums are
// needed; `go_on` after each layer.
bool DeviceForward::walk(const Step& s, const std::function<void(int)>& host,
                         const std::function<bool(int)>& go_on) {
  device_.to_device(ws_.inputs, inputs_.data(), s.bytes);
  device_.to_device(first() ? reinterpret_cast<std::uint8_t*>(ws_.rows) : ws_.hand_over,
                    entry_.data() + s.piece.from, entry_bytes(c_, s.n, first()));
  if (!std::exchange(expected_, false) && s.streams_all)
    options_.stream->expect_all();  // behind the inputs, which come by the same way
  if (w_.is_mtp())
    front(s);
  else if (first())
    device_.embed({.table = ws_.rows,
                   .tokens = s.iota,
                   .x = s.x.streams,
                   .n_tokens = s.n,
                   .n_streams = c_.hc_mult,
                   .dim = c_.hidden_size});
  for (const bool compressed : {false, true})
    device_.rope_table({.frequencies = w_.frequencies(compressed),
                        .position = s.position,
                        .table = ws_.rope[compressed],
                        .n = s.n,
                        .dim = c_.qk_rope_head_dim});
  for (int i = w_.begin(); i < w_.end(); ++i) {
    const DeviceLayer& l = w_.layer(i);
    boundary(s, l.hc_attn, l.attn_norm,
             i > w_.begin() ? Leaves::experts
             : first()      ? Leaves::nothing
                            : Leaves::handed);
    keep_means(s, i - 1);
    attention(s, i);
    boundary(s, l.hc_ffn, l.ffn_norm, Leaves::attention);
    experts(s, i, host);
    if (!go_on) continue;
    device_.synchronise();
    if (!go_on(i)) return false;
  }
  if (outbox_)
    device_.to_host(outbox_ + s.piece.to, ws_.hand_over, s.x.bytes);
  else
    head(s);
  keep_last(s);
  return true;
}

Result<> DeviceForward::evaluate(std::span<const Sequence> sequences, std::span<const Token> tokens,
                                 int n_rows, float* logits, const std::function<bool(int)>& go_on,
                                 const Piece* piece) {
  Step s{.n = static_cast<int>(tokens.size()),
         .n_parts = static_cast<int>(sequences.size()),
         .n_rows = n_rows};
  std::int64_t most = kReachLeast;
  for (const Sequence& q : sequences) {
    most = std::max(most, q.state->size() + q.n);
    if (q.n > kStepTokens) s.alone = q.state;
  }
  check(outbox_ ? n_rows == 0 : w_.has_head(), "a GPU that neither has the head nor hands on");
  check(logits || n_rows <= kRowsMax, "more rows of logits than have a place");
  check(s.n <= options_.chunk && s.n_parts <= kPartsMax && n_rows <= s.n &&
            (!s.alone || s.n_parts == 1),
        "a step of that shape");
  for (const Sequence& q : sequences) {
    check(w_.draft() || q.state->size() + q.n <= options_.n_context, "tokens beyond the context");
    check(q.rows.empty() || std::ssize(q.rows) == q.n, "another number of rows than of tokens");
    if (const auto opened = q.state->open(q.state->size(), q.n); !opened) return opened;
  }
  s.reach = w_.draft()
                ? kReachLeast
                : std::min(
                      static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(most))),
                      std::max(options_.n_context, kReachLeast));
  s.logits = logits;
  if (piece) s.piece = *piece;
  s.x = hand_over(c_, s.n, ws_.hand_over);
  write_inputs(s, sequences, tokens);
  last_streams_ = s.x.streams + static_cast<std::size_t>(s.n - 1) *
                                    static_cast<std::size_t>(c_.hc_mult) *
                                    static_cast<std::size_t>(c_.hidden_size);
  s.streams = streams(s.n);
  s.streams_all = streams_all(s.n);
  const auto host = [&](int i) { missing_experts(s, i); };
  if (!options_.record || piece || s.alone || s.n > kStepTokens || n_rows > kRowsMax) {
    settled_ = std::exchange(ran_, true);
    if (!walk(s, host, go_on)) {
      device_.synchronise();
      return tl::unexpected(
          Error{Errc::cancelled, fmt::format("evaluate {} tokens: cancelled", s.n)});
    }
  } else {
    run_step(s, host);
  }
  device_.synchronise();
  if (logits && n_rows > 0 && n_rows <= kRowsMax)
    std::memcpy(
        logits, logits_.data(),
        sizeof(float) * static_cast<std::size_t>(n_rows) * static_cast<std::size_t>(c_.vocab_size));
  for (const Sequence& q : sequences) q.state->advance(q.n);
  if (uses_) uses_->count(s.n);
  return {};
}

// A step of a shape that was not seen before is run as it is, which loads what the driver has not
// loaded yet; the second is recorded, and the recording serves all after it. Where the GPU has no
// memory for it, others make way, and until they have the step runs as it is.
void DeviceForward::run_step(const Step& s, const std::function<void(int)>& host) {
  const auto key = std::make_tuple(s.n, s.n_parts, s.n_rows, s.reach);
  const auto known = recordings_.find(key);
  ++clock_;
  settled_ = known != recordings_.end() && !known->second.pieces.empty();
  Recorded& recorded = known == recordings_.end() ? recordings_[key] : known->second;
  recorded.used = clock_;
  if (settled_) return replay(recorded, host);
  if (known == recordings_.end()) {
    forget_recordings(recorded, std::min(kRecordingsMax, kGraphsMax / (host_layers_.size() + 1)));
    walk(s, host, {});
  } else if (record_step(s, recorded)) {
    replay(recorded, host);
  } else {
    forget_recordings(recorded, recordings_.size() / 2);
    walk(s, host, {});
  }
}

void DeviceForward::replay(const Recorded& recorded, const std::function<void(int)>& host) {
  for (std::size_t k = 0; k < recorded.pieces.size(); ++k) {
    device_.replay(*recorded.pieces[k]);
    if (k < host_layers_.size()) host(host_layers_[k]);
  }
}

bool DeviceForward::record_step(const Step& s, Recorded& into) {
  device_.record();
  walk(s,
       [&](int) {
         into.pieces.push_back(device_.end_recording());
         device_.record();
       },
       {});
  into.pieces.push_back(device_.end_recording());
  const bool all = std::ranges::none_of(into.pieces, [](const auto& piece) { return !piece; });
  if (!all) into.pieces.clear();
  return all;
}

void DeviceForward::forget_recordings(const Recorded& but, std::size_t left) {
  while (recordings_.size() > std::max<std::size_t>(left, 1)) {
    const auto age = [&](const auto& one) {
      return &one.second == &but ? clock_ + 1 : one.second.used;
    };
    recordings_.erase(std::ranges::min_element(recordings_, {}, age));
  }
}

std::size_t DeviceForward::n_recordings() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      recordings_, [](const auto& one) { return !one.second.pieces.empty(); }));
}

}  // namespace lares::engine::cuda
