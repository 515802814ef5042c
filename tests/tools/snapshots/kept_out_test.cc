// Of a sparse checkout each snapshot asks git's index what is kept out: it is read again when it is
// another one, and only then. A stamp is trusted once the clock has gone on, so it does here.
#include <fcntl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdarg>
#include <string_view>

#include <gmock/gmock.h>

#include "tests/tools/snapshots/snapshot_worktree.h"

namespace {

long seconds_ahead = 0;
int n_index_reads = 0;

}  // namespace

// In the place of the C library's.
extern "C" int clock_gettime(clockid_t clock, timespec* now) noexcept {
  const int failed = static_cast<int>(::syscall(SYS_clock_gettime, clock, now));
  if (clock == CLOCK_REALTIME) now->tv_sec += seconds_ahead;
  return failed;
}
extern "C" int open(const char* path, int flags, ...) {
  std::va_list rest;
  va_start(rest, flags);
  const auto mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  n_index_reads += std::string_view(path).ends_with("/.git/index");
  return static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}

namespace lares::tools {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::IsEmpty;

class KeptOutOfSnapshots : public testing::Test {
 protected:
  void SetUp() override {
    git(here_.root(), "init");
    for (const char* path : {"top", "in/a", "far/b", "other/c"}) here_.write(path, "x\n");
    git(here_.root(), "add -A");
    git(here_.root(), "commit -m first");
    git(here_.root(), "sparse-checkout set in");
    seconds_ahead = 10;
  }
  void TearDown() override { seconds_ahead = 0; }
  const Worktree here_;
};

TEST_F(KeptOutOfSnapshots, TheIndexIsReadOnceWhileItIsTheSame) {
  auto snapshots = here_.open();
  EXPECT_THAT(snapshots.take("one")->kept_out, ElementsAre("far/", "other/"));
  n_index_reads = 0;
  here_.write("in/new", "new\n");
  EXPECT_THAT(snapshots.take("two")->kept_out, ElementsAre("far/", "other/"));
  here_.write("far/b", "written over it\n");  // which the index does not know
  EXPECT_THAT(snapshots.take("three")->kept_out, ElementsAre("other/"));
  here_.remove("far");
  EXPECT_THAT(snapshots.take("four")->kept_out, ElementsAre("far/", "other/"));
  EXPECT_EQ(n_index_reads, 0);
}

TEST_F(KeptOutOfSnapshots, AnIndexThatIsAnotherIsRead) {
  auto snapshots = here_.open();
  const auto kept_out = [&] { return snapshots.take("step")->kept_out; };
  EXPECT_THAT(kept_out(), ElementsAre("far/", "other/"));
  git(here_.root(), "sparse-checkout add far");
  EXPECT_THAT(kept_out(), ElementsAre("other/"));
  git(here_.root(), "sparse-checkout set --sparse-index in");
  EXPECT_THAT(kept_out(), ElementsAre("far/", "other/"));
  git(here_.root(), "rm -q --cached --sparse -r far");
  EXPECT_THAT(kept_out(), ElementsAre("other/"));
  git(here_.root(), "sparse-checkout disable");
  EXPECT_THAT(kept_out(), IsEmpty());
  git(here_.root(), "sparse-checkout set in");
  EXPECT_THAT(kept_out(), ElementsAre("other/"));
  std::filesystem::remove_all(here_.at(".git"));
  EXPECT_THAT(kept_out(), IsEmpty());
}

// Where it may be written again without another stamp.
TEST_F(KeptOutOfSnapshots, AnIndexOfThisMomentIsReadAgain) {
  seconds_ahead = 0;
  git(here_.root(), "update-index --force-write-index");
  auto snapshots = here_.open();
  EXPECT_THAT(snapshots.take("one")->kept_out, ElementsAre("far/", "other/"));
  n_index_reads = 0;
  EXPECT_THAT(snapshots.take("two")->kept_out, ElementsAre("far/", "other/"));
  EXPECT_GT(n_index_reads, 0);
}

}  // namespace
}  // namespace lares::tools
