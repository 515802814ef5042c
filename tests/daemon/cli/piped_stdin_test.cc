#include "daemon/cli/piped_stdin.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>

namespace lares::cli {
namespace {

constexpr std::size_t kMax = 1000;
constexpr std::chrono::milliseconds kSoon{20};

struct Ends {
  int read = -1, write = -1;
};

Ends pipe_with(std::string_view text) {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  EXPECT_EQ(::write(ends[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  return {ends[0], ends[1]};
}

TEST(PipedStdin, APipeIsReadToItsEnd) {
  const Ends ends = pipe_with("some log\n");
  ::close(ends.write);
  const PipedStdin got = read_piped(ends.read, kMax, kSoon);
  EXPECT_EQ(got.text, "some log\n");
  EXPECT_FALSE(got.silent);
  ::close(ends.read);
}

TEST(PipedStdin, APipeThatSomebodyLeftOpenIsNotWaitedFor) {
  const Ends ends = pipe_with("");
  const PipedStdin got = read_piped(ends.read, kMax, kSoon);
  EXPECT_EQ(got.text, "");
  EXPECT_TRUE(got.silent);
  ::close(ends.read), ::close(ends.write);
}

TEST(PipedStdin, AnEmptyPipeThatHasEndedIsNothing) {
  const Ends ends = pipe_with("");
  ::close(ends.write);
  const PipedStdin got = read_piped(ends.read, kMax, kSoon);
  EXPECT_EQ(got.text, "");
  EXPECT_FALSE(got.silent);
  ::close(ends.read);
}

TEST(PipedStdin, OneThatNeverEndsIsReadNoFurtherThanItMay) {
  const Ends ends = pipe_with(std::string(3 * kMax, 'x'));
  EXPECT_EQ(read_piped(ends.read, kMax, kSoon).text.size(), kMax + 1);
  ::close(ends.read), ::close(ends.write);
}

TEST(PipedStdin, AFileIsReadFromWhereItStands) {
  std::FILE* file = std::tmpfile();
  ASSERT_TRUE(file);
  const int fd = ::fileno(file);
  ASSERT_EQ(::write(fd, "one\ntwo\n", 8), 8);
  EXPECT_EQ(read_piped(fd, kMax, kSoon).text, "");
  ASSERT_EQ(::lseek(fd, 4, SEEK_SET), 4);
  EXPECT_EQ(read_piped(fd, kMax, kSoon).text, "two\n");
  std::fclose(file);
}

TEST(PipedStdin, DevicesAreLeftAlone) {
  const int null = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(read_piped(null, kMax, kSoon).text, "");
  ::close(null);
  EXPECT_EQ(read_piped(-1, kMax, kSoon).text, "");
}

// As Node gives it to what it starts.
TEST(PipedStdin, ASocketIsAsGoodAsAPipe) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  EXPECT_TRUE(read_piped(ends[0], kMax, kSoon).silent);
  ASSERT_EQ(::write(ends[1], "some log\n", 9), 9);
  ::close(ends[1]);
  const PipedStdin got = read_piped(ends[0], kMax, kSoon);
  EXPECT_EQ(got.text, "some log\n");
  EXPECT_FALSE(got.silent);
  ::close(ends[0]);
}

TEST(PipedStdin, ItStandsBehindThePromptAndIsMarked) {
  EXPECT_EQ(with_stdin("why?", "a\nb\n"), "why?\n\n<stdin>\na\nb\n</stdin>");
  EXPECT_EQ(with_stdin("why?", "a"), "why?\n\n<stdin>\na\n</stdin>");
  EXPECT_EQ(with_stdin("why?", " \n"), "why?");
  EXPECT_EQ(with_stdin("why?", ""), "why?");
}

}  // namespace
}  // namespace lares::cli
