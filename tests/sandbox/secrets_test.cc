#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include "sandbox/fd.h"
#include "sandbox/host_sockets.h"
#include "sandbox/sensitive_paths.h"
#include "tests/sandbox/run.h"
#include "tests/temporary_directory.h"

namespace lares::sandbox::test {
namespace {

std::vector<std::string> names(const Scratch& scratch) {
  auto found = find_sensitive(scratch.wt).value().hidden;
  for (auto& path : found) path = path.substr(scratch.wt.native().size() + 1);
  return found;
}

TEST(Secrets, AreFoundByName) {
  const Scratch scratch;
  for (const char* name :
       {".env", "a/.env.production", "id_rsa", "deep/down/credentials.json", "x.p12"})
    scratch.write(name, "s");
  EXPECT_EQ(names(scratch),
            (std::vector<std::string>{".env", "a/.env.production", "deep/down/credentials.json",
                                      "id_rsa", "x.p12"}));
}

TEST(Secrets, TemplatesAndPublicKeysAreNot) {
  const Scratch scratch;
  for (const char* name :
       {".env.example", ".env.sample", "id_rsa.pub", "environment.py", "keys.py", "main.c"})
    scratch.write(name, "s");
  EXPECT_EQ(names(scratch), std::vector<std::string>{});
}

TEST(Secrets, KeysAreFoundByTheirHeader) {
  const Scratch scratch;
  scratch.write("ca.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
  scratch.write("server.pem",
                "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n-----BEGIN RSA "
                "PRIVATE KEY-----\n");
  scratch.write("slides.key", std::string("PK\0\3 slides", 11));
  scratch.write("tls.key", "-----BEGIN PRIVATE KEY-----\n");
  scratch.write(".npmrc", "save-exact=true\n");
  scratch.write("sub/.npmrc", "//registry.example/:_authToken=abc\n");
  EXPECT_EQ(names(scratch), (std::vector<std::string>{"server.pem", "sub/.npmrc", "tls.key"}));
}

TEST(Secrets, GitAndFetchedCodeAreNotSearched) {
  const Scratch scratch;
  for (const char* name : {".git/.env", "node_modules/x/.env", "target/.env"})
    scratch.write(name, "s");
  EXPECT_EQ(names(scratch), std::vector<std::string>{});
}

TEST(Secrets, DirectoriesOfLaresAreHiddenAsAWhole) {
  const Scratch scratch;
  for (const char* name :
       {"lares/hooks.json", "lares/sub/.env", "lares/sub/deep/.git/HEAD", "code"})
    scratch.write(name, "s");
  SensitivePaths paths(scratch.wt);
  EXPECT_EQ(paths.begin(false).value().hidden,
            std::vector<std::string>{scratch.wt / "lares/sub/.env"});
  scratch.write("lares/.lares-own", "");
  scratch.write(".lares-own", "");  // the root is no part of itself
  const auto appeared = paths.before_command(true, false);
  ASSERT_TRUE(appeared);
  EXPECT_EQ(appeared->fresh, std::vector<std::string>{"lares"});
  EXPECT_EQ(names(scratch), std::vector<std::string>{"lares"});
  EXPECT_EQ(find_sensitive(scratch.wt).value().readonly, std::vector<std::string>{});
}

// A directory that commands are shown unless something hides it; none where none can be made.
std::unique_ptr<TemporaryDirectory> shown_directory() {
  for (const char* above : {LARES_BINARY_DIR, "/opt", "/var/lib"}) {
    if (::access(above, W_OK) != 0) continue;
    auto made = std::make_unique<TemporaryDirectory>(above);
    ::chmod(made->path().c_str(), 0755);
    return made;
  }
  return {};
}

TEST(Secrets, WhatIsTheCallersOwnIsHiddenWhereverItLies) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  scratch.write("in/lares/hooks.json", "{}\n");
  auto options = in(scratch);
  options.policy.own = {scratch.wt / "in/lares", scratch.dir / "none"};
  const auto inside = shell(
      "ls -A in/lares; (echo x > in/lares/hooks.json) 2>/dev/null || echo kept; (mv in z) "
      "2>/dev/null || echo pinned",
      options);
  EXPECT_EQ(inside.output, "kept\npinned\n") << inside.error;
  EXPECT_EQ(scratch.read("in/lares/hooks.json"), "{}\n");

  const auto made = shown_directory();
  if (!made) GTEST_SKIP() << "no directory can be made outside of /tmp";
  const std::string& state = made->path();
  std::ofstream(state + "/token") << "SECRET\n";
  const auto read = "cat " + state + "/token 2>&1; ls -A " + state + " 2>&1";
  const auto before = shell(read, options);
  options.policy.own.push_back(state);
  const auto after = shell(read + "; echo end", options);
  if (before.output.find("SECRET") == before.output.npos)
    GTEST_SKIP() << state << " is not shown to any command";
  EXPECT_EQ(after.output.find("SECRET"), after.output.npos) << after.output;
  EXPECT_EQ(after.output.find("token\n"), after.output.npos) << after.output;
  EXPECT_TRUE(after.output.ends_with("end\n")) << after.error << after.output;
}

// A session's own worktree lies in the state directory.
TEST(Secrets, AWorktreeInWhatIsTheCallersOwnIsAllThatIsShownOfIt) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const auto made = shown_directory();
  if (!made) GTEST_SKIP() << "no directory can be made outside of /tmp";
  const std::string& state = made->path();
  std::filesystem::create_directories(state + "/worktrees/w/.git");
  std::ofstream(state + "/token") << "SECRET\n";
  RunOptions options;
  options.policy.root = state + "/worktrees/w";
  options.policy.own = {state};
  const auto ran = shell("ls -A ../..; ls ..; echo x > f && cat f", options);
  options.policy.own = {options.policy.root};
  const auto none = run({"true"}, options);
  EXPECT_EQ(ran.output, "worktrees\nw\nx\n") << ran.error;
  EXPECT_NE(none.error.find("which no command may see"), std::string::npos) << none.error;
}

TEST(Secrets, LinksLeadToWhatIsHidden) {
  const Scratch scratch;
  scratch.write("config/values", "s");
  std::filesystem::create_symlink("config/values", scratch.wt / ".env");
  std::filesystem::create_symlink("/etc/passwd", scratch.wt / ".netrc");
  EXPECT_EQ(names(scratch), std::vector<std::string>{"config/values"});
}

TEST(Secrets, SocketsCount) {
  const Scratch scratch;
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{AF_UNIX, {}};
  const auto path = (scratch.wt / "agent.sock").native();
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(names(scratch), std::vector<std::string>{"agent.sock"});
  ::close(fd);
}

// The kernel tells such a path as it was given. Not by the policy here, but by the launcher's look.
TEST(Secrets, ASocketBoundByARelativePathIsNotReached) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  scratch.write("run/probe.py", R"py(
import os, socket
for name in ('server', '../run/server'):
    try: socket.socket(socket.AF_UNIX).connect(name); print('connected')
    except OSError: print('refused')
)py");
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(scratch.wt / "run");
  const Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address{AF_UNIX, "./server"};
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  const auto found = host_sockets();
  auto options = in(scratch);
  options.cwd = scratch.wt / "run";
  const auto ran = run({"python3", "probe.py"}, options);
  std::filesystem::current_path(before);
  EXPECT_EQ(ran.output, "refused\nrefused\n") << ran.error;
  EXPECT_TRUE(std::ranges::any_of(
      found, [&](const auto& one) { return one.served && one.path == scratch.wt / "run/server"; }));
}

TEST(Secrets, AreFoundHoweverDeepAndHoweverMany) {
  const Scratch scratch;
  std::string deep;
  for (int i = 0; i < 60; ++i) deep += "d/";
  scratch.write(deep + ".env", "s");
  for (int i = 0; i < 1'300; ++i) scratch.write("many/" + std::to_string(i) + "/.env", "s");
  EXPECT_EQ(names(scratch).size(), 1'301u);
  EXPECT_EQ(names(scratch).front(), deep + ".env");
  for (int i = 0; i < 600; ++i) scratch.write("git/" + std::to_string(i) + "/.git/HEAD", "ref");
  EXPECT_EQ(find_sensitive(scratch.wt).value().readonly.size(), 600u);
}

TEST(Secrets, ManyAreHiddenInASandbox) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  for (int i = 0; i < 1'300; ++i) scratch.write("many/" + std::to_string(i) + "/.env", "secret\n");
  auto options = in(scratch);
  options.policy.hidden = find_sensitive(scratch.wt).value().hidden;
  const auto ran = shell("cat many/*/.env | wc -l; ls -d many/*/.env | wc -l", options);
  EXPECT_EQ(ran.output, "0\n1300\n") << ran.error;
}

TEST(Secrets, AreHiddenInASandboxThatRuns) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  for (const char* name : {"a/.env", "b/.env", "keys/.ssh/id", "plain"})
    scratch.write(name, "SECRET\n");
  auto options = in(scratch);
  options.policy.hidden = {"b/.env"};
  for (const char* name : {"a/.env", "b/.env", "keys/.ssh", "gone/.env"})
    options.hide.push_back(scratch.wt / name);
  options.input =
      "cat a/.env b/.env plain; ls -A keys/.ssh; cat keys/.ssh/id 2>/dev/null || echo none\n"
      "mv a z && cat z/.env && (echo x > z/.env) 2>/dev/null || echo kept\n"
      "grep -c ' /.*/b/.env ' /proc/self/mountinfo\n";
  EXPECT_EQ(run({"/bin/sh"}, options).output, "SECRET\nnone\nkept\n1\n");
  EXPECT_EQ(scratch.read("z/.env"), "SECRET\n");
}

TEST(Secrets, WhatVanishesEndsNoSearch) {
  const Scratch scratch;
  for (int i = 0; i < 200; ++i) scratch.write("keep/" + std::to_string(i) + "/f", "x");
  scratch.write("zz/.env", "s");
  scratch.write("zz/sub/.git/HEAD", "ref");
  std::atomic<bool> stop = false;
  std::thread other([&] {
    while (!stop) {
      for (int i = 0; i < 20; ++i)
        std::filesystem::create_directories(scratch.wt / "gone" / std::to_string(i) / "a" / "b");
      std::filesystem::remove_all(scratch.wt / "gone");
    }
  });
  for (int i = 0; i < 300; ++i) {
    const auto found = find_sensitive(scratch.wt);
    if (!found || found->hidden.size() != 1 || found->readonly.size() != 1) {
      ADD_FAILURE() << "round " << i << (found ? "" : ": " + found.error().message);
      break;
    }
  }
  stop = true;
  other.join();
}

// As somebody who is not root, whom permissions stop.
class AsNobody {
 public:
  // `roots`, below the worktree, stays another's.
  explicit AsNobody(const Scratch& scratch, const char* roots = "") {
    if (::geteuid() != 0) return;
    const auto give = [](const std::filesystem::path& path) {
      if (::lchown(path.c_str(), 54'321, 54'321) != 0) std::abort();
    };
    give(scratch.dir);
    for (const auto& one : std::filesystem::recursive_directory_iterator(scratch.dir))
      if (one.path() != scratch.wt / roots) give(one.path());
    if (::setegid(54'321) != 0 || ::seteuid(54'321) != 0) std::abort();
  }
  ~AsNobody() {
    if (::getuid() == 0 && (::seteuid(0) != 0 || ::setegid(0) != 0)) std::abort();
  }
};

TEST(Secrets, DirectoriesThatCannotBeReadAreHidden) {
  const Scratch scratch;
  scratch.write("closed/.env", "s");
  scratch.write("unlisted/.env", "s");
  scratch.write("unpassable/.env", "s");
  scratch.write("zz/.env", "s");
  const AsNobody nobody(scratch);
  const auto mode = [&](const char* name, std::filesystem::perms perms) {
    std::filesystem::permissions(scratch.wt / name, perms);
  };
  using enum std::filesystem::perms;
  mode("closed", none);
  mode("unlisted", owner_exec);
  mode("unpassable", owner_read);
  EXPECT_EQ(names(scratch),
            (std::vector<std::string>{"closed", "unlisted", "unpassable", "zz/.env"}));
  for (const char* name : {"closed", "unlisted", "unpassable"}) mode(name, owner_all);
  std::filesystem::permissions(scratch.wt, none);
  const auto found = find_sensitive(scratch.wt);
  std::filesystem::permissions(scratch.wt, owner_all);
  EXPECT_FALSE(found) << "nothing is known about what is in it";
}

TEST(Secrets, DirectoriesThatCommandsCannotReadEitherAreNot) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to make another's directory";
  const Scratch scratch;
  scratch.write("data/db/.env", "s");  // a container's, say
  scratch.write(".env", "s");
  const auto mode = [&](int bits) {
    std::filesystem::permissions(scratch.wt / "data/db", std::filesystem::perms(bits));
  };
  mode(0700);
  {
    const AsNobody nobody(scratch, "data/db");
    EXPECT_EQ(names(scratch), std::vector<std::string>{".env"});
  }
  mode(0711);
  const AsNobody nobody(scratch, "data/db");
  EXPECT_EQ(names(scratch), (std::vector<std::string>{".env", "data/db"}));
}

TEST(Secrets, ALimitIsARefusal) {
  const Scratch scratch;
  for (const char* name : {"a", "b", "d/e", "d/.env"}) scratch.write(name, "s");
  const auto wide = find_sensitive(scratch.wt, {.entries_max = 5});  // .git and what is in it aside
  ASSERT_FALSE(wide);
  EXPECT_EQ(wide.error().code, Errc::refused);
  EXPECT_EQ(wide.error().message,
            "look for secrets in " + scratch.wt.native() +
                ": more than 5 files and directories (entries_max), so some could not be hidden; "
                "work in a smaller directory of it");
  EXPECT_TRUE(find_sensitive(scratch.wt, {.entries_max = 6}));
  const auto long_path = find_sensitive(scratch.wt,
                                        {.path_bytes_max = scratch.wt.native().size() + 1});
  ASSERT_FALSE(long_path);
  EXPECT_NE(long_path.error().message.find("(path_bytes_max), in which nothing can be hidden: "),
            std::string::npos)
      << long_path.error().message;
}

// A sandbox that lives, as SensitivePaths sees it.
struct Lives {
  Scratch scratch;
  std::atomic<bool> never = false;
  SensitivePaths paths{scratch.wt};
  std::vector<std::string> begin() {
    const auto found = paths.begin(never).value();
    return relative(found.hidden);
  }
  std::vector<std::string> before(bool idle = true) {
    return relative(paths.before_command(idle, never).value().hidden);
  }
  void after() { EXPECT_TRUE(paths.after_command(never)); }
  void replace(const std::string& name, const std::string& text) {  // as editors save
    scratch.write(name + ".new~", text);
    std::filesystem::rename(scratch.wt / (name + ".new~"), scratch.wt / name);
  }
  std::vector<std::string> relative(std::vector<std::string> all) const {
    for (auto& path : all) path = path.substr(scratch.wt.native().size() + 1);
    return all;
  }
};
using Names = std::vector<std::string>;

// Before Linux 6.13 two writes between two ticks, some milliseconds, have the same time.
void a_tick_later() {
  const auto now = [] {
    timespec t{};
    ::clock_gettime(CLOCK_REALTIME_COARSE, &t);
    return std::pair(t.tv_sec, t.tv_nsec);
  };
  for (const auto begin = now(); now() == begin;) std::this_thread::yield();
}

TEST(Secrets, OfALivingSandboxThoseOfOthersAreTold) {
  Lives one;
  one.scratch.write("a/.env", "s");
  EXPECT_EQ(one.begin(), Names{"a/.env"});
  EXPECT_EQ(one.before(), Names{});
  one.after();
  one.scratch.write("new/deep/.env", "s");  // the user's
  one.scratch.write("a/id_rsa", "s");
  EXPECT_EQ(one.before(), (Names{"a/id_rsa", "new/deep/.env"}));
  one.scratch.write("a/.env.local", "own");  // the command's
  one.after();
  EXPECT_EQ(one.before(), Names{});
  one.after();
  a_tick_later();
  one.scratch.write("a/.env.local", "the user fills it in");
  EXPECT_EQ(one.before(), Names{"a/.env.local"});
}

TEST(Secrets, WhatReplacesAHiddenFileIsToldAgain) {
  Lives one;
  one.scratch.write(".env", "s");
  EXPECT_EQ(one.begin(), Names{".env"});
  one.replace(".env", "t");
  EXPECT_EQ(one.before(), Names{".env"});
  one.replace(".env", "u");  // while a command runs, which cannot have done that
  one.after();
  EXPECT_EQ(one.before(), Names{".env"});
  std::filesystem::remove(one.scratch.wt / ".env");
  EXPECT_EQ(one.before(), Names{});
  one.scratch.write(".env", "own");
  one.after();
  EXPECT_EQ(one.before(), Names{});
}

TEST(Secrets, ATextThatChangesInPlaceIsRead) {
  Lives one;
  one.scratch.write(".npmrc", "save-exact=true\n");
  one.scratch.write("config/values", "s");
  ::usleep(50'000);  // until a stamp says that nothing has changed since
  EXPECT_EQ(one.begin(), Names{});
  EXPECT_EQ(one.before(), Names{});
  one.scratch.write(".npmrc", "//r/:_authToken=abc\n");
  EXPECT_EQ(one.before(), Names{".npmrc"});
  std::filesystem::create_symlink("config/values", one.scratch.wt / ".env");
  EXPECT_EQ(one.before(), Names{"config/values"});
}

TEST(Secrets, WhatALinkNamedAsADirectoryOfSecretsLeadsToIsHidden) {
  Lives one;
  one.scratch.write("conf/cloud/key", "s");
  std::filesystem::create_symlink("conf/cloud", one.scratch.wt / ".aws");
  std::filesystem::create_symlink(".", one.scratch.wt / ".ssh");  // the whole worktree is not
  EXPECT_EQ(one.begin(), Names{"conf/cloud"});
}

TEST(Secrets, ATreeThatMovesIsReadAnew) {
  Lives one;
  one.scratch.write("a/b/c", "s");
  std::filesystem::create_directories(one.scratch.outside / "x/y");
  std::ofstream(one.scratch.outside / "x/y/.env") << "s";
  EXPECT_EQ(one.begin(), Names{});
  std::filesystem::rename(one.scratch.outside / "x", one.scratch.wt / "a/b/x");
  EXPECT_EQ(one.before(), Names{"a/b/x/y/.env"});
  std::filesystem::rename(one.scratch.wt / "a", one.scratch.wt / "z");
  std::filesystem::create_symlink("z", one.scratch.wt / "a");
  EXPECT_EQ(one.before(), Names{"z/b/x/y/.env"}) << "once, and not by way of the link";
}

TEST(Secrets, WhatJobsListenOnIsTheirs) {
  Lives one;
  EXPECT_EQ(one.begin(), Names{});
  const auto listen = [&](const char* name) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{AF_UNIX, {}};
    const auto path = (one.scratch.wt / name).native();
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ::close(fd);
  };
  listen("job.sock");
  EXPECT_EQ(one.before(/*idle=*/false), Names{});
  one.after();
  listen("users.sock");
  EXPECT_EQ(one.before(), Names{"users.sock"});
}

}  // namespace
}  // namespace lares::sandbox::test
