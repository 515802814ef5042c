// What is refused before anything runs, and what becomes of the rest: nothing here starts a
// command.
#include "sandbox/policy.h"

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>

#include <gtest/gtest.h>

#include "tests/sandbox/run.h"

namespace lares::sandbox::test {
namespace {

using Paths = std::vector<std::string>;

// A variable of the environment for as long as it lives; nullptr: it is not set.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* was = ::getenv(name)) was_ = was;
    put(value);
  }
  Variable(const Variable&) = delete;
  ~Variable() { put(was_ ? was_->c_str() : nullptr); }

 private:
  void put(const char* value) const {
    if (value)
      ::setenv(name_, value, 1);
    else
      ::unsetenv(name_);
  }
  const char* const name_;
  std::optional<std::string> was_;
};

// A command in the worktree of a user whose home directory is beside it.
struct Asked {
  Scratch scratch;
  Variable home{"HOME", scratch.outside.c_str()};
  Policy policy{.root = scratch.wt};
  Command command{.argv = {"true"}, .cwd = scratch.wt};
  Backend backend = Backend::native;

  Result<Spec> compiled() const { return compile(backend, policy, command); }
  // Why it is refused; "": it is not.
  std::string refused() const {
    const auto spec = compiled();
    if (spec) return "";
    EXPECT_EQ(spec.error().code, Errc::refused);
    return spec.error().message;
  }
};

std::string value_of(const std::vector<std::string>& env, const std::string& name) {
  for (const auto& entry : env)
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  return "<absent>";
}

TEST(Policy, ARootIsAProjectsOwnDirectory) {
  Asked asked;
  EXPECT_EQ(asked.refused(), "");
  asked.scratch.write("file", "x");
  std::filesystem::create_directory_symlink(asked.scratch.wt, asked.scratch.dir / "link");
  const std::string wt = asked.scratch.wt, dir = asked.scratch.dir;
  for (const auto& root :
       Paths{wt + "/", wt + "/.", wt + "/../wt", dir + "//wt", dir + "/link", wt + "/file",
             wt + std::string("\0x", 2), "/etc", "/var/tmp", "/dev/x", "/proc/self", "wt", ""}) {
    asked.policy.root = asked.command.cwd = root;
    EXPECT_NE(asked.refused(), "") << root;
  }
}

TEST(Policy, AHomeDirectoryIsNone) {
  Asked asked;
  for (const auto& root : {asked.scratch.outside, asked.scratch.dir}) {  // it, and what holds it
    asked.policy.root = asked.command.cwd = root;
    EXPECT_NE(asked.refused().find("the home directory"), std::string::npos) << root;
  }
  const auto inside = asked.scratch.outside / "project", beside = asked.scratch.dir / "outsider";
  for (const auto& root : {inside, beside}) {
    std::filesystem::create_directories(root);
    asked.policy.root = asked.command.cwd = root;
    EXPECT_EQ(asked.refused(), "") << root;
  }
}

TEST(Policy, ACommandBeginsInsideTheRoot) {
  Asked asked;
  const std::string wt = asked.scratch.wt;
  for (const auto& cwd : Paths{wt, wt + "/sub/deep"}) {
    asked.command.cwd = cwd;
    EXPECT_EQ(asked.compiled().value().cwd, cwd);
  }
  for (const auto& cwd : Paths{wt + "x", asked.scratch.outside, "/", "sub", "", wt + "/../outside",
                               wt + "/sub/.", wt + std::string("/a\0b", 4)}) {
    asked.command.cwd = cwd;
    EXPECT_NE(asked.refused(), "") << cwd;
  }
}

TEST(Policy, WhatIsCoveredLiesBelowTheRoot) {
  Asked asked;
  const std::string wt = asked.scratch.wt;
  asked.policy.hidden = {"a/.env", wt + "/.netrc"};
  asked.policy.readonly = {"sub/.git", wt + "/.git"};
  EXPECT_EQ(asked.compiled().value().hidden, (Paths{wt + "/a/.env", wt + "/.netrc"}));
  EXPECT_EQ(asked.compiled().value().readonly, (Paths{wt + "/sub/.git", wt + "/.git"}));
  for (const auto& path : Paths{wt + "x/.env", wt, "../outside/x", "a/./b", "a//b", "", "/etc/x",
                                std::string("a\0b", 3)}) {
    Asked wrong;
    wrong.policy.root = wrong.command.cwd = wt;
    wrong.policy.hidden = {path};
    EXPECT_NE(wrong.refused(), "") << path;
    wrong.policy.hidden = {};
    wrong.policy.readonly = {path};
    EXPECT_NE(wrong.refused(), "") << path;
  }
}

TEST(Policy, AsMuchIsCoveredAsCanBeMounted) {
  Asked asked;
  asked.policy.hidden.assign(kCoversMax - 1, "a/.env");
  asked.policy.readonly = {".git"};
  EXPECT_EQ(asked.refused(), "");
  asked.policy.readonly.push_back("sub/.git");
  EXPECT_NE(asked.refused().find("(kCoversMax)"), std::string::npos);
}

TEST(Policy, WhatIsTheCallersOwnIsHiddenBelowTheRootAndEmptiedElsewhere) {
  Asked asked;
  const std::string wt = asked.scratch.wt, dir = asked.scratch.dir;
  asked.policy.own = {wt + "/lares", dir + "/state", wt + "x", dir};
  const auto spec = asked.compiled().value();
  EXPECT_EQ(spec.hidden, Paths{wt + "/lares"});
  EXPECT_EQ(spec.emptied, (Paths{dir + "/state", wt + "x", dir}));
  for (const auto& path : Paths{wt, "/", "state", dir + "/../x", ""}) {
    asked.policy.own = {path};
    EXPECT_NE(asked.refused(), "") << path;
  }
}

TEST(Policy, LimitsLeaveRoomForACommand) {
  const auto with = [](const std::function<void(Limits&)>& change) {
    Asked asked;
    change(asked.policy.limits);
    return asked.refused();
  };
  EXPECT_EQ(with([](Limits& l) {
              l = {.file_bytes = 1,
                   .memory_bytes = 1,
                   .n_processes = 2,
                   .n_open_files = 16,
                   .growth_bytes = 0,
                   .growth_inodes = 0,
                   .free_bytes = 0,
                   .cpu_seconds = 1};
            }),
            "");
  EXPECT_NE(with([](Limits& l) { l.n_processes = 1; }), "");
  EXPECT_NE(with([](Limits& l) { l.n_processes = -1; }), "");
  EXPECT_NE(with([](Limits& l) { l.n_open_files = 15; }), "");
  EXPECT_NE(with([](Limits& l) { l.file_bytes = 0; }), "");
  EXPECT_NE(with([](Limits& l) { l.memory_bytes = 0; }), "");
  EXPECT_NE(with([](Limits& l) { l.cpu_seconds = 0; }), "");
}

TEST(Policy, TheCommandIsTextAsProgramsTakeIt) {
  Asked asked;
  asked.command = {.argv = {"true", ""}, .cwd = asked.scratch.wt, .env = {"A=", "B=c=d"}};
  EXPECT_EQ(asked.compiled().value().argv, (Paths{"true", ""}));
  EXPECT_EQ(value_of(asked.compiled().value().env, "A"), "");
  EXPECT_EQ(value_of(asked.compiled().value().env, "B"), "c=d");
  const std::string nul("a\0b", 3);
  for (const auto& argv : {Paths{}, Paths{""}, Paths{"true", nul}}) {
    Asked wrong;
    wrong.command.argv = argv;
    EXPECT_NE(wrong.refused(), "");
  }
  for (const auto& entry : {std::string("A"), std::string("=a"), std::string(), "A=" + nul}) {
    Asked wrong;
    wrong.command.env = {entry};
    EXPECT_NE(wrong.refused(), "") << entry;
  }
}

TEST(Policy, ANetworkIsThereForTheNativeBackendsListAlone) {
  for (const auto backend : {Backend::native, Backend::bubblewrap, Backend::none}) {
    Asked asked;
    asked.backend = backend;
    EXPECT_FALSE(asked.compiled().value().network);
    EXPECT_EQ(value_of(asked.compiled().value().env, "HTTPS_PROXY"), "<absent>");
    asked.policy.network_allow = {"example.com"};
    const auto spec = asked.compiled().value();
    EXPECT_EQ(spec.network, backend == Backend::native);
    EXPECT_EQ(value_of(spec.env, "HTTPS_PROXY") != "<absent>", backend == Backend::native);
    asked.policy.network_allow = {"*"};
    EXPECT_NE(asked.refused(), "");
  }
}

TEST(Policy, AReadOnlyWorktreeIsToldOfIt) {
  Asked asked;
  EXPECT_FALSE(asked.compiled().value().worktree_readonly);
  asked.policy.worktree_readonly = true;
  EXPECT_TRUE(asked.compiled().value().worktree_readonly);
}

TEST(Policy, TheCallersEnvironmentIsKeptWhereNothingConfinesAlone) {
  const Variable token("LARES_TEST_TOKEN", "secret");
  Asked asked;
  asked.command.env = {"EXTRA=1", "LANG=xx"};
  asked.command.keeps_environment = true;
  for (const auto backend : {Backend::native, Backend::bubblewrap}) {
    asked.backend = backend;
    EXPECT_EQ(value_of(asked.compiled().value().env, "LARES_TEST_TOKEN"), "<absent>");
  }
  asked.backend = Backend::none;
  const Variable lang("LANG", "de");
  const auto env = asked.compiled().value().env;
  EXPECT_EQ(value_of(env, "LARES_TEST_TOKEN"), "secret");
  EXPECT_EQ(value_of(env, "EXTRA"), "1");
  EXPECT_EQ(std::ranges::count_if(env, [](const auto& e) { return e.starts_with("LANG="); }), 1);
  EXPECT_EQ(value_of(env, "LANG"), "xx");
  asked.command.keeps_environment = false;
  EXPECT_EQ(value_of(asked.compiled().value().env, "LARES_TEST_TOKEN"), "<absent>");
}

// What is searched below whatever directory a command changes to could be the worktree's own.
TEST(Policy, ProgramsAreLookedForInAbsoluteDirectories) {
  {
    const Variable path("PATH", "/usr/bin:.:bin::/bin:./x");
    EXPECT_EQ(value_of(environment(Backend::native, "", {}), "PATH"), "/usr/bin:/bin");
  }
  const Variable path("PATH", ".:bin");
  EXPECT_EQ(value_of(environment(Backend::none, "", {}), "PATH"), "/usr/local/bin:/usr/bin:/bin");
}

}  // namespace
}  // namespace lares::sandbox::test
