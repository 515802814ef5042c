#include "engine/cuda/draft_blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "engine/cuda/forward_step.h"
#include "engine/cuda/layout.h"
#include "engine/model/draft/dspark_drafter.h"
#include "engine/model/draft/mtp_drafter.h"

namespace lares::engine::cuda {
namespace {

// The greatest of n values; of equal ones the first. Sixteen runs side by side, which the compiler
// makes vectors of.
Token likeliest(const float* logits, int n) {
  constexpr int kRuns = 16;
  float most[kRuns];
  std::fill_n(most, kRuns, -std::numeric_limits<float>::infinity());
  int i = 0;
  for (; i + kRuns <= n; i += kRuns)
    for (int k = 0; k < kRuns; ++k) most[k] = most[k] < logits[i + k] ? logits[i + k] : most[k];
  float best = *std::max_element(most, most + kRuns);
  for (; i < n; ++i) best = std::max(best, logits[i]);
  const auto at = std::find(logits, logits + n, best) - logits;
  return at < n ? static_cast<Token>(at) : 0;
}

// What a sequence has on the GPU for its guesses.
struct OnDevice {
  OnDevice(DraftBlocks& blocks, RecentPositions& positions)
      : c(blocks.weights().checkpoint.config()),
        forward(blocks.forward()),
        state(blocks.device(), blocks.on_device(), blocks.no_pages(), kReachLeast),
        rows(blocks.device(), positions, static_cast<std::size_t>(front_width(c))) {}
  bool made() const { return state.made() && rows.made(); }

  const Config& c;
  DeviceForward& forward;
  DeviceState state;  // the blocks' windows
  KeptRows rows;
};

class DeviceMtp : public MtpDrafter {
 public:
  explicit DeviceMtp(DraftBlocks& blocks)
      : MtpDrafter(blocks.weights().checkpoint.config().sliding_window, kRollback),
        on_(blocks, positions_) {}
  OnDevice& on_device() { return on_; }
  std::uint64_t bytes() const override { return draft_state_bytes(on_.c); }
  bool settled() const override { return settled_; }

 private:
  Token from_model(std::int64_t row, std::int64_t first, std::span<const Token> next) override {
    settled_ = true;
    return evaluate(row, next, on_.rows.rows(first, first + std::ssize(next)));
  }
  Token from_itself(std::int64_t row, Token next) override {
    bf16* const streams = on_.forward.last_streams();
    return evaluate(row, {&next, 1}, {&streams, 1});
  }
  Token evaluate(std::int64_t row, std::span<const Token> next, std::span<bf16* const> rows) {
    on_.state.drop_to(row);
    const DeviceForward::Sequence one{&on_.state, static_cast<int>(next.size()), rows};
    (void)on_.forward.evaluate({&one, 1}, next, 1, nullptr);  // it takes no pages, is not stopped
    settled_ = settled_ && on_.forward.settled();
    return likeliest(on_.forward.logits(), on_.c.vocab_size);
  }

  OnDevice on_;
  bool settled_ = true;
};

// The stages' rows are numbered from the first one that is there, as MTP's.
class DeviceDspark : public DsparkDrafter {
 public:
  explicit DeviceDspark(DraftBlocks& blocks)
      : DsparkDrafter(blocks.weights().checkpoint.config(), kRollback),
        w_(*blocks.weights().dspark),
        on_(blocks, positions_) {}
  OnDevice& on_device() { return on_; }
  std::uint64_t bytes() const override { return draft_state_bytes(on_.c); }
  bool settled() const override { return on_.forward.settled(); }

 private:
  void context(std::int64_t first, std::int64_t from, std::int64_t last) override {
    origin_ = first;
    on_.state.drop_to(from - first);
    const std::vector<bf16*> rows = on_.rows.rows(from, last);
    on_.forward.context({&on_.state, static_cast<int>(rows.size()), rows});
  }

  void block(std::int64_t /*seen_from*/, std::int64_t position, Token anchor, int n,
             std::vector<Token>& out, std::vector<float>& confidence) override {
    const Config& c = on_.c;
    const auto D = static_cast<std::size_t>(c.hidden_size),
               V = static_cast<std::size_t>(c.vocab_size),
               rank = static_cast<std::size_t>(c.dspark_markov_rank);
    std::vector<Token> ids(static_cast<std::size_t>(c.dspark_block_size), c.dspark_noise_token_id);
    ids[0] = anchor;
    on_.state.drop_to(position - origin_);
    const DeviceForward::Sequence one{&on_.state, c.dspark_block_size, {}};
    (void)on_.forward.evaluate({&one, 1}, ids, c.dspark_block_size, nullptr);
    on_.state.drop_to(position - origin_);
    out.clear();
    confidence.clear();
    logits_.resize(V);
    halves_.resize(D + rank);
    seen_.resize(D + rank);
    for (int i = 0; i < n; ++i) {
      const Token before = i == 0 ? anchor : out.back();
      const float *const base = on_.forward.logits() + static_cast<std::size_t>(i) * V,
                         *const more = on_.forward.markov(before);
      for (std::size_t v = 0; v < V; ++v) logits_[v] = base[v] + more[v];
      out.push_back(likeliest(logits_.data(), c.vocab_size));
      std::copy_n(on_.forward.entered() + static_cast<std::size_t>(i) * D, D, halves_.begin());
      copy_row(w_.markov_w1, before, halves_.data() + D);
      std::ranges::transform(halves_, seen_.begin(), [](bf16 v) {
        return std::bit_cast<float>(static_cast<std::uint32_t>(v) << 16);
      });
      kernels::best().linear({.w = &w_.confidence,
                              .x = seen_.data(),
                              .y = &confidence.emplace_back(),
                              .x_stride = w_.confidence.n_in,
                              .y_stride = 1,
                              .n_tokens = 1,
                              .row_begin = 0,
                              .row_end = 1});
    }
  }

  const DsparkWeights& w_;
  OnDevice on_;
  std::int64_t origin_ = 0;  // position of the state's first row
  std::vector<bf16> halves_;
  std::vector<float> logits_, seen_;
};

template <class Drafter>
DeviceDrafter made(DraftBlocks& blocks) {
  auto drafter = std::make_unique<Drafter>(blocks);
  if (!drafter->on_device().made()) return {};
  KeptRows* const rows = &drafter->on_device().rows;
  return {std::move(drafter), rows};
}

}  // namespace

std::string DraftBlocks::refusal(const Weights& weights, int layer_begin) {
  const Config& c = weights.checkpoint.config();
  if (!weights.dspark) return {};
  // A layer's streams are whole behind the next boundary, which may be the next GPU's first.
  if (const int first = c.dspark_target_layer_ids.front(); first + 1 < layer_begin)
    return fmt::format("they read what layer {} leaves, which is on another GPU", first);
  if (c.dspark_block_size >= kRowsMax)
    return fmt::format("dspark_block_size is {}, the engine takes less than {}",
                       c.dspark_block_size, kRowsMax);
  return {};
}

Result<std::unique_ptr<DraftBlocks>> DraftBlocks::make(Device& device, const Weights& weights,
                                                       const DeviceWeights& main,
                                                       kernels::ThreadPool& pool,
                                                       const kernels::Kernels& kernels) {
  if (const std::string why = refusal(weights, main.begin()); !why.empty())
    return tl::unexpected(
        Error{Errc::unsupported, fmt::format("load the draft blocks of {} onto {}: {}",
                                             weights.checkpoint.directory(), device.name(), why)});
  auto out = std::unique_ptr<DraftBlocks>(new DraftBlocks(device, weights));
  auto on_device = DeviceWeights::upload_draft(device, weights, main, pool);
  if (!on_device) return tl::unexpected(on_device.error());
  out->on_device_ = std::move(*on_device);
  auto forward = DeviceForward::make(
      device, weights, *out->on_device_,
      {.chunk = draft_chunk(weights.checkpoint.config()), .n_context = kReachLeast}, pool, kernels);
  if (!forward) return tl::unexpected(forward.error());
  out->forward_ = std::move(*forward);
  return out;
}

void KeptRows::make_rows(std::int64_t position, int n, std::vector<bf16*>& out) {
  positions_.extend(position, n);
  for (std::int64_t p = position; p < position + n; ++p)
    out.push_back(p < positions_.begin() ? nullptr : at(p));
}

std::vector<bf16*> KeptRows::rows(std::int64_t from, std::int64_t last) const {
  std::vector<bf16*> out;
  for (std::int64_t p = from; p < last; ++p) out.push_back(at(p));
  return out;
}

DeviceDrafter device_drafter(DraftBlocks& blocks) {
  return blocks.weights().dspark ? made<DeviceDspark>(blocks) : made<DeviceMtp>(blocks);
}

}  // namespace lares::engine::cuda
