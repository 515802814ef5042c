// What a command leaves that was not there when its sandbox began: what would run on the host is
// moved aside and told, the rest stays.
#include "sandbox/control_paths.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "sandbox/sensitive_paths.h"
#include "tests/sandbox/run.h"

namespace lares::sandbox::test {
namespace {

namespace fs = std::filesystem;

// A worktree without a repository, and commands in it: each in a sandbox of its own, all inside of
// one for the audit, as a shell's are.
class Tree {
 public:
  Tree() {
    fs::remove_all(scratch.wt / ".git");
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

struct LeftCase {
  const char* name;
  std::string script;
  std::vector<std::string> moved;
  std::string before;  // an earlier command
};

void PrintTo(const LeftCase& tested, std::ostream* out) { *out << tested.name; }

// A git directory by hand: what makes one is no matter, and not every machine has git.
std::string git_dir(const std::string& at) {
  return fmt::format(
      "mkdir -p {0}/hooks {0}/objects {0}/refs; echo 'ref: refs/heads/main' > {0}/HEAD; printf "
      "'[core]\\n\\tbare = false\\n' > {0}/config; ",
      at);
}
std::string hook(const std::string& at) {
  return fmt::format("printf '#!/bin/sh\\ntouch ran\\n' > {0}; chmod +x {0}; ", at);
}
std::string config(const std::string& at, const std::string& text) {
  return fmt::format("printf '{}' >> {}/config; ", text, at);
}

std::vector<LeftCase> left_cases() {
  const std::string fsmonitor = "[core]\\n\\tfsmonitor = ./evil\\n",
                    told = "core.fsmonitor in a git configuration",
                    out = ": a git directory's link out of the worktree",
                    borrows = ": another repository's objects, out of the worktree";
  return {
      {"GitInitWithAHook",
       git_dir(".git") + hook(".git/hooks/pre-commit"),
       {".git/hooks/pre-commit: a git hook"},
       ""},
      {"NestedGitWithAHook",
       git_dir("a/sub/.git") + hook("a/sub/.git/hooks/post-checkout"),
       {"a/sub/.git/hooks/post-checkout: a git hook"},
       ""},
      {"AHookAddedLater",
       hook("sub/.git/hooks/pre-commit"),
       {"sub/.git/hooks/pre-commit: a git hook"},
       git_dir("sub/.git")},
      {"AHookMadeExecutableLater",
       "chmod +x sub/.git/hooks/pre-push",
       {"sub/.git/hooks/pre-push: a git hook"},
       git_dir("sub/.git") + "echo x > sub/.git/hooks/pre-push"},
      {"HooksPreparedElsewhere",
       "rm -r sub/.git/hooks; mv made sub/.git/hooks",
       {"sub/.git/hooks/pre-commit: a git hook"},
       git_dir("sub/.git") + "mkdir made; " + hook("made/pre-commit")},
      {"ARepositoryPreparedElsewhere",
       "mv made .git",
       {".git/hooks/pre-commit: a git hook"},
       "mkdir -p made/hooks; " + hook("made/hooks/pre-commit")},
      {"HooksByALink",
       git_dir(".git") + "rm -r .git/hooks; mkdir h; ln -s ../h .git/hooks",
       {".git/hooks: git hooks, by a link"},
       ""},
      {"AHookByALink",
       git_dir(".git") + hook("h") + "ln -s ../../h .git/hooks/pre-commit",
       {".git/hooks/pre-commit: a git hook"},
       ""},
      {"Fsmonitor",
       git_dir("sub/.git") + config("sub/.git", fsmonitor),
       {"sub/.git/config: " + told},
       ""},
      {"FsmonitorAddedInPlace",
       config("sub/.git", fsmonitor),
       {"sub/.git/config: " + told},
       git_dir("sub/.git")},
      {"HooksPath",
       git_dir(".git") + config(".git", "[core] hooksPath=h\\n"),
       {".git/config: core.hooksPath in a git configuration"},
       ""},
      {"FilterProgram",
       git_dir(".git") + config(".git", "[filter \"x\"]\\n\\tclean = ./evil\\n"),
       {".git/config: filter.*.clean in a git configuration"},
       ""},
      {"AliasThatRuns",
       git_dir(".git") + config(".git", "[alias]\\n\\tst = \"!./evil\"\\n"),
       {".git/config: alias.st in a git configuration"},
       ""},
      {"Include",
       git_dir(".git") + config(".git", "[include]\\n\\tpath = cat\\n"),
       {".git/config: include.path in a git configuration"},
       ""},
      {"WorktreeElsewhere",
       git_dir(".git") + config(".git", "[core]\\n\\tworktree = ../..\\n"),
       {".git/config: core.worktree out of the worktree in a git configuration"},
       ""},
      {"ConfigByALink",
       git_dir(".git") + "mv .git/config c; ln -s ../c .git/config",
       {".git/config: a git configuration that cannot be read as a file"},
       ""},
      {"GitFileToElsewhere",
       "mkdir sub; echo 'gitdir: /var/tmp/evil' > sub/.git",
       {"sub/.git: a .git that leads out of the worktree"},
       ""},
      {"GitFileToElsewhereByDots",
       "echo 'gitdir: ../evil' > .git",
       {".git: a .git that leads out of the worktree"},
       ""},
      {"GitFileToWithin",
       "mkdir sub; echo 'gitdir: ../conf' > sub/.git",
       {"conf/config: " + told},
       git_dir("conf") + "rm conf/HEAD; " + config("conf", fsmonitor)},
      {"GitFileByALinksParent",
       git_dir("good") + git_dir("deep/good") + config("deep/good", fsmonitor) +
           "mkdir deep/a; ln -s deep/a a; echo 'gitdir: a/../good' > .git",
       {"deep/good/config: " + told},
       ""},
      {"GitLinkToElsewhere",
       "ln -s /var/tmp/evil .git",
       {".git: a .git that leads out of the worktree"},
       ""},
      {"GitLinkToWithin",
       git_dir("conf") + hook("conf/hooks/pre-commit") + "ln -s conf .git",
       {"conf/hooks/pre-commit: a git hook"},
       ""},
      {"CommonDirectoryElsewhere",
       git_dir("sub/.git") + "echo /var/tmp/evil > sub/.git/commondir",
       {"sub/.git/commondir: a git directory's link out of the worktree"},
       ""},
      {"CommonDirectoryWithin",
       git_dir("sub/.git") + "mkdir c; echo ../../c > sub/.git/commondir; " +
           config("c", fsmonitor),
       {"c/config: " + told},
       ""},
      {"LinksToAnothersRefsAndObjects",
       git_dir(".git") +
           "cd .git; rm -r refs objects HEAD; for f in refs objects HEAD packed-refs; do ln -s "
           "/var/tmp/evil/$f $f; done",
       {".git/HEAD" + out, ".git/objects" + out, ".git/packed-refs" + out, ".git/refs" + out},
       ""},
      {"LinksAddedLaterByDots",
       "cd sub/.git; mkdir logs; rm -r objects; ln -s ../../../evil objects; ln -s "
       "../../../../x logs/refs",
       {"sub/.git/logs" + out, "sub/.git/objects" + out},
       git_dir("sub/.git")},
      {"LinksDeepInRefsAndObjects",
       git_dir(".git") +
           "cd .git; mkdir refs/heads objects/info; ln -s /var/tmp/evil refs/heads/x; ln -s "
           "/var/tmp/evil objects/pack; ln -s /var/tmp/evil objects/ab; ln -s /var/tmp/evil "
           "objects/info/commit-graph",
       {".git/objects/ab" + out, ".git/objects/info/commit-graph" + out, ".git/objects/pack" + out,
        ".git/refs" + out},
       ""},
      {"ALinkByALinkOfTheWorktree",
       git_dir(".git") + "rm -r .git/objects; ln -s /var/tmp/evil o; ln -s ../o .git/objects",
       {".git/objects" + out},
       ""},
      {"LinksToDirectoriesBesideThatLeadElsewhere",
       git_dir(".git") +
           "mkdir o r i; ln -s /var/tmp/evil o/pack; ln -s /var/tmp/evil r/heads; ln -s "
           "/var/tmp/evil i/exclude; cd .git; rm -r objects refs; ln -s ../o objects; ln -s ../r "
           "refs; ln -s ../i info",
       {".git/info" + out, ".git/objects" + out, ".git/refs" + out},
       ""},
      {"LinksToDirectoriesBesideOneAfterTheOther",
       git_dir(".git") +
           "mkdir -p a b/deep c .git/logs .git/objects/info; ln -s /var/tmp/evil c/x; ln -s "
           "../../c b/deep/on; ln -s ../b a/on; ln -s . a/back; ln -s ../../a .git/refs/heads; ln "
           "-s ../../a .git/logs/refs; ln -s ../../c .git/objects/pack",
       {".git/logs" + out, ".git/objects/pack" + out, ".git/refs" + out},
       ""},
      {"AStoreByALinkThatBorrowsElsewhere",
       git_dir(".git") + "mkdir -p o/info; echo /var/tmp/evil > o/info/alternates; rm -r "
                         ".git/objects; ln -s ../o .git/objects",
       {".git/objects" + borrows},
       ""},
      {"ASubmodulesHookByALink",
       git_dir(".git") + "mkdir .git/modules; " + git_dir("node_modules/x/m") +
           hook("node_modules/x/m/hooks/pre-push") + "ln -s ../../node_modules/x .git/modules/x",
       {"node_modules/x/m/hooks/pre-push: a git hook"},
       ""},
      {"LinksOfWhatGitIsAboutTo",
       git_dir(".git") + "mkdir .git/rebase-merge; ln -s /var/tmp/evil .git/rebase-merge/done",
       {".git/rebase-merge" + out},
       ""},
      {"LinksOfALinkedWorktree",
       git_dir(".git") + "mkdir -p .git/worktrees/x; ln -s /var/tmp/evil .git/worktrees/x/HEAD",
       {".git/worktrees" + out},
       ""},
      {"AlternatesElsewhere",
       git_dir(".git") + "mkdir .git/objects/info; printf '../../o\n/var/tmp/evil\n' > "
                         ".git/objects/info/alternates",
       {".git/objects/info/alternates" + borrows},
       ""},
      {"AlternatesElsewhereByAStoreOfTheWorktree",
       git_dir(".git") +
           "mkdir -p .git/objects/info o/info; echo $PWD/o > .git/objects/info/alternates; echo "
           "../../evil > o/info/alternates; ln -s /var/tmp/evil o/pack",
       {"o/info/alternates" + borrows, "o/pack" + out},
       ""},
      {"AlternatesByTheWorkingDirectoryOfWhoeverOpensThem",
       git_dir(".git") +
           "mkdir .git/objects/info; echo var/tmp/evil > .git/objects/info/alternates",
       {".git/objects/info/alternates" + borrows},
       ""},
      {"AlternatesThatNobodyWrites",
       git_dir(".git") + "mkdir .git/objects/info; mkfifo .git/objects/info/alternates",
       {".git/objects/info/alternates: object stores to borrow from that cannot be read as a file"},
       ""},
      {"ASubmodulesHookThatNoGitFileNamesYet",
       git_dir(".git") + git_dir(".git/modules/a/b") + hook(".git/modules/a/b/hooks/post-checkout"),
       {".git/modules/a/b/hooks/post-checkout: a git hook"},
       ""},
      {"RepositoryWithoutAName",
       git_dir("docs") + config("docs", fsmonitor),
       {"docs/config: " + told},
       ""},
      {"RepositoryInADirectoryOfTools",
       git_dir("target/.git") + config("target/.git", fsmonitor),
       {"target/.git/config: " + told},
       ""},
      {"EditorTasks",
       "mkdir .vscode; echo '{}' > .vscode/tasks.json",
       {".vscode/tasks.json: an editor's tasks"},
       ""},
      {"EditorSettings",
       "mkdir .vscode; echo '{\"git.path\": \"./evil\"}' > .vscode/settings.json",
       {".vscode/settings.json: an editor's settings that name programs"},
       ""},
      {"EditorSettingsByALink",
       "mkdir v; echo '{}' > v/tasks.json; ln -s v .vscode",
       {".vscode: an editor's settings, by a link"},
       ""},
      {"OtherEditor",
       "mkdir -p .idea/runConfigurations; echo x > .idea/runConfigurations/a.xml",
       {".idea/runConfigurations: an editor's tasks"},
       ""},
      {"FilesOfOtherPrograms",
       "mkdir .husky; echo x | tee .envrc .mcp.json .pre-commit-config.yaml lefthook.yml > "
       ".husky/pre-commit",
       {".envrc: direnv's", ".husky: git hooks", ".mcp.json: servers for agents",
        ".pre-commit-config.yaml: what git hooks run", "lefthook.yml: what git hooks run"},
       ""},
  };
}

class LeftBehind : public testing::TestWithParam<LeftCase> {};

TEST_P(LeftBehind, IsMovedAside) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  Tree tree;
  const auto& attempt = GetParam();
  EXPECT_EQ(tree.after(attempt.before), std::vector<std::string>()) << tree.output;
  EXPECT_EQ(tree.after(attempt.script), attempt.moved) << tree.output;
  EXPECT_EQ(tree.after("true"), std::vector<std::string>()) << "told twice";
}
INSTANTIATE_TEST_SUITE_P(, LeftBehind, testing::ValuesIn(left_cases()),
                         [](const auto& tested) { return std::string(tested.param.name); });

// What an ordinary day leaves.
class LeftAlone : public testing::TestWithParam<std::pair<const char*, std::string>> {};

TEST_P(LeftAlone, IsNotTold) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  if (GetParam().second.find("git ") != std::string::npos &&
      ::system("command -v git >/dev/null 2>&1") != 0)
    GTEST_SKIP() << "git is not installed";
  Tree tree;
  EXPECT_EQ(tree.after("set -e; " + GetParam().second + "; echo fine"), std::vector<std::string>());
  EXPECT_NE(tree.output.find("fine\n"), std::string::npos) << tree.output;
  EXPECT_EQ(tree.after("true"), std::vector<std::string>());
}
INSTANTIATE_TEST_SUITE_P(
    , LeftAlone,
    testing::Values(
        std::pair("Init",
                  "git init -q; echo x > f; git add f; git commit -qm first; git config user.name "
                  "me; git config core.pager cat; git status"),
        std::pair("Clone",
                  "git init -q one; cd one; git commit -q --allow-empty -m first; cd ..; git clone "
                  "-q one two; git -C two status"),
        std::pair("Submodule",
                  "git init -q one; git -C one commit -q --allow-empty -m first; git init -q two; "
                  "cd two; "
                  "git -c protocol.file.allow=always submodule --quiet add ../one sub; git -C sub "
                  "status"),
        std::pair("LinkedWorktree",
                  "git init -q one; cd one; git commit -q --allow-empty -m first; git worktree add "
                  "-q ../linked; cd ../linked; git status"),
        std::pair("Packages",
                  "mkdir -p node_modules/x; git init -q node_modules/x; git init -q node_modules; "
                  "echo x > node_modules/x/.git/hooks/pre-commit; chmod +x "
                  "node_modules/x/.git/hooks/pre-commit"),
        std::pair(
            "EditorSettings",
            "mkdir .vscode; echo '{\"editor.formatOnSave\": true, \"files.exclude\": {\"**/path\": "
            "true}}' > .vscode/settings.json; echo '{}' > .vscode/extensions.json"),
        std::pair("FilesLikeThem",
                  "mkdir -p docs/refs objects; echo x > HEAD; echo x > docs/config; mkdir a; echo "
                  "x > a/.envrc; echo x > .gitignore")),
    [](const auto& tested) { return std::string(tested.param.first); });

TEST(LeftBehindBy, ABackgroundJobIsSeenAtTheNextLook) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  Tree tree;
  EXPECT_EQ(tree.after(git_dir("sub/.git"), false), std::vector<std::string>());
  // As the job does while no command runs.
  ASSERT_EQ(
      ::system(
          ("cd " + tree.scratch.wt.native() + "; " + hook("sub/.git/hooks/pre-commit")).c_str()),
      0);
  EXPECT_EQ(tree.after("true"), std::vector<std::string>{"sub/.git/hooks/pre-commit: a git hook"});
}

TEST(LeftBehindBy, AShellThatWasKilledIsSeenByTheNext) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  {
    ControlPaths::Inside inside(ControlPaths::of(scratch.wt));
    inside.begin();
    ASSERT_TRUE(shell(git_dir("sub/.git") + hook("sub/.git/hooks/pre-commit"), in(scratch)).ok());
  }
  ControlPaths::Inside next(ControlPaths::of(scratch.wt));
  next.begin();
  const auto moved = next.end(true);
  ASSERT_EQ(moved.size(), 1u);
  EXPECT_EQ(
      told_of(moved),
      "[moved aside, because it could run programs outside the sandbox: sub/.git/hooks/pre-commit "
      "(a git hook) is now "
      "sub/.git/hooks/pre-commit.lares-quarantined. If it is wanted, the user can move it back.]");
}

// ... and what was the user's all the time stays, though the next one looks at what the last one
// may have left.
TEST(LeftBehindBy, AShellThatWasKilledCostsTheUserNothing) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  ASSERT_EQ(::system(("cd " + scratch.wt.native() + "; mkdir -p .git/hooks; " +
                      hook(".git/hooks/pre-commit") + "echo x > .envrc")
                         .c_str()),
            0);
  {
    ControlPaths::Inside inside(ControlPaths::of(scratch.wt));
    inside.begin();
  }
  ControlPaths::Inside next(ControlPaths::of(scratch.wt));
  next.begin();
  EXPECT_EQ(told_of(next.end(true)), "");
  EXPECT_TRUE(fs::exists(scratch.wt / ".git/hooks/pre-commit"));
}

// What a link leads to is as read-only by way of the link.
TEST(LeftBehindBy, AGitFileCannotHaveTheUsersHooksMoved) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  Tree tree;
  ASSERT_EQ(::system(("cd " + tree.scratch.wt.native() + "; " + git_dir(".git") +
                      git_dir(".git/modules/sub") + hook(".git/modules/sub/hooks/pre-commit"))
                         .c_str()),
            0);
  EXPECT_EQ(tree.after("mkdir x; echo 'gitdir: ../.git/modules/sub' > x/.git"),
            std::vector<std::string>());
  EXPECT_TRUE(fs::exists(tree.scratch.wt / ".git/modules/sub/hooks/pre-commit"));
}

// Nor have refs written there by whoever opens another repository as the user.
TEST(LeftBehindBy, AGitDirectorysLinksDoNotLeadIntoTheUsersOwn) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  Tree tree;
  ASSERT_EQ(
      ::system(("cd " + tree.scratch.wt.native() + "; mkdir sub; " + git_dir("sub/.git")).c_str()),
      0);
  EXPECT_EQ(tree.after(git_dir(".git") + "rm -r .git/refs; ln -s ../sub/.git/refs .git/refs"),
            (std::vector<std::string>{
                ".git/refs: a git directory's link to what commands cannot change"}));
}

// As git-new-workdir makes them, and `git clone --shared`.
TEST(LeftBehindBy, LinksWithinTheWorktreeAndTheUsersOwnStay) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  Tree tree;
  ASSERT_EQ(::system(("cd " + tree.scratch.wt.native() + "; " + git_dir("theirs/.git") +
                      "rm -r theirs/.git/refs; ln -s /var/tmp/refs theirs/.git/refs; mkdir "
                      "theirs/.git/objects/info; echo /var/tmp/o > "
                      "theirs/.git/objects/info/alternates")
                         .c_str()),
            0);
  EXPECT_EQ(tree.after(git_dir("sub/.git") + git_dir(".git") +
                       "cd .git; rm -r refs HEAD; ln -s ../sub/.git/refs refs; ln -s "
                       "refs/heads/main HEAD; mkdir objects/info; echo ../../sub/.git/objects > "
                       "objects/info/alternates"),
            std::vector<std::string>())
      << tree.output;
  EXPECT_TRUE(fs::is_symlink(tree.scratch.wt / "theirs/.git/refs"));
}

TEST(LeftBehindBy, AFileThatPeopleWriteIsToldAndStays) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  Tree tree;
  EXPECT_EQ(
      tree.after("mkdir .vscode; echo '{}' > .vscode/tasks.json; echo x > .envrc"),
      (std::vector<std::string>{".envrc: direnv's", ".vscode/tasks.json: an editor's tasks"}));
  EXPECT_EQ(tree.left.size(), 2u);
  EXPECT_EQ(tree.after("true"), std::vector<std::string>());  // once
}

TEST(LeftBehindBy, WhatAgentsAndEditorsObeyIsToldOrKept) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  for (const char* name :
       {".claude/settings.json", ".cursor/mcp.json", ".devcontainer/devcontainer.json",
        ".lefthook.yml", ".claude/settings.local.json", ".cursor/hooks.json",
        ".gemini/settings.json", "opencode.json", "opencode.jsonc", ".opencode/plugin/x.js",
        ".hg/hgrc", ".vscode/launch.json", ".vscode/mcp.json", ".idea/workspace.xml",
        ".idea/startup.xml", ".idea/watcherTasks.xml"}) {
    const Scratch fresh, there;
    const auto write = std::string("mkdir -p $(dirname ") + name + "); echo evil > " + name;
    const auto paths = std::make_shared<ControlPaths>(fresh.wt);
    ControlPaths::Inside inside(paths);
    inside.begin();
    shell(write, in(fresh));
    const std::string_view told = std::string_view(name).starts_with(".opencode") ? ".opencode"
                                                                                  : name;
    EXPECT_NE(told_of(inside.end(true)).find(told), std::string::npos) << name;
    there.write(name, "{}");
    shell(write, in(there));
    EXPECT_EQ(there.read(name), "{}") << name;
  }
}

// Hooks and configurations that a team keeps with its code.
TEST(LeftBehindBy, WhatGitsConfigurationNamesIsToldOrKept) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const std::string config =
      "[core]\n\tbare = false\n\thooksPath = tools/hooks\n[include]\n\tpath = ../team.gitconfig\n"
      "[includeIf \"onbranch:x\"]\n\tpath = ../conf/branch\n";
  const std::string command =
      "mkdir -p tools/hooks conf; printf '#!/bin/sh\\n' > tools/hooks/pre-commit; chmod +x "
      "tools/hooks/pre-commit; echo '[core] fsmonitor = ./evil' > team.gitconfig; echo '[alias] x "
      "= !evil' > conf/branch; mv tools moved && mkdir -p tools/hooks && cp "
      "moved/hooks/pre-commit tools/hooks; rm -rf conf; mkdir -p conf; echo '[alias] x = !evil' > "
      "conf/branch; echo x > other";
  const Scratch fresh, there;
  fresh.write(".git/config", config);
  Sensitive sensitive = find_sensitive(fresh.wt).value();
  EXPECT_EQ(sensitive.readonly, std::vector<std::string>());
  ControlPaths::Inside inside(std::make_shared<ControlPaths>(fresh.wt));
  inside.begin();
  ASSERT_TRUE(shell(command, in(fresh)).ok());
  const auto told = told_of(inside.end(true));
  for (const char* one :
       {"tools/hooks/pre-commit (a git hook)", "team.gitconfig (a git configuration",
        "conf/branch (a git configuration"})
    EXPECT_NE(told.find(one), std::string::npos) << one << " is missing in " << told;
  EXPECT_NE(told.find("[new or changed"), std::string::npos) << told;
  EXPECT_EQ(told_of(inside.end(true)), "");  // once

  there.write(".git/config", config);
  there.write("tools/hooks/pre-push", "theirs");
  there.write("team.gitconfig", "[include]\n\tpath = conf/branch\n");
  there.write("conf/branch", "[include]\n\tpath = deeper\n");
  there.write("conf/deeper", "[core]\n\thooksPath = .more\n");
  there.write(".more/pre-commit", "theirs");
  auto options = in(there);
  sensitive = find_sensitive(there.wt).value();
  options.policy.readonly = sensitive.readonly;
  std::vector<std::string> kept;
  for (const char* name : {".more", "conf/branch", "conf/deeper", "team.gitconfig", "tools/hooks"})
    kept.push_back(there.wt / name);
  EXPECT_EQ(sensitive.readonly, kept);
  ControlPaths::Inside other(std::make_shared<ControlPaths>(there.wt));
  other.begin();
  shell(command + "; echo x > .more/pre-commit; echo x > conf/deeper", options);
  EXPECT_EQ(told_of(other.end(true)), "");
  EXPECT_EQ(there.read("other"), "x\n");
  EXPECT_EQ(there.read("tools/hooks/pre-push"), "theirs");
  EXPECT_EQ(there.read("tools/hooks/pre-commit"), "<absent>");
  EXPECT_EQ(there.read("team.gitconfig"), "[include]\n\tpath = conf/branch\n");
  EXPECT_EQ(there.read(".more/pre-commit"), "theirs");
  EXPECT_EQ(there.read("conf/deeper"), "[core]\n\thooksPath = .more\n");
}

// By a link, which a command could lead elsewhere; from the user's own settings; and what makes no
// sense or lies elsewhere is nobody's.
TEST(LeftBehindBy, HooksByALinkAndByTheUsersSettingsAreToldOrKept) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  const std::string before = ::getenv("HOME") ? ::getenv("HOME") : "";
  const auto home = scratch.outside / "home";
  fs::create_directory(home);
  std::ofstream(home / ".gitconfig") << "[core]\n\thooksPath = linked\n";
  ::setenv("HOME", home.c_str(), 1);
  scratch.write(".git/config",
                "[core]\n\thooksPath = .\n\thooksPath = ../outside\n\thooksPath = .git/own\n"
                "\thooksPath = ~/hooks\n[include]\n\tpath = /etc/passwd\n\tpath = \n");
  scratch.write("real/pre-commit", "theirs");
  fs::create_directory_symlink("real", scratch.wt / "linked");
  auto options = in(scratch);
  options.policy.readonly = find_sensitive(scratch.wt).value().readonly;
  EXPECT_EQ(options.policy.readonly, std::vector<std::string>{scratch.wt / "real"});
  ControlPaths::Inside inside(std::make_shared<ControlPaths>(scratch.wt));
  inside.begin();
  shell("(echo x > real/pre-commit) 2>/dev/null; rm linked; mkdir made; ln -s made linked",
        options);
  const auto told = told_of(inside.end(true));
  ::setenv("HOME", before.c_str(), 1);
  EXPECT_NE(told.find("linked (git hooks, by a link)"), std::string::npos) << told;
  EXPECT_EQ(scratch.read("real/pre-commit"), "theirs");
}

TEST(LeftBehindBy, AnotherSessionInTheSameWorktreeIsNotTakenForTheUser) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  ControlPaths::Inside one(ControlPaths::of(scratch.wt));
  one.begin();
  ASSERT_TRUE(shell(git_dir("sub/.git") + hook("sub/.git/hooks/pre-commit"), in(scratch)).ok());
  ControlPaths::Inside other(ControlPaths::of(scratch.wt));
  other.begin();
  EXPECT_EQ(other.end(true).size() + one.end(true).size(), 1u);
  EXPECT_FALSE(fs::exists(scratch.wt / "sub/.git/hooks/pre-commit"));
}

TEST(LeftBehindBy, AHookOfTheSameNameTakesAnotherName) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  Tree tree;
  EXPECT_EQ(tree.after(git_dir(".git") + hook(".git/hooks/pre-commit")).size(), 1u);
  ControlPaths::Inside inside(tree.paths);
  inside.begin();
  ASSERT_TRUE(shell(hook(".git/hooks/pre-commit"),
                    [&] {
                      auto o = in(tree.scratch);
                      o.backend = Backend::none;
                      return o;
                    }())
                  .ok());
  const auto moved = inside.end(true);
  ASSERT_EQ(moved.size(), 1u);
  EXPECT_EQ(moved[0].to, ".git/hooks/pre-commit.lares-quarantined.2");
}

TEST(ControlPaths, WhatTheUserMakesStays) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  Tree tree;
  const auto user = [&](const std::string& script) {
    ASSERT_EQ(::system(("cd " + tree.scratch.wt.native() + "; " + script).c_str()), 0);
  };
  user(git_dir("old/.git") + hook("old/.git/hooks/pre-commit") +
       "mkdir .vscode; echo '{}' > .vscode/tasks.json; " + git_dir("bare") +
       hook("bare/hooks/update"));
  EXPECT_EQ(tree.after("true"), std::vector<std::string>());
  // Between two commands, in what the agent has made.
  EXPECT_EQ(tree.after(git_dir("new/.git")), std::vector<std::string>());
  user(hook("new/.git/hooks/pre-commit") + "echo x > .envrc");
  EXPECT_EQ(tree.after("true"), std::vector<std::string>());
  // While a command runs, where no command can write.
  std::thread at_once([&] {
    user("while ! [ -e runs ]; do sleep 0.01; done; " + hook("old/.git/hooks/pre-push") +
         "echo '{ }' > .vscode/launch.json; touch written");
  });
  EXPECT_EQ(tree.after("touch runs; while ! [ -e written ]; do sleep 0.01; done"),
            std::vector<std::string>());
  at_once.join();
  EXPECT_TRUE(fs::exists(tree.scratch.wt / "old/.git/hooks/pre-push"));
  // What a command changes of the user's is a command's.
  EXPECT_EQ(tree.after("echo evil >> new/.git/hooks/pre-commit; echo evil >> bare/hooks/update"),
            (std::vector<std::string>{"bare/hooks/update: a git hook",
                                      "new/.git/hooks/pre-commit: a git hook"}));
}

// The host's git, in what a command has left.
TEST(ControlPaths, GitRunsNothingOfItAfterwards) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  if (::system("command -v git >/dev/null 2>&1") != 0) GTEST_SKIP() << "git is not installed";
  Tree tree;
  EXPECT_EQ(tree.after("git init -q; echo x > f; " + hook(".git/hooks/pre-commit") +
                       "cp .git/hooks/pre-commit evil; git config core.fsmonitor ./evil")
                .size(),
            2u)
      << tree.output;
  const auto git = "cd " + tree.scratch.wt.native() +
                   " && git -c safe.directory='*' -c user.name=a -c user.email=a@b ";
  EXPECT_EQ(
      ::system((git + "status >/dev/null 2>&1 && git -c safe.directory='*' add f 2>/dev/null; " +
                git + "commit -qm first >/dev/null 2>&1")
                   .c_str()),
      0);
  EXPECT_FALSE(fs::exists(tree.scratch.wt / "ran"));
}

// What is not told of later must be read-only from the beginning.
TEST(ControlPaths, ARepositoryInADirectoryOfToolsIsCovered) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  Tree tree;
  tree.scratch.write("target/.git/config", "[core]\n");
  EXPECT_EQ(tree.after("echo '[core] fsmonitor = x' >> target/.git/config"),
            std::vector<std::string>());
  EXPECT_NE(tree.output.find("Read-only file system"), std::string::npos) << tree.output;
  EXPECT_EQ(tree.scratch.read("target/.git/config"), "[core]\n");
}

TEST(ControlPaths, StaysWithinItsBounds) {
  const Scratch scratch;
  for (int i = 0; i < 50; ++i) scratch.write(fmt::format("d{}/f", i), "");
  ControlPaths::Inside inside(std::make_shared<ControlPaths>(
      scratch.wt, ControlLimits{.entries_max = 20, .directories_max = 30, .repositories_max = 4}));
  inside.begin();
  for (int i = 0; i < 50; ++i)
    scratch.write(fmt::format("d{}/.git/config", i), "[core]\nfsmonitor = ./evil\n");
  std::size_t n = 0;
  for (int look = 0; look < 20; ++look) n += inside.end(false).size();
  EXPECT_GE(n, 3u);  // and the worktree's own
  EXPECT_LE(n, 4u);
}

// Who makes thousands of directories first could leave a hook in the next.
TEST(ControlPaths, SaysWhenACommandHasGoneBeyondItsBounds) {
  for (const bool repositories : {false, true}) {
    const Scratch scratch;
    ControlPaths::Inside inside(std::make_shared<ControlPaths>(
        scratch.wt, ControlLimits{.directories_max = 40, .repositories_max = 10}));
    inside.begin();
    scratch.write("d/f", "");
    EXPECT_EQ(told_of(inside.end(false)), "");
    for (int i = 0; i < (repositories ? 12 : 50); ++i)
      scratch.write(fmt::format("d{}/{}", i, repositories ? ".git/HEAD" : "f"), "");
    EXPECT_NE(told_of(inside.end(false)).find("there are more than 40 directories or 10 "),
              std::string::npos);
    scratch.write("more/f", "");
    EXPECT_EQ(told_of(inside.end(false)), "");  // once
  }
}

// Who makes thousands of files first could leave a hook behind them, for a look that takes what it
// finds for the user's.
TEST(ControlPaths, WhatIsLeftToTheNextLookIsStillACommands) {
  const Scratch scratch;
  for (const char* dir : {"a", "z"}) fs::create_directories(scratch.wt / dir);
  const auto paths = std::make_shared<ControlPaths>(scratch.wt, ControlLimits{.entries_max = 60});
  ControlPaths::Inside inside(paths);
  inside.begin();
  for (int i = 0; i < 100; ++i) scratch.write(fmt::format("z/f{}", i), "");
  for (const char* dir : {"a", "b"}) {
    scratch.write(fmt::format("{}/.git/HEAD", dir), "ref: refs/heads/main\n");
    scratch.write(fmt::format("{}/.git/config", dir), "[core]\nfsmonitor = ./evil\n");
  }
  std::string told = told_of(inside.end(true));
  EXPECT_NE(told.find("more than 60 new or changed files"), std::string::npos) << told;
  inside.begin();
  told += told_of(inside.end(true));
  for (const char* dir : {"a", "b"})
    EXPECT_NE(told.find(fmt::format("is now {}/.git/config.lares-quarantined", dir)),
              std::string::npos)
        << told;
}

// So could the user's own files be taken for a command's.
TEST(ControlPaths, WhatIsThereAtFirstIsTheUsersHoweverMuch) {
  const Scratch scratch;
  for (int i = 0; i < 20; ++i) {
    scratch.write(fmt::format("d{}/.git/HEAD", i), "ref: refs/heads/main\n");
    scratch.write(fmt::format("d{}/.git/config", i), "[core]\nfsmonitor = ./mine\n");
  }
  ControlPaths::Inside inside(
      std::make_shared<ControlPaths>(scratch.wt, ControlLimits{.entries_max = 10}));
  for (int i = 0; i < 10; ++i) {
    inside.begin();
    EXPECT_EQ(told_of(inside.end(true)), "");
  }
}

}  // namespace
}  // namespace lares::sandbox::test
