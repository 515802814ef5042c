// The limits of what a whole tree keeps in memory, in processes and out of sight of them.
#include <signal.h>

#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "tests/sandbox/run.h"

namespace lares::sandbox::test {
namespace {

TEST(MemoryLimits, MemoryOfTheWholeTreeIsBounded) {
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

TEST(MemoryLimits, MemoryThatIsSharedCountsOnce) {
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
TEST(MemoryLimits, HoldWhileNobodyReads) {
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
TEST(MemoryLimits, MemoryThatForksShareCountsOnce) {
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
TEST(MemoryLimits, MemoryOfTwoProcessesCountsOnce) {
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

TEST(MemoryLimits, SharedMemoryFilesAreBounded) {
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

}  // namespace
}  // namespace lares::sandbox::test
