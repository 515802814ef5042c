// What is said of GPUs, on machines that have none: drivers that answer as real ones do, built here
// as libraries of a few lines.
#include "engine/gpus.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/temporary_directory.h"

namespace lares::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

class Drivers : public testing::Test {
 protected:
  void SetUp() override { fs::create_directory(directory_ + "/dev"); }

  // A library with a driver's functions; `init` is what cuInit gives, and there are GPUs of these
  // capabilities.
  GpuPlaces driver(int init, int version, const std::string& majors, int count) {
    const std::string source = directory_ + "/driver.c", library = directory_ + "/libcuda.so.1";
    std::ofstream(source)
        << "#include <stddef.h>\n#include <stdio.h>\n#include <string.h>\n"
        << "static const int majors[] = {" << majors << "};\n"
        << "int cuInit(unsigned f) { return " << init << "; }\n"
        << "int cuDriverGetVersion(int* v) { *v = " << version << "; return 0; }\n"
        << "int cuDeviceGetCount(int* n) { *n = " << count << "; return 0; }\n"
        << "int cuDeviceGet(int* d, int i) { *d = i; return 0; }\n"
        << "int cuDeviceGetName(char* s, int n, int d) { strncpy(s, \"NVIDIA Test\", n); return 0; "
           "}\n"
        << "int cuDeviceGetAttribute(int* v, int a, int d) { *v = a == 75 ? majors[d] : a == 97 ? "
        << shared_ << " << 10 : 0; return 0; }\n"
        << "int cuDeviceTotalMem_v2(size_t* n, int d) { *n = 81559ull << 20; return 0; }\n"
        << "static int context(void) { fclose(fopen(\"" << directory_
        << "/context\", \"w\")); return 0; }\n"
        << "int cuCtxCreate_v2(void** c, unsigned f, int d) { return context(); }\n"
        << "int cuDevicePrimaryCtxRetain(void** c, int d) { return context(); }\n"
        << "int cuMemGetInfo_v2(size_t* f, size_t* t) { *f = *t = 0; return context(); }\n"
        << "int cuGetErrorString(int e, const char** s) { *s = \"something is wrong\"; return 0; "
           "}\n";
    const std::string command = "cc -shared -fPIC -o " + library + " " + source + " 2>/dev/null";
    if (std::system(command.c_str()) != 0) ADD_FAILURE() << "cannot build " << source;
    return places(library);
  }
  GpuPlaces places(const std::string& library) const {
    return {.library = library, .proc = directory_ + "/proc", .dev = directory_ + "/dev"};
  }

  const TemporaryDirectory made_;
  const std::string directory_ = made_.path();
  int shared_ = 227;  // KiB that a block may have
};

TEST_F(Drivers, NoneIsNoFault) {
  const auto report = find_gpus(places("liblares-no-such-driver.so.1"));
  EXPECT_TRUE(report.gpus.empty());
  EXPECT_FALSE(report.expected);
  EXPECT_THAT(gpu_lines(report), ElementsAre(HasSubstr("no NVIDIA driver is installed")));
}

TEST_F(Drivers, ADeviceWithoutALibraryIsSaid) {
  std::ofstream(directory_ + "/dev/nvidia0");
  const auto report = find_gpus(places("liblares-no-such-driver.so.1"));
  EXPECT_TRUE(report.expected);
  EXPECT_THAT(gpu_lines(report), ElementsAre(testing::AllOf(HasSubstr("shows an NVIDIA GPU"),
                                                            HasSubstr("liblares-no-such-driver"))));
}

TEST_F(Drivers, ThatDoNotStartSayWhy) {
  const auto broken = find_gpus(driver(999, 13000, "9", 1));
  EXPECT_THAT(gpu_lines(broken), ElementsAre(HasSubstr("something is wrong (999)")));
  const auto empty = find_gpus(driver(100, 13000, "9", 1));
  EXPECT_THAT(gpu_lines(empty), ElementsAre(HasSubstr("finds no GPU")));
}

TEST_F(Drivers, EachGpuAndWhatItCan) {
  const auto report = find_gpus(driver(0, 13000, "9, 7", 2));
  ASSERT_EQ(report.gpus.size(), 2u);
  EXPECT_EQ(report.gpus[0].sm, 90);
  EXPECT_EQ(report.gpus[0].unused, "");
  EXPECT_THAT(report.gpus[1].unused, HasSubstr("7.0"));
  const auto lines = gpu_lines(report);
  ASSERT_EQ(lines.size(), 3u);
  // By the number that `device` takes
  EXPECT_EQ(lines[0], "0: NVIDIA Test, 85.5 GB, compute capability 9.0, driver for CUDA 13.0");
  EXPECT_THAT(lines[1], testing::AllOf(testing::StartsWith("1: "), HasSubstr("not usable")));
  EXPECT_THAT(lines[2], HasSubstr("not used: "));
  EXPECT_THAT(gpu_lines(find_gpus(driver(0, 13000, "9", 1)))[0],
              testing::StartsWith("NVIDIA Test, "));
}

// A context takes hundreds of MB of each GPU and a good part of a second, so who lists GPUs, as
// `lares doctor` does, makes none, and does not hear what is free.
TEST_F(Drivers, ListingThemMakesNoContext) {
  ASSERT_EQ(find_gpus(driver(0, 13000, "9, 9", 2)).gpus.size(), 2u);
  EXPECT_FALSE(fs::exists(directory_ + "/context"));
}

// Where nothing else keeps them from being used, what to say: those that can, by number.
TEST_F(Drivers, SeveralAreNamedTogether) {
  if (!find_gpus(driver(0, 13000, "9", 1)).built)
    GTEST_SKIP() << "this program was built without CUDA, and says that instead";
  EXPECT_THAT(find_gpus(driver(0, 13000, "9, 7, 8", 3)).unused,
              HasSubstr("`lares config set device cuda:0`, or cuda:0,2 for all of them;"));
  EXPECT_THAT(find_gpus(driver(0, 13000, "7, 8", 2)).unused,
              HasSubstr("`lares config set device cuda:1`;"));
}

// Of the same generations, with less shared memory than the kernels ask for.
TEST_F(Drivers, SmallChipsAreNamed) {
  shared_ = 99;
  const auto small = find_gpus(driver(0, 13000, "8", 1));
  EXPECT_THAT(small.gpus[0].unused, HasSubstr("99 KiB of shared memory a block"));
  EXPECT_THAT(small.unused, HasSubstr("none of them can run the kernels"));
  shared_ = 163;
  EXPECT_EQ(find_gpus(driver(0, 13000, "8", 1)).gpus[0].unused, "");
}

TEST_F(Drivers, OldOnesAreNamed) {
  const auto old = find_gpus(driver(0, 12020, "9", 1));
  EXPECT_THAT(old.unused, HasSubstr("runs CUDA 12.2, and the kernels need CUDA 1"));
  EXPECT_THAT(find_gpus(driver(0, 13000, "7", 1)).unused,
              HasSubstr("none of them can run the kernels"));
}

}  // namespace
}  // namespace lares::engine
