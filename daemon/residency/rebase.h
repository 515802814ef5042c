// When to fold an overlay into a new base, and how much of the old base to keep.
//
// Tokens before the cut stay as they are, computed and shared by both epochs; everything from the
// cut on is rendered from the workspace as it is now. Changes to files before the cut go on as
// overlay entries, so a cut need not lie before the first file that changed: it lies where a
// computed token frees the most overlay. Sessions pinned to the old epoch go on with it; nothing
// here touches them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "daemon/residency/overlay.h"

namespace lares::daemon {

// Before a rebase shows what an event could not
inline constexpr std::chrono::seconds kHiddenIdle{60};
inline constexpr double kStaleLinesMax = 0.05;  // of the base's lines
// After a rebase, or the next event brings another
inline constexpr double kStaleLinesKept = 0.025;
inline constexpr double kRetainedShare = 0.75;            // of T, after a rebase
inline constexpr std::int64_t kFrontierSpacing = 16'384;  // tokens: where computing can start again
// Cheaper than what an overlay does to a small model
inline constexpr std::int64_t kRebaseAtOnceTokens = 4'096;
inline constexpr std::int64_t kFileHeaderTokens = 38;  // measured; only for the estimate of a plan
// a token at depth x costs 1 + x * kDepthSlope of one at 0
inline constexpr double kDepthSlope = 4.0 / 1'048'576;

enum class RebaseReason { none, overlay, hidden, stale };
RebaseReason rebase_reason(const Overlay& overlay, std::chrono::seconds idle);

struct RebasePlan {
  // Files of the old base, the first in its order; 0: nothing is kept, head and tree neither
  std::size_t n_kept = 0;
  std::int64_t cut = 0;         // where their tokens end
  std::int64_t n_freed = 0;     // overlay tokens that go
  std::int64_t n_retained = 0;  // overlay tokens of the new epoch, of files that are kept
  // Tokens to compute, from the frontier before the cut, retained overlay included; estimated
  std::int64_t n_prefill = 0;
};

// The cut that frees the most overlay for what it costs. nullopt: the overlay is empty.
std::optional<RebasePlan> plan_rebase(const Overlay& overlay, const tools::Workspace& now,
                                      std::int64_t frontier_spacing = kFrontierSpacing);

// For a small base: the plan that leaves no overlay at all, if no more than kRebaseAtOnceTokens lie
// behind its cut.
std::optional<RebasePlan> worth_at_once(const Overlay& overlay, const tools::Workspace& now);

// Renders a base of `now`. The first `n_kept` files of `before`, and what precedes them, keep their
// bytes and places, even where they are out of date; with n_kept 0 nothing is kept and `before` may
// be null.
using Composer =
    std::function<Base(const tools::Workspace& now, const Base* before, std::size_t n_kept)>;

struct Rebased {
  std::shared_ptr<const Base> base;
  Overlay overlay;             // over `base`, of the same workspace and version
  std::int64_t n_prefill = 0;  // as in the plan, but counted
};

Rebased rebase(const Overlay& overlay, const RebasePlan& plan, const tools::Workspace& now,
               std::int64_t budget_tokens, const Composer& compose,
               std::int64_t frontier_spacing = kFrontierSpacing);

}  // namespace lares::daemon
