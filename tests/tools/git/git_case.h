// Repositories that git itself made, and the git tool in them.
#pragma once

#include <git2.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "tests/tools/scratch.h"
#include "tools/git/git_tool.h"

namespace lares::tools::test {

using nlohmann::json;

// Output of a shell command in `directory`; its failure is the test's.
inline std::string sh(const std::filesystem::path& directory, const std::string& command) {
  FILE* pipe = ::popen(("cd '" + directory.string() + "' && { " + command + "; } 2>&1").c_str(),
                       "r");
  std::string out;
  for (char buffer[4096]; const auto n = std::fread(buffer, 1, sizeof buffer, pipe);)
    out.append(buffer, n);
  EXPECT_EQ(::pclose(pipe), 0) << command << "\n" << out;
  return out;
}

inline std::unique_ptr<Tool> git_tool_in(const std::string& directory) {
  BuiltinOptions options;
  options.root = directory;
  return make_git_tool({}, options);
}
inline Outcome call_git(Tool& tool, json args) {
  asio::io_context io;
  return call(io, tool, std::move(args))
      .value_or(Outcome{.text = "the harness broke", .ok = false, .changes = {}});
}

class Git : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("HOME", std::filesystem::path(home_.root()).c_str(), 1);
    ::setenv("XDG_CONFIG_HOME", (std::filesystem::path(home_.root()) / ".config").c_str(), 1);
    ::setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
    sh(root(),
       "git init -q -b main && git config user.name 'Ann Example' && git config user.email "
       "ann@example.invalid");
    work_in(root().string());
    // libgit2 asks for $HOME once in a process.
    git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_GLOBAL, home_.root().c_str());
    git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_XDG,
                     home_.at(".config/git").c_str());
  }
  void work_in(const std::string& directory) { tool_ = git_tool_in(directory); }
  std::filesystem::path root() const { return std::filesystem::path(repo_.root()); }
  Outcome git(json args) { return call_git(*tool_, std::move(args)); }
  void commit_all(const std::string& message) {
    sh(root(), "git add -A && git commit -q -m '" + message + "'");
  }

  Scratch home_, repo_;
  std::unique_ptr<Tool> tool_;
};

// A repository of which a part can be kept out: files at the top, in in/, and in out/ with what
// lies below it.
class GitInParts : public Git {
 protected:
  void SetUp() override {
    Git::SetUp();
    repo_.write("top", "top\n");
    repo_.write("in/a", "a\n");
    repo_.write("out/b", "b\n");
    repo_.write("out/deep/c", "c\n");
    commit_all("first");
  }
  static std::string gits_status(const std::string& directory) {
    return sh(directory, "git status --short --branch");
  }
};

}  // namespace lares::tools::test
