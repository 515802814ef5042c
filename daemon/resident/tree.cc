#include "daemon/resident/tree.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include <fmt/format.h>

#include "daemon/engine_host.h"
#include "daemon/residency/selection.h"
#include "daemon/turn/prompt.h"
#include "tools/workspace/workspace.h"

namespace lares::daemon {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kAtOnceSeconds = 4;
constexpr std::size_t kChangesKept = 20'000;  // paths; who is further behind compares all files

}  // namespace

tl::expected<void, std::string> ResidentTree::scan() {
  static std::atomic<std::uint64_t> versions = 0;
  if (const auto seen = scanner_.scan(); !seen) return tl::unexpected(seen.error().message);
  if (const auto& changed = scanner_.changed(); version_ == 0 || !changed.empty()) {
    n_in_steps_ += changed.size();
    steps_.push_back({std::exchange(version_, ++versions), changed});
    while (n_in_steps_ > kChangesKept) {
      n_in_steps_ -= steps_.front().changed.size();
      steps_.pop_front();
    }
  }
  if (!cache_) {
    const engine::Engine& engine = *world_.host->engine();
    cache_ = std::make_unique<TokenCache>(engine.tokenizer(), TokenCacheOptions{});
    head_ = engine.tokenizer().encode(prompt_head(), /*added=*/true);
    count_ = [&engine](std::string_view text) {
      return static_cast<std::int64_t>(engine.tokenizer().encode(text, /*added=*/false).size());
    };
  }
  return {};
}

std::optional<std::vector<std::string>> ResidentTree::changed_since(std::uint64_t version) const {
  std::vector<std::string> out;
  if (version == version_) return out;
  if (version == 0) return std::nullopt;
  for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
    out.insert(out.end(), step->changed.begin(), step->changed.end());
    if (step->from != version) continue;
    std::ranges::sort(out);
    out.erase(std::ranges::unique(out).begin(), out.end());
    return out;
  }
  return std::nullopt;
}

ComposeOptions ResidentTree::options() const {
  return {.tokens_max = world_.tokens_max, .pins = {}, .left_out = scanner_.left_out()};
}

Composer ResidentTree::composer() {
  return [this](const tools::Workspace& now, const Base* before, std::size_t n_kept) {
    return before ? recompose(head_, *before, n_kept, now, rates_, *cache_, options())
                  : compose(head_, now, rates_, *cache_, options());
  };
}

tl::expected<void, std::string> ResidentTree::bring_up_to_date(bool anew) {
  if (auto seen = scan(); !seen) return seen;
  if (!base_)
    begin_with(files());
  else
    keep_up(files(), anew);
  if (overlay_->version() != told_version_ || !world_.wanted(*base_)) tell_bases();
  return {};
}

void ResidentTree::begin_with(const tools::Workspace& now) {
  rates_ = tools::change_rates(root_);
  auto kept = world_.take_kept();
  const std::string unfit = kept ? why_unfit(*kept->base) : "";
  if (kept && unfit.empty()) {
    base_ = kept->base;
    epoch_ = kept->epoch;
    tell_bases();
    world_.on_brought_back(std::move(kept->prefixes));
  } else {
    if (kept) world_.on_lost(unfit);
    base_ = std::make_shared<const Base>(compose(head_, now, rates_, *cache_, options()));
    ++epoch_;
    tell_bases();
  }
  overlay_.emplace(
      base_, count_,
      overlay_tokens_max(world_.tokens_max, static_cast<std::int64_t>(base_->tokens.size())));
  keep_up(now, /*anew=*/true);
}

// Empty: sessions may begin with it.
std::string ResidentTree::why_unfit(const Base& kept) const {
  const auto& tokens = kept.tokens;
  if (tokens.size() < head_.size() || !std::equal(head_.begin(), head_.end(), tokens.begin()))
    return "it begins with the prompt of another version";
  if (kept.tokens_max == world_.tokens_max) return "";
  const auto n_tokens = static_cast<std::int64_t>(tokens.size());
  if (n_tokens > world_.tokens_max)
    return fmt::format("it has {} tokens, and at most {} are wanted now", n_tokens,
                       world_.tokens_max);
  const bool has_room = kept.tokens_max > 0 && world_.tokens_max > kept.tokens_max;
  const auto left_out = [](const BaseFile& file) { return file.source.reason == kOverBudget; };
  if (has_room && std::ranges::any_of(kept.files, left_out))
    return fmt::format("it leaves files out to have at most {} tokens, and {} are wanted now",
                       kept.tokens_max, world_.tokens_max);
  return "";
}

void ResidentTree::keep_up(const tools::Workspace& now, bool anew) {
  if (next_ &&
      world_.evaluated(*next_->base) >= static_cast<std::int64_t>(next_->base->tokens.size()))
    switch_over(now);
  const std::uint64_t before = overlay_->version();
  const auto changed = changed_since(advanced_);
  overlay_->advance(now, changed ? &*changed : nullptr);
  advanced_ = version_;
  if (overlay_->version() != before) changed_ = Clock::now();
  if (overlay_->entries().empty()) return;
  if (anew && at_once(now)) return;
  const auto idle = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - changed_);
  if (next_ || rebase_reason(*overlay_, idle) == RebaseReason::none) return;
  if (const auto plan = plan_rebase(*overlay_, now)) {
    rates_ = tools::change_rates(root_);
    next_ = rebase(*overlay_, *plan, now, world_.tokens_max, composer());
    tell_bases();
  }
}

// Where a base without an overlay takes no longer than people do not notice, it is what every model
// reads best.
bool ResidentTree::at_once(const tools::Workspace& now) {
  const auto quick = [&](std::int64_t n_tokens) {
    return static_cast<double>(n_tokens) <= kAtOnceSeconds * world_.host->prefill_rate();
  };
  std::optional<RebasePlan> plan;
  if (static_cast<std::int64_t>(base_->tokens.size()) <= kPlainTokens) {
    if (quick(static_cast<std::int64_t>(base_->tokens.size()))) plan.emplace();  // all of it anew
  } else if (plan = worth_at_once(*overlay_, now); plan && !quick(plan->n_prefill)) {
    plan.reset();
  }
  if (!plan) return false;
  if (plan->cut > 0) rates_ = tools::change_rates(root_);  // a small base has one tier
  Rebased done = rebase(*overlay_, *plan, now, world_.tokens_max, composer());
  base_ = done.base;
  overlay_ = std::move(done.overlay);
  next_.reset();
  ++epoch_;
  tell_bases();
  return true;
}

void ResidentTree::switch_over(const tools::Workspace& now) {
  base_ = next_->base;
  overlay_ = overlay_->rebased(base_, now, next_->overlay.tokens_max());
  next_.reset();
  ++epoch_;
  tell_bases();
}

void ResidentTree::tell_bases() {
  std::vector<NumberedBase> bases{{base_, epoch_}};
  if (next_) bases.push_back({next_->base, epoch_ + 1});
  ahead_ = make_ahead();
  told_version_ = overlay_ ? overlay_->version() : 0;
  world_.on_bases(bases, ahead_);
}

// Where the overlay's text ends and a task's begins, tokens may be of both: only what two tasks
// have in common is every session's.
std::shared_ptr<const Base> ResidentTree::make_ahead() const {
  if (!overlay_ || &overlay_->base() != base_.get() || overlay_->entries().empty()) return nullptr;
  std::string changes;
  for (const Entry& entry : overlay_->entries()) changes += entry.text;
  const auto ids = [&](const char* task) {
    return world_.host->engine()->tokenizer().encode(begin_session(changes, root_, task));
  };
  const std::vector<engine::Token> one = ids("A"), other = ids("1");
  auto out = std::make_shared<Base>();
  out->tokens = base_->tokens;
  out->tokens.insert(out->tokens.end(), one.begin(), std::ranges::mismatch(one, other).in1);
  return out;
}

}  // namespace lares::daemon
