#include "tools/workspace/tree_listing.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/tools/git/git_command.h"
#include "tests/tools/scratch.h"
#include "tools/workspace/directory_looks.h"

namespace lares::tools {
namespace {

namespace fs = std::filesystem;
using Lines = std::vector<std::string>;
using test::git;
using testing::ElementsAre;

// All that a listing says.
Lines said(const Result<Tree>& tree) {
  if (!tree) return {"ERROR " + tree.error().message};
  Lines out;
  for (const Listed& file : tree->files)
    out.push_back(fmt::format("{} {} {} {} {} {}", file.path, static_cast<int>(file.kind),
                              file.stamp.ctime_ns, file.stamp.inode, file.stamp.mode,
                              static_cast<int>(file.attributes.generated)));
  for (const auto* lines : {&tree->directories, &tree->left_out, &tree->products})
    out.insert(out.end(), lines->begin(), lines->end());
  return out;
}
Lines paths(const Result<Tree>& tree) {
  Lines out;
  if (tree)
    for (const Listed& file : tree->files) out.push_back(file.path);
  return out;
}

// So many directories that several threads look at them, where there are several processors.
class Wood {
 public:
  Wood() {
    git(dir.root(), "init");
    dir.write(".gitignore", "*.log\n");
    dir.write(".gitattributes", "*.gen linguist-generated\n");
    for (int i = 0; i < kDirectories; ++i)
      for (const char* name : {"a.c", "a.log", "b.gen", "c/d.c"}) dir.write(at(i, name), "x\n");
    git(dir.root(), "add -A");
    git(dir.root(), "add -f d7/a.log d8/a.log");
  }
  static std::string at(int i, const std::string& name) { return fmt::format("d{}/{}", i, name); }
  void change() {
    const std::string directory = fmt::format("d{}", random_() % kDirectories);
    std::error_code ignored;
    switch (random_() % 7) {
      case 0:
        if (fs::is_directory(dir.at(directory)))
          dir.write(fmt::format("{}/new{}", directory, random_() % 9), "y\n");
        return;
      case 1:
        fs::remove(dir.at(directory + "/a.c"), ignored);
        return;
      case 2:
        fs::remove_all(dir.at(directory), ignored);
        return;
      case 3:
        fs::remove_all(dir.at(directory), ignored);
        dir.write(directory, "a file now\n");
        return;
      case 4:
        fs::remove_all(dir.at(directory), ignored);
        fs::create_symlink("d0", dir.at(directory), ignored);
        return;
      case 5:
        fs::rename(dir.at(directory), dir.at(directory + "-moved"), ignored);
        return;
      default:
        if (fs::is_directory(dir.at(directory))) dir.write(directory + "/.gitignore", "!*.log\n");
    }
  }
  test::Scratch dir;

 private:
  static constexpr int kDirectories = 200;
  std::mt19937 random_{1};
};

TEST(TreeLister, SaysWhatOneSaysThatRemembersNothing) {
  Wood wood;
  TreeLister lister(wood.dir.root());
  for (int round = 0; round < 40; ++round) {
    for (int i = 0; i < 3; ++i) wood.change();
    if (round % 8 == 7) git(wood.dir.root(), "add -A");
    ASSERT_EQ(said(lister.list()), said(TreeLister(wood.dir.root()).list())) << round;
  }
}

TEST(TreeLister, SeesThatTheIndexIsAnotherOne) {
  test::Scratch dir;
  git(dir.root(), "init");
  dir.write(".gitignore", "*.log\n");
  dir.write("a.log", "x\n");
  git(dir.root(), "add -f a.log .gitignore");
  ::usleep(2'100'000);  // until it is old enough to be remembered
  TreeLister lister(dir.root());
  EXPECT_THAT(paths(lister.list()), ElementsAre(".gitignore", "a.log"));
  EXPECT_THAT(paths(lister.list()), ElementsAre(".gitignore", "a.log"));
  git(dir.root(), "rm --cached a.log");
  EXPECT_THAT(paths(lister.list()), ElementsAre(".gitignore"));
  git(dir.root(), "add -f a.log");
  EXPECT_THAT(paths(lister.list()), ElementsAre(".gitignore", "a.log"));
}

TEST(TreeLister, ListsInTheOrderOfPaths) {
  test::Scratch dir;
  git(dir.root(), "init");
  for (const char* path : {"a/x", "a.c", "a-b/x", "a-b.c", "a0", "a/b/x", "a/b.c", "a/b-c"})
    dir.write(path, "x\n");
  git(dir.root(), "init sub");
  git(dir.at("sub"), "commit --allow-empty -m first");
  for (const char* path : {"sub-x", "sub.c", "sub0"}) dir.write(path, "x\n");
  git(dir.root(), "add -f .");
  dir.write(".gitignore", "*\n");  // so that each is found among what is tracked
  const Lines listed = paths(TreeLister(dir.root()).list());
  EXPECT_THAT(listed, ElementsAre("a-b.c", "a-b/x", "a.c", "a/b-c", "a/b.c", "a/b/x", "a/x", "a0",
                                  "sub", "sub-x", "sub.c", "sub0"));
}

TEST(DirectoryLooks, ReadNoMoreNamesThanTheyMay) {
  test::Scratch dir;
  for (int i = 0; i < 20; ++i) dir.write(fmt::format("f{}", i), "x\n");
  const auto tree = PlainTree::open(dir.root());
  ASSERT_TRUE(tree);
  EXPECT_EQ(DirectoryLooks(*tree, 7).take("").entries.size(), 7u);
  EXPECT_EQ(DirectoryLooks(*tree, 70).take("").entries.size(), 20u);
  EXPECT_EQ(DirectoryLooks(*tree, 70).take("none").error, ENOENT);
}

}  // namespace
}  // namespace lares::tools
