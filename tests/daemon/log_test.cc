#include "daemon/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "tests/temporary_directory.h"

namespace lares::daemon {
namespace {

constexpr std::uint64_t kBytesMax = 4000;

std::string contents(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct File {
  const TemporaryDirectory folder;
  const std::string path = folder / "laresd.log";
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  ~File() { ::close(fd); }
};

TEST(Log, AFileThatHasGrownIsBegunAnewAndOneOlderIsKept) {
  File file;
  Log log(file.fd);
  log.rotate(file.path, kBytesMax);
  std::vector<std::thread> threads;  // no line is lost, or torn, in the two files there are
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&log] {
      for (int i = 0; i < 500; ++i)
        log.event("something", {{"n", i}, {"long", std::string(50, 'x')}});
    });
  for (auto& thread : threads) thread.join();
  log.event("last");
  const std::string now = contents(file.path), before = contents(file.path + ".1");
  EXPECT_TRUE(now.ends_with("last\n"));
  EXPECT_LE(now.size(), kBytesMax + 100);
  EXPECT_LE(before.size(), kBytesMax + 100);
  EXPECT_GT(before.size(), kBytesMax);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(file.folder.path()), {}), 2);
  for (const auto& text : {now, before})
    for (std::size_t at = 0, end; at < text.size(); at = end + 1) {
      end = text.find('\n', at);
      ASSERT_NE(end, std::string::npos);
      const std::string line = text.substr(at, end - at);
      EXPECT_TRUE(line == "last" || line.starts_with("something n=")) << line;
    }
}

TEST(Log, AFileThatHadGrownBeforeIsBegunAnewAtOnce) {
  File file;
  std::ofstream(file.path) << std::string(2 * kBytesMax, 'x') << "\n";
  Log log(file.fd);
  log.rotate(file.path, kBytesMax);
  log.event("start");
  EXPECT_EQ(contents(file.path), "start\n");
  EXPECT_EQ(contents(file.path + ".1").size(), 2 * kBytesMax + 1);
}

TEST(Log, WhereNoFileCanBeOpenedItIsBegunAnewLater) {
  File file;
  Log log(file.fd);
  log.rotate(file.path, kBytesMax);
  const auto write = [&](int n) {
    for (int i = 0; i < n; ++i) log.event("something", {{"long", std::string(50, 'x')}});
  };
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(file.fd) + 1;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  write(100);
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_GT(contents(file.path).size(), kBytesMax);
  write(200);
  EXPECT_LE(contents(file.path).size(), kBytesMax + 100);
  EXPECT_LE(contents(file.path + ".1").size(), 3 * kBytesMax);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(file.folder.path()), {}), 2);
}

TEST(Log, WhereTheDescriptorIsAnotherFileNothingIsMoved) {
  File file, other;
  std::ofstream(other.path) << "not ours\n";
  Log log(file.fd);
  log.rotate(other.path, kBytesMax);
  for (int i = 0; i < 200; ++i) log.event("something", {{"long", std::string(50, 'x')}});
  EXPECT_EQ(contents(other.path), "not ours\n");
  EXPECT_GT(contents(file.path).size(), 2 * kBytesMax);
  EXPECT_FALSE(std::filesystem::exists(other.path + ".1"));
}

}  // namespace
}  // namespace lares::daemon
