#include "kernels/cgroups.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>

#include "tests/temporary_directory.h"

namespace lares::kernels {
namespace {

namespace fs = std::filesystem;

struct Cgroups : ::testing::Test {
  const TemporaryDirectory base;
  const CgroupPlaces places = {base / "membership", base / "mounts"};

  void membership(const std::string& text) { std::ofstream(places.membership) << text; }
  void file(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(places.mounts + "/" + path).parent_path());
    std::ofstream(places.mounts + "/" + path) << text << "\n";
  }
};

TEST_F(Cgroups, WhereThereAreNoneNothingIsLimited) {
  EXPECT_EQ(cgroup_cpus(places), 0);
  EXPECT_EQ(cgroup_memory_left(places), UINT64_MAX);
  membership("0::/a\n3:cpu:/b\nnonsense\n");
  EXPECT_EQ(cgroup_cpus(places), 0);
  EXPECT_EQ(cgroup_memory_left(places), UINT64_MAX);
}

TEST_F(Cgroups, TheTightestOfNestedGroupsCounts) {
  membership("0::/user.slice/session.scope\n");
  file("user.slice/session.scope/cpu.max", "max 100000");
  EXPECT_EQ(cgroup_cpus(places), 0);
  file("user.slice/cpu.max", "250000 100000");
  EXPECT_EQ(cgroup_cpus(places), 3);
  file("user.slice/session.scope/cpu.max", "150000 100000");
  EXPECT_EQ(cgroup_cpus(places), 2);
  file("elsewhere/cpu.max", "1000 100000");
  EXPECT_EQ(cgroup_cpus(places), 2);

  file("user.slice/memory.max", "10000");
  file("user.slice/memory.current", "7000");
  EXPECT_EQ(cgroup_memory_left(places), 3000u);
  file("user.slice/memory.stat", "anon 4000\nactive_file 500\ninactive_file 1500");
  EXPECT_EQ(cgroup_memory_left(places), 5000u);
  file("user.slice/session.scope/memory.max", "6000");
  file("user.slice/session.scope/memory.current", "5000");
  EXPECT_EQ(cgroup_memory_left(places), 1000u);
  file("user.slice/session.scope/memory.max", "max");
  EXPECT_EQ(cgroup_memory_left(places), 5000u);
}

TEST_F(Cgroups, Version1HasAMountForEachController) {
  membership("11:memory:/box\n4:cpu,cpuacct:/box\n1:name=systemd:/box\n");
  file("cpu,cpuacct/box/cpu.cfs_quota_us", "-1");
  file("cpu,cpuacct/box/cpu.cfs_period_us", "100000");
  EXPECT_EQ(cgroup_cpus(places), 0);
  file("cpu,cpuacct/box/cpu.cfs_quota_us", "400000");
  EXPECT_EQ(cgroup_cpus(places), 4);
  file("cpu/box/cpu.cfs_quota_us", "100000");  // a link to the other in the field, or the only one
  file("cpu/box/cpu.cfs_period_us", "100000");
  EXPECT_EQ(cgroup_cpus(places), 1);

  file("memory/box/memory.limit_in_bytes", "8000");
  file("memory/box/memory.usage_in_bytes", "7000");
  file("memory/box/memory.stat",
       "inactive_file 9999\ntotal_inactive_file 2000\ntotal_active_file 1000");
  EXPECT_EQ(cgroup_memory_left(places), 4000u);
}

// The path is the host's, and the mount begins at the group.
TEST_F(Cgroups, AContainersMountIsItsGroup) {
  membership("0::/kubepods/pod1/abc\n4:memory:/kubepods/pod1/abc\n");
  file("cpu.max", "200000 100000");
  file("memory/memory.limit_in_bytes", "5000");
  file("memory/memory.usage_in_bytes", "1000");
  EXPECT_EQ(cgroup_cpus(places), 2);
  EXPECT_EQ(cgroup_memory_left(places), 4000u);
}

}  // namespace
}  // namespace lares::kernels
