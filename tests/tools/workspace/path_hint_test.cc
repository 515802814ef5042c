#include "tools/workspace/path_hint.h"

#include <sys/inotify.h>

#include "tests/tools/scratch.h"
#include "tools/fd.h"

namespace lares::tools {
namespace {

TEST(PathHint, NamesTheFilesOfThatName) {
  test::Scratch dir;
  dir.write("src/util/clamp.py", "");
  EXPECT_EQ(path_hint(dir.root(), "clamp.py"), " There is src/util/clamp.py.");
  EXPECT_EQ(path_hint(dir.root(), "src/Clamp.py", "/r/"), " There is /r/src/util/clamp.py.");
  dir.write("lib/clamp.py", "");
  EXPECT_EQ(path_hint(dir.root(), "x/lib/clamp.py"),
            " There are lib/clamp.py and src/util/clamp.py.");
  for (const char* other : {"a", "b", "c"}) dir.write(std::string(other) + "/clamp.py", "");
  EXPECT_EQ(path_hint(dir.root(), "./util/clamp.py"),
            " There are src/util/clamp.py, a/clamp.py, b/clamp.py and 2 more.");
}
TEST(PathHint, ElseTheDirectoryThatIsThere) {
  test::Scratch dir;
  dir.write("src/util/clamp.py", "");
  EXPECT_EQ(path_hint(dir.root(), "src/utils/x.py"),
            " The directory src is there, utils is not in it.");
  EXPECT_EQ(path_hint(dir.root(), "nowhere/x.py"), "");
  EXPECT_EQ(path_hint(dir.root(), "src/util/x.py"), "");
  EXPECT_EQ(path_hint(dir.root(), ""), "");
}
TEST(PathHint, NoFileIsOpened) {
  test::Scratch dir;
  dir.write("src/clamp.py", "x = 1\n");
  dir.write("src/other.py", "x = 2\n");
  const Fd opens(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  ASSERT_GE(::inotify_add_watch(opens.get(), dir.at("src").c_str(), IN_OPEN), 0);
  EXPECT_EQ(path_hint(dir.root(), "clamp.py"), " There is src/clamp.py.");
  alignas(inotify_event) char events[4096];
  const ssize_t n = ::read(opens.get(), events, sizeof events);
  for (ssize_t at = 0; at < n;) {
    const auto* event = reinterpret_cast<const inotify_event*>(events + at);
    EXPECT_TRUE(event->mask & IN_ISDIR) << event->name;
    at += static_cast<ssize_t>(sizeof *event + event->len);
  }
  EXPECT_GT(n, 0) << "the directory itself is listed";
}
TEST(PathHint, WhatIsKeptFromTheModelIsNotNamed) {
  test::Scratch dir;
  dir.write("a/.env", "");
  dir.write("b/\xff/x.py", "");
  EXPECT_EQ(path_hint(dir.root(), "x.py"), "");
  EXPECT_EQ(path_hint(dir.root(), "a/x/.git/config"), " The directory a is there, x is not in it.");
}

}  // namespace
}  // namespace lares::tools
