// The store loses power, is killed, is refused writes, at every operation of a life with commits, a
// rebase, and clean-ups. What was committed is always there afterwards, byte for byte; what was not
// is either whole or not there.
#include <cerrno>
#include <functional>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "chains.h"

namespace lares::daemon::store::test {
namespace {

constexpr const char* kDir = "/home/store";

struct World {
  Hash256 fingerprint = fingerprint_of(1);
  // b is what a rebase makes of a: the first extent stays. c goes on from b.
  Chain a = make_chain(fingerprint, 10, {.n_tokens = {512, 256, 384}});
  Chain b = make_chain(fingerprint, 20, {.n_tokens = {512, 512, 128}}, a, 1);
  Chain c = make_chain(fingerprint, 30, {.n_tokens = {512, 512, 128, 256}}, b, 3);
  struct Commit {
    const Chain* chain;
    std::size_t n;  // of its extents
  };
  std::vector<Commit> commits{{&a, 2}, {&a, 3}, {&b, 3}, {&c, 4}};
};

const World& world() {
  static const World w;
  return w;
}

std::shared_ptr<CrashDisk> new_disk() {
  auto disk = std::make_shared<CrashDisk>();
  (void)disk->make_dir("/home");
  (void)disk->sync_dir("/");
  return disk;
}

// What a life has been told, and so what must be true after a crash.
struct Told {
  int committed = -1;  // the last of world().commits that succeeded
  int tried = -1;      // the last that was begun
};

struct Life {
  std::shared_ptr<CrashDisk> disk;
  std::uint64_t bytes_max = 0;
  Clock::time_point now{};

  Result<std::unique_ptr<Store>> open() {
    return Store::open(kDir, world().fingerprint,
                       {.bytes_max = bytes_max,
                        .grace = std::chrono::seconds(600),
                        .retry = std::chrono::seconds(0),
                        .disk = disk,
                        .now = [this] { return now; }});
  }
  // All that a daemon does with a store, going on after errors as it would.
  void run(Told& told) {
    auto store = open();
    if (!store) return;
    for (int i = 0; i < static_cast<int>(world().commits.size()); ++i) {
      const auto& [chain, n] = world().commits[static_cast<std::size_t>(i)];
      for (std::size_t k = 0; k < n; ++k) (void)put(**store, (*chain)[k]);
      const std::byte payload[] = {static_cast<std::byte>(i)};
      const int before = told.tried;
      told.tried = i;
      const auto committed = (*store)->commit(names(*chain, n), payload);
      if (committed) told.committed = i;
      // Refused before anything was written.
      if (!committed && committed.error().code != Errc::disk && !disk->dead()) told.tried = before;
      for (int k = 0; k < 2; ++k) {
        (void)(*store)->gc();
        now += std::chrono::seconds(700);
      }
    }
  }
};

// Opens what is left and holds it against what the life was told. Empty when all is well.
std::string check(Life& life, const Told& told) {
  auto store = life.open();
  if (!store) return "cannot be opened: " + store.error().message;
  for (const auto& [path, bytes] : life.disk->files())
    if (path.ends_with(".tmp")) return path + " is still there";
  const Seen seen = restore_all(**store);
  const auto lines = fmt::format("{}",
                                 seen.restored.lost.empty() ? "" : seen.restored.lost.front());
  if (!seen.restored.manifest)
    return told.committed < 0 ? "" : fmt::format("commit {} is lost: {}", told.committed, lines);
  const int i = static_cast<int>(seen.restored.manifest->payload.at(0));
  // A process that starts over commits again from 0, so `tried` may be below `committed`: then
  // either of them is right.
  if (i != told.committed && !(i <= told.tried && i > told.committed) && i != told.tried)
    return fmt::format("commit {} came back; {} had succeeded and {} was begun", i, told.committed,
                       told.tried);
  const auto& [chain, n] = world().commits[static_cast<std::size_t>(i)];
  if (seen.restored.n_extents != n)
    return fmt::format("commit {}: {} of {} extents: {}", i, seen.restored.n_extents, n, lines);
  if (auto wrong = unlike_prefix(seen, *chain); !wrong.empty())
    return fmt::format("commit {}: {}", i, wrong);
  if (!seen.restored.lost.empty()) return "a loss is reported where there is none: " + lines;
  // And life goes on: the next commit holds.
  store->reset();
  return {};
}

// What must hold after a crash, and then after a whole life and one more loss of power.
std::string check_and_go_on(Life& life, const Told& told, unsigned seed) {
  if (auto wrong = check(life, told); !wrong.empty()) return wrong;
  Told again;
  life.run(again);
  if (again.committed != 3)
    return fmt::format("after it, commit {} was the last to succeed", again.committed);
  life.disk->lose_power(Keep::none, seed);
  if (auto wrong = check(life, again); !wrong.empty())
    return "after it and one more loss of power: " + wrong;
  return {};
}

std::size_t operations_of_a_life(std::uint64_t bytes_max, std::vector<std::string>* log = nullptr) {
  Life life{new_disk(), bytes_max};
  Told told;
  life.disk->plan({});
  life.run(told);
  EXPECT_EQ(told.committed, 3);
  if (log) *log = life.disk->log();
  return life.disk->n_operations();
}

// Room for about a chain and a half, so that old epochs go while the next one is written.
const std::uint64_t kCap = [] {
  std::uint64_t bytes = 0;
  for (const Piece& p : world().c)
    bytes += 3 * 4096 + 4096 + 4096 * ((p.pages.size() * 1000 + 4095) / 4096) + 4096;
  return bytes + bytes / 2;
}();

std::size_t g_faults = 0;

struct Counted : ::testing::Test {
  static void TearDownTestSuite() { std::printf("%zu faults injected\n", g_faults); }
};
using Crash = Counted;

TEST_F(Crash, ALifeWithoutFaultsCommitsAllAndKeepsWhatIsReachable) {
  Life life{new_disk()};
  Told told;
  life.run(told);
  ASSERT_EQ(told.committed, 3);
  EXPECT_EQ(check(life, told), "");
  // a's second and third extents and the first two manifests have gone.
  std::size_t extents = 0, manifests = 0;
  for (const auto& [path, bytes] : life.disk->files())
    extents += path.ends_with(".ext"), manifests += path.ends_with(".man");
  EXPECT_EQ(extents, 4u);
  EXPECT_EQ(manifests, 2u);
}

TEST_F(Crash, LosingPowerAtAnyOperationLosesNothingCommitted) {
  const std::size_t n = operations_of_a_life(0);
  ASSERT_GT(n, 60u);
  for (std::size_t at = 1; at <= n; ++at)
    for (unsigned variant = 0; variant < 6; ++variant) {
      Life life{new_disk()};
      Told told;
      life.disk->plan({.kind = Fault::Kind::die, .at = at});
      life.run(told);
      const std::string where = life.disk->log().back();
      life.disk->lose_power(variant == 0   ? Keep::none
                            : variant == 1 ? Keep::all
                                           : Keep::some,
                            static_cast<unsigned>(at * 100 + variant));
      ++g_faults;
      ASSERT_EQ(check_and_go_on(life, told, variant), "")
          << "operation " << at << " of " << n << ", " << where << ", variant " << variant;
    }
}

TEST_F(Crash, WithACapLosingPowerAtAnyOperationLosesNothingCommitted) {
  const std::uint64_t bytes_max = kCap;
  const std::size_t n = operations_of_a_life(bytes_max);
  for (std::size_t at = 1; at <= n; ++at)
    for (unsigned variant = 0; variant < 3; ++variant) {
      Life life{new_disk(), bytes_max};
      Told told;
      life.disk->plan({.kind = Fault::Kind::die, .at = at});
      life.run(told);
      life.disk->lose_power(variant == 0 ? Keep::none : Keep::some,
                            static_cast<unsigned>(at * 100 + variant));
      ++g_faults;
      ASSERT_EQ(check_and_go_on(life, told, variant), "")
          << "operation " << at << " of " << n << ", variant " << variant;
    }
}

// What was committed with more room is not wanted any more: whenever the power goes, the next
// daemon has room for what is.
TEST_F(Crash, LosingPowerWhileWhatIsNotWantedGivesWayBlocksNothing) {
  const Chain& large = world().c;
  const Chain small = make_chain(world().fingerprint, 40, {.n_tokens = {256}});
  const std::byte payload[] = {std::byte{9}};
  const auto with_large = [&] {
    Life life{new_disk()};
    auto store = life.open().value();
    for (const Piece& piece : large) EXPECT_TRUE(put(*store, piece));
    EXPECT_TRUE(store->commit(names(large, large.size()), {}));
    life.bytes_max = store->usage().bytes / 2;
    return life;
  };
  // Empty: `small` is what is kept now.
  const auto keep_small = [&](Life& life) -> std::string {
    const auto store = life.open();
    if (!store) return store.error().message;
    const Seen seen = restore_all(**store);
    if (seen.restored.n_extents == 1 && unlike_prefix(seen, small).empty()) return {};
    (*store)->not_wanted();
    if (const auto done = put(**store, small[0]); !done) return done.error().message;
    const auto done = (*store)->commit(names(small, 1), payload);
    return done ? "" : done.error().message;
  };
  Life whole = with_large();
  whole.disk->plan({});
  ASSERT_EQ(keep_small(whole), "");
  const std::size_t n = whole.disk->n_operations();
  for (std::size_t at = 1; at <= n; ++at)
    for (unsigned variant = 0; variant < 6; ++variant) {
      Life life = with_large();
      life.disk->plan({.kind = Fault::Kind::die, .at = at});
      (void)keep_small(life);
      life.disk->lose_power(variant == 0   ? Keep::none
                            : variant == 1 ? Keep::all
                                           : Keep::some,
                            static_cast<unsigned>(at * 100 + variant));
      ++g_faults;
      ASSERT_EQ(keep_small(life), "")
          << "operation " << at << " of " << n << ", variant " << variant;
      auto store = life.open().value();
      ASSERT_EQ(unlike_prefix(restore_all(*store), small), "");
    }
}

// Killed, then started again on what the page cache has, then without power: what the first process
// named but did not sync must not be taken for durable by the second.
TEST_F(Crash, AKilledProcessLeavesNothingThatTheNextOneTrustsTooMuch) {
  const std::size_t n = operations_of_a_life(0);
  for (std::size_t at = 1; at <= n; ++at) {
    for (std::size_t again_at : {std::size_t{0}, at / 2 + 1, n / 3, n - at / 2}) {
      Life life{new_disk()};
      Told told;
      life.disk->plan({.kind = Fault::Kind::die, .at = at});
      life.run(told);
      life.disk->kill_process();
      ASSERT_EQ(check(life, told), "") << "killed at operation " << at;
      Told again{told.committed, told.tried};
      if (again_at > 0) life.disk->plan({.kind = Fault::Kind::die, .at = again_at});
      life.run(again);
      life.disk->lose_power(Keep::none, 1);
      g_faults += 2;
      // Where the second life began with commits of its own, any that it began or finished is
      // right, and so is the first life's last.
      auto wrong = check(life, again);
      if (!wrong.empty() && again_at > 0) wrong = check(life, {told.committed, told.tried});
      ASSERT_EQ(wrong, "") << "killed at operation " << at << ", without power at " << again_at;
    }
  }
}

TEST_F(Crash, AnErrorAtAnyOperationCostsNoMoreThanThatCommit) {
  const std::size_t n = operations_of_a_life(0);
  for (const int error : {EIO, ENOSPC})
    for (const bool lasting : {false, true})
      for (std::size_t at = 1; at <= n; ++at) {
        Life life{new_disk()};
        Told told;
        life.disk->plan({.kind = Fault::Kind::error, .at = at, .error = error, .lasting = lasting});
        life.run(told);
        const std::string where = life.disk->log()[at - 1];
        life.disk->lose_power(Keep::none, 0);
        ++g_faults;
        ASSERT_EQ(check_and_go_on(life, told, 0), "")
            << "error " << error << " at operation " << at << " of " << n << ", " << where;
      }
}

// Commits whose very last sync is refused may be lost, and then the one before them is CURRENT
// again: with all that it names.
TEST_F(Crash, NothingIsDeletedWhileCurrentMayNotSurvive) {
  for (const std::uint64_t bytes_max : {std::uint64_t{0}, kCap})
    for (std::size_t at = 1; at <= 5; ++at)
      for (unsigned variant = 0; variant < 6; ++variant) {
        Life life{new_disk(), bytes_max};
        Told told;
        life.disk->plan({.kind = Fault::Kind::error,
                         .at = at,
                         .error = EIO,
                         .lasting = true,
                         .only = fmt::format("sync_dir {}", kDir)});
        life.run(told);
        life.disk->lose_power(variant == 0 ? Keep::none : Keep::some, variant);
        ++g_faults;
        ASSERT_EQ(check_and_go_on(life, told, variant), "")
            << "from sync " << at << " of the store's directory on, cap " << bytes_max;
      }
}

TEST_F(Crash, ShortWritesAreContinued) {
  const std::size_t n = operations_of_a_life(0);
  for (std::size_t at = 1; at <= n; at += 3) {
    Life life{new_disk()};
    Told told;
    life.disk->plan({.kind = Fault::Kind::short_write, .at = at, .lasting = at % 2 == 0});
    life.run(told);
    ++g_faults;
    ASSERT_EQ(told.committed, 3) << "operation " << at;
    life.disk->lose_power(Keep::none, 0);
    ASSERT_EQ(check(life, told), "") << "operation " << at;
  }
}

TEST_F(Crash, ARefusedWriteIsSaidOnceAndTriedAgainLater) {
  auto disk = new_disk();
  Clock::time_point now{};
  auto store = Store::open(
      kDir, world().fingerprint,
      {.retry = std::chrono::seconds(60), .disk = disk, .now = [&] { return now; }});
  ASSERT_TRUE(store);
  disk->plan({.kind = Fault::Kind::error, .at = 1, .error = ENOSPC, .lasting = true});
  auto first = put(**store, world().a[0]);
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().code, Errc::disk);
  EXPECT_NE(first.error().message.find("No space left on device"), std::string::npos)
      << first.error().message;
  EXPECT_NE(first.error().message.find("keep tokens 0..512"), std::string::npos)
      << first.error().message;
  const std::size_t asked = disk->n_operations();
  EXPECT_EQ(put(**store, world().a[0]).error().code, Errc::paused);
  EXPECT_EQ(disk->n_operations(), asked);  // the disk is left alone
  disk->plan({});
  now += std::chrono::seconds(61);
  EXPECT_TRUE(put(**store, world().a[0]));
}

}  // namespace
}  // namespace lares::daemon::store::test
