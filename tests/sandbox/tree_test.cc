// The whole tree's death, and the limits: kill, the launcher's and the daemon's own death, floods,
// forks, files, memory.
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

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

// In a process of its own whose directory `below` is a file system of its own, for others take and
// free what they like of a shared one.
void with_a_file_system(const char* size, const std::function<void(const std::string&)>& test) {
  const Scratch scratch;
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (::unshare(CLONE_NEWNS | (uid == 0 ? 0 : CLONE_NEWUSER)) != 0) ::_exit(10);
    if (uid != 0) {
      std::ofstream("/proc/self/setgroups") << "deny";
      std::ofstream("/proc/self/uid_map") << uid << ' ' << uid << " 1\n";
      std::ofstream("/proc/self/gid_map") << gid << ' ' << gid << " 1\n";
    }
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", scratch.outside.c_str(), "tmpfs", 0, size) != 0)
      ::_exit(11);
    test(scratch.outside.native());
    std::fflush(nullptr);
    ::_exit(testing::Test::HasFailure() ? 12 : 0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0) << WEXITSTATUS(status)
                       << ": 10 is no namespace, 11 no mount, 12 that the test failed";
}
constexpr const char* kRoomy = "size=1g";

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

TEST(Limits, AForkBombStopsAtTheLimit) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  auto options = in(scratch);
  options.policy.limits.n_processes = 50;
  const auto ran = run({"python3", "-c", R"py(
import os, time
n = 0
while True:
    try:
        if os.fork() == 0: time.sleep(60)
        n += 1
    except OSError as e:
        print(n, e.errno); break
)py"},
                       options);
  if (ran.output.find("processes are more than 50") != std::string::npos)
    return;  // root's worktree without an id map
  int n = 0, error = 0;
  ASSERT_EQ(std::sscanf(ran.output.c_str(), "%d %d", &n, &error), 2) << ran.output << ran.error;
  EXPECT_EQ(error, EAGAIN);
  EXPECT_LT(n, 50);
  EXPECT_GT(n, 40);
}

// Sixty workers of ten threads, as test runners start them; a thread counts as a process does.
TEST(Limits, LeaveRoomForTheWorkersOfATestRunner) {
  EXPECT_GE(Limits().n_processes, 4096);
  EXPECT_GE(Limits().memory_bytes, 4ull << 30);
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  const auto ran = run({"python3", "-c", R"py(
import threading
end = threading.Event()
workers = [threading.Thread(target=end.wait) for _ in range(600)]
for worker in workers: worker.start()
end.set()
print('done')
)py"},
                       in(scratch));
  EXPECT_EQ(ran.output, "done\n") << ran.error;
}

TEST(Limits, AFileStopsAtItsSize) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  auto options = in(scratch);
  options.policy.limits.file_bytes = 1 << 20;
  EXPECT_FALSE(shell("dd if=/dev/zero of=big bs=65536 count=64 2>&1", options).ok());
  EXPECT_EQ(std::filesystem::file_size(scratch.wt / "big"), 1u << 20);
}

// Many files, each as small as anyone's: what counts is the file system.
TEST(Limits, GrowthOfTheWorktreeStopsAtItsBytes) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  with_a_file_system(kRoomy, [](const std::string& below) {
    const Scratch scratch(below);
    auto options = in(scratch);
    options.policy.limits.growth_bytes = 32 << 20;
    const auto ran = shell(
        "i=0; while [ $i -lt 4000 ]; do head -c 1048576 /dev/zero > f$i; i=$((i+1)); done; echo "
        "done",
        options);
    EXPECT_FALSE(ran.timed_out);
    EXPECT_EQ(ran.exit.signal, SIGKILL);
    EXPECT_NE(
        ran.output.find("sandbox: killed, the command's processes have taken more than 32 MiB "
                        "of the worktree's file system"),
        std::string::npos)
        << ran.output;
  });
}

TEST(Limits, GrowthOfTheWorktreeStopsAtItsFiles) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  with_a_file_system(kRoomy, [](const std::string& below) {
    const Scratch scratch(below);
    auto options = in(scratch);
    options.policy.limits.growth_inodes = 2000;
    // Of a job in the background, whose orphans end all the time.
    const auto ran = run({"python3", "-c", R"py(
import os, time
if os.fork() == 0:
    for i in range(10**6):
        os.close(os.open(f'f{i}', os.O_CREAT | os.O_WRONLY))
        if i % 100 == 0 and os.fork() == 0:
            if os.fork() == 0: time.sleep(0.05)
            os._exit(0)
time.sleep(60)
)py"},
                         options);
    EXPECT_FALSE(ran.timed_out);
    EXPECT_EQ(ran.exit.signal, SIGKILL);
    EXPECT_NE(ran.output.find("have made more than 2000 files in the worktree's file system"),
              std::string::npos)
        << ran.output;
  });
}

TEST(Limits, GrowthLeavesWhatOthersNeed) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  with_a_file_system(kRoomy, [](const std::string& below) {
    const Scratch scratch(below);
    auto options = in(scratch);
    // As much as there is: half of what was free is then the floor, which the command is far from.
    const auto free = std::filesystem::space(scratch.wt).available;
    options.policy.limits.free_bytes = free;
    EXPECT_EQ(shell("head -c 16777216 /dev/zero > f; sleep 0.6; echo done", options).output,
              "done\n");
  });
}

// On a file system of 64 MiB, which the test mounts for itself: two percent and half of what was
// free are the same to a full disk.
TEST(Limits, GrowthStopsBeforeTheFileSystemIsFull) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  with_a_file_system("size=64m", [](const std::string& below) {
    const Scratch scratch(below);
    const auto ran = shell(
        "i=0; while [ $i -lt 60 ]; do head -c 1048576 /dev/zero > f$i; sleep 0.02; i=$((i+1)); "
        "done; while :; do :; done",
        in(scratch));
    EXPECT_NE(ran.output.find("MiB free in the worktree's file system"), std::string::npos)
        << ran.error << ran.output;
    EXPECT_EQ(ran.exit.signal, SIGKILL);
  });
}

// What is removed again is not taken, and neither is what the host writes while the command waits.
TEST(Limits, GrowthCountsWhatIsKeptByTheCommand) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  with_a_file_system(kRoomy, [](const std::string& below) {
    const Scratch scratch(below);
    auto options = in(scratch);
    options.policy.limits.growth_bytes = 256 << 20;
    EXPECT_EQ(shell("for i in 1 2 3 4 5 6 7; do head -c 67108864 /dev/zero > f; sleep 0.3; rm f; "
                    "sleep 0.3; done; echo done",
                    options)
                  .output,
              "done\n");
    std::atomic<bool> over = false;
    std::thread host([&] {
      while (scratch.read("waits") == "<absent>" && !over)
        std::this_thread::sleep_for(milliseconds(20));
      std::this_thread::sleep_for(milliseconds(600));
      std::ofstream file(scratch.outside / "large", std::ios::binary);
      const std::string block(1 << 20, 'x');
      for (int i = 0; i < 320; ++i) file << block << std::flush;
    });
    EXPECT_EQ(shell("touch waits; sleep 5; echo done", options).output, "done\n");
    over = true;
    host.join();
  });
}

// The same while the command works.
TEST(Limits, GrowthOfOthersIsNotTheCommands) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  with_a_file_system(kRoomy, [](const std::string& below) {
    const Scratch scratch(below);
    scratch.write("old", std::string(1 << 20, 'x'));
    auto options = in(scratch);
    options.policy.limits.growth_bytes = 128 << 20;
    std::atomic<bool> over = false;
    std::thread host([&] {
      while (scratch.read("works") == "<absent>" && !over)
        std::this_thread::sleep_for(milliseconds(20));
      std::ofstream file(scratch.outside / "large", std::ios::binary);
      const std::string block(1 << 20, 'x');
      for (int i = 0; i < 192; ++i) file << block << std::flush;
      file.close();
      std::this_thread::sleep_for(milliseconds(1500));
      std::ofstream(scratch.wt / "end") << "x";
    });
    const auto ran = shell(
        "touch works; while [ ! -s end ]; do head -c 4096 /dev/zero > own; done; "
        "echo done",
        options);
    over = true;
    host.join();
    EXPECT_EQ(ran.output, "done\n");
  });
}

// Who waits for it does not run.
TEST(Limits, GrowthByThreadsAndTheirChildrenCounts) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  with_a_file_system(kRoomy, [](const std::string& below) {
    for (const char* work :
         {"f = open('f', 'wb')\n  for i in range(16): f.write(bytes(12 << 20)); f.flush(); "
          "time.sleep(0.2)\n  while True: pass",
          "subprocess.run(['sh', '-c', 'for i in 1 2 3 4 5 6 7 8; do head -c 25165824 /dev/zero > "
          "$i; "
          "sleep 0.4; done; while :; do :; done'])"}) {
      const Scratch scratch(below);
      auto options = in(scratch);
      options.policy.limits.growth_bytes = 32 << 20;
      const auto ran = run(
          {"python3", "-c",
           "import subprocess, threading, time\ndef work():\n  " + std::string(work) +
               "\nt = threading.Thread(target=work)\nt.start()\nt.join()\n"
               "print('done')\n"},
          options);
      EXPECT_NE(ran.output.find("have taken more than 32 MiB"), std::string::npos)
          << work << ran.output;
    }
  });
}

// What is kept from a look counts as all that was taken.
TEST(Limits, GrowthThatIsOutOfSightCounts) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  with_a_file_system(kRoomy, [](const std::string& below) {
    for (const char* script : {R"py(
import os, time
os.mkdir('d')
files = [open(f'd/{i}', 'wb') for i in range(100)]
os.chmod('d', 0)
for file in files: file.write(bytes(1 << 20)); file.flush()
time.sleep(0.1)
while True: pass
)py",
                               R"py(
import os, time
held = []
for i in range(100):
    held.append(open('f', 'wb')); os.unlink('f'); os.posix_fallocate(held[-1].fileno(), 0, 1 << 20)
while True: pass
)py",
                               R"py(
import mmap, os
held = []
for i in range(100):
    with open('f', 'w+b') as f:
        os.posix_fallocate(f.fileno(), 0, 1 << 20); held.append(mmap.mmap(f.fileno(), 4096))
    os.unlink('f')
while True: pass
)py",
                               // A table of descriptors of a thread's own, by close_range(2).
                               R"py(
import ctypes, os, threading
def work():
    ctypes.CDLL(None).syscall(436, 900, 900, 2)
    held = []
    for i in range(100):
        held.append(open('f', 'wb')); os.unlink('f')
        os.posix_fallocate(held[-1].fileno(), 0, 1 << 20)
    while True: pass
threading.Thread(target=work).start()
)py",
                               // The first thread ends, and only that.
                               R"py(
import ctypes, os, threading, time
def work():
    time.sleep(0.3)
    held = []
    for i in range(100):
        held.append(open('f', 'wb')); os.unlink('f')
        os.posix_fallocate(held[-1].fileno(), 0, 1 << 20)
    while True: pass
threading.Thread(target=work).start()
ctypes.CDLL(None).syscall(60, 0)
)py"}) {
      const Scratch scratch(below);
      auto options = in(scratch);
      options.policy.limits.growth_bytes = 32 << 20;
      const auto ran = run({"python3", "-c", script}, options);
      EXPECT_FALSE(ran.timed_out) << script;
      EXPECT_NE(ran.output.find("have taken more than 32 MiB"), std::string::npos)
          << script << ran.output;
    }
  });
}

TEST(Limits, AProcessStopsAtItsCpuTime) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  auto options = in(scratch);
  options.policy.limits.cpu_seconds = 1;
  const auto polite = shell("while :; do :; done", options);
  EXPECT_FALSE(polite.timed_out);
  EXPECT_EQ(polite.exit.signal, SIGXCPU) << polite.output;
  const auto stubborn = shell("trap '' XCPU; while :; do :; done", options);
  EXPECT_FALSE(stubborn.timed_out);
  EXPECT_EQ(stubborn.exit.signal, SIGKILL) << stubborn.output;
}

TEST(Limits, CpuTimeOfHoursIsTheDefaultAndCannotBeRaised) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  EXPECT_EQ(shell("ulimit -S -t; ulimit -t unlimited 2>/dev/null || echo kept", in(scratch)).output,
            std::to_string(Limits().cpu_seconds) + "\nkept\n");
}

TEST(Limits, ThePrivateTempDirectoryIsBounded) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  const auto ran = shell("dd if=/dev/zero of=/run/fill bs=65536 count=100 2>&1", in(scratch));
  EXPECT_NE(ran.output.find("No space left"), std::string::npos) << ran.output;
}

TEST(Limits, MemoryOfTheWholeTreeIsBounded) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  auto options = in(scratch);
  options.policy.limits.memory_bytes = 128 << 20;
  // Three processes of 64 MiB: none is over the limit alone.
  const std::string eat = "import time; b = bytearray(64 << 20); time.sleep(60)";
  const auto ran = shell(
      "python3 -c '" + eat + "' & python3 -c '" + eat + "' & python3 -c '" + eat + "'; wait",
      options);
  EXPECT_FALSE(ran.timed_out);
  EXPECT_EQ(ran.exit.signal, SIGKILL);
  EXPECT_NE(ran.output.find("use more than 128 MiB"), std::string::npos) << ran.output;
}

// What is in no process's own memory counts too, or a bomb would be made of it.
class MemoryBomb : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(MemoryBomb, IsContained) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  scratch.write("bomb.py", GetParam().second);
  auto options = in(scratch);
  options.policy.limits.memory_bytes = 96 << 20;
  const auto ran = run({"python3", "bomb.py"}, options);
  EXPECT_FALSE(ran.timed_out);
  EXPECT_EQ(ran.exit.signal, SIGKILL);
  EXPECT_NE(ran.output.find("use more than 96 MiB"), std::string::npos) << ran.output;
}

INSTANTIATE_TEST_SUITE_P(
    , MemoryBomb,
    testing::Values(
        std::pair("OneProcess", "import time\nb = bytearray(128 << 20)\ntime.sleep(60)\n"),
        std::pair("OfAThreadThatOutlivesTheFirst",
                  "import ctypes, threading, time\ndef work():\n  time.sleep(0.3)\n"
                  "  b = bytearray(128 << 20)\n  time.sleep(60)\n"
                  "threading.Thread(target=work).start()\nctypes.CDLL(None).syscall(60, 0)\n"),
        // A look that waits for a pause between ends never comes.
        std::pair("AmongOrphansThatEnd",
                  "import os, time\nb = bytearray(128 << 20)\nwhile True:\n  if os.fork() == 0:\n  "
                  "  os.fork()\n    os._exit(0)\n"
                  "  os.wait()\n  time.sleep(0.02)\n"),
        std::pair("FilesInMemory",
                  "import os, time\nfor i in range(4): os.write(os.memfd_create('x'), bytes(32 << "
                  "20))\ntime.sleep(60)\n"),
        std::pair("FilesInMemoryOfOneThread",  // with descriptors of its own, by close_range(2)
                  "import ctypes, os, threading, time\ndef work():\n"
                  "  ctypes.CDLL(None).syscall(436, 900, 900, 2)\n"
                  "  for i in range(4): os.write(os.memfd_create('x'), bytes(32 << 20))\n"
                  "  time.sleep(60)\nthreading.Thread(target=work).start()\n"),
        std::pair("SharedMemory",
                  "import mmap, time\nm = mmap.mmap(-1, 128 << 20)\nfor i in range(0, 128 << 20, "
                  "4096): m[i] = 1\ntime.sleep(60)\n"),
        std::pair("Segments",
                  "import ctypes, time\nc = ctypes.CDLL(None)\nc.shmat.restype = ctypes.c_void_p\n"
                  "for i in range(4):\n  a = c.shmat(c.shmget(0, 32 << 20, 0o600), None, 0)\n  "
                  "ctypes.memset(a, 1, 32 << 20)\n"
                  "  c.shmdt(ctypes.c_void_p(a))\ntime.sleep(60)\n")),  // attached to no process
                                                                        // any more
    [](const auto& tested) { return tested.param.first; });

TEST(Limits, MemoryThatIsSharedCountsOnce) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  scratch.write(
      "pool.py",
      "import mmap, os, time\nm = mmap.mmap(-1, 48 << 20)\nfor i in range(0, 48 << 20, 4096): m[i] "
      "= 1\n"
      "for n in range(3):\n  if os.fork() == 0:\n    sum(m[::4096]); time.sleep(1); os._exit(0)\n"
      "for n in range(3): os.wait()\nprint('done')\n");
  auto options = in(scratch);
  options.policy.limits.memory_bytes = 128 << 20;  // 48 MiB four times is more
  EXPECT_EQ(run({"python3", "pool.py"}, options).output, "done\n");
}

// Nobody reads between two commands, and a job may have filled the pipe.
TEST(Limits, HoldWhileNobodyReads) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  auto options = in(scratch);
  options.policy.limits.memory_bytes = 128 << 20;
  options.reads_at_the_end = true;
  const auto ran = shell(
      "yes flood & exec python3 -c 'import time; time.sleep(0.5); "
      "b = bytearray(192 << 20); time.sleep(3600)'",
      options);
  EXPECT_FALSE(ran.timed_out);
  EXPECT_EQ(ran.exit.signal, SIGKILL);
  EXPECT_TRUE(ran.output.starts_with("flood\n"));
  EXPECT_TRUE(ran.output.ends_with("use more than 128 MiB of memory together\n"))
      << ran.output.size();
}

// Workers that were forked from a large process: until they write to a page it is one.
TEST(Limits, MemoryThatForksShareCountsOnce) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  auto options = in(scratch);
  options.policy.limits.memory_bytes = 128 << 20;
  const auto ran = run({"python3", "-c", R"py(
import os, time
held = bytearray(60 << 20)
for n in range(4):
    if os.fork() == 0: time.sleep(1.5); os._exit(0)
for n in range(4): os.wait()
print('done')
)py"},
                       options);
  EXPECT_EQ(ran.output, "done\n");
  const auto written = run({"python3", "-c", R"py(
import os, time
held = bytearray(60 << 20)
for n in range(4):
    if os.fork() == 0:
        for i in range(0, len(held), 4096): held[i] = 1
        time.sleep(60)
for n in range(4): os.wait()
)py"},
                           options);
  EXPECT_NE(written.output.find("use more than 128 MiB"), std::string::npos) << written.output;
}

// As a child of vfork(2) is for as long as its program takes to start.
TEST(Limits, MemoryOfTwoProcessesCountsOnce) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  auto options = in(scratch);
  options.policy.limits.memory_bytes = 128 << 20;
  const auto ran = run({"python3", "-c", R"py(
import ctypes, os, signal, time
held = bytearray(80 << 20)
libc = ctypes.CDLL(None)
stack = ctypes.create_string_buffer(1 << 16)
top = (ctypes.addressof(stack) + len(stack)) & ~15
CLONE_VM = 0x100
child = libc.clone(ctypes.cast(libc.pause, ctypes.c_void_p), ctypes.c_void_p(top),
                   CLONE_VM | signal.SIGCHLD, None)
time.sleep(1.5)
os.kill(child, signal.SIGKILL)
print('done' if os.waitpid(child, 0)[0] == child else 'no child')
)py"},
                       options);
  EXPECT_EQ(ran.output, "done\n") << ran.error;
}

TEST(Limits, AFloodOfOutputIsCutByTheReader) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  auto options = in(scratch);
  options.output_max = 4 << 20;
  const auto ran = shell("yes flood & yes flood & yes flood", options);
  EXPECT_EQ(ran.exit.signal, SIGKILL);
  EXPECT_LT(ran.output.size(), 6u << 20);
  EXPECT_FALSE(ran.timed_out);
}

TEST(Limits, ALineWithoutAnEndIsCutToo) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  const auto ran = shell("head -c 100000000 /dev/zero", in(scratch));
  EXPECT_EQ(ran.exit.signal, SIGKILL);
  EXPECT_LT(ran.output.size(), 2u << 20);
}

TEST(Limits, SharedMemoryFilesAreBounded) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  // The smallest of them, so that the machine's memory is not the price; the others differ by a
  // number.
  const auto ran = shell(
      "dd if=/dev/zero of=/dev/fill bs=4096 count=100 2>&1; for d in /mnt /home /srv; do dd "
      "if=/dev/zero of=$d/fill bs=65536 count=100 2>&1; done",
      in(scratch));
  EXPECT_EQ(ran.output.find("100+0 records out"), std::string::npos) << ran.output;
}

TEST(Limits, NonTextOutputArrivesAsItIs) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  EXPECT_EQ(shell("printf 'a\\000\\377\\033[1mb'", in(scratch)).output,
            std::string("a\0\377\033[1mb", 8));
}

}  // namespace
}  // namespace lares::sandbox::test
