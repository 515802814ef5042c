#include "engine/model/draft/drafter.h"

#include <algorithm>
#include <utility>

#include "engine/model/checkpoint/weights.h"
#include "engine/model/state.h"

namespace lares::engine {
namespace {

constexpr int kProbeGuesses = 2;
constexpr std::int64_t kFewRows = 2 * kDraftMax;  // a block that misses so many has kept up
// Evaluations, one of them without a guess: what it takes is half of the comparison
constexpr int kPlainEvery = 64;
constexpr double kLearn = 1.0 / 16;  // weight of the newest outcome
// Of the shortest match and for each token more, before anything is known
constexpr double kCopyChance = 0.5, kCopyChanceMore = 0.08;
// Of the first guess of a block, and of each further one as a share
constexpr double kBlockChance = 0.8, kBlockChanceLess = 0.85;

}  // namespace

Drafter::Drafter(const Weights& weights, MakeBlock make_block, const DraftOptions& options,
                 const SequenceMemoryRef& memory, bool block_in_memory)
    : weights_(weights),
      make_block_(std::move(make_block)),
      options_(options),
      memory_(memory),
      index_(memory),
      begun_with_(memory),
      block_allowed_(make_block_ && options.mode != Drafting::off && options.block),
      block_in_memory_(block_in_memory),
      block_wanted_(block_allowed_),
      policy_(options.policy ? options.policy : std::make_shared<DraftPolicy>()) {
  for (int n = kMatchMin; n <= kMatchMax; ++n)
    copy_chance_[n] = kCopyChance + kCopyChanceMore * (n - kMatchMin);
  for (double chance = kBlockChance; double& c : block_chance_)
    c = std::exchange(chance, chance * kBlockChanceLess);
}

std::size_t Drafter::copy_class(std::size_t i) const {
  return std::min<std::size_t>(kMatchMax, static_cast<std::size_t>(match_) + i);
}

std::span<const Token> Drafter::use(Guess& g, int n) {
  g.used = std::min(g.tokens.size(), static_cast<std::size_t>(n));
  (&g == &copy_ ? stats_.copy : stats_.block).drafted += static_cast<std::int64_t>(g.used);
  return std::span(g.tokens).first(g.used);
}

std::vector<Token> Drafter::waiting(std::span<const Token> tokens, std::int64_t most,
                                    std::int64_t n_context, bool alone) {
  const std::int64_t size = std::ssize(tokens);
  const std::int64_t room = std::min({std::int64_t{kDraftMax}, most, n_context - size - 1,
                                      kSnapshotEvery - 1 - (size - 1) % kSnapshotEvery});
  const auto guesses = guess(tokens, static_cast<int>(room), alone);
  std::vector<Token> out{tokens.back()};
  out.insert(out.end(), guesses.begin(), guesses.end());
  ahead_.assign(guesses.rbegin(), guesses.rend());
  return out;
}

std::span<const Token> Drafter::guess(std::span<const Token> tokens, int n, bool alone) {
  if (options_.mode == Drafting::off) return {};
  const auto position = static_cast<std::int64_t>(tokens.size());
  copy_ = {position, {}, 0, 0, false};
  blocked_ = copy_;
  if (options_.copy) {
    const auto match = index_.find(tokens);
    match_ = match.length;
    if (match_ > 0) copy_tokens(tokens, match, kDraftMax, copy_.tokens);
    copy_.open = match_ > 0;
  }
  if (n <= 0) return {};
  if (options_.mode == Drafting::always) {
    if (copy_.open) return use(copy_, n);
    return block_ ? from_block(tokens, n) : std::span<const Token>();
  }
  const bool kept_up = block_ && block_->missing(position) <= kFewRows;
  if (kept_up) behind_s_ = 0;
  const bool block_pays = kept_up || (block_ && policy_->worth_catching_up(behind_s_));
  if (alone && stats_.evaluations % kPlainEvery == 0) return {};
  if (alone && policy_->probe()) {
    probe_block_ = block_pays && (!probe_block_ || !copy_.open);
    if (probe_block_) return from_block(tokens, std::min(n, kProbeGuesses));
    return use(copy_, std::min(n, kProbeGuesses));
  }
  double chances[kDraftMax];
  DraftPolicy::Plan copied, blocked;
  if (copy_.open) {
    for (int i = 0; i < kDraftMax; ++i)
      chances[i] = copy_chance_[copy_class(static_cast<std::size_t>(i))];
    copied = policy_->plan(std::span(chances).first(std::min(n, kDraftMax)),
                           DraftPolicy::Cost::none);
  }
  if (block_pays) {
    blocked = policy_->plan(std::span<const double>(block_chance_)
                                .first(std::min({n, kDraftMax, block_->guesses_max()})),
                            block_->at_once() ? DraftPolicy::Cost::once : DraftPolicy::Cost::each);
  }
  if (blocked.n > 0 && blocked.gain > copied.gain) {
    const auto guesses = from_block(tokens, block_->at_once() ? n : blocked.n, copied.gain);
    if (!guesses.empty()) return guesses;
  }
  return use(copy_, copied.n);
}

// As many as the block's own opinion of them makes worth while, if that gains more than `least`;
// all of them if `least` is not given.
std::span<const Token> Drafter::from_block(std::span<const Token> tokens, int n,
                                           std::optional<double> least) {
  const bool behind = block_->missing(static_cast<std::int64_t>(tokens.size())) > kFewRows;
  const auto began = std::chrono::steady_clock::now();
  block_->draft(tokens, std::min(n, block_->guesses_max()), blocked_.tokens);
  if (blocked_.tokens.empty()) return {};
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  const int passes = block_->at_once() ? 1 : static_cast<int>(blocked_.tokens.size());
  if (block_->settled()) behind ? policy_->caught_up(seconds) : policy_->guessed(passes, seconds);
  blocked_.open = true;
  if (const auto chances = block_->chances(); least && !chances.empty()) {
    const auto plan = policy_->plan(chances, DraftPolicy::Cost::none);
    n = plan.gain > *least ? plan.n : 0;
  }
  return use(blocked_, n);
}

BlockDrafter* Drafter::block() {
  if (std::exchange(block_wanted_, false)) block_ = make_block_();
  return block_.get();
}

void Drafter::saw(int layer, std::int64_t position, int n, const float* streams) {
  if (BlockDrafter* const of = block()) of->saw(layer, position, n, streams);
}

void Drafter::took(int n, std::chrono::duration<double> time) {
  ++stats_.evaluations;
  behind_s_ += time.count();
  policy_->evaluated(n + 1, time.count());
}

// Whether a guess was right is seen for those not evaluated too, so a source that is not used is
// still judged.
void Drafter::settle(Guess& g, std::int64_t position, Token token, DraftStats::Source& source,
                     bool copied) {
  const auto i = static_cast<std::size_t>(position - g.position);
  if (!g.open || position < g.position || i != g.right || i >= g.tokens.size()) {
    g.open = false;
    return;
  }
  const bool right = g.tokens[i] == token;
  double& chance = copied ? copy_chance_[copy_class(i)] : block_chance_[i];
  chance += kLearn * ((right ? 1 : 0) - chance);
  if (right && i < g.used) ++source.accepted;
  ++g.right;
  g.open = right;
}

bool Drafter::drawn(std::int64_t position, Token token) {
  settle(copy_, position, token, stats_.copy, true);
  settle(blocked_, position, token, stats_.block, false);
  if (ahead_.empty()) return true;
  if (ahead_.back() != token) return false;
  ahead_.pop_back();
  return true;
}

CopyIndex Drafter::copy_index(std::span<const Token> tokens) const {
  if (options_.mode == Drafting::off || !options_.copy) return begun_with_;
  if (!index_.begins(tokens))
    index_ = begun_with_.begins(tokens) ? begun_with_ : CopyIndex(memory_);
  index_.take_in(tokens);
  return index_;
}

std::uint64_t Drafter::missing_bytes(std::int64_t from, std::int64_t size,
                                     const CopyIndex* begins_with) const {
  if (options_.mode == Drafting::off) return 0;
  const Config& c = weights_.checkpoint.config();
  const CopyIndex& index = begins_with ? *begins_with : index_;
  const std::int64_t n = size - std::min(from, index.indexed());
  std::uint64_t bytes = !options_.copy ? 0
                        : begins_with  ? CopyIndex::bytes_for(n)
                                       : index.missing_bytes(n);
  if (block_in_memory_ &&
      (block_ || (block_wanted_ && (weights_.dspark || !weights_.mtp.empty())))) {
    // The rows it keeps, as many that it catches up with at once, and its window: less than three
    // times a window of streams.
    const std::uint64_t most = 3 * sizeof(float) * static_cast<std::uint64_t>(c.sliding_window) *
                               static_cast<std::uint64_t>(c.hc_mult) *
                               static_cast<std::uint64_t>(c.hidden_size);
    bytes += most - std::min(most, this->bytes());
  }
  return bytes;
}

void Drafter::give_back() { take_block(); }

std::unique_ptr<BlockDrafter> Drafter::take_block() {
  block_wanted_ = block_wanted_ || block_ != nullptr;
  return std::move(block_);
}

void Drafter::begin(const CopyIndex& index) { index_ = begun_with_ = index; }

void Drafter::drop_to(std::int64_t size) {
  ahead_.clear();
  index_.drop_to(size);
  if (block_) block_->drop_to(size);
}

}  // namespace lares::engine
