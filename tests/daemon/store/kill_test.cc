// A process that writes to a store on the real file system and is killed, again and again.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <thread>

#include <gtest/gtest.h>

#include "chains.h"
#include "tests/temporary_directory.h"

namespace lares::daemon::store::test {
namespace {

constexpr int kRounds = 40;
const Hash256 kFingerprint = fingerprint_of(1);

// What the n-th commit holds; each shares its first extent with all others, so that there are
// extents to find again.
Chain chain_of(unsigned n) {
  static const Chain base = make_chain(kFingerprint, 1, {.n_tokens = {256}, .page_bytes = 20000});
  return make_chain(kFingerprint, 100 + n,
                    {.n_tokens = {256, 512, 128}, .page_bytes = 20000, .frontier_bytes = 9000},
                    base, 1);
}

// Commits without end, from `n` on, and says so each time.
[[noreturn]] void write_until_killed(const std::string& directory, std::uint32_t n, int told) {
  auto store = Store::open(directory, kFingerprint,
                           {.bytes_max = 1 << 20, .grace = std::chrono::seconds(0)});
  if (!store) ::_exit(3);
  for (;; ++n) {
    const Chain chain = chain_of(n);
    for (const Piece& p : chain)
      if (!put(**store, p)) ::_exit(4);
    if (!(*store)->commit(names(chain, chain.size()), std::as_bytes(std::span(&n, 1)))) ::_exit(5);
    if (::write(told, &n, sizeof n) != sizeof n) ::_exit(6);
    (void)(*store)->gc();
  }
}

TEST(Kill, WhatAKilledProcessHadCommittedIsThere) {
  const TemporaryDirectory made;
  const std::string& directory = made.path();
  std::mt19937 random(7);
  std::uint32_t last = 0;  // committed, as far as was told
  int commits = 0;
  for (int round = 0; round < kRounds; ++round) {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(pipe[0]);
      write_until_killed(directory + "/store", last + 1, pipe[1]);
    }
    ::close(pipe[1]);
    // Not a wait for an event but the fault itself: some rounds die before their first commit, some
    // after several.
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 150000));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the writer gave up with status " << WEXITSTATUS(status);
    for (std::uint32_t n; ::read(pipe[0], &n, sizeof n) == sizeof n; ++commits) last = n;
    ::close(pipe[0]);
    auto store = Store::open(directory + "/store", kFingerprint, {});
    ASSERT_TRUE(store) << store.error().message;
    const Seen seen = restore_all(**store);
    if (!seen.restored.manifest) {
      ASSERT_EQ(last, 0u) << "round " << round;
      continue;
    }
    std::uint32_t n = 0;
    ASSERT_EQ(seen.restored.manifest->payload.size(), sizeof n);
    std::memcpy(&n, seen.restored.manifest->payload.data(), sizeof n);
    ASSERT_TRUE(n == last || n == last + 1)
        << n << " came back and " << last << " was the last told, round " << round;
    ASSERT_EQ(seen.restored.n_extents, 3u);
    ASSERT_TRUE(seen.restored.lost.empty()) << seen.restored.lost.front();
    ASSERT_EQ(unlike_prefix(seen, chain_of(n)), "");
    last = n;
  }
  std::printf("%d processes killed, %d commits\n", kRounds, commits);
  EXPECT_GT(commits, 0);
}

}  // namespace
}  // namespace lares::daemon::store::test
