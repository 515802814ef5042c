// What is found of what a command leaves: what would run on the host is moved aside and told, what
// people also write themselves is told, and the rest stays.
#include "sandbox/control_look.h"

#include <fstream>

#include "tests/sandbox/control_tree.h"

namespace lares::sandbox::test {
namespace {

namespace fs = std::filesystem;

std::vector<LeftCase> left_cases() {
  const std::string fsmonitor = "[core]\\n\\tfsmonitor = ./evil\\n",
                    told = "core.fsmonitor in a git configuration";
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
  expect_moved_aside(GetParam());
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

}  // namespace
}  // namespace lares::sandbox::test
