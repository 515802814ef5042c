// Blocks read by threads: all of them in order, and what becomes of the threads when the reading
// does not end as it should.
#include "daemon/store/read_ahead.h"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace {

std::atomic<int> n_threads_left = 1 << 20;  // then the system has no more

}  // namespace

// In the place of the C library's.
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*work)(void*), void* argument) {
  static const auto create =
      reinterpret_cast<decltype(&pthread_create)>(::dlsym(RTLD_NEXT, "pthread_create"));
  return n_threads_left-- > 0 ? create(thread, attributes, work, argument) : EAGAIN;
}

namespace lares::daemon::store {
namespace {

constexpr std::size_t kBlocks = 4 * kReadsInFlight;
constexpr std::uint32_t kBytes = 4096;
constexpr unsigned kHungSeconds = 60;

class ReadAhead : public ::testing::Test {
 protected:
  ReadAhead() {
    char name[] = "/tmp/lares-read-ahead-XXXXXX";
    fd_ = ::mkstemp(name);
    ::unlink(name);
    for (std::size_t i = 0; i < kBlocks; ++i) {
      const std::string text(kBytes, static_cast<char>('a' + i % 26));
      EXPECT_EQ(::pwrite(fd_, text.data(), text.size(), static_cast<off_t>(i * kBytes)), kBytes);
      blocks_.push_back({fd_, i * kBytes, kBytes});
    }
    ::alarm(kHungSeconds);  // a thread that is waited for and never ends
  }
  ~ReadAhead() override {
    ::alarm(0);
    n_threads_left = 1 << 20;
    ::close(fd_);
  }
  // How many came as they should.
  std::size_t read(std::size_t n_max = kBlocks) {
    std::size_t n = 0;
    read_ahead_threads(blocks_, [&](std::size_t i, DiskResult<std::span<const std::byte>> block) {
      const char expected = static_cast<char>('a' + i % 26);
      if (i == n && block && block->size() == kBytes &&
          std::to_integer<char>(block->front()) == expected)
        ++n;
      return n < n_max;
    });
    return n;
  }

  int fd_ = -1;
  std::vector<FdBlock> blocks_;
};

TEST_F(ReadAhead, GivesAllBlocksInOrder) {
  EXPECT_EQ(read(), kBlocks);
  EXPECT_EQ(read(3), 3u);
}

TEST_F(ReadAhead, GivesThemWithAsManyThreadsAsThereAre) {
  for (const int n : {4, 1, 0}) {
    n_threads_left = n;
    EXPECT_EQ(read(), kBlocks) << n;
    n_threads_left = n;
    EXPECT_EQ(read(3), 3u) << n;
  }
}

// As where there is no memory for what was read.
TEST_F(ReadAhead, WhatIsThrownComesOut) {
  const auto throws = [](std::size_t i, DiskResult<std::span<const std::byte>>) -> bool {
    if (i == 2) throw std::bad_alloc();
    return true;
  };
  EXPECT_THROW(read_ahead_threads(blocks_, throws), std::bad_alloc);
  n_threads_left = 0;
  EXPECT_THROW(read_ahead_threads(blocks_, throws), std::bad_alloc);
}

}  // namespace
}  // namespace lares::daemon::store
