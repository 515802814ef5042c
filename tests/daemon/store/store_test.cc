// What a store is for, on the real file system: what was put comes back, by threads and by
// io_uring; one daemon at a time; the cap.
#include "daemon/store/store.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <iterator>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "chains.h"
#include "daemon/store/extent_format.h"
#include "tests/temporary_directory.h"

namespace lares::daemon::store::test {
namespace {

namespace fs = std::filesystem;

const Hash256 kFingerprint = fingerprint_of(1);

Options with(std::shared_ptr<Disk> disk) { return {.disk = std::move(disk)}; }

// Puts and commits a chain, closes the store, and reads it back.
void comes_back(const std::string& directory, const Chain& chain, const RealDiskOptions& disk) {
  const Bytes payload = random_bytes(10000, 5);
  {
    auto store = Store::open(directory, kFingerprint, with(real_disk(disk)));
    ASSERT_TRUE(store) << store.error().message;
    for (const Piece& p : chain) {
      const auto name = put(**store, p);
      ASSERT_TRUE(name) << name.error().message;
      EXPECT_EQ(*name, p.chain_out);
    }
    const auto epoch = (*store)->commit(names(chain, chain.size()), payload);
    ASSERT_TRUE(epoch) << epoch.error().message;
  }
  auto store = Store::open(directory, kFingerprint, with(real_disk(disk)));
  ASSERT_TRUE(store) << store.error().message;
  const Seen seen = restore_all(**store);
  EXPECT_EQ(unlike_prefix(seen, chain), "");
  EXPECT_EQ(seen.restored.n_extents, chain.size());
  EXPECT_TRUE(seen.restored.lost.empty());
  ASSERT_TRUE(seen.restored.manifest);
  EXPECT_EQ(seen.restored.manifest->payload, payload);
}

TEST(Store, WhatWasCommittedComesBack) {
  // Smaller than a block, several blocks with pages across their borders, a short last page, no
  // frontier; more extents than are open at a time, and more blocks than are in flight.
  const std::vector<ChainShape> shapes = {
      {.n_tokens = {128}, .page_bytes = 2, .frontier_bytes = 0},
      {.n_tokens = {1024, 640}, .page_bytes = 899584, .frontier_bytes = 3644416},
      {.n_tokens = std::vector<std::uint32_t>(40, 128),
       .page_bytes = 30000,
       .frontier_bytes = 5000},
      {.n_tokens = {16384}, .page_bytes = 550001, .frontier_bytes = 1},
  };
  for (const RealDiskOptions disk :
       {RealDiskOptions{}, RealDiskOptions{.io_uring = false}, RealDiskOptions{.direct = false}})
    for (const ChainShape& shape : shapes) {
      if (!disk.direct && shape.n_tokens[0] == kExtentTokensMax)
        continue;  // the same code as with it, and slow
      SCOPED_TRACE(fmt::format("direct {}, io_uring {}, {} extents", disk.direct, disk.io_uring,
                               shape.n_tokens.size()));
      const TemporaryDirectory dir;
      comes_back(dir / "store", make_chain(kFingerprint, 3, shape), disk);
    }
}

// From here on this process gets EPERM from the system call, as in most containers.
bool refuse(int system_call) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(system_call), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{static_cast<unsigned short>(std::size(program)), program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// Whether the ring itself is refused or, once made, its use.
TEST(Store, ComesBackWhereIoUringIsRefused) {
  for (const int system_call : {__NR_io_uring_setup, __NR_io_uring_enter}) {
    const TemporaryDirectory dir;
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      if (!refuse(system_call)) ::_exit(2);
      comes_back(dir / "store",
                 make_chain(kFingerprint, 3, {.n_tokens = {1024, 640}, .page_bytes = 899584}), {});
      ::_exit(testing::Test::HasFailure() ? 1 : 0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2) GTEST_SKIP() << "no seccomp here";
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
        << "system call " << system_call << ", status " << status;
  }
}

TEST(Store, IsThereOnAFileSystemWithoutDirectAccess) {
  if (!fs::exists("/dev/shm") || ::access("/dev/shm", W_OK) != 0) GTEST_SKIP() << "no /dev/shm";
  const TemporaryDirectory dir("/dev/shm");
  comes_back(dir / "store",
             make_chain(kFingerprint, 3, {.n_tokens = {512, 256}, .page_bytes = 700000}), {});
}

TEST(Store, IsPrivate) {
  const TemporaryDirectory dir;
  const Chain chain = make_chain(kFingerprint, 1, {.n_tokens = {128}});
  fs::create_directory(dir / "store");
  fs::permissions(dir / "store", fs::perms::all);  // of an earlier life
  auto store = Store::open(dir / "store", kFingerprint, {});
  ASSERT_TRUE(store);
  ASSERT_TRUE(put(**store, chain[0]));
  ASSERT_TRUE((*store)->commit(names(chain, 1), {}));
  struct stat st {};
  ASSERT_EQ(::stat((dir / "store").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0700u);
  for (const auto& entry : fs::recursive_directory_iterator(dir / "store")) {
    ASSERT_EQ(::stat(entry.path().c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, entry.is_directory() ? 0700u : 0600u) << entry.path();
  }
}

TEST(Store, ASecondDaemonIsRefused) {
  const TemporaryDirectory dir;
  auto first = Store::open(dir / "store", kFingerprint, {});
  ASSERT_TRUE(first);
  auto second = Store::open(dir / "store", kFingerprint, {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::locked);
  EXPECT_NE(second.error().message.find("another daemon holds its LOCK"), std::string::npos);
  first->reset();
  EXPECT_TRUE(Store::open(dir / "store", kFingerprint, {}));
}

TEST(Store, TheSameTokensAreWrittenOnce) {
  auto disk = std::make_shared<CrashDisk>();
  (void)disk->make_dir("/s");
  const Chain a = make_chain(kFingerprint, 1, {.n_tokens = {512, 256}}),
              b = make_chain(kFingerprint, 2, {.n_tokens = {512, 512}}, a, 1);
  auto store = Store::open("/s/store", kFingerprint, with(disk));
  ASSERT_TRUE(store);
  for (const Piece& p : a) ASSERT_TRUE(put(**store, p));
  disk->plan({});
  ASSERT_TRUE(put(**store, b[0]));
  EXPECT_EQ(disk->n_operations(), 0u);
  ASSERT_TRUE(put(**store, b[1]));
  EXPECT_EQ((*store)->usage().n_extents, 3u);
}

TEST(Store, WhatDoesNotFitTogetherIsNotAccepted) {
  auto disk = std::make_shared<CrashDisk>();
  auto store = Store::open("/store", kFingerprint, with(disk));
  ASSERT_TRUE(store);
  const Chain a = make_chain(kFingerprint, 1, {.n_tokens = {512, 256, 256}}),
              b = make_chain(kFingerprint, 2, {.n_tokens = {512, 256}});
  for (const Chain* chain : {&a, &b})
    for (const Piece& p : *chain) ASSERT_TRUE(put(**store, p));
  const auto refuses = [&](std::vector<Hash256> chain, Errc code) {
    const auto done = (*store)->commit(chain, {});
    EXPECT_TRUE(!done && done.error().code == code) << (done ? "accepted" : done.error().message);
  };
  refuses({a[1].chain_out}, Errc::bad_argument);                  // not from the beginning
  refuses({a[0].chain_out, a[2].chain_out}, Errc::bad_argument);  // one is missing
  refuses({a[0].chain_out, b[1].chain_out}, Errc::bad_argument);  // of another chain
  refuses({fingerprint_of(9)}, Errc::not_found);
  const auto refuses_put = [&](Piece p) {
    const auto done = put(**store, p);
    EXPECT_TRUE(!done && done.error().code == Errc::bad_argument)
        << (done ? "accepted" : done.error().message);
  };
  Piece p = a[0];
  p.tokens.pop_back();
  refuses_put(p);
  p = a[0], p.pages.pop_back();
  refuses_put(p);
  p = a[0], p.pages[0].pop_back();
  refuses_put(p);
  p = a[0], p.chain_in = fingerprint_of(3);
  refuses_put(p);
  p = a[1], p.pos0 += 1;
  refuses_put(p);
  EXPECT_EQ((*store)->epoch(), 0u);
}

TEST(Store, TheCapTakesTheOldestEpochsAndNeverCurrent) {
  auto disk = std::make_shared<CrashDisk>();
  const ChainShape shape{.n_tokens = {512}, .page_bytes = 10000, .frontier_bytes = 100};
  std::vector<Chain> chains;
  for (unsigned i = 0; i < 6; ++i) chains.push_back(make_chain(kFingerprint, 100 + i, shape));
  std::uint64_t one = 0;
  {
    auto scratch = std::make_shared<CrashDisk>();
    auto store = Store::open("/store", kFingerprint, with(scratch));
    ASSERT_TRUE(put(**store, chains[0][0]));
    one = (*store)->usage().bytes;
  }
  auto opened = Store::open("/store", kFingerprint, {.bytes_max = 3 * one + 4096, .disk = disk});
  ASSERT_TRUE(opened);
  Store& store = **opened;
  const auto add = [&](unsigned i) {
    const auto name = put(store, chains[i][0]);
    return name ? store.commit(names(chains[i], 1), {}) : tl::unexpected(name.error());
  };
  for (unsigned i = 0; i < 3; ++i) ASSERT_TRUE(add(i));
  ASSERT_TRUE(store.pin(2));
  ASSERT_TRUE(add(3));
  EXPECT_FALSE(store.has(chains[0][0].chain_out));
  EXPECT_TRUE(store.has(chains[1][0].chain_out));
  ASSERT_TRUE(add(4));  // 2 is pinned, so 3 goes
  EXPECT_TRUE(store.has(chains[1][0].chain_out));
  EXPECT_FALSE(store.has(chains[2][0].chain_out));
  ASSERT_TRUE(store.pin(4));
  const auto refused = add(5);  // 2 and 4 are pinned and 5 is CURRENT
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::over_cap);
  EXPECT_NE(refused.error().message.find("do not fit the cap"), std::string::npos)
      << refused.error().message;
  EXPECT_LE(store.usage().bytes, store.usage().bytes_max);
  store.unpin(2);
  EXPECT_TRUE(add(5));
  EXPECT_FALSE(store.has(chains[1][0].chain_out));
  EXPECT_EQ(unlike_prefix(restore_all(store), chains[5]), "");
}

// As of a daemon that had more room than the next.
TEST(Store, WhatIsNotWantedGivesWayWhereThereIsNoRoomElse) {
  auto disk = std::make_shared<CrashDisk>();
  const ChainShape of_three{.n_tokens = {512, 512, 512}, .page_bytes = 10000},
      of_one{.n_tokens = {512}, .page_bytes = 10000};
  const Chain large = make_chain(kFingerprint, 200, of_three);
  const Chain small = make_chain(kFingerprint, 201, of_one);
  std::uint64_t one = 0;
  {
    auto store = Store::open("/store", kFingerprint, with(disk));
    for (const Piece& piece : large) ASSERT_TRUE(put(**store, piece));
    one = (*store)->usage().bytes / 3;
    ASSERT_TRUE((*store)->commit(names(large, 3), {}));
  }
  const auto open = [&] {
    return Store::open("/store", kFingerprint, {.bytes_max = 2 * one, .disk = disk}).value();
  };
  auto store = open();
  EXPECT_EQ(unlike_prefix(restore_all(*store), large), "");
  const auto refused = put(*store, small[0]);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::over_cap);
  store->not_wanted();
  ASSERT_TRUE(put(*store, small[0]));
  EXPECT_EQ(store->epoch(), 0u);
  store.reset();
  store = open();  // as after a crash there
  EXPECT_FALSE(restore_all(*store).restored.manifest);
  ASSERT_TRUE(put(*store, small[0]));
  const auto committed = store->commit(names(small, 1), {});
  ASSERT_TRUE(committed) << committed.error().message;
  EXPECT_LE(store->usage().bytes, 2 * one);
  store.reset();
  store = open();
  EXPECT_EQ(unlike_prefix(restore_all(*store), small), "");
  // What was committed since is wanted.
  EXPECT_FALSE(put(*store, large[0]));
  EXPECT_TRUE(store->has(small[0].chain_out));
}

TEST(Store, CleaningUpKeepsWhatIsReachableAndWaitsForTheRest) {
  auto disk = std::make_shared<CrashDisk>();
  Clock::time_point now{};
  auto opened = Store::open(
      "/store", kFingerprint,
      {.grace = std::chrono::seconds(600), .disk = disk, .now = [&] { return now; }});
  ASSERT_TRUE(opened);
  Store& store = **opened;
  std::vector<Chain> chains;
  for (unsigned i = 0; i < 4; ++i) {
    chains.push_back(make_chain(kFingerprint, i + 1, {.n_tokens = {256}}));
    ASSERT_TRUE(put(store, chains[i][0]));
    ASSERT_TRUE(store.commit(names(chains[i], 1), {}));
  }
  const Chain unfinished = make_chain(kFingerprint, 50, {.n_tokens = {256}});
  ASSERT_TRUE(put(store, unfinished[0]));
  ASSERT_TRUE(store.pin(1));
  auto report = store.gc();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->n_extents + report->n_epochs, 0u);
  EXPECT_EQ(report->n_waiting, 2u);  // epoch 2 and its extent
  now += std::chrono::seconds(599);
  EXPECT_EQ(store.gc()->n_waiting, 2u);
  now += std::chrono::seconds(1);
  report = store.gc();
  EXPECT_EQ(report->n_extents, 1u);
  EXPECT_EQ(report->n_epochs, 1u);
  EXPECT_TRUE(store.has(chains[0][0].chain_out));  // pinned
  EXPECT_FALSE(store.has(chains[1][0].chain_out));
  EXPECT_TRUE(store.has(chains[2][0].chain_out));   // the epoch before
  EXPECT_TRUE(store.has(unfinished[0].chain_out));  // on its way into a commit
  store.unpin(1);
  store.forget(unfinished[0].chain_out);
  (void)store.gc();
  now += std::chrono::seconds(600);
  EXPECT_EQ(store.gc()->n_extents, 2u);
  EXPECT_EQ(unlike_prefix(restore_all(store), chains[3]), "");
}

TEST(Store, AScrubTellsADifferenceFromDamage) {
  auto disk = std::make_shared<CrashDisk>();
  const Chain chain = make_chain(kFingerprint, 1, {.n_tokens = {640}, .page_bytes = 700000});
  auto opened = Store::open("/store", kFingerprint, with(disk));
  ASSERT_TRUE(opened);
  Store& store = **opened;
  ASSERT_TRUE(put(store, chain[0]));
  ASSERT_TRUE(store.commit(names(chain, 1), {}));
  Piece anew = chain[0];
  const Compare compare{.page =
                            [&](std::uint32_t i, std::span<const std::byte> stored) {
                              return std::equal(stored.begin(), stored.end(), anew.pages[i].begin(),
                                                anew.pages[i].end());
                            },
                        .frontier =
                            [&](std::span<const std::byte> stored) {
                              return std::equal(stored.begin(), stored.end(), anew.frontier.begin(),
                                                anew.frontier.end());
                            }};
  auto same = store.scrub(chain[0].chain_out, compare);
  ASSERT_TRUE(same) << same.error().message;
  EXPECT_EQ(same->tokens, chain[0].tokens);
  EXPECT_TRUE(same->pages_differ.empty());
  EXPECT_FALSE(same->frontier_differs);
  anew.pages[1].back() ^= std::byte{1};
  anew.frontier.front() ^= std::byte{1};
  auto differs = store.scrub(chain[0].chain_out, compare);
  ASSERT_TRUE(differs);
  EXPECT_EQ(differs->pages_differ, std::vector<std::uint32_t>{1});
  EXPECT_TRUE(differs->frontier_differs);
  EXPECT_TRUE(store.has(chain[0].chain_out));
  disk->fail_reads(5, 2);
  const auto damaged = store.scrub(chain[0].chain_out, compare);
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code, Errc::damaged);
  EXPECT_FALSE(store.has(chain[0].chain_out));
}

}  // namespace
}  // namespace lares::daemon::store::test
