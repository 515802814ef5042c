// Invariant I6 over 10,000 random events: what was shown, and nothing else, gives the workspace
// back.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <vector>

#include "daemon/residency/catch_up.h"
#include "daemon/residency/overlay.h"
#include "daemon/residency/rebase.h"
#include "daemon/residency/tell_change.h"
#include "tests/daemon/residency/random_workspace.h"
#include "tests/daemon/residency/reconstruct.h"

namespace lares::daemon {
namespace {

using test::by_bytes;
using test::RandomWorkspace;

constexpr std::int64_t kBudget = 200'000;

// A session, and what its model can know.
struct Session {
  explicit Session(const Overlay& overlay)
      : pinned(overlay), base(overlay.view().shared_base()), reading(*base) {
    for (const Entry& entry : overlay.entries()) {
      if (auto read = reading.read(entry.text); !read) ADD_FAILURE() << read.error();
    }
  }
  Pinned pinned;
  std::shared_ptr<const Base> base;
  Reading reading;
  std::vector<tools::SourceFile> wrote;
  std::set<std::string> changed;  // since it was last told
};

struct Tally {
  int rebases = 0, updates = 0, steps_hidden = 0, collapsed = 0, old_epoch_updates = 0;
};

using Paths = std::vector<std::string>;

Paths differing(const tools::Workspace& a, const tools::Workspace& b) {
  std::set<std::string> out;
  const auto is_in = [](const tools::SourceFile& file, const tools::Workspace& files) {
    const auto at = files.find(file.path);
    return at != files.end() && at->second.blob == file.blob && at->second.crlf == file.crlf &&
           at->second.shown == file.shown && at->second.reason == file.reason;
  };
  for (const auto& [path, file] : a)
    if (!is_in(file, b)) out.insert(path);
  for (const auto& [path, file] : b)
    if (!is_in(file, a)) out.insert(path);
  return {out.begin(), out.end()};
}

std::string untold(const View& view, const tools::Workspace& now) {
  std::string out;
  if (!view.hidden_below().directories().empty()) return out;  // is looked for the next time
  for (const Change& change : find_changes(view, now)) out += change.path + " ";
  return out;
}

void write_some(Session& session, RandomWorkspace& world) {
  const std::string path = world.some_path();
  if (world.files.at(path).shown != tools::Shown::full) return;
  if (world.chance(0.1)) {
    world.files.erase(path);
    session.wrote.push_back({.path = path});
  } else {
    world.edit(path);
    session.wrote.push_back(world.files.at(path));
  }
}

void update(Session& session, const Overlay& overlay, const tools::Workspace& now, Tally& tally) {
  for (const tools::SourceFile& file : session.wrote) session.reading.saw(file);
  for (const tools::SourceFile& file : session.wrote) session.changed.insert(file.path);
  const Paths among(session.changed.begin(), session.changed.end());
  const std::string text = catch_up(session.pinned, now, overlay.version(), session.wrote, by_bytes,
                                    &among);
  EXPECT_EQ(untold(session.pinned.view, now), "");
  session.wrote.clear();
  session.changed.clear();
  EXPECT_LE(by_bytes(text), kEventTokensMax);
  const auto read = session.reading.read(text);
  ASSERT_TRUE(read) << read.error();
  ASSERT_EQ(session.reading.differs(now), "");
  tally.updates += text.empty() ? 0 : 1;
  tally.old_epoch_updates += !text.empty() && session.base != overlay.view().shared_base() ? 1 : 0;
}

// What the daemon believes to be hidden is what the model takes for hidden.
std::string disagreement(const Overlay& overlay, const Reading& reading,
                         const tools::Workspace& now) {
  for (const auto& [path, source] : now) {
    const auto it = reading.files().find(path);
    bool hidden = it != reading.files().end() && it->second.hidden;
    if (it == reading.files().end()) {
      for (const std::string& directory : reading.not_shown_below())
        hidden = hidden || covers(directory, path);
    }
    if (hidden != (overlay.freshness(path).state == Freshness::State::hidden)) return path;
  }
  return "";
}

void run_events(std::uint64_t seed, int n_events, Tally& tally) {
  RandomWorkspace world(seed);
  const Composer compose = test::plain_composer(kBudget);
  auto base = std::make_shared<const Base>(compose(world.files, nullptr, 0));
  Overlay overlay(base, by_bytes, overlay_tokens_max(kBudget, base->files_end));
  auto reading = std::make_unique<Reading>(*base);
  for (const Entry& entry : overlay.advance(world.files)) ASSERT_TRUE(reading->read(entry.text));
  std::vector<std::unique_ptr<Session>> sessions;
  for (int i = 0; i < 4; ++i) sessions.push_back(std::make_unique<Session>(overlay));

  for (int event = 0; event < n_events; ++event) {
    SCOPED_TRACE(testing::Message() << "seed " << seed << " event " << event);
    const tools::Workspace before = world.files;
    if (world.chance(0.2)) {
      write_some(*sessions[world.below(sessions.size())], world);
    } else {
      world.step();
    }
    const Paths changed = differing(before, world.files);
    for (auto& session : sessions) session->changed.insert(changed.begin(), changed.end());
    std::int64_t shown = 0;
    for (const Entry& entry : overlay.advance(world.files, &changed)) {
      const auto read = reading->read(entry.text);
      ASSERT_TRUE(read) << read.error() << "\n" << entry.text.substr(0, 2'000);
      shown += entry.n_tokens;
      tally.collapsed += entry.path.ends_with('/') ? 1 : 0;
    }
    ASSERT_EQ(untold(overlay.view(), world.files), "");
    ASSERT_EQ(reading->differs(world.files), "");
    ASSERT_EQ(disagreement(overlay, *reading, world.files), "");
    ASSERT_LE(shown, kEventTokensMax);
    ASSERT_LE(overlay.n_tokens(), overlay.tokens_max() + kEventTokensMax);
    tally.steps_hidden += overlay.n_hidden() > 0 ? 1 : 0;
    if (event % 500 == 0) {
      const auto whole = reconstruct(*base, overlay);
      ASSERT_TRUE(whole) << whole.error();
      ASSERT_EQ(whole->differs(world.files), "");
    }

    for (auto& session : sessions) {
      if (!world.chance(0.1)) continue;
      ASSERT_NO_FATAL_FAILURE(update(*session, overlay, world.files, tally));
      if (world.chance(0.03)) session = std::make_unique<Session>(overlay);
    }

    const auto idle = std::chrono::seconds(world.chance(0.05) ? 100 : 0);
    if (rebase_reason(overlay, idle) == RebaseReason::none && !world.chance(0.002)) continue;
    const auto plan = plan_rebase(overlay, world.files, /*frontier_spacing=*/1);
    if (!plan) continue;
    Rebased next = rebase(overlay, *plan, world.files, kBudget, compose, 1);
    base = next.base;
    overlay = std::move(next.overlay);
    reading = std::make_unique<Reading>(*base);
    for (const Entry& entry : overlay.entries()) ASSERT_TRUE(reading->read(entry.text));
    ASSERT_EQ(reading->differs(world.files), "");
    ASSERT_EQ(overlay.n_hidden(), 0u);
    ASSERT_LE(overlay.n_tokens(), overlay.tokens_max());
    ++tally.rebases;
  }
}

TEST(OverlayProperty, WhatWasShownIsTheWorkspace) {
  Tally tally;
  for (std::uint64_t seed = 1; seed <= 5; ++seed)
    ASSERT_NO_FATAL_FAILURE(run_events(seed, 2'000, tally));
  RecordProperty("rebases", tally.rebases);
  RecordProperty("updates", tally.updates);
  RecordProperty("steps_hidden", tally.steps_hidden);
  // The streams meet what they are for, and hiding is the exception: the invariant is not kept by
  // saying nothing.
  EXPECT_GT(tally.rebases, 50);
  EXPECT_GT(tally.updates, 2'000);
  EXPECT_GT(tally.old_epoch_updates, 100);
  EXPECT_GT(tally.steps_hidden, 20);
  EXPECT_LT(tally.steps_hidden, 5'000);
  EXPECT_GT(tally.collapsed, 0);
  std::printf(
      "%d rebases, %d updates (%d over an old epoch), hidden files at %d steps, %d directories "
      "marked\n",
      tally.rebases, tally.updates, tally.old_epoch_updates, tally.steps_hidden, tally.collapsed);
}

}  // namespace
}  // namespace lares::daemon
