#include "daemon/residency/rebase.h"

#include <gtest/gtest.h>

#include "daemon/residency/catch_up.h"
#include "tests/daemon/residency/files.h"
#include "tests/daemon/residency/reconstruct.h"

namespace lares::daemon {
namespace {

using namespace test;
using std::chrono::seconds;

std::string name(int i) { return "src/" + std::to_string(100 + i) + ".cc"; }

// 100 files of some 1,100 tokens.
tools::Workspace hundred() {
  tools::Workspace out;
  for (int i = 0; i < 100; ++i) put(out, file(name(i), numbered_lines(0, 400)));
  return out;
}

void edit(tools::Workspace& files, int i, int n_lines) {
  put(files, file(name(i), numbered_lines(0, 400 - n_lines) + numbered_lines(1, n_lines, "new ")));
}

TEST(Rebase, HasItsReasons) {
  auto files = hundred();
  Overlay overlay(base_of(files), by_bytes, 2'000);
  EXPECT_EQ(rebase_reason(overlay, seconds(600)), RebaseReason::none);
  put(files, file(name(3), numbered_lines(1, 9'000)));
  overlay.advance(files);
  EXPECT_EQ(rebase_reason(overlay, seconds(59)), RebaseReason::none);
  EXPECT_EQ(rebase_reason(overlay, seconds(60)), RebaseReason::hidden);
  for (int i = 10; i < 40; ++i) edit(files, i, 10);
  overlay.advance(files);
  EXPECT_EQ(rebase_reason(overlay, seconds(0)), RebaseReason::overlay);
}

TEST(Rebase, TooManyStaleLinesAreAReason) {
  auto files = hundred();
  Overlay overlay(base_of(files), by_bytes, 64'000);
  for (int i = 0; i < 100; i += 3) edit(files, i, 60);
  overlay.advance(files);
  EXPECT_GT(overlay.n_stale_lines(), overlay.n_base_lines() / 20);
  EXPECT_EQ(rebase_reason(overlay, seconds(0)), RebaseReason::stale);
  const auto plan = plan_rebase(overlay, files, 1);
  ASSERT_TRUE(plan);
  const Rebased next = rebase(overlay, *plan, files, kLargeBudget, plain_composer(), 1);
  EXPECT_LE(next.overlay.n_stale_lines(), next.overlay.n_base_lines() / 40);
}

// One small change at the front, all others at the back: the front is kept, its diff with it.
TEST(Rebase, CutsWhereATokenFreesTheMost) {
  auto files = hundred();
  Overlay overlay(base_of(files), by_bytes, 8'000);
  edit(files, 2, 1);
  for (int i = 95; i < 100; ++i) edit(files, i, 300);
  overlay.advance(files);
  const auto plan = plan_rebase(overlay, files, 1);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->n_kept, 95u);
  EXPECT_LT(plan->n_prefill, 10'000);
  const Rebased next = rebase(overlay, *plan, files, kLargeBudget, plain_composer(), 1);
  EXPECT_EQ(next.overlay.entries().size(), 1u);
  EXPECT_EQ(next.overlay.freshness(name(2)).state, Freshness::State::dirty);
  EXPECT_EQ(next.overlay.freshness(name(99)).state, Freshness::State::resident);
  EXPECT_EQ(next.overlay.version(), overlay.version());
  for (std::size_t i = 0; i < 95; ++i)
    EXPECT_EQ(next.base->files[i].source.blob, overlay.base().files[i].source.blob);
  EXPECT_NEAR(static_cast<double>(next.n_prefill), static_cast<double>(plan->n_prefill),
              5 * kFileHeaderTokens);  // a plan guesses headers
  EXPECT_EQ(reconstruct(*next.base, next.overlay)->differs(files), "");
}

TEST(Rebase, WhatIsTooMuchToKeepIsFolded) {
  auto files = hundred();
  Overlay overlay(base_of(files), by_bytes, 4'000);
  for (int i = 0; i < 100; i += 2) edit(files, i, 40);
  overlay.advance(files);
  const auto plan = plan_rebase(overlay, files);
  ASSERT_TRUE(plan);
  EXPECT_LE(plan->n_retained, 3'000);
  const Rebased next = rebase(overlay, *plan, files, kLargeBudget, plain_composer());
  EXPECT_EQ(next.overlay.n_hidden(), 0u);
  EXPECT_LE(next.overlay.n_tokens(), 3'000 + 200);
}

// The first files, changed twice: to keep them all, each as one diff, would be cheap, for nothing
// before the end is computed.
Overlay front_changed_twice(tools::Workspace& files, int n_files, std::int64_t tokens_max) {
  Overlay out(base_of(files), by_bytes, tokens_max);
  for (const int n_lines : {40, 39}) {
    for (int i = 0; i < n_files; ++i) edit(files, i, n_lines);
    out.advance(files);
  }
  return out;
}

TEST(Rebase, KeepsEverythingWhenThatIsCheapest) {
  auto files = hundred();
  const Overlay overlay = front_changed_twice(files, 10, 8'000);
  EXPECT_EQ(plan_rebase(overlay, files)->n_kept, 100u);
}

TEST(Rebase, KeepsNoMoreOverlayThanItsShare) {
  auto files = hundred();
  const Overlay overlay = front_changed_twice(files, 20, 4'000);
  EXPECT_LE(plan_rebase(overlay, files)->n_retained, 3'000);
}

TEST(Rebase, KeepsNoMoreStaleLinesThanTheirShare) {
  auto files = hundred();
  const Overlay overlay = front_changed_twice(files, 30, 64'000);
  const auto plan = plan_rebase(overlay, files);
  const Rebased next = rebase(overlay, *plan, files, kLargeBudget, plain_composer());
  EXPECT_LE(next.overlay.n_stale_lines(), next.overlay.n_base_lines() / 40);
}

TEST(Rebase, PaysAtOnceWhereLittleIsComputed) {
  tools::Workspace files;
  put(files, file("a.cc", numbered_lines(1, 100)));
  put(files, file("b.cc", numbered_lines(1, 100)));
  Overlay small(base_of(files), by_bytes, 64'000);
  EXPECT_FALSE(worth_at_once(small, files));
  put(files, file("b.cc", numbered_lines(2, 100)));
  small.advance(files);
  const auto plan = worth_at_once(small, files);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->n_kept, 1u);
  const Rebased next = rebase(small, *plan, files, kLargeBudget, plain_composer());
  EXPECT_TRUE(next.overlay.entries().empty());

  auto many = hundred();
  Overlay large(base_of(many), by_bytes, 64'000);
  edit(many, 3, 1);
  large.advance(many);
  EXPECT_FALSE(worth_at_once(large, many));  // 100k tokens lie behind it
}

TEST(Rebase, ASessionGoesOnWithItsEpoch) {
  auto files = hundred();
  Overlay overlay(base_of(files), by_bytes, 8'000);
  Pinned session(overlay);
  Reading reading(session.view.base());
  edit(files, 50, 5);
  overlay.advance(files);
  Overlay next =
      rebase(overlay, *plan_rebase(overlay, files), files, kLargeBudget, plain_composer()).overlay;
  edit(files, 51, 5);
  next.advance(files);
  const std::string update = catch_up(session, files, next.version(), {}, by_bytes);
  EXPECT_TRUE(update.starts_with("<workspace-update from=\"0\" to=\"2\">"));
  ASSERT_TRUE(reading.read(update));
  EXPECT_EQ(reading.differs(files), "");
}

}  // namespace
}  // namespace lares::daemon
