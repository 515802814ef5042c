// Limits: processes, files, what a worktree grows by, CPU time, temporary files, output.
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/sandbox/run.h"

namespace lares::sandbox::test {
namespace {

using std::chrono::milliseconds, std::chrono::seconds, std::chrono::steady_clock;

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

// A worktree on a file system of its own, and the options of a command in it with these limits.
void with_growth(const Limits& limits,
                 const std::function<void(const Scratch&, const RunOptions&)>& test,
                 const char* size = kRoomy) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  with_a_file_system(size, [&](const std::string& below) {
    const Scratch scratch(below);
    auto options = in(scratch);
    options.policy.limits = limits;
    test(scratch, options);
  });
}

// It would take more, or hang for ever, and is killed with this said.
void grows_until_killed(const Limits& limits, const std::vector<std::string>& command,
                        const char* said, const char* size = kRoomy) {
  with_growth(
      limits,
      [&](const Scratch&, const RunOptions& options) {
        const auto ran = run(command, options);
        EXPECT_FALSE(ran.timed_out) << command.back();
        EXPECT_EQ(ran.exit.signal, SIGKILL) << command.back();
        EXPECT_NE(ran.output.find(said), std::string::npos)
            << command.back() << ran.error << ran.output;
      },
      size);
}
std::vector<std::string> sh(const std::string& script) { return {"sh", "-c", script}; }
std::vector<std::string> python(const std::string& script) { return {"python3", "-c", script}; }

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
  grows_until_killed(
      {.growth_bytes = 32 << 20},
      sh("i=0; while [ $i -lt 4000 ]; do head -c 1048576 /dev/zero > f$i; i=$((i+1)); done"),
      "sandbox: killed, the command's processes have taken more than 32 MiB of the worktree's file "
      "system");
}

TEST(Limits, GrowthOfTheWorktreeStopsAtItsFiles) {
  // Of a job in the background, whose orphans end all the time.
  grows_until_killed({.growth_inodes = 2000}, python(R"py(
import os, time
if os.fork() == 0:
    for i in range(10**6):
        os.close(os.open(f'f{i}', os.O_CREAT | os.O_WRONLY))
        if i % 100 == 0 and os.fork() == 0:
            if os.fork() == 0: time.sleep(0.05)
            os._exit(0)
time.sleep(60)
)py"),
                     "have made more than 2000 files in the worktree's file system");
}

TEST(Limits, GrowthLeavesWhatOthersNeed) {
  with_growth({}, [](const Scratch& scratch, RunOptions options) {
    // As much as there is: half of what was free is then the floor, which the command is far from.
    options.policy.limits.free_bytes = std::filesystem::space(scratch.wt).available;
    EXPECT_EQ(shell("head -c 16777216 /dev/zero > f; sleep 0.6; echo done", options).output,
              "done\n");
  });
}

// On a file system of 64 MiB, which the test mounts for itself: two percent and half of what was
// free are the same to a full disk.
TEST(Limits, GrowthStopsBeforeTheFileSystemIsFull) {
  grows_until_killed(
      {},
      sh("i=0; while [ $i -lt 60 ]; do head -c 1048576 /dev/zero > f$i; sleep 0.02; i=$((i+1)); "
         "done; while :; do :; done"),
      "MiB free in the worktree's file system", "size=64m");
}

// What is removed again is not taken, and neither is what the host writes while the command waits.
TEST(Limits, GrowthCountsWhatIsKeptByTheCommand) {
  with_growth({.growth_bytes = 256 << 20}, [](const Scratch& scratch, const RunOptions& options) {
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
  with_growth({.growth_bytes = 128 << 20}, [](const Scratch& scratch, const RunOptions& options) {
    scratch.write("old", std::string(1 << 20, 'x'));
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
  for (const char* work :
       {"f = open('f', 'wb')\n  for i in range(16): f.write(bytes(12 << 20)); f.flush(); "
        "time.sleep(0.2)\n  while True: pass",
        "subprocess.run(['sh', '-c', 'for i in 1 2 3 4 5 6 7 8; do head -c 25165824 /dev/zero > "
        "$i; "
        "sleep 0.4; done; while :; do :; done'])"})
    grows_until_killed(
        {.growth_bytes = 32 << 20},
        python("import subprocess, threading, time\ndef work():\n  " + std::string(work) +
               "\nt = threading.Thread(target=work)\nt.start()\nt.join()\nprint('done')\n"),
        "have taken more than 32 MiB");
}

// What is kept from a look counts as all that was taken.
TEST(Limits, GrowthThatIsOutOfSightCounts) {
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
)py"})
    grows_until_killed({.growth_bytes = 32 << 20}, python(script), "have taken more than 32 MiB");
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

}  // namespace
}  // namespace lares::sandbox::test
