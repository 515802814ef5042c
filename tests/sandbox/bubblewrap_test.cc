// The second backend: the same refusals, fewer of them. Not as root, and not where /usr/bin/bwrap
// is absent.
#include <signal.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "tests/sandbox/run.h"

namespace lares::sandbox::test {
namespace {

std::string unusable() {
  if (::access("/usr/bin/bwrap", X_OK) != 0) return "bubblewrap is not installed";
  if (::geteuid() == 0) return "bubblewrap is refused to root";
  const Scratch scratch;
  const auto ran = run({"true"}, in(scratch, Backend::bubblewrap));
  return ran.ok() ? "" : "bubblewrap does not work here: " + ran.error + ran.output;
}

TEST(Bubblewrap, IsRefusedToRoot) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const Scratch scratch;
  EXPECT_NE(
      run({"true"}, in(scratch, Backend::bubblewrap)).error.find("bubblewrap is not used as root"),
      std::string::npos);
}

TEST(Bubblewrap, DeniesAndAllows) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  scratch.write(".env", "SECRET");
  auto options = in(scratch, Backend::bubblewrap);
  options.policy.hidden = {".env"};
  const auto ran = shell("cat .env; touch .git/x || echo git; mv .git moved || echo pinned; ls " +
                             scratch.outside.native() +
                             " || echo outside; echo x > f; test $(id -u) = 1000 && grep -q "
                             "'Seccomp:.2' /proc/self/status && echo filtered; "
                             "grep -c : /proc/net/dev; unshare -U true || echo nested",
                         options);
  for (const char* line : {"git\n", "pinned\n", "outside\n", "filtered\n", "\n1\n", "nested\n"})
    EXPECT_NE(ran.output.find(line), std::string::npos) << line << " is missing in:\n"
                                                        << ran.error << ran.output;
  EXPECT_EQ(ran.output.find("SECRET"), std::string::npos);
  EXPECT_EQ(scratch.read("f"), "x\n");
}

TEST(Bubblewrap, MakesNothingOnTheHostThroughALink) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  std::filesystem::create_directory(scratch.outside / "there");
  std::filesystem::create_directory_symlink(scratch.outside, scratch.wt / "link");
  auto options = in(scratch, Backend::bubblewrap);
  options.policy.hidden = {"link/there"};
  EXPECT_NE(run({"true"}, options).error.find("cannot be covered safely"), std::string::npos);
  EXPECT_TRUE(std::filesystem::is_empty(scratch.outside / "there"));
}

TEST(Bubblewrap, HidesNothingLater) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  scratch.write(".env", "SECRET");
  auto options = in(scratch, Backend::bubblewrap);
  options.hide = {scratch.wt / ".env"};
  EXPECT_NE(run({"/bin/sh"}, options).error.find("nothing can be hidden in this sandbox any more"),
            std::string::npos);
}

TEST(Bubblewrap, KillTakesAll) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  auto options = in(scratch, Backend::bubblewrap);
  options.timeout = std::chrono::milliseconds(500);
  const auto before = std::chrono::steady_clock::now();
  const auto ran = shell("trap '' TERM; setsid sleep 60 & sleep 60", options);
  EXPECT_EQ(ran.exit.signal, SIGKILL);
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(5));
}

TEST(Bubblewrap, GrowthAndCpuTimeStopAtTheirBounds) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  auto options = in(scratch, Backend::bubblewrap);
  options.policy.limits.growth_bytes = 32 << 20;
  const auto grown = shell(
      "i=0; while [ $i -lt 4000 ]; do head -c 1048576 /dev/zero > f$i; i=$((i+1)); done", options);
  EXPECT_FALSE(grown.timed_out);
  EXPECT_EQ(grown.exit.signal, SIGKILL);
  EXPECT_NE(grown.output.find("have taken more than 32 MiB of the worktree's file system"),
            std::string::npos)
      << grown.output;
  options.policy.limits.cpu_seconds = 1;
  const auto busy = shell("while :; do :; done", options);
  EXPECT_FALSE(busy.timed_out);
  EXPECT_EQ(busy.exit.exited ? busy.exit.code : 128 + busy.exit.signal, 128 + SIGXCPU);
}

TEST(Bubblewrap, TellsWhetherTheCommandIsAlone) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  EXPECT_EQ(alone_after({"true", "sleep 60 & job=$!", "kill $job; wait $job",
                         "(setsid sleep 60 >/dev/null 2>&1 &)"},
                        in(scratch, Backend::bubblewrap)),
            (std::vector<bool>{true, false, true, false}));
}

}  // namespace
}  // namespace lares::sandbox::test
