// Indexes as git itself writes them, in every form, against what `git ls-files` says of them.
#include "tools/git/index_file.h"

#include <gmock/gmock.h>

#include <fmt/format.h>

#include "tests/fuzz.h"
#include "tests/tools/git/git_case.h"
#include "tools/git/library.h"

namespace lares::tools {
namespace {

using git::IndexEntry;
using test::Git;
using test::sh;
using testing::HasSubstr;

class IndexFile : public Git {
 protected:
  void SetUp() override {
    Git::SetUp();
    for (const char* path : {"a", "a.b", "a/", "b/c/d", "b/c/e", "b/f", "z"})
      if (!std::string(path).ends_with('/')) repo_.write(path, std::string(path) + "\n");
    repo_.write("long/" + std::string(200, 'x') + "/" + std::string(150, 'y') + "/file", "long\n");
    sh(root(), "chmod +x z && ln -s a link");
    commit_all("first");
  }
  git::Repository opened() const {
    git::start_library();
    git_repository* raw = nullptr;
    EXPECT_EQ(git_repository_open(&raw, root().c_str()), 0);
    return git::Repository(raw);
  }
  // As `git ls-files -s -t --sparse` prints it.
  static std::string lines(const std::vector<IndexEntry>& entries) {
    std::string out;
    for (const IndexEntry& entry : entries)
      out += fmt::format("{} {:06o} {} {}\t{}\n",
                         git_index_entry_stage(&entry.about) > 0 ? "M"
                         : entry.is_marked_out()                 ? "S"
                                                                 : "H",
                         entry.about.mode, git_oid_tostr_s(&entry.about.id),
                         git_index_entry_stage(&entry.about), entry.path);
    return out;
  }
  std::string ours() const {
    const auto repo = opened();
    const auto entries = git::read_index_file(repo.get());
    return entries ? lines(*entries) : entries.error();
  }
  std::string gits() const { return sh(root(), "git ls-files -s -t --sparse"); }
  std::string bytes() const { return repo_.read(".git/index"); }

  static git::GitResult<std::string> no_shared(const std::string&) { return std::string(); }
};

TEST_F(IndexFile, EveryVersionIsRead) {
  for (const int version : {2, 3, 4}) {
    sh(root(), fmt::format("git update-index --index-version {}", version));
    EXPECT_EQ(ours(), gits()) << version;
  }
  sh(root(),
     "git update-index --skip-worktree a && git add -N -f b && echo n > new && git add -N new");
  EXPECT_EQ(ours(), gits());
  sh(root(), "git update-index --index-version 3");
  EXPECT_EQ(ours(), gits());
  const auto repo = opened();
  const auto entries = git::read_index_file(repo.get());
  ASSERT_TRUE(entries);
  struct stat st {};
  ASSERT_EQ(::stat((root() / "z").c_str(), &st), 0);
  const IndexEntry& last = entries->back();
  ASSERT_EQ(last.path, "z");
  EXPECT_EQ(last.about.file_size, static_cast<std::uint32_t>(st.st_size));
  EXPECT_EQ(last.about.mtime.seconds, st.st_mtim.tv_sec);
  EXPECT_EQ(last.about.mtime.nanoseconds, static_cast<std::uint32_t>(st.st_mtim.tv_nsec));
}

TEST_F(IndexFile, ThreeStagesOfAConflictAreThree) {
  sh(root(),
     "git switch -q -c other && echo o > a && git commit -qam other && git switch -q main && "
     "echo m > a && git commit -qam main && ! git merge -q other");
  EXPECT_THAT(gits(), HasSubstr(" 3\ta\n"));
  EXPECT_EQ(ours(), gits());
}

TEST_F(IndexFile, ASplitOneIsJoined) {
  sh(root(), "git update-index --split-index");
  EXPECT_EQ(ours(), gits());
  // Something replaced, something deleted, something new, before, between and behind the others.
  sh(root(),
     "git config splitIndex.maxPercentChange 100 && echo more > b/c/d && git add b/c/d && "
     "git rm -q --cached a.b && echo 0 > 0 && echo bb > b/bb && echo zz > zz && git add 0 "
     "b/bb zz && git update-index --chmod=+x a");
  ASSERT_NE(sh(root(), "git rev-parse --shared-index-path"), "");  // it is split still
  EXPECT_EQ(ours(), gits());
  sh(root(), "git update-index --index-version 4 && echo 1 > b/c/e && git add b/c/e");
  EXPECT_EQ(ours(), gits());
  sh(root(),
     "for i in $(seq 300); do echo $i > n$i; done; git add -A && git update-index "
     "--split-index && git rm -q --cached 'n1*' && git add a.b");
  EXPECT_EQ(ours(), gits());
  sh(root(), "rm .git/sharedindex.*");
  EXPECT_THAT(ours(), HasSubstr("which it goes on from, is not there"));
}

TEST_F(IndexFile, ASparseOneHasDirectories) {
  sh(root(), "git sparse-checkout set --sparse-index b/c");
  EXPECT_THAT(gits(), HasSubstr("\tlong/\n"));
  EXPECT_EQ(ours(), gits());
}

TEST_F(IndexFile, OneWithoutAChecksumIsRead) {
  std::string zeroed = bytes();
  zeroed.replace(zeroed.size() - GIT_OID_RAWSZ, GIT_OID_RAWSZ, GIT_OID_RAWSZ, '\0');
  repo_.write(".git/index", zeroed);
  EXPECT_EQ(ours(), gits());
}

TEST_F(IndexFile, PathsOfSha256AreRead) {
  sh(root(), "rm -rf .git && git init -q -b main --object-format=sha256 && git add -A");
  const auto repo = opened();
  const auto entries = git::read_index_file(repo.get());
  ASSERT_TRUE(entries) << entries.error();
  std::string paths;
  for (const IndexEntry& entry : *entries) paths += entry.path + "\n";
  EXPECT_EQ(paths, sh(root(), "git ls-files"));
}

TEST_F(IndexFile, WithoutOneThereAreNoEntries) {
  sh(root(), "rm .git/index");
  EXPECT_EQ(ours(), "");
}

TEST_F(IndexFile, ADamagedOneIsAnError) {
  for (const char* command :
       {"git update-index --index-version 2", "git update-index --split-index",
        "git update-index --index-version 4"}) {
    sh(root(), command);
    const std::string whole = bytes();
    for (std::size_t n = 0; n < whole.size(); ++n)
      (void)git::parse_index(whole.substr(0, n), GIT_OID_RAWSZ, no_shared);
    EXPECT_FALSE(git::parse_index(whole.substr(0, 40), GIT_OID_RAWSZ, no_shared));
  }
  repo_.write(".git/index", "no index");
  EXPECT_THAT(ours(), HasSubstr("it is damaged"));
  sh(root(), "rm .git/index && mkfifo .git/index");
  EXPECT_THAT(ours(), HasSubstr("it is no plain file"));
}

TEST_F(IndexFile, WhateverBytesComeItEnds) {
  sh(root(), "git update-index --split-index");
  std::string shared;
  for (const auto& file : std::filesystem::directory_iterator(root() / ".git"))
    if (file.path().filename().string().starts_with("sharedindex."))
      shared = repo_.read(".git/" + file.path().filename().string());
  ASSERT_FALSE(shared.empty());
  sh(root(),
     "git config splitIndex.maxPercentChange 100 && git rm -q --cached a && echo b > b/f && "
     "git add b/f");
  const std::string split = bytes();
  const fuzz::Damage damage{
      {fuzz::change_byte, fuzz::flip_bit, fuzz::erase_some, fuzz::cut_off, fuzz::copy_up_to(40)},
      1,
      4};
  fuzz::repeat({.rounds = 4000}, [&](fuzz::Random& random) {
    const std::string own = damage(random() % 2 ? split : shared, random);
    const std::string from = random() % 4 ? shared : damage(shared, random);
    const auto parsed = git::parse_index(
        own, GIT_OID_RAWSZ, [&](const std::string&) { return git::GitResult<std::string>(from); });
    EXPECT_LE(parsed ? parsed->size() : 0, (own.size() + from.size()) / 60);
  });
}

}  // namespace
}  // namespace lares::tools
