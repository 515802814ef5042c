// Repositories that were made to be opened by somebody else: nothing of theirs runs, nothing waits,
// nothing outside is read or written.
#include <fcntl.h>
#include <gmock/gmock.h>

#include "tests/tools/snapshots/snapshot_worktree.h"
#include "tools/snapshots/snapshots.h"

namespace lares::tools {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A program that leaves a trace, for every setting that names one.
std::string trap(const Worktree& tree) {
  tree.write("../trap", "#!/bin/sh\ntouch '" + tree.at("../ran") + "'\ncat\n");
  ::chmod(tree.at("../trap").c_str(), 0755);
  return tree.at("../trap");
}

TEST(HostileSnapshots, RunNoFilterNoMonitorAndNoHook) {
  const Worktree tree;
  const std::string program = trap(tree);
  git(tree.root(), "init -q");
  tree.write("a.txt", "x\n");
  git(tree.root(), "add a.txt");
  git(tree.root(), "commit -qm first");
  for (const char* key : {"filter.x.clean", "filter.x.smudge", "filter.x.process", "core.fsmonitor",
                          "diff.x.textconv", "diff.x.command", "diff.external", "core.pager",
                          "core.editor", "core.sshCommand", "credential.helper", "gpg.program"}) {
    git(tree.root(), std::string("config ") + key + " '" + program + "'");
  }
  git(tree.root(), "config filter.x.required true");
  tree.write(".gitattributes", "* filter=x diff=x ident working-tree-encoding=UTF-16\n");
  tree.write("a.txt", "$Id$ raw\n");
  for (const char* hook : {"post-checkout", "reference-transaction", "post-index-change",
                           "pre-auto-gc", "fsmonitor-watchman"}) {
    tree.write(std::string(".git/hooks/") + hook, "#!/bin/sh\n'" + program + "'\n");
    ::chmod(tree.at(std::string(".git/hooks/") + hook).c_str(), 0755);
  }
  std::filesystem::remove(tree.at("../ran"));
  auto snapshots = tree.open();
  const std::string id = take(snapshots);
  tree.write("a.txt", "changed\n");
  EXPECT_TRUE(snapshots.diff(id, kWorktree, "a.txt", 1000));
  restore(snapshots, id);
  EXPECT_TRUE(snapshots.prune({}));
  EXPECT_EQ(tree.read("a.txt"), "$Id$ raw\n");
  EXPECT_FALSE(tree.has("../ran"));
}

TEST(HostileSnapshots, FollowNoWorktreeAndNoAlternatesElsewhere) {
  const Worktree tree;
  tree.write("../outside/secret", "secret\n");
  git(tree.root(), "init -q");
  tree.write("a.txt", "1\n");
  tree.write(".git/objects/info/alternates", "/proc/1/root\n/dev/zero\n");
  git(tree.root(), "config core.worktree '" + tree.at("../outside") + "'");
  auto snapshots = tree.open();
  const std::string id = take(snapshots);
  tree.write("a.txt", "2\n");
  tree.write("../outside/secret", "changed\n");
  EXPECT_THAT(compare(snapshots, kWorktree, id), ElementsAre("changed a.txt 2 2"));
  restore(snapshots, id);
  EXPECT_EQ(tree.read("a.txt"), "1\n");
  EXPECT_EQ(tree.read("../outside/secret"), "changed\n");
}

TEST(HostileSnapshots, GoThroughNoSymlinkThatTookADirectorysPlace) {
  const Worktree tree;
  tree.write("../outside/a.txt", "outside\n");
  tree.write("d/a.txt", "1\n");
  tree.write("d/b.txt", "1\n");
  tree.write("real/keep.txt", "1\n");
  auto snapshots = tree.open();
  const std::string id = take(snapshots);
  tree.remove("d");
  tree.link("../outside", "d");
  // All of it: the link goes and the directory comes back.
  const std::string with_link = restore(snapshots, id).before.id;
  EXPECT_EQ(tree.read("d/b.txt"), "1\n");
  EXPECT_EQ(tree.read("../outside/a.txt"), "outside\n");
  // Only what lies below: the link stays, and nothing goes through it, out of the root or within
  // it.
  restore(snapshots, with_link);
  EXPECT_THAT(named(restore(snapshots, id, {.all = false, .paths = {"d/a.txt"}}).not_done),
              ElementsAre(HasSubstr("d/a.txt: ")));
  tree.link("real", "d");
  EXPECT_THAT(named(restore(snapshots, id, {.all = false, .paths = {"d/a.txt"}}).not_done),
              ElementsAre(HasSubstr("d/a.txt: ")));
  EXPECT_EQ(tree.read("../outside/a.txt"), "outside\n");
  EXPECT_FALSE(tree.has("../outside/b.txt"));
  EXPECT_FALSE(tree.has("real/a.txt"));
}

TEST(HostileSnapshots, WaitForNoFifoAndReadNoHugeFile) {
  const Worktree tree;
  git(tree.root(), "init -q");
  tree.write("a.txt", "1\n");
  ASSERT_EQ(::mkfifo(tree.at(".gitignore").c_str(), 0600), 0);
  ASSERT_EQ(::mkfifo(tree.at("pipe").c_str(), 0600), 0);
  tree.write("huge", "");
  ASSERT_EQ(::truncate(tree.at("huge").c_str(), 1ll << 40), 0);
  tree.write("sub/.gitattributes", "");
  ASSERT_EQ(::truncate(tree.at("sub/.gitattributes").c_str(), 1ll << 40), 0);
  auto snapshots = tree.open();
  const auto snapshot = snapshots.take("step");
  ASSERT_TRUE(snapshot) << snapshot.error();
  EXPECT_THAT(
      named(snapshot->left_out),
      ElementsAre(".gitignore: not a regular file", "huge: larger than 16777216 bytes",
                  "pipe: not a regular file", "sub/.gitattributes: larger than 16777216 bytes"));
}

TEST(HostileSnapshots, KeepEveryName) {
  const Worktree tree;
  git(tree.root(), "init -q");
  const std::vector<std::string> names = {
      "README",      "Readme",     "caf\xe9", "\xff\xfe", std::string(255, 'n'),
      "new\nline",   "tab\there",  "%41",     "git~1",    ".git.",
      "-rf",         " ",          "a",       "a.b/c",    "a-b",
      "back\\slash", "\"quoted\"", "x:y",     "CON",      ".gitmodules"};
  for (const std::string& name : names) tree.write(name, "1 " + name);
  auto snapshots = tree.open({.file_bytes_max = 1000});
  const Files then = tree.files();
  const std::string id = take(snapshots);
  for (const std::string& name : names) tree.remove(name);
  tree.write("a/b", "2\n");
  const Restored restored = restore(snapshots, id);
  EXPECT_THAT(named(restored.not_done), IsEmpty());
  EXPECT_EQ(tree.files(), then);
}

TEST(HostileSnapshots, NameWhatTheyLeftOutWhateverItIsCalled) {
  const Worktree tree;
  const std::string odd = "new\nline\t%41\xff";
  tree.write(odd, std::string(100, 'x'));
  auto snapshots = tree.open({.file_bytes_max = 10});
  take(snapshots, "label % \t x");
  auto again = tree.open();
  const auto list = again.list();
  ASSERT_TRUE(list);
  EXPECT_THAT(named(list->at(0).left_out), ElementsAre(odd + ": larger than 10 bytes"));
  EXPECT_EQ(list->at(0).label, "label % \t x");
}

TEST(HostileSnapshots, StayWithinTheSizeOfTheStore) {
  const Worktree tree;
  tree.write("a", "1");
  auto snapshots = tree.open({.store_bytes_max = 64 << 10});
  take(snapshots);
  std::string noise(200'000, '\0');
  for (std::size_t i = 0; i < noise.size(); ++i)
    noise[i] = static_cast<char>((i * i * 2654435761u) >> 13);
  tree.write("b", noise);
  const auto full = snapshots.take("full");
  ASSERT_TRUE(full) << full.error();
  EXPECT_THAT(named(full->left_out), ElementsAre(HasSubstr("b: the snapshots already take ")));
  EXPECT_EQ(full->n_files, 1u);
}

TEST(HostileSnapshots, RefuseAStoreOfSomebodyElse) {
  const Worktree tree;
  tree.write("a", "1");
  { auto snapshots = tree.open(); }
  std::string store;
  for (const auto& entry : std::filesystem::directory_iterator(tree.store()))
    store = entry.path().string();
  ::chmod(store.c_str(), 0777);
  EXPECT_THAT(Snapshots::open(tree.root(), tree.store()).error(), HasSubstr("remove it"));
  std::filesystem::remove_all(store);
  std::filesystem::create_directory_symlink("/tmp", store);
  EXPECT_THAT(Snapshots::open(tree.root(), tree.store()).error(), HasSubstr("remove it"));
}

}  // namespace
}  // namespace lares::tools
