#include "tools/snapshots/snapshots.h"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <cstdio>

#include "tests/tools/snapshots/snapshot_worktree.h"

namespace lares::tools {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Lines = std::vector<std::string>;

std::string output_of(const std::string& directory, const std::string& args) {
  const std::string command = "GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null git -C '" +
                              directory + "' " + args;
  std::string out;
  FILE* pipe = ::popen(command.c_str(), "r");
  for (int c; pipe && (c = std::fgetc(pipe)) != EOF;) out += static_cast<char>(c);
  if (!pipe || ::pclose(pipe) != 0) ADD_FAILURE() << command;
  return out;
}

TEST(Snapshots, BringBackBytesModesAndLinks) {
  const Worktree tree;
  git(tree.root(), "init -q");
  tree.write("a.txt", "one\r\ntwo\r\n");
  tree.write(".gitattributes", "* text=auto eol=lf\n");
  tree.write("bin/run", std::string("\x7f"
                                    "ELF\0\xff",
                                    6));
  ::chmod(tree.at("bin/run").c_str(), 0755);
  tree.write("key", "private\n");
  ::chmod(tree.at("key").c_str(), 0600);
  tree.link("a.txt", "link");
  tree.link("/etc/passwd", "outward");
  auto snapshots = tree.open();
  const Files then = tree.files();
  const std::string id = take(snapshots);

  tree.write("a.txt", "three\n");
  tree.remove("bin");
  ::chmod(tree.at("key").c_str(), 0755);
  tree.link("b.txt", "link");
  tree.remove("outward");
  tree.write("new/deep/file", "x");
  const Files now = tree.files();
  EXPECT_THAT(compare(snapshots, kWorktree, id),
              ElementsAre("changed a.txt 6 10", "added bin/run 0 6", "mode key 8 8",
                          "changed link 5 5", "removed new/deep/file 1 0", "added outward 0 11"));
  const Restored restored = restore(snapshots, id);
  EXPECT_THAT(named(restored.not_done), IsEmpty());
  EXPECT_EQ(restored.done.size(), 6u);
  EXPECT_EQ(tree.files(), then);
  restore(snapshots, restored.before.id);
  EXPECT_EQ(tree.files(), now) << "going back can be taken back";
}

TEST(Snapshots, LeaveTheUsersRepositoryAsItIs) {
  const Worktree tree;
  git(tree.root(), "init -q");
  tree.write("a.txt", "1\n");
  tree.write("staged.txt", "1\n");
  git(tree.root(), "add -A");
  git(tree.root(), "commit -qm first");
  tree.write("a.txt", "stashed\n");
  git(tree.root(), "stash");
  tree.write("staged.txt", "2\n");
  git(tree.root(), "add staged.txt");
  tree.write("staged.txt", "3\n");
  tree.write("untracked.txt", "1\n");
  tree.write(".git/hooks/post-checkout", "#!/bin/sh\ntouch ../hook-ran\n");
  ::chmod(tree.at(".git/hooks/post-checkout").c_str(), 0755);
  const std::string status = output_of(tree.root(), "status --porcelain=v2 --branch"),
                    stash = output_of(tree.root(), "stash list");
  EXPECT_THAT(status, HasSubstr("? untracked.txt"));
  EXPECT_THAT(stash, HasSubstr("stash@{0}"));
  const Files before = tree.files(".git", true);
  EXPECT_TRUE(before.contains(".git/index") && before.contains(".git/logs/HEAD") &&
              before.contains(".git/refs/stash"));

  auto snapshots = tree.open();
  const std::string id = take(snapshots);
  tree.write("a.txt", "agent\n");
  tree.remove("staged.txt");
  take(snapshots);
  restore(snapshots, id);
  EXPECT_TRUE(snapshots.prune({}));
  EXPECT_EQ(tree.files(".git", true), before)
      << "index, HEAD, refs, stash, logs, hooks and objects, byte for byte";
  EXPECT_FALSE(tree.has("../hook-ran"));
  EXPECT_EQ(output_of(tree.root(), "status --porcelain=v2 --branch"), status);
  EXPECT_EQ(output_of(tree.root(), "stash list"), stash);
  EXPECT_EQ(tree.read("staged.txt"), "3\n");
  EXPECT_EQ(tree.read("a.txt"), "1\n");
}

TEST(Snapshots, AreTheLastOneWhereNothingChanged) {
  const Worktree tree;
  tree.write("a.txt", "1\n");
  auto snapshots = tree.open();
  const std::string first = take(snapshots, "first");
  EXPECT_EQ(take(snapshots, "second"), first);
  tree.write("a.txt", "2\n");
  const std::string third = take(snapshots, "third\nline");
  EXPECT_NE(third, first);
  tree.write("a.txt", "1\n");
  EXPECT_NE(take(snapshots, "fourth"), first) << "the same files at another time are another step";
  auto again = tree.open();
  const auto list = again.list();
  ASSERT_TRUE(list);
  ASSERT_EQ(list->size(), 3u);
  EXPECT_EQ(list->at(0).label, "first");
  EXPECT_EQ(list->at(1).label, "third\nline");
  EXPECT_EQ(list->at(1).id, third);
  EXPECT_EQ(list->at(1).n_files, 1u);
  EXPECT_EQ(list->at(1).bytes_new, 2u);
  EXPECT_EQ(list->at(2).bytes_new, 0u) << "its content was there";
}

TEST(Snapshots, HoldWhatGitWouldAndSayWhatTheyLack) {
  const Worktree tree;
  git(tree.root(), "init -q");
  tree.write(".gitignore", "*.log\n");
  tree.write("a.txt", "1\n");
  tree.write("x.log", "ignored\n");
  tree.write("large.bin", std::string(5000, 'x'));
  tree.write("build/script", "x");
  std::filesystem::create_directories(tree.at("empty"));
  std::filesystem::create_directories(tree.at("nested"));
  git(tree.at("nested"), "init -q");
  tree.write("nested/file", "x");
  ASSERT_EQ(::mkfifo(tree.at("pipe").c_str(), 0600), 0);
  auto snapshots = tree.open({.file_bytes_max = 4000});
  const auto snapshot = snapshots.take("step");
  ASSERT_TRUE(snapshot) << snapshot.error();
  EXPECT_EQ(snapshot->n_files, 2u);
  EXPECT_THAT(named(snapshot->left_out),
              ElementsAre("large.bin: larger than 4000 bytes", "pipe: not a regular file",
                          "build/: a folder for products, by its name",
                          "nested/: a repository of its own"));
  EXPECT_EQ(snapshot->n_left_out, 4u);
  const auto list = snapshots.list();
  ASSERT_TRUE(list);
  EXPECT_EQ(named(list->at(0).left_out), named(snapshot->left_out)) << "and still says so later";

  const Files then = tree.files();
  tree.write("a.txt", "2\n");
  tree.write("x.log", "other\n");
  restore(snapshots, snapshot->id);
  Files expected = then;
  expected["x.log"] = tree.files()["x.log"];
  EXPECT_EQ(tree.files(), expected);
  EXPECT_EQ(tree.read("x.log"), "other\n");
}

TEST(Snapshots, WorkWithoutGit) {
  const Worktree tree;
  tree.write("src/a.txt", "1\n");
  tree.write("node_modules/x/index.js", "x");
  auto snapshots = tree.open();
  const std::string id = take(snapshots);
  tree.remove("src");
  tree.write("node_modules/x/index.js", "y");
  EXPECT_THAT(compare(snapshots, kWorktree, id), ElementsAre("added src/a.txt 0 2"));
  restore(snapshots, id);
  EXPECT_EQ(tree.read("src/a.txt"), "1\n");
  EXPECT_EQ(tree.read("node_modules/x/index.js"), "y");
}

TEST(Snapshots, OfLinkedWorktreesAndSubmodulesAreTheirOwn) {
  const Worktree tree;
  git(tree.root(), "init -q");
  tree.write("a.txt", "main\n");
  git(tree.root(), "add -A");
  git(tree.root(), "commit -qm first");
  git(tree.root(), "worktree add ../linked");
  const std::string linked = tree.at("../linked");
  git(tree.root(), "submodule add ./ sub");
  const auto take_and_restore = [&](const std::string& root) {
    auto snapshots = Snapshots::open(std::filesystem::canonical(root).string(), tree.store());
    ASSERT_TRUE(snapshots) << snapshots.error();
    const std::string id = take(*snapshots);
    std::ofstream(root + "/a.txt") << "changed\n";
    restore(*snapshots, id);
    std::string text;
    std::getline(std::ifstream(root + "/a.txt"), text);
    EXPECT_EQ(text, "main") << root;
    const auto list = snapshots->list();
    ASSERT_TRUE(list);
    EXPECT_EQ(list->size(), 2u) << root;
  };
  take_and_restore(tree.root());
  const auto about = tree.open().take("submodules are named");
  ASSERT_TRUE(about) << about.error();
  EXPECT_THAT(named(about->left_out), ElementsAre("sub/: a repository of its own"));
  take_and_restore(linked);
  take_and_restore(tree.at("sub"));
}

TEST(Snapshots, GoBackForSomePathsOnly) {
  const Worktree tree;
  tree.write("mine/a.txt", "1\n");
  tree.write("mine/b.txt", "1\n");
  tree.write("mine2.txt", "1\n");
  auto snapshots = tree.open();
  const std::string id = take(snapshots);
  for (const char* path : {"mine/a.txt", "mine/b.txt", "mine2.txt", "mine/new.txt", "other.txt"})
    tree.write(path, "2\n");
  restore(snapshots, id, {});
  EXPECT_EQ(tree.read("mine2.txt"), "2\n") << "nothing is chosen unless it is said";
  const Restored restored = restore(snapshots, id, {.all = false, .paths = {"mine/", "nowhere"}});
  EXPECT_THAT(lines(restored.done), ElementsAre("changed mine/a.txt 2 2", "changed mine/b.txt 2 2",
                                                "removed mine/new.txt 2 0"));
  EXPECT_EQ(tree.read("mine/a.txt"), "1\n");
  EXPECT_FALSE(tree.has("mine/new.txt"));
  EXPECT_EQ(tree.read("mine2.txt"), "2\n");
  EXPECT_EQ(tree.read("other.txt"), "2\n");
}

TEST(Snapshots, SwapFilesAndDirectories) {
  const Worktree tree;
  tree.write("file", "1\n");
  tree.write("directory/a/b", "1\n");
  tree.write("link/a", "1\n");
  auto snapshots = tree.open();
  const Files then = tree.files();
  const std::string id = take(snapshots);
  for (const char* path : {"file", "directory", "link"}) tree.remove(path);
  tree.write("file/x/y", "2\n");
  tree.write("directory", "2\n");
  tree.link("/tmp", "link");
  const Files now = tree.files();
  const Restored restored = restore(snapshots, id);
  EXPECT_THAT(named(restored.not_done), IsEmpty());
  EXPECT_EQ(tree.files(), then);
  restore(snapshots, restored.before.id);
  EXPECT_EQ(tree.files(), now);
}

// A file or a link where a directory with rules of its own was: it goes before they come.
TEST(Snapshots, BringBackRulesWhoseDirectoryBecameSomethingElse) {
  const Worktree tree;
  for (const char* path : {"lib", "pkg", "far/off", "odd"})
    tree.write(std::string(path) + "/.gitignore", "*.z\n");
  tree.write("lib/q.c", "1\n");
  tree.write("top/.gitignore", "1\n");
  auto snapshots = tree.open();
  const Files then = tree.files();
  const std::string id = take(snapshots);
  for (const char* path : {"lib", "pkg", "far", "top/.gitignore"}) tree.remove(path);
  tree.write("lib", "2\n");
  tree.write("other", "2\n");
  tree.link("other", "pkg");
  tree.write("far", "2\n");
  tree.write("top/.gitignore/x", "2\n");
  tree.write("odd/.gitignore", "*.y\n");
  const Files now = tree.files();
  const Restored restored = restore(snapshots, id);
  EXPECT_THAT(named(restored.not_done), IsEmpty());
  EXPECT_EQ(tree.files(), then);
  EXPECT_THAT(named(restore(snapshots, restored.before.id).not_done), IsEmpty());
  EXPECT_EQ(tree.files(), now);
}

// What the dry run says is what then happens.
TEST(Snapshots, ForeseeWhatIsInTheWay) {
  const Worktree tree;
  tree.write(".gitignore", "*.o\n");
  for (const char* path : {"a/d.o/d", "b/link.o/d", "f", "g", "h", "i"}) tree.write(path, "1\n");
  git(tree.root(), "init");
  git(tree.root(), "add -f .");
  auto snapshots = tree.open();
  const std::string id = take(snapshots);
  git(tree.root(), "rm -r -q --cached .");
  for (const char* path : {"a/d.o", "b/link.o", "f", "g", "h", "i"}) tree.remove(path);
  tree.write("a/d.o", "ignored\n");
  tree.link("/tmp", "b/link.o");
  tree.write("f/x.o", "ignored\n");
  tree.write("g/x", "goes\n");
  tree.write("g/y/x", "goes\n");
  tree.write("h/x", "goes\n");
  tree.write("h/y/x.o", "ignored\n");
  tree.write("i/x", "goes\n");
  std::filesystem::create_directory(tree.at("i/empty"));
  const Files now = tree.files();
  const auto dry = snapshots.go_back({{.id = id, .selection = kAll}}, true);
  ASSERT_TRUE(dry) << dry.error();
  EXPECT_EQ(tree.files(), now);
  const Restored restored = restore(snapshots, id);
  EXPECT_EQ(named(dry->not_done), named(restored.not_done));
  EXPECT_EQ(lines(dry->done), lines(restored.done));
  const std::string in_place =
      ": a directory with files that no snapshot holds is in its place; move them away";
  EXPECT_THAT(named(restored.not_done),
              ElementsAre("a/d.o/d: a file is in the way of its directory",
                          "b/link.o/d: a symlink is in its way", "f" + in_place, "h" + in_place,
                          "i" + in_place));
  EXPECT_EQ(tree.read("g"), "1\n");
}

TEST(Snapshots, TakeAwayRulesThatCameSince) {
  const Worktree tree;
  tree.write("a", "1\n");
  tree.write("sub/b", "1\n");
  auto snapshots = tree.open();
  const Files then = tree.files();
  const std::string id = take(snapshots);
  tree.write(".gitignore", "x\n");
  tree.write("sub/.gitignore", "y\n");
  tree.write("sub/new", "2\n");
  const Restored restored = restore(snapshots, id);
  EXPECT_THAT(named(restored.not_done), IsEmpty());
  EXPECT_THAT(
      lines(restored.done),
      ElementsAre("removed .gitignore 2 0", "removed sub/.gitignore 2 0", "removed sub/new 2 0"));
  EXPECT_EQ(tree.files(), then);
}

TEST(Snapshots, LoseNoEditBetweenPreviewAndRestoring) {
  const Worktree tree;
  tree.write("a.txt", "1\n");
  auto snapshots = tree.open();
  const std::string id = take(snapshots);
  tree.write("a.txt", "agent\n");
  EXPECT_THAT(compare(snapshots, kWorktree, id), ElementsAre("changed a.txt 6 2"));
  tree.write("a.txt", "the user's\n");
  tree.write("b.txt", "the user's, too\n");
  const Restored restored = restore(snapshots, id);
  EXPECT_EQ(tree.read("a.txt"), "1\n");
  EXPECT_FALSE(tree.has("b.txt"));
  restore(snapshots, restored.before.id);
  EXPECT_EQ(tree.read("a.txt"), "the user's\n");
  EXPECT_EQ(tree.read("b.txt"), "the user's, too\n");
}

TEST(Snapshots, ReplaceNothingThatTheyCouldNotBringBack) {
  const Worktree tree;
  tree.write("a.txt", "1\n");
  tree.write("b.txt", "1\n");
  tree.write("grown", "small\n");
  auto snapshots = tree.open({.file_bytes_max = 4000});
  const std::string id = take(snapshots);
  tree.write("grown", std::string(5000, 'x'));
  tree.remove("a.txt");
  ASSERT_EQ(::mkfifo(tree.at("a.txt").c_str(), 0600), 0);
  tree.write("b.txt", "2\n");
  const Restored restored = restore(snapshots, id);
  EXPECT_THAT(named(restored.not_done),
              ElementsAre("a.txt: something that no snapshot holds is in its place; move it away",
                          "grown: something that no snapshot holds is in its place; move it away"));
  EXPECT_THAT(named(restored.before.left_out),
              ElementsAre("a.txt: not a regular file", "grown: larger than 4000 bytes"));
  EXPECT_EQ(tree.read("grown").size(), 5000u);
  EXPECT_EQ(tree.read("b.txt"), "1\n") << "the others are as asked for";
}

TEST(Snapshots, RemoveNoFileThatWasThereAllTheSame) {
  const Worktree tree;
  git(tree.root(), "init -q");
  tree.write(".gitignore", "notes\n");
  tree.write("notes", "mine\n");
  tree.write("large", std::string(5000, 'x'));
  auto snapshots = tree.open({.file_bytes_max = 4000});
  const std::string id = take(snapshots);
  tree.write(".gitignore", "");
  tree.write("large", "small now\n");
  tree.write("new.txt", "1\n");
  const Restored restored = restore(snapshots, id);
  EXPECT_THAT(
      named(restored.not_done),
      ElementsAre(
          "large: was there, but left out of the snapshot for its size or kind",
          "notes: is ignored by the rules of then, so it may have been there; remove it by hand"));
  EXPECT_EQ(tree.read("notes"), "mine\n");
  EXPECT_EQ(tree.read("large"), "small now\n");
  EXPECT_FALSE(tree.has("new.txt"));
  EXPECT_EQ(tree.read(".gitignore"), "notes\n");
}

TEST(Snapshots, RemoveNothingWhereTheyMayNotHaveSeenAll) {
  const Worktree tree;
  tree.write("a.txt", "1\n");
  std::string deep = "d";
  for (int i = 0; i < 70; ++i) deep += "/d";
  tree.write(deep + "/x.txt", "1\n");
  auto snapshots = tree.open();
  const std::string id = take(snapshots);
  EXPECT_EQ(snapshots.list()->at(0).incomplete, "not seen: 1 directory more than 64 levels deep");
  tree.write("a.txt", "2\n");
  tree.write("new.txt", "1\n");
  const Restored restored = restore(snapshots, id);
  EXPECT_THAT(named(restored.not_done),
              ElementsAre("new.txt: the snapshot does not name all that it left out, so nothing is "
                          "removed; remove it by hand"));
  EXPECT_TRUE(tree.has("new.txt"));
  EXPECT_TRUE(tree.has(deep + "/x.txt"));
  EXPECT_EQ(tree.read("a.txt"), "1\n");
}

TEST(Snapshots, GoBackToSeveralMomentsWithOneLook) {
  const Worktree tree;
  auto snapshots = tree.open();
  std::vector<RestoreStep> steps;
  const std::vector<std::string> names = {"a.txt", "d/b.txt", "d/c.txt"};
  for (const std::string& name : names) tree.write(name, "1\n");
  for (const std::string& name : names) {
    steps.push_back({take(snapshots), {.all = false, .paths = {name}}});
    tree.write(name, "changed\n");
  }
  steps.push_back({take(snapshots), {.all = false, .paths = {"new.txt"}}});
  tree.write("new.txt", "new\n");
  tree.write("other.txt", "other\n");
  steps.push_back({"0123456789012345678901234567890123456789", {.all = false, .paths = {"e.txt"}}});
  const Files now = tree.files();
  const auto plan = snapshots.go_back(steps, /*dry=*/true);
  ASSERT_TRUE(plan) << plan.error();
  EXPECT_THAT(lines(plan->done), ElementsAre("changed a.txt 8 2", "changed d/b.txt 8 2",
                                             "changed d/c.txt 8 2", "removed new.txt 4 0"));
  EXPECT_THAT(named(plan->not_done), ElementsAre(HasSubstr("e.txt: there is no snapshot")));
  EXPECT_EQ(plan->done[0].before, "5ea2ed416fbd4a4cbe227b75fe255dd7fa6bd4d6")
      << "printf 'changed\\n' | git hash-object --stdin";
  EXPECT_EQ(tree.files(), now);
  const std::size_t n_before = snapshots.list()->size();

  const auto prepared = snapshots.prepare_to_go_back(steps);
  ASSERT_TRUE(prepared) << prepared.error();
  EXPECT_EQ(prepared->done.size(), plan->done.size());
  EXPECT_EQ(tree.files(), now);
  const auto done = snapshots.go_back(steps);
  ASSERT_TRUE(done) << done.error();
  EXPECT_EQ(done->before.id, prepared->before.id);
  EXPECT_EQ(lines(done->done), lines(plan->done));
  EXPECT_EQ(snapshots.list()->size(), n_before + 1);
  for (const std::string& name : names) EXPECT_EQ(tree.read(name), "1\n");
  EXPECT_FALSE(tree.has("new.txt"));
  EXPECT_EQ(tree.read("other.txt"), "other\n");
  ASSERT_TRUE(snapshots.go_back({{done->before.id, kAll}}));
  EXPECT_EQ(tree.files(), now);
  EXPECT_THAT(snapshots.go_back({steps.back()}).error(), HasSubstr("there is no snapshot"));
}

// A worktree with files that its snapshots do not hold, and a snapshot of it.
class GoingBackBesideWhatIsLeftOut : public testing::Test {
 protected:
  void SetUp() override {
    git(tree_.root(), "init -q");
    tree_.write(".gitignore", "*.sqlite\n");
    tree_.write("a.txt", "1\n");
    tree_.write("build/notes.txt", "by hand\n");
    tree_.write("dev.sqlite", "precious\n");
    std::filesystem::create_directories(tree_.at("sub"));
    git(tree_.at("sub"), "init -q");
    tree_.write("sub/mine.c", "mine\n");
    before_ = take(snapshots_);
    tree_.write("new.txt", "new\n");
  }
  void move(const std::string& from, const std::string& to) const {
    std::filesystem::rename(tree_.at(from), tree_.at(to));
  }
  // That stay, foreseen and done.
  std::vector<std::string> kept() {
    const std::vector<RestoreStep> steps = {{before_, kAll}};
    const auto plan = snapshots_.go_back(steps, /*dry=*/true), done = snapshots_.go_back(steps);
    EXPECT_TRUE(plan && done);
    EXPECT_EQ(named(plan->not_done), named(done->not_done));
    EXPECT_EQ(lines(plan->done), lines(done->done));
    return named(done->not_done);
  }
  const Worktree tree_;
  Snapshots snapshots_ = tree_.open();
  std::string before_;
};

TEST_F(GoingBackBesideWhatIsLeftOut, WhatLayInARepositoryStays) {
  tree_.remove("sub/.git");
  EXPECT_THAT(kept(),
              ElementsAre("sub/mine.c: was there, but left out of the snapshot for its size "
                          "or kind"));
  EXPECT_EQ(tree_.read("sub/mine.c"), "mine\n");
  EXPECT_FALSE(tree_.has("new.txt"));
  EXPECT_THAT(named(restore(snapshots_, before_).not_done), ElementsAre(HasSubstr("sub/mine.c")));
}

TEST_F(GoingBackBesideWhatIsLeftOut, NothingGoesWhereAFolderForProductsIsGone) {
  move("build", "docs");
  const char* const why =
      ": no snapshot holds build/, which was there then and is not now, so this may be what became "
      "of it; remove it by hand";
  EXPECT_THAT(kept(),
              ElementsAre(std::string("docs/notes.txt") + why, std::string("new.txt") + why));
  EXPECT_EQ(tree_.read("docs/notes.txt"), "by hand\n");
}

TEST_F(GoingBackBesideWhatIsLeftOut, AnIgnoredFileUnderAnotherNameStays) {
  move("dev.sqlite", "dev.db");
  EXPECT_THAT(kept(), ElementsAre("dev.db: is older than the snapshot that does not have it, so it "
                                  "was there under another name; remove it by hand"));
  EXPECT_EQ(tree_.read("dev.db"), "precious\n");
  EXPECT_FALSE(tree_.has("new.txt"));
}

TEST_F(GoingBackBesideWhatIsLeftOut, AnIgnoredFileThatCameSinceNothingElseDidStaysToo) {
  tree_.remove("new.txt");
  tree_.write("late.sqlite", "precious, too\n");
  ::usleep(20'000);  // of one tick of the file system's clock (10 ms at most) it would be as new
  EXPECT_EQ(take(snapshots_), before_) << "the files are the snapshot's still";
  move("late.sqlite", "late.db");
  EXPECT_THAT(kept(), ElementsAre(HasSubstr("late.db: is older than the snapshot")));
}

TEST_F(GoingBackBesideWhatIsLeftOut, AFileOfTheSnapshotUnderAnotherNameGoes) {
  move("a.txt", "b.txt");
  EXPECT_THAT(kept(), IsEmpty());
  EXPECT_EQ(tree_.read("a.txt"), "1\n");
  EXPECT_FALSE(tree_.has("b.txt"));
}

TEST(Snapshots, AskAboutAHundredThousandPathsInNoTime) {
  Selection selection{.all = false, .paths = {"whole/", "", "/"}};
  for (int i = 0; i < 100'000; ++i)
    selection.paths.push_back(fmt::format("src/d{}/f{}", i % 300, i));
  const auto began = std::chrono::steady_clock::now();
  const Selected selected(selection);
  for (const std::string& path : selection.paths)
    ASSERT_EQ(selected.holds(path), path.size() > 1) << path;
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(3))
      << "0.1 s; 16 s when every path is held against every other";
  EXPECT_TRUE(selected.holds("whole/deep/file"));
  EXPECT_TRUE(selected.holds("src/d7/f7/below"));
  EXPECT_FALSE(selected.holds("wholesome"));
  EXPECT_FALSE(selected.holds("src/d7/f"));
  EXPECT_TRUE(selected.reaches("src/d7"));
  EXPECT_FALSE(selected.reaches("src/d"));
}

TEST(Snapshots, TakeAlongWhatBecameIgnoredBeforeReplacingIt) {
  const Worktree tree;
  git(tree.root(), "init -q");
  tree.write("config", "1\n");
  auto snapshots = tree.open();
  const std::string id = take(snapshots);
  tree.write(".gitignore", "config\n");
  tree.write("config", "2\n");
  const Restored restored = restore(snapshots, id);
  EXPECT_THAT(named(restored.not_done), IsEmpty());
  EXPECT_EQ(tree.read("config"), "1\n");
  restore(snapshots, restored.before.id);
  EXPECT_EQ(tree.read("config"), "2\n");
}

TEST(Snapshots, NameTheFilesThatCouldNotBeWritten) {
  const Worktree tree;
  for (int i = 0; i < 5; ++i) tree.write(fmt::format("{}.txt", i), std::string(100, 'a'));
  tree.write("3.txt", std::string(100'000, 'a'));
  auto snapshots = tree.open();
  const std::string id = take(snapshots);
  for (int i = 0; i < 5; ++i) tree.write(fmt::format("{}.txt", i), "changed");
  // What a full disk does: writing beyond a size fails.
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit was{}, small{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &was), 0);
  take(snapshots);
  small = {50'000, was.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Restored restored = restore(snapshots, id);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &was), 0);
  EXPECT_THAT(named(restored.not_done), ElementsAre("3.txt: could not be written: File too large"));
  EXPECT_EQ(tree.read("3.txt"), "changed");
  EXPECT_EQ(tree.read("4.txt"), std::string(100, 'a'));
  EXPECT_EQ(tree.files().size(), 5u) << "no temporary file is left";
}

TEST(Snapshots, SayWhichDirectoryIsClosed) {
  if (::geteuid() == 0)
    GTEST_SKIP() << "NEEDS A USER OTHER THAN ROOT, whom no directory is closed to";
  const Worktree tree;
  tree.write("closed/a.txt", "1\n");
  tree.write("b.txt", "1\n");
  auto snapshots = tree.open();
  const std::string id = take(snapshots);
  tree.write("closed/a.txt", "2\n");
  tree.write("b.txt", "2\n");
  ::chmod(tree.at("closed").c_str(), 0555);
  const Restored restored = restore(snapshots, id);
  ::chmod(tree.at("closed").c_str(), 0755);
  EXPECT_THAT(named(restored.not_done),
              ElementsAre("closed/a.txt: could not be written: Permission denied"));
  EXPECT_EQ(tree.read("b.txt"), "1\n");
}

TEST(Snapshots, ShowOneFilesDifference) {
  const Worktree tree;
  tree.write("a.txt", "one\ntwo\n");
  auto snapshots = tree.open();
  const std::string id = take(snapshots);
  tree.write("a.txt", "one\nthree\n");
  const auto diff = snapshots.diff(kWorktree, id, "a.txt", 10'000);
  ASSERT_TRUE(diff) << diff.error();
  EXPECT_THAT(*diff, HasSubstr("-three\n+two\n"));
  EXPECT_EQ(snapshots.diff(id, id, "a.txt", 10'000).value_or("?"), "");
}

TEST(Snapshots, RefuseWhatTheyAreNotTold) {
  const Worktree tree;
  auto snapshots = tree.open();
  EXPECT_THAT(snapshots.restore("0123456789012345678901234567890123456789", kAll).error(),
              HasSubstr("there is no snapshot 01234567"));
  EXPECT_THAT(snapshots.restore("", kAll).error(), HasSubstr("there is no snapshot"));
  EXPECT_THAT(Snapshots::open(tree.root(), tree.at("inside")).error(),
              HasSubstr("choose a directory outside"));
  EXPECT_THAT(Snapshots::open(tree.at("missing"), tree.store()).error(), HasSubstr("No such file"));
}

}  // namespace
}  // namespace lares::tools
