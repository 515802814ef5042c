// How fast prefixes go to disk and come back: lares_store_bench [DIR [MILLION_TOKENS]]
// Writes extents of Flash's shape (57.6 MB of pages and a 3.64-MB frontier per 16,384 tokens),
// then, by turns in one run, reads the same files one after the other with plain O_DIRECT reads and
// restores them. Nothing comes from the page cache: extents are written and read past it. Exit
// status 1 where a restore is slower than 60 % of the plain read or takes over 1.07 times the
// history on disk.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "daemon/store/aligned_buffer.h"
#include "daemon/store/store.h"
#include "tests/temporary_directory.h"

namespace {

using namespace lares::daemon::store;
namespace fs = std::filesystem;

constexpr double kRestoreFloor = 0.6, kOverheadMax = 1.07;
constexpr std::size_t kPageBytes = 3514 * kPageTokens, kFrontierBytes = 3644416;
constexpr std::uint32_t kExtentTokens = 16384;
constexpr std::size_t kPlainReadBytes = 8 << 20;
constexpr int kRounds = 5;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}
double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}
[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(2);
}

std::vector<std::byte> noise(std::size_t n, std::uint64_t seed) {
  std::vector<std::byte> out(n);
  std::mt19937_64 random(seed);
  for (std::size_t i = 0; i + 8 <= n; i += 8) {
    const std::uint64_t v = random();
    std::memcpy(out.data() + i, &v, 8);
  }
  return out;
}

// All files below, each from its beginning to its end; bytes.
std::uint64_t read_plainly(const fs::path& directory) {
  const AlignedBuffer buffer(kPlainReadBytes);
  std::uint64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    int fd = ::open(entry.path().c_str(), O_RDONLY | O_DIRECT);
    if (fd < 0) fd = ::open(entry.path().c_str(), O_RDONLY);
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    ssize_t n;
    while ((n = ::read(fd, buffer.data(), buffer.size())) > 0)
      bytes += static_cast<std::uint64_t>(n);
    ::close(fd);
  }
  return bytes;
}

// What the disk takes: a file of one extent's size, O_DIRECT, synced; MB/s.
double write_plainly(const std::string& path, std::size_t bytes) {
  const AlignedBuffer buffer(kPlainReadBytes);
  std::memset(buffer.data(), 7, buffer.size());
  const auto begin = Clock::now();
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT, 0600);
  if (fd < 0) fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  for (std::size_t at = 0; at < bytes; at += buffer.size())
    if (::write(fd, buffer.data(), buffer.size()) != static_cast<ssize_t>(buffer.size()))
      fail("write " + path + ": cannot");
  ::fdatasync(fd);
  const double s = seconds_since(begin);
  ::close(fd);
  ::unlink(path.c_str());
  return static_cast<double>(bytes) / s / 1e6;
}

struct Memory {  // where a restore puts its pages, all of it touched before
  std::vector<std::byte> pages, frontier = std::vector<std::byte>(kFrontierBytes);
  Receiver receiver() {
    return {.page =
                [this](std::size_t extent, std::uint32_t page, std::size_t bytes) {
                  return std::span(pages).subspan(
                      (extent * (kExtentTokens / kPageTokens) + page) * kPageBytes, bytes);
                },
            .frontier = [this](std::size_t, std::size_t) { return std::span(frontier); }};
  }
};

double restore_rate(const std::string& directory, const Hash256& fingerprint,
                    const RealDiskOptions& disk, Memory& memory, std::size_t n_extents,
                    std::uint64_t bytes) {
  auto store = Store::open(directory, fingerprint, {.disk = real_disk(disk)});
  if (!store) fail(store.error().message);
  const auto begin = Clock::now();
  const Restored restored = (*store)->restore(memory.receiver());
  const double s = seconds_since(begin);
  if (restored.n_extents != n_extents)
    fail(restored.lost.empty() ? "extents are missing" : restored.lost.front());
  return static_cast<double>(bytes) / s / 1e6;
}

void hash_rate() {
  std::vector<lares::engine::Token> tokens(1 << 20, 7);
  const auto begin = Clock::now();
  const Hash256 h = chain_after(chain_begin({}), tokens);
  std::printf("chain hash of %zu tokens: %.2f ms (%02x)\n", tokens.size(),
              1e3 * seconds_since(begin), static_cast<unsigned>(h.bytes[0]));
}

}  // namespace

int main(int argc, char** argv) {
  const lares::TemporaryDirectory made(argc > 1 ? argv[1] : ".");
  const double million = argc > 2 ? std::atof(argv[2]) : 0.25;
  const auto n_extents =
      static_cast<std::size_t>(std::max(1.0, million * (1 << 20) / kExtentTokens));
  const std::string dir = made / "store";
  const Hash256 fingerprint = hash256(noise(32, 1));
  const std::size_t n_pages = kExtentTokens / kPageTokens;
  hash_rate();

  std::vector<std::vector<std::byte>> blobs;
  for (std::size_t i = 0; i < n_pages; ++i) blobs.push_back(noise(kPageBytes, i));
  const std::vector<std::span<const std::byte>> pages(blobs.begin(), blobs.end());
  const auto frontier = noise(kFrontierBytes, 99);
  std::uint64_t bytes = 0;
  {
    auto store = Store::open(dir, fingerprint, {});
    if (!store) fail(store.error().message);
    std::vector<Hash256> chain;
    std::vector<double> rates, plain;
    for (std::size_t i = 0; i < n_extents; ++i) {
      std::vector<lares::engine::Token> tokens(kExtentTokens, static_cast<lares::engine::Token>(i));
      const auto begin = Clock::now();
      const auto name = (*store)->put_extent(
          {i * kExtentTokens, chain.empty() ? chain_begin(fingerprint) : chain.back(), tokens,
           pages, frontier});
      if (!name) fail(name.error().message);
      rates.push_back(static_cast<double>(n_pages * kPageBytes + kFrontierBytes) /
                      seconds_since(begin) / 1e6);
      chain.push_back(*name);
      plain.push_back(write_plainly(made / "plain", 56 << 20));
    }
    if (auto done = (*store)->commit(chain, {}); !done) fail(done.error().message);
    bytes = (*store)->usage().bytes;
    std::printf(
        "write: %zu extents, %.0f MB, each durable: median %.0f MB/s, best %.0f; plain writes "
        "between them: median %.0f, best %.0f\n",
        n_extents, static_cast<double>(bytes) / 1e6, median(rates),
        *std::max_element(rates.begin(), rates.end()), median(plain),
        *std::max_element(plain.begin(), plain.end()));
  }
  const double overhead = static_cast<double>(bytes) /
                          static_cast<double>(n_extents * n_pages * kPageBytes);
  std::printf("on disk: %.4f times the history (at most %.2f)\n", overhead, kOverheadMax);

  Memory memory;
  memory.pages.resize(n_extents * n_pages * kPageBytes);
  std::vector<double> plain, ring, threads;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = Clock::now();
    const std::uint64_t n = read_plainly(dir + "/ext");
    plain.push_back(static_cast<double>(n) / seconds_since(begin) / 1e6);
    ring.push_back(restore_rate(dir, fingerprint, {}, memory, n_extents, n));
    threads.push_back(restore_rate(dir, fingerprint, {.io_uring = false}, memory, n_extents, n));
  }
  const double ratio = median(ring) / median(plain),
               ratio_threads = median(threads) / median(plain);
  std::printf(
      "read: plain %.0f MB/s; restore %.0f (%.0f %%), with threads %.0f (%.0f %%); medians of %d, "
      "floor %.0f %%\n",
      median(plain), median(ring), 100 * ratio, median(threads), 100 * ratio_threads, kRounds,
      100 * kRestoreFloor);
  return ratio >= kRestoreFloor && ratio_threads >= kRestoreFloor && overhead <= kOverheadMax ? 0
                                                                                              : 1;
}
