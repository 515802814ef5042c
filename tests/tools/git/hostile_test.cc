// A command of the sandbox that exchanges directories for links while the git tool goes through the
// worktree: with the user's rights, and by paths, for libgit2 knows no others.
#include <gmock/gmock.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>

#include "sandbox/control_paths.h"
#include "tests/tools/git/git_case.h"

namespace lares::tools {
namespace {

namespace fs = std::filesystem;
using test::Git;
using test::sh;

constexpr int kFiles = 1500;

class HostileGit : public Git {
 protected:
  std::string outside() const { return outside_.root(); }
  // Puts a link to what lies outside in the place of the directory "d", as soon as `name` is in it.
  void exchange_when_there(const std::string& name) {
    const auto d = (root() / "d").string(), there = d + "/" + name;
    while (!done_ && ::access(there.c_str(), F_OK) != 0) std::this_thread::yield();
    if (::rename(d.c_str(), (root() / "moved").c_str()) == 0)
      (void)!::symlink(outside().c_str(), d.c_str());
  }

  test::Scratch outside_;
  std::atomic<bool> done_ = false;
};

TEST_F(HostileGit, ASwitchWritesNowhereElse) {
  repo_.write("a", "a\n");
  commit_all("first");
  sh(root(), fmt::format("git switch -q -c other && mkdir d && for i in $(seq {}); do echo $i > "
                         "d/f$i; done",
                         kFiles));
  commit_all("many");
  sh(root(), "git switch -q main");
  std::thread command([&] { exchange_when_there("f1"); });
  const auto outcome = git({{"command", "switch"}, {"rev", "other"}});
  done_ = true;
  command.join();
  EXPECT_TRUE(fs::is_empty(outside())) << outcome.text;
}

// Nor is what lies there read: commands see what is in .git.
TEST_F(HostileGit, AddReadsNowhereElse) {
  repo_.write("a", "a\n");
  commit_all("first");
  fs::create_directories(root() / "d");
  for (int i = 0; i < kFiles; ++i) {
    repo_.write(fmt::format("d/f{}", i), "");
    std::ofstream(fs::path(outside()) / fmt::format("f{}", i)) << "SECRET" << i;
  }
  std::thread command([&] {
    const auto d = (root() / "d").string(), moved = (root() / "moved").string(),
               link = (root() / "link").string();
    (void)!::symlink(outside().c_str(), link.c_str());
    while (!done_) (void)::renameat2(AT_FDCWD, d.c_str(), AT_FDCWD, link.c_str(), RENAME_EXCHANGE);
  });
  for (int i = 0; i < 10; ++i) (void)git({{"command", "add"}});
  done_ = true;
  command.join();
  EXPECT_EQ(sh(root(), "git cat-file --batch-all-objects --batch | grep -ac SECRET || true"),
            "0\n");
}

// Who opens one waits for somebody to write; whoever asked can still take that back.
TEST_F(HostileGit, APipeInARulesFilesPlaceHoldsNobodyUp) {
  repo_.write("a", "a\n");
  commit_all("first");
  repo_.write("a", "b\n");
  for (const char* name : {".gitattributes", ".gitignore"}) {
    sh(root(), std::string("mkfifo ") + name);
    for (const char* command : {"status", "diff", "add"}) {
      asio::io_context io;
      asio::cancellation_signal cancel;
      asio::steady_timer timer(io, std::chrono::milliseconds(300));
      timer.async_wait([&](auto) { cancel.emit(asio::cancellation_type::terminal); });
      bool ended = false;
      asio::co_spawn(io, tool_->run({{"command", command}}, {}),
                     asio::bind_cancellation_slot(cancel.slot(),
                                                  [&](std::exception_ptr, const Result<Outcome>&) {
                                                    ended = true;
                                                    timer.cancel();
                                                  }));
      io.run();
      EXPECT_TRUE(ended) << name << " " << command;
    }
    sh(root(), std::string("rm ") + name);
  }
}

// A root without a repository, in which commands make one; and another repository of the user's.
class MadeByACommand : public Git {
 protected:
  void SetUp() override {
    Git::SetUp();
    fs::remove_all(root() / ".git");
    other_.write("payroll", "alice 90000\n");
    sh(other(),
       "git init -q -b main && git add . && git -c user.name=a -c user.email=a@b commit -q "
       "-m private && git pack-refs --all");
    before_ = refs();
    control_ = sandbox::ControlPaths::of(root().string());
  }
  std::string other() const { return other_.root(); }
  std::string refs() { return sh(other(), "git for-each-ref; git rev-parse HEAD"); }
  // As a command does, without a sandbox: what it may write there it may write here.
  void make_links() {
    sh(root(),
       "git init -q . && git config user.name m && git config user.email m@x && cd .git && "
       "rm -rf refs objects HEAD && for f in refs objects HEAD packed-refs; do ln -s " +
           other() + "/.git/$f $f; done");
  }
  void expect_nothing_of_the_other() {
    EXPECT_THAT(git({{"command", "show"}, {"rev", "HEAD:payroll"}}).text,
                testing::Not(testing::HasSubstr("alice")));
    EXPECT_FALSE(git({{"command", "branch"}, {"rev", "planted"}}).ok);
    repo_.write("run.sh", "evil\n");
    EXPECT_FALSE(git({{"command", "commit"}, {"message", "from elsewhere"}}).ok);
    EXPECT_EQ(refs(), before_);
  }

  test::Scratch other_;
  std::string before_;
  std::shared_ptr<sandbox::ControlPaths> control_;
};

TEST_F(MadeByACommand, LinksToAnothersRefsAreNotFollowed) {
  sandbox::ControlPaths::Inside inside(control_);
  inside.begin();
  make_links();
  expect_nothing_of_the_other();  // as it runs
  EXPECT_EQ(inside.end(true).size(), 4u);
  expect_nothing_of_the_other();
}

TEST_F(MadeByACommand, AFileThatLeadsToAnotherIsNotFollowed) {
  sandbox::ControlPaths::Inside inside(control_);
  inside.begin();
  std::ofstream(root() / ".git") << "gitdir: " << other() << "/.git\n";
  expect_nothing_of_the_other();
  EXPECT_EQ(inside.end(true).size(), 1u);
  expect_nothing_of_the_other();
}

TEST_F(MadeByACommand, AnothersObjectsAreNotBorrowed) {
  const auto id = sh(other(), "git rev-parse HEAD:payroll");
  sandbox::ControlPaths::Inside inside(control_);
  inside.begin();
  sh(root(), "git init -q . && echo " + other() + "/.git/objects > .git/objects/info/alternates");
  const test::json show = {{"command", "show"}, {"rev", id.substr(0, 8)}};
  EXPECT_THAT(git(show).text, testing::Not(testing::HasSubstr("alice")));
  EXPECT_EQ(inside.end(true).size(), 1u);
  EXPECT_THAT(git(show).text, testing::Not(testing::HasSubstr("alice")));
}

// The .git of a linked worktree is a file; a directory of that name would open another's objects.
TEST_F(MadeByACommand, AWorktreesGitDirectoryIsNotReached) {
  const auto id = sh(other(), "git rev-parse HEAD:payroll");
  sandbox::ControlPaths::Inside inside(control_);
  inside.begin();
  sh(root(), "git init -q . && mkdir -p .git/worktrees/x && echo " + other() +
                 "/.git > .git/worktrees/x/gitdir && rm -rf .git/objects && mkdir .git/objects && "
                 "for d in " +
                 other() + "/.git/objects/??; do ln -s $d .git/objects; done");
  EXPECT_THAT(git({{"command", "show"}, {"rev", id.substr(0, 8)}}).text,
              testing::Not(testing::HasSubstr("alice")));
}

// As git-new-workdir makes it: that the user wants.
TEST_F(MadeByACommand, LinksThatWereThereBeforeAreFollowed) {
  make_links();
  sandbox::ControlPaths::Inside inside(control_);
  inside.begin();
  EXPECT_THAT(git({{"command", "show"}, {"rev", "HEAD:payroll"}}).text,
              testing::HasSubstr("alice"));
  EXPECT_TRUE(git({{"command", "branch"}, {"rev", "wanted"}}).ok);
  inside.end(true);
  EXPECT_THAT(refs(), testing::HasSubstr("refs/heads/wanted"));
}

// Nothing in such a root leads there, and no command can change what does.
TEST_F(MadeByACommand, TheRepositoryAroundIsUsedBesideCommands) {
  sh(root(),
     "mkdir sub && git init -q -b main && echo x > sub/a && git add . && git -c "
     "user.name=a -c user.email=a@b commit -q -m first");
  const auto sub = (root() / "sub").string();
  work_in(sub);
  sandbox::ControlPaths::Inside inside(sandbox::ControlPaths::of(sub));
  inside.begin();
  EXPECT_TRUE(git({{"command", "branch"}, {"rev", "wanted"}}).ok);
  inside.end(true);
}

// As on a kernel that has none; of the calling thread and those that it starts.
void forbid_landlock() {
  const sock_filter rows[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_landlock_create_ruleset, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(rows), const_cast<sock_filter*>(rows)};
  ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

TEST_F(HostileGit, WithoutLandlockNothingIsDoneBesideCommands) {
  repo_.write("a", "a\n");
  commit_all("first");
  std::thread([&] {
    forbid_landlock();
    sandbox::ControlPaths::Inside inside(sandbox::ControlPaths::of(root().string()));
    inside.begin();
    EXPECT_THAT(git({{"command", "status"}}).text, testing::HasSubstr("end them first"));
    inside.end(false);
    EXPECT_FALSE(git({{"command", "add"}}).ok);
    inside.end(true);
    EXPECT_THAT(git({{"command", "status"}}).text, testing::HasSubstr("nothing to commit"));
  }).join();
}

}  // namespace
}  // namespace lares::tools
