// Backend::none: no protection, but the same handle: exit codes, streams, environment, and the
// group's death.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "tests/sandbox/run.h"

namespace lares::sandbox::test {
namespace {

// What nobody has waited for yet has no command line any more.
bool lives(pid_t pid) {
  std::ifstream line("/proc/" + std::to_string(pid) + "/cmdline", std::ios::binary);
  return line.peek() != std::ifstream::traits_type::eof();
}

TEST(None, ReportsExitCodes) {
  const Scratch scratch;
  const auto ran = shell("exit 7", in(scratch, Backend::none));
  ASSERT_EQ(ran.error, "");
  EXPECT_TRUE(ran.exit.exited);
  EXPECT_EQ(ran.exit.code, 7);
}

TEST(None, ReportsSignals) {
  const Scratch scratch;
  const auto ran = shell("kill -SEGV $$", in(scratch, Backend::none));
  EXPECT_FALSE(ran.exit.exited);
  EXPECT_EQ(ran.exit.signal, SIGSEGV);
}

TEST(None, JoinsOutputAndErrorsInOrder) {
  const Scratch scratch;
  EXPECT_EQ(shell("echo a; echo b >&2; echo c", in(scratch, Backend::none)).output, "a\nb\nc\n");
}

TEST(None, GivesInputAndThenItsEnd) {
  const Scratch scratch;
  auto options = in(scratch, Backend::none);
  options.input = "one\ntwo\n";
  EXPECT_EQ(run({"wc", "-l"}, options).output, "2\n");
}

TEST(None, StartsInTheDirectoryGiven) {
  const Scratch scratch;
  scratch.write("sub/file", "x");
  auto options = in(scratch, Backend::none);
  options.cwd = scratch.wt / "sub";
  EXPECT_EQ(shell("pwd; ls", options).output, (scratch.wt / "sub").native() + "\nfile\n");
}

TEST(None, ScrubsTheEnvironmentAndAddsWhatIsAskedFor) {
  ::setenv("LARES_TEST_TOKEN", "secret", 1);
  const Scratch scratch;
  auto options = in(scratch, Backend::none);
  options.env = {"EXTRA=a=b"};
  const auto ran = run({"env"}, options);
  EXPECT_EQ(ran.output.find("LARES_TEST_TOKEN"), std::string::npos) << ran.output;
  EXPECT_NE(ran.output.find("EXTRA=a=b\n"), std::string::npos) << ran.output;
  EXPECT_NE(ran.output.find("GIT_TERMINAL_PROMPT=0\n"), std::string::npos) << ran.output;
}

TEST(None, HandsOverNoOtherDescriptors) {
  const Scratch scratch;
  const int leaked = ::dup(0);  // without CLOEXEC
  // 3 is the directory that ls itself has open.
  EXPECT_EQ(run({"ls", "/proc/self/fd"}, in(scratch, Backend::none)).output, "0\n1\n2\n3\n");
  ::close(leaked);
}

TEST(None, KillsTheGroup) {
  const Scratch scratch;
  auto options = in(scratch, Backend::none);
  options.timeout = std::chrono::milliseconds(300);
  const auto before = std::chrono::steady_clock::now();
  const auto ran = shell("trap '' TERM; sleep 60 & sleep 60", options);
  EXPECT_TRUE(ran.timed_out);
  EXPECT_EQ(ran.exit.signal, SIGKILL);
  // The output pipe closed: nobody holds it
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(30));
}

// As when the daemon is killed: nobody is left who could kill what the shell left in the
// background.
TEST(None, BackgroundChildrenDieWithWhoeverStartedThem) {
  const Scratch scratch;
  const pid_t starter = ::fork();
  if (starter == 0) {
    (void)shell("sleep 300 & echo $! > child; echo $$ > shell; wait", in(scratch, Backend::none));
    ::_exit(0);
  }
  while (scratch.read("shell").find('\n') == std::string::npos)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const pid_t child = std::atoi(scratch.read("child").c_str());
  // Between its fork and its program's first instruction it has no command line.
  const auto before = std::chrono::steady_clock::now();
  while (!lives(child) && std::chrono::steady_clock::now() - before < std::chrono::seconds(60))
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(lives(child));
  ::kill(starter, SIGKILL);
  ::waitpid(starter, nullptr, 0);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (lives(child) && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_FALSE(lives(child));
  ::kill(child, SIGKILL);
}

// A shell that resets itself so must not take with it whoever waits for it.
TEST(None, SignalsItsWholeGroupAndIsHeardToTheEnd) {
  const Scratch scratch;
  const auto ran = shell("trap 'echo caught' TERM; kill -TERM 0; echo after; exit 3",
                         in(scratch, Backend::none));
  EXPECT_EQ(ran.error, "");
  EXPECT_EQ(ran.output, "caught\nafter\n");
  EXPECT_EQ(ran.exit.code, 3);
}

TEST(None, MissingProgramIsAnError) {
  const Scratch scratch;
  EXPECT_EQ(run({"no-such-program-here"}, in(scratch, Backend::none)).error,
            "unavailable: start 'no-such-program-here': not found in PATH");
}

TEST(None, RefusesWhatNoSandboxMayHaveAsRoot) {
  for (const std::string root : {"/", "/usr", "relative", "/tmp/../tmp", "/nonexistent/x"}) {
    RunOptions options;
    options.backend = Backend::none;
    options.policy.root = root;
    EXPECT_EQ(run({"true"}, options).error.substr(0, 8), "refused:") << root;
  }
}

}  // namespace
}  // namespace lares::sandbox::test
