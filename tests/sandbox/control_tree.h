// Helper of the tests of what commands leave: a worktree, commands in it one after the other, and
// what was moved aside or told after each.
#pragma once

#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "sandbox/control_paths.h"
#include "sandbox/sensitive_paths.h"
#include "tests/sandbox/run.h"

namespace lares::sandbox::test {

// A worktree without a repository, and commands in it: each in a sandbox of its own, all inside of
// one for the audit, as a shell's are.
class Tree {
 public:
  Tree() {
    std::filesystem::remove_all(scratch.wt / ".git");
    ::unsetenv("GIT_DIR");
  }
  // Moved aside after `script`: "path: why", sorted.
  std::vector<std::string> after(const std::string& script, bool idle = true) {
    if (!inside_) inside_.emplace(paths), policy_ = options();
    inside_->begin();
    const auto ran = shell(script, policy_);
    output = ran.error + ran.output;
    std::vector<std::string> out;
    for (const auto& one : inside_->end(idle)) {
      out.push_back(one.path + ": " + one.why);
      struct stat status;
      if (one.left) {
        EXPECT_EQ(one.to, "");
        EXPECT_EQ(::lstat((scratch.wt / one.path).c_str(), &status), 0) << one.path << " is gone";
        left.push_back(one.path);
        continue;
      }
      EXPECT_EQ(one.to, one.path + std::string(kQuarantined));
      EXPECT_NE(::lstat((scratch.wt / one.path).c_str(), &status), 0)
          << one.path << " is still there";
      EXPECT_EQ(::lstat((scratch.wt / one.to).c_str(), &status), 0) << one.to << " is lost";
    }
    std::sort(out.begin(), out.end());
    return out;
  }
  void leave() { inside_.reset(); }
  RunOptions options() const {
    auto out = in(scratch);
    auto sensitive = find_sensitive(scratch.wt).value();
    out.policy.hidden = sensitive.hidden;
    out.policy.readonly = sensitive.readonly;
    out.env = {"GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b",
               "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b"};
    return out;
  }

  const Scratch scratch;
  const std::shared_ptr<ControlPaths> paths = ControlPaths::of(scratch.wt);
  std::string output;
  std::vector<std::string> left;  // told, and not moved

 private:
  std::optional<ControlPaths::Inside> inside_;
  RunOptions policy_;
};

// For a suite of them, of a name each.
struct LeftCase {
  const char* name;
  std::string script;
  std::vector<std::string> moved;
  std::string before;  // an earlier command
};

inline void PrintTo(const LeftCase& tested, std::ostream* out) { *out << tested.name; }

// A git directory by hand: what makes one is no matter, and not every machine has git.
inline std::string git_dir(const std::string& at) {
  return fmt::format(
      "mkdir -p {0}/hooks {0}/objects {0}/refs; echo 'ref: refs/heads/main' > {0}/HEAD; printf "
      "'[core]\\n\\tbare = false\\n' > {0}/config; ",
      at);
}
inline std::string hook(const std::string& at) {
  return fmt::format("printf '#!/bin/sh\\ntouch ran\\n' > {0}; chmod +x {0}; ", at);
}
inline std::string config(const std::string& at, const std::string& text) {
  return fmt::format("printf '{}' >> {}/config; ", text, at);
}

inline void expect_moved_aside(const LeftCase& attempt) {
  Tree tree;
  EXPECT_EQ(tree.after(attempt.before), std::vector<std::string>()) << tree.output;
  EXPECT_EQ(tree.after(attempt.script), attempt.moved) << tree.output;
  EXPECT_EQ(tree.after("true"), std::vector<std::string>()) << "told twice";
}

}  // namespace lares::sandbox::test
