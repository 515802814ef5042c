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
  ::usleep(2'100'000);  // until names are old enough to be remembered
  TreeLister lister(wood.dir.root());
  for (int round = 0; round < 40; ++round) {
    if (round > 0)
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

// git's list is `a broken/f empty/f text/f deep/text/f`, and each repository by its name.
TEST(TreeLister, EntersWhatIsNoRepositoryThoughItHasAGit) {
  const test::Scratch dir;
  git(dir.root(), "init");
  dir.write("a", "");
  for (const char* repository : {"own", "linked"}) {
    git(dir.root(), std::string("init ") + repository);
    dir.write(repository + std::string("/f"), "");
  }
  fs::rename(dir.at("linked/.git"), dir.at(".git/of-linked"));
  dir.write("linked/.git", "gitdir: ../.git/of-linked\n");
  dir.write("broken/.git", "gitdir: /nonexistent\n");
  dir.write("text/.git", "hello\n");
  fs::create_directories(dir.at("empty/.git"));
  dir.write("deep/text/.git", "");
  for (const char* plain : {"broken", "text", "empty", "deep/text"})
    dir.write(plain + std::string("/f"), "");
  EXPECT_THAT(paths(TreeLister(dir.root()).list()),
              ElementsAre("a", "broken/f", "deep/text/f", "empty/f", "linked", "own", "text/f"));
}

TEST(DirectoryLooks, ReadNoMoreNamesThanTheyMay) {
  test::Scratch dir;
  for (int i = 0; i < 20; ++i) dir.write(fmt::format("f{}", i), "");
  const auto tree = PlainTree::open(dir.root());
  ASSERT_TRUE(tree);
  const auto look = [&](std::size_t entries_max, const std::string& directory) {
    DirectoryLooks looks(entries_max);
    looks.begin(*tree);
    return looks.take(directory);
  };
  EXPECT_EQ(look(7, "").entries.size(), 7u);
  EXPECT_EQ(look(70, "").entries.size(), 20u);
  EXPECT_EQ(look(70, "none").error, ENOENT);
}

TEST(DirectoryLooks, ReadNamesAgainWhereTheyAreOthers) {
  test::Scratch dir;
  for (const char* name : {"a/1", "a/2", "b/1", "c/1"}) dir.write(name, "x");
  const auto tree = PlainTree::open(dir.root());
  ASSERT_TRUE(tree);
  DirectoryLooks looks(100);
  const auto names = [&](bool every = true) {
    std::string out;
    looks.begin(*tree);
    for (const char* directory : {"", "a", "b", "c"}) {
      if (!every && *directory == 'b') continue;
      for (const DirectoryEntry& entry : looks.take(directory).entries)
        out += fmt::format("{}/{} ", directory, entry.name);
    }
    looks.end();
    return out;
  };
  const std::string all = "/a /b /c a/1 a/2 b/1 c/1 ";
  EXPECT_EQ(names(), all);
  EXPECT_EQ(names(), all);
  EXPECT_EQ(looks.n_read(), 4u) << "names that may change within the clock's grain are remembered";
  ::usleep(2'100'000);
  EXPECT_EQ(names(), all);
  EXPECT_EQ(names(), all);
  if (looks.n_read() != 0) GTEST_SKIP() << "this file system's directories are read every time";

  dir.write("a/1", "longer");  // no name is another
  names();
  EXPECT_EQ(looks.n_read(), 0u);
  for (const DirectoryEntry& entry : looks.take("a").entries)
    EXPECT_EQ(entry.stamp.size, entry.name == "1" ? 6u : 1u);
  fs::rename(dir.at("a/2"), dir.at("b/1"));  // over another
  EXPECT_EQ(names(), "/a /b /c a/1 b/1 c/1 ");
  EXPECT_EQ(looks.n_read(), 2u);
  fs::remove(dir.at("c/1"));
  fs::create_directory(dir.at("c/1"));
  names();
  EXPECT_TRUE(looks.take("c").entries.front().is_directory());
  fs::rename(dir.at("b"), dir.at("gone"));
  fs::rename(dir.at("a"), dir.at("b"));
  fs::rename(dir.at("gone"), dir.at("a"));
  dir.write("b/3", "x");
  EXPECT_EQ(names(), "/a /b /c a/1 b/1 b/3 c/1 ");
  names(/*every=*/false);
  names();
  EXPECT_GE(looks.n_read(), 1u) << "one that nobody asked for is remembered";
}

}  // namespace
}  // namespace lares::tools
