// Control groups: the files' logic on a directory that only looks like one, and the real ones where
// they can be written.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include <gtest/gtest.h>

#include "sandbox/cgroup.h"
#include "tests/sandbox/run.h"

namespace lares::sandbox::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMounts =
    "22 1 0:20 / / rw - ext4 /dev/vda rw\n"
    "30 22 0:27 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
    "40 22 0:41 / /proc rw - proc proc rw\n";

TEST(GroupDirectory, IsBelowTheMount) {
  EXPECT_EQ(group_directory(kMounts, "0::/user.slice/a.scope\n"),
            "/sys/fs/cgroup/user.slice/a.scope");
  EXPECT_EQ(group_directory(kMounts, "4:memory:/x\n0::/\n"), "/sys/fs/cgroup");
}

TEST(GroupDirectory, FollowsAMountOfAPart) {
  const std::string mounts = "30 22 0:27 /docker/7 /sys/fs/cgr\\040oup rw - cgroup2 cgroup2 rw\n";
  EXPECT_EQ(group_directory(mounts, "0::/docker/7/a\n"), "/sys/fs/cgr oup/a");
  EXPECT_EQ(group_directory(mounts, "0::/docker/7\n"), "/sys/fs/cgr oup");
  EXPECT_EQ(group_directory(mounts, "0::/docker/77\n"), "");
}

TEST(GroupDirectory, IsNowhereWithoutVersionTwoOrOutsideTheNamespace) {
  EXPECT_EQ(group_directory("30 22 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
                            "4:memory:/x\n0::/\n"),
            "");
  EXPECT_EQ(group_directory(kMounts, "4:memory:/x\n"), "");
  EXPECT_EQ(group_directory(kMounts, "0::/../other\n"), "");
  EXPECT_EQ(group_directory("garbage\n- cgroup2\n\n", "0::/a"), "");
}

// A directory with the files of a group; what the kernel would answer must be written by the test.
class Fake {
 public:
  Fake() {
    dir = scratch.dir / "group";
    fs::create_directory(dir);
    for (const char* name : {"cgroup.type", "cgroup.procs", "cgroup.subtree_control"})
      set(name, "");
    set("cgroup.controllers", "cpuset cpu io memory pids");
  }
  void set(const std::string& name, const std::string& text) const {
    fs::create_directories((dir / name).parent_path());
    std::ofstream(dir / name) << text;
  }
  std::string get(const fs::path& name) const {
    std::ifstream file(dir / name);
    return file ? std::string(std::istreambuf_iterator<char>(file), {}) : "<absent>";
  }
  const Scratch scratch;
  fs::path dir;
};

TEST(Delegation, IsTakenWhenAllInTheGroupIsOurs) {
  const Fake fake;
  fake.set("cgroup.procs", std::to_string(::getpid()) + "\n");
  const auto found = take_group(fake.dir, ::getpid());
  EXPECT_EQ(found.dir, fake.dir) << found.why;
  EXPECT_EQ(fake.get("lares-daemon/cgroup.procs"), std::to_string(::getpid()));
  EXPECT_NE(fake.get("cgroup.subtree_control"), "") << "no controller was turned on";
}

TEST(Delegation, LookingChangesNothing) {
  const Fake fake;
  fake.set("cgroup.procs", std::to_string(::getpid()) + "\n");
  const auto found = look_at_group(fake.dir, ::getpid());
  EXPECT_TRUE(found.memory && found.processes && found.cpu) << found.why;
  EXPECT_EQ(fake.get("lares-daemon/cgroup.procs"), "<absent>");
  EXPECT_EQ(fake.get("cgroup.subtree_control"), "");
}

TEST(Delegation, AGroupSharedWithOthersIsLeftAlone) {
  const Fake fake;
  fake.set("cgroup.procs", std::to_string(::getpid()) + "\n1\n");
  const auto found = take_group(fake.dir, ::getpid());
  EXPECT_EQ(found.dir, "");
  EXPECT_NE(found.why.find("shared with other processes, as 1"), std::string::npos) << found.why;
  EXPECT_EQ(fake.get("lares-daemon/cgroup.procs"), "<absent>");
}

TEST(Delegation, AChildsLeafLeadsToTheGroupAbove) {
  const Fake fake;
  fake.set("lares-daemon/cgroup.procs", std::to_string(::getpid()));
  fake.set("lares-daemon/cgroup.subtree_control", "");
  fake.set("cgroup.subtree_control", "memory pids");
  const auto found = look_at_group(fake.dir / "lares-daemon", ::getpid());
  EXPECT_EQ(found.dir, fake.dir) << found.why;
}

TEST(Delegation, WithoutMemoryItSaysSo) {
  const Fake fake;
  fake.set("cgroup.controllers", "pids");
  const auto found = look_at_group(fake.dir, ::getpid());
  EXPECT_FALSE(found.memory);
  EXPECT_TRUE(found.processes);
  EXPECT_NE(found.why.find("has no memory controller"), std::string::npos) << found.why;
}

TEST(Delegation, LeftoversOfDeadDaemonsGo) {
  const Fake fake;
  const pid_t gone = ::fork();
  if (gone == 0) ::_exit(0);
  ::waitpid(gone, nullptr, 0);
  const auto dead = fake.dir / ("lares-" + std::to_string(gone) + "-1"),
             alive = fake.dir / ("lares-" + std::to_string(::getpid()) + "-1");
  for (const auto& dir : {dead, alive, fake.dir / "lares-notes"}) fs::create_directory(dir);
  take_group(fake.dir, ::getpid());
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_TRUE(fs::exists(alive));
  EXPECT_TRUE(fs::exists(fake.dir / "lares-notes"));
}

TEST(Delegation, IsRefusedToWhoMayNotWrite) {
  if (::geteuid() == 0)
    GTEST_SKIP() << "root may write everywhere; the run as an ordinary user shows it";
  const auto found = look_at_group("/", ::getpid());
  EXPECT_NE(found.why.find("is not delegated"), std::string::npos) << found.why;
}

TEST(Group, HasItsLimitsWritten) {
  const Fake fake;
  Limits limits;
  limits.memory_bytes = 64 << 20;
  limits.n_processes = 33;
  const auto group = Group::make({.dir = fake.dir, .memory = true, .processes = true, .cpu = true},
                                 limits);
  ASSERT_TRUE(group) << group.error();
  const fs::path dir = (*group)->dir();
  EXPECT_EQ(fake.get(dir / "memory.max"), "67108864");
  EXPECT_EQ(fake.get(dir / "memory.swap.max"), "0");
  EXPECT_EQ(fake.get(dir / "memory.oom.group"), "1");
  EXPECT_EQ(fake.get(dir / "pids.max"), "33");
  EXPECT_EQ(fake.get(dir / "cpu.weight"), "20");
  EXPECT_EQ(fake.get(dir / "cgroup.kill"), "<absent>");
  (*group)->kill();
  EXPECT_EQ(fake.get(dir / "cgroup.kill"), "1");
}

TEST(Group, AsksOnlyForWhatIsThere) {
  const Fake fake;
  const auto group = Group::make({.dir = fake.dir, .processes = true}, Limits());
  ASSERT_TRUE(group) << group.error();
  EXPECT_EQ(fake.get(fs::path((*group)->dir()) / "memory.max"), "<absent>");
  EXPECT_EQ(fake.get(fs::path((*group)->dir()) / "pids.max"), std::to_string(Limits().n_processes));
}

TEST(Group, SaysWhereItCouldNotBeMade) {
  const auto group = Group::make({.dir = "/nonexistent"}, Limits());
  ASSERT_FALSE(group);
  EXPECT_NE(group.error().find("make the control group /nonexistent/lares-"), std::string::npos)
      << group.error();
}

TEST(Group, EndsItsProcessesAndGoes) {
  std::ifstream mounts("/proc/self/mountinfo"), own("/proc/self/cgroup");
  const std::string all(std::istreambuf_iterator<char>(mounts), {}),
      mine(std::istreambuf_iterator<char>(own), {});
  const auto parent = group_directory(all, mine);
  auto group = Group::make({.dir = parent}, Limits());
  if (parent.empty() || !group)
    GTEST_SKIP() << "no control group can be made here: "
                 << (group ? "none is mounted" : group.error());
  const fs::path dir = (*group)->dir();
  const pid_t child = ::fork();
  if (child == 0) {
    std::ofstream(dir / "cgroup.procs") << 0;
    ::close(0);
    for (;;) ::pause();
  }
  const auto members = [&] {
    std::ifstream file(dir / "cgroup.procs");
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  while (members() != std::to_string(child) + "\n") ::usleep(1000);
  (*group)->kill();
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  group->reset();
  EXPECT_FALSE(fs::exists(dir));
}

TEST(Group, HoldsACommandWhereMemoryIsDelegated) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  if (const auto& here = delegation(); !here.memory)
    GTEST_SKIP() << "memory is not delegated here: " << here.why;
  const Scratch scratch;
  auto options = in(scratch);
  options.policy.limits.memory_bytes = 64 << 20;
  const auto ran = shell(
      "cat /proc/self/cgroup; python3 -c 'b = bytearray(128 << 20)'; echo survived", options);
  EXPECT_NE(ran.output.find("/lares-"), std::string::npos) << ran.output;
  EXPECT_EQ(ran.output.find("survived"), std::string::npos) << ran.output;
  EXPECT_NE(ran.output.find("use more than 64 MiB"), std::string::npos) << ran.output;
}

}  // namespace
}  // namespace lares::sandbox::test
