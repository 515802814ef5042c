#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "engine/inspect.h"
#include "engine/model/checkpoint/safetensors.h"
#include "engine/model/draft/dspark_drafter.h"
#include "engine/model/forward.h"

namespace lares::engine {

std::vector<std::string> kernel_names() {
  std::vector<std::string> out;
  for (const kernels::Kernels* row : kernels::rows())
    if (row->available()) out.push_back(row->name);
  return out;
}

Result<> write_logits(const LogitsRequest& r, const Progress& progress) {
  auto weights = load_weights(r.directory, {});
  if (!weights) return tl::unexpected(weights.error());
  const Config& c = (*weights)->checkpoint.config();
  const auto bad = [](std::string message) {
    return tl::unexpected(Error{Errc::bad_argument, std::move(message)});
  };
  const auto n = static_cast<std::int64_t>(r.tokens.size());
  if (n == 0) return bad("compute logits: no tokens");
  if (r.chunk < 1 || r.chunk > kLogitsChunkMax)
    return bad(
        fmt::format("compute logits: chunk {} is not within 1 to {}", r.chunk, kLogitsChunkMax));
  if (n > c.max_position_embeddings)
    return tl::unexpected(
        Error{Errc::too_long, fmt::format("compute logits: {} tokens, the model's context holds {}",
                                          n, c.max_position_embeddings)});
  for (std::int64_t i = 0; i < n; ++i)
    if (r.tokens[i] < 0 || r.tokens[i] >= c.vocab_size)
      return bad(fmt::format("compute logits: token {} at {} is outside the vocabulary of {}",
                             r.tokens[i], i, c.vocab_size));
  if (r.mtp && (*weights)->mtp.empty())
    return bad(
        fmt::format("compute MTP logits: {} has no MTP block{}", r.directory,
                    (*weights)->dspark ? "; its DSpark stages are asked with --dspark" : ""));
  if (r.dspark && !(*weights)->dspark)
    return bad(fmt::format("compute a DSpark draft: {} has no DSpark stages to run", r.directory));
  if (r.dspark && n < 2)
    return bad("compute a DSpark draft: it needs two tokens, one evaluated and one to go on from");
  const kernels::Kernels* row = r.kernels.empty() ? &kernels::best() : kernels::find(r.kernels);
  if (!row) return bad(fmt::format("compute logits: no kernels \"{}\" on this machine", r.kernels));

  kernels::ThreadPool pool(r.threads);
  Forward forward(**weights, r.exact, pool, *row);
  State state(**weights, r.exact, r.chunk);
  const std::size_t width = static_cast<std::size_t>(c.hc_mult) * c.hidden_size,
                    L = (*weights)->layers.size();
  std::vector<float> logits(static_cast<std::size_t>(n) * c.vocab_size), mtp_logits,
      x(static_cast<std::size_t>(r.chunk) * width);
  std::vector<std::vector<float>> streams(r.streams ? L : 0);
  for (auto& s : streams) s.resize(static_cast<std::size_t>(n) * width);
  LayerState mtp_state;
  if (r.mtp) {
    mtp_state = forward.draft_state(r.chunk);
    mtp_logits.resize(static_cast<std::size_t>(n - 1) * c.vocab_size);
  }
  std::optional<CpuDspark> drafter;
  if (r.dspark) drafter.emplace(**weights, forward);
  for (std::int64_t at = 0; at < n; at += r.chunk) {
    if (progress) progress(at, n);
    const int m = static_cast<int>(std::min<std::int64_t>(r.chunk, n - at));
    const std::span<const Token> tokens(r.tokens.data() + at, m);
    forward.evaluate(state, tokens, x.data(), [&](int layer, const float* y) {
      if (drafter) drafter->saw(layer, at, m, y);
      if (r.streams)
        std::copy(y, y + m * width, streams[layer].begin() + at * static_cast<std::int64_t>(width));
      return true;
    });
    forward.head(x.data(), m, logits.data() + static_cast<std::size_t>(at) * c.vocab_size);
    if (const int next = static_cast<int>(std::min<std::int64_t>(m, n - 1 - at));
        r.mtp && next > 0) {
      const MtpWeights& block = (*weights)->mtp.front();
      forward.mtp(block, mtp_state, at, {r.tokens.data() + at + 1, static_cast<std::size_t>(next)},
                  x.data());
      forward.head(block.hc_head, block.norm, x.data(), next,
                   mtp_logits.data() + static_cast<std::size_t>(at) * c.vocab_size);
    }
  }
  if (progress) progress(n, n);
  std::vector<OutputTensor> out{{"logits", Dtype::f32, {n, c.vocab_size}, logits.data()}};
  if (r.mtp) out.push_back({"mtp_logits", Dtype::f32, {n - 1, c.vocab_size}, mtp_logits.data()});
  std::vector<Token> guesses;
  if (drafter) {
    drafter->drop_to(n - 1);
    drafter->draft(r.tokens, drafter->guesses_max(), guesses);
    const auto& block = drafter->block();
    const auto B = static_cast<std::int64_t>(guesses.size());
    out.push_back({"draft_logits", Dtype::f32, {B, c.vocab_size}, block.logits.data()});
    out.push_back({"draft_confidence", Dtype::f32, {B}, block.confidence.data()});
    out.push_back({"draft_tokens", Dtype::i32, {B}, guesses.data()});
  }
  for (std::size_t i = 0; i < streams.size(); ++i)
    out.push_back({fmt::format("streams.{}", i),
                   Dtype::f32,
                   {n, c.hc_mult, c.hidden_size},
                   streams[i].data()});
  return write_safetensors(r.out_path, out);
}

}  // namespace lares::engine
