// The whole tree's death: by kill, with its command, with the launcher and with the daemon.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/sandbox/run.h"

namespace lares::sandbox::test {
namespace {

using std::chrono::milliseconds, std::chrono::seconds, std::chrono::steady_clock;

// Host processes whose command line holds `mark`.
int n_processes_with(const std::string& mark) {
  int n = 0;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", failed)) {
    std::ifstream file(entry.path() / "cmdline", std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();  // unlike an iterator, it does not throw when the process is gone by now
    const std::string line = text.str();
    n += line.find(mark) != line.npos && entry.path().filename() != std::to_string(::getpid());
  }
  return n;
}

// A sleep nobody else uses, so that survivors can be told apart.
std::string unique_sleep() {
  static int n = 0;
  return fmt::format("1{:08}{:03}.25", ::getpid(), n++);
}

// Polls, for nothing tells us when somebody else's processes end.
bool comes_to_zero(const std::string& mark) {
  for (const auto end = steady_clock::now() + seconds(60); steady_clock::now() < end;
       std::this_thread::sleep_for(milliseconds(10)))
    if (n_processes_with(mark) == 0) return true;
  return false;
}

const char* kDaemons = R"sh(
trap '' TERM HUP INT
sleep %1 &
setsid sleep %1 &
nohup sleep %1 >/dev/null 2>&1 &
(setsid sh -c 'sleep %1 & sleep %1' &)
(trap '' TERM; exec sleep %1) &
(exec >/dev/null 2>&1 </dev/null; setsid sleep %1 & )
echo started
sleep %1
)sh";

std::string daemons(const std::string& time) {
  std::string out = kDaemons;
  for (auto at = out.find("%1"); at != out.npos; at = out.find("%1")) out.replace(at, 2, time);
  return out;
}

TEST(Tree, KillLeavesNoSurvivor) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  const auto time = unique_sleep();
  auto options = in(scratch);
  constexpr int kSleepers = 8;
  steady_clock::time_point killed;
  options.kill_when = [&](const std::string& output) {
    if (output != "started\n") return false;
    for (const auto end = steady_clock::now() + seconds(60);
         n_processes_with(time) < kSleepers && steady_clock::now() < end;)
      std::this_thread::sleep_for(milliseconds(20));
    EXPECT_GE(n_processes_with(time), kSleepers);
    killed = steady_clock::now();
    return true;
  };
  const auto ran = shell(daemons(time), options);
  const int n_left = n_processes_with(time);
  EXPECT_EQ(ran.output, "started\n");
  EXPECT_FALSE(ran.timed_out);
  EXPECT_EQ(ran.exit.signal, SIGKILL);
  // A launcher that gets no processor for two seconds is killed itself.
  if (steady_clock::now() - killed < seconds(2)) {
    EXPECT_EQ(n_left, 0) << "wait() returned before the last one was gone";
  }
  EXPECT_TRUE(comes_to_zero(time));
}

TEST(Tree, TheEndOfTheCommandIsTheEndOfItsDaemons) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  const auto time = unique_sleep();
  const auto ran = shell("setsid sleep " + time + " & nohup sleep " + time + " & echo done; exit 3",
                         in(scratch));
  EXPECT_EQ(ran.exit.code, 3);
  EXPECT_NE(ran.output.find("done\n"), std::string::npos);  // and the pipe they held is closed
  EXPECT_FALSE(ran.timed_out);
  EXPECT_EQ(n_processes_with(time), 0);
}

// Of a process that may end meanwhile: through operator<<, which takes an error for the end where a
// stream's iterators throw it.
std::string told_of(const std::filesystem::path& file) {
  std::ostringstream out;
  out << std::ifstream(file, std::ios::binary).rdbuf();
  return out.str();
}

TEST(Tree, DiesWithTheLauncher) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  const auto time = unique_sleep();
  std::atomic<bool> over = false;
  std::thread killer([&] {
    while (n_processes_with(time) < 3 && !over) std::this_thread::sleep_for(milliseconds(20));
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string text = told_of(entry.path() / "status"),
                        command = told_of(entry.path() / "cmdline");
      if (command == std::string("lares-sandbox\0", 14) &&
          text.find("PPid:\t" + std::to_string(::getpid()) + "\n") != text.npos)
        ::kill(std::stoi(entry.path().filename()), SIGKILL);
    }
  });
  const auto ran = shell(daemons(time), in(scratch));
  over = true;
  killer.join();
  EXPECT_EQ(ran.exit.signal, SIGKILL);
  EXPECT_FALSE(ran.timed_out);
  EXPECT_TRUE(comes_to_zero(time));
}

TEST(Tree, DiesWithTheDaemon) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  const auto time = unique_sleep();
  const pid_t daemon_like = ::fork();
  if (daemon_like == 0) {
    shell(daemons(time), in(scratch));
    ::_exit(0);
  }
  pid_t ended = 0;
  while (n_processes_with(time) < 5 && (ended = ::waitpid(daemon_like, nullptr, WNOHANG)) == 0)
    std::this_thread::sleep_for(milliseconds(20));
  ASSERT_EQ(ended, 0) << "it ended by itself";
  ::kill(daemon_like, SIGKILL);
  ::waitpid(daemon_like, nullptr, 0);
  EXPECT_TRUE(comes_to_zero(time));
}

TEST(Tree, TellsWhetherTheCommandIsAlone) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  EXPECT_EQ(alone_after({"true", "sleep 60 & job=$!", "kill $job; wait $job",
                         "(setsid sleep 60 >/dev/null 2>&1 &)"},
                        in(scratch)),
            (std::vector<bool>{true, false, true, false}));
}

// It gives itself out as the shell that it was.
TEST(Tree, ACommandThatHidesItsJobsIsNotAlone) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  scratch.write("threads.py", R"py(
import os, threading, time
def work():
    if os.fork() == 0: time.sleep(3600)
    if os.fork() == 0: os.execvp('sh', ['sh'])
threading.Thread(target=work).start()
time.sleep(3600)
)py");
  scratch.write("shell.py", R"py(
import signal, sys, time
signal.signal(signal.SIGALRM, lambda *_: open('made', 'w'))
signal.setitimer(signal.ITIMER_REAL, 1, 1)
for line in sys.stdin:
    if line == 'echo done\n': print('done', flush=True)
)py");
  for (const char* program : {"threads.py", "shell.py"})
    EXPECT_EQ(alone_after({"true", std::string("exec python3 -u ") + program}, in(scratch)),
              (std::vector<bool>{true, false}))
        << program;
}

TEST(Tree, ReportsHowTheCommandEnded) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  EXPECT_EQ(shell("exit 42", in(scratch)).exit.code, 42);
  EXPECT_EQ(shell("exit 125", in(scratch)).exit.code, 125);
  const auto killed = shell("kill -SEGV $$", in(scratch));
  EXPECT_FALSE(killed.exit.exited);
  EXPECT_EQ(killed.exit.signal, SIGSEGV);
  const auto missing = run({"no-such-program"}, in(scratch));
  EXPECT_EQ(missing.error, "");
  EXPECT_EQ(missing.exit.code, 127);
  EXPECT_EQ(missing.output, "no-such-program: No such file or directory\n");
}

TEST(Tree, InputAndItsEndArrive) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  auto options = in(scratch);
  options.input = "echo from input; exit 5\n";
  const auto ran = run({"/bin/sh"}, options);
  EXPECT_EQ(ran.output, "from input\n");
  EXPECT_EQ(ran.exit.code, 5);
}

TEST(Tree, NonTextOutputArrivesAsItIs) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  EXPECT_EQ(shell("printf 'a\\000\\377\\033[1mb'", in(scratch)).output,
            std::string("a\0\377\033[1mb", 8));
}

}  // namespace
}  // namespace lares::sandbox::test
