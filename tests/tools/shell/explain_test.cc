#include "tools/shell/explain.h"

#include <gtest/gtest.h>

namespace lares::tools::test {
namespace {

const std::string kRoot = "/home/u/project";

sandbox::Sensitive kept() {
  return {{kRoot + "/app/dist/.env", kRoot + "/.env"}, {kRoot + "/.githooks", kRoot + "/lib/.git"}};
}
std::string told(std::string_view output, Ran ran = Ran::in_shell) {
  return explained(output, kRoot, kept(), ran);
}
bool names(std::string_view output, std::string_view path) {
  return told(output).find(path) != std::string::npos;
}

TEST(Explained, WhereNothingIsWrittenNoWayToWriteIsShown) {
  EXPECT_EQ(told("bash: x: No space left on device\n", Ran::reading),
            "[/tmp, the home directory and caches are small here and in memory.]");
  EXPECT_EQ(told("touch: cannot touch '.git/x': Read-only file system\n", Ran::reading), "");
}

TEST(Explained, TestsMayNeedWhatTheShellHasMade) {
  constexpr const char* kBusy = "OSError: [Errno 16] Device or resource busy: '.env'";
  EXPECT_EQ(told(kBusy, Ran::alone),
            told(kBusy) +
                "\n[What a command of `bash` has made of them, that shell can read and "
                "change: where the tests need it, run them with `bash`.]");
}

TEST(Explained, AreNamedWhateverProgramComplains) {
  for (const char* output :
       {"rm: cannot remove 'app/dist/.env': Device or resource busy\n",
        "rm: cannot remove 'dist/.env': Device or resource busy\n",  // from app
        "rm: cannot remove '../dist/.env': Device or resource busy",
        "mv: cannot move 'dist' to 'old': Device or resource busy",
        "mv: cannot move './app/dist/' to 'old': Device or resource busy",
        "Error: EBUSY: resource busy or locked, unlink '/home/u/project/app/dist/.env'",
        "OSError: [Errno 16] Device or resource busy: 'dist/.env'",
        "unlinkat dist/.env: device or resource busy",
        "error: failed to remove file `/home/u/project/app/dist/.env`\n\nCaused by:\n"
        "  Device or resource busy (os error 16)",
        "bash: app/dist/.env: Permission denied"})
    EXPECT_TRUE(names(output, "hidden, for it may hold secrets: app/dist/.env")) << output;
  EXPECT_TRUE(names("bash: .env: Permission denied", ": app/dist/.env, .env."));
}

TEST(Explained, GitsOwnLeadToTheGitTool) {
  for (const char* output :
       {"fatal: Unable to create '/home/u/project/.git/index.lock': Read-only file system",
        "error: could not lock config file .git/config: Read-only file system",
        "error: could not write config file .git/config: Device or resource busy",
        "error: cannot open '.git/FETCH_HEAD': Read-only file system",
        "fatal: Unable to create '/home/u/repo/.git/worktrees/w/index.lock': Read-only file system",
        "fatal: Unable to create '/srv/bare.git/worktrees/w/index.lock': Read-only file system"})
    EXPECT_TRUE(names(output, "The `git` tool can")) << output;
  EXPECT_EQ(told("bash: .githooks/pre-commit: Read-only file system"),
            "[read-only for commands, for programs outside the sandbox obey it: .githooks]");
  EXPECT_TRUE(names("mkdir: cannot create directory '.husky/_': Read-only file system", ".husky]"));
  EXPECT_TRUE(names("touch: cannot touch '/home/u/project/lib/.git/x': Read-only file system",
                    "obey it: lib/.git]"));
}

TEST(Explained, DockerIsOutOfReach) {
  EXPECT_TRUE(
      names("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the "
            "docker daemon running?\n",
            "no command can reach it from the sandbox"));
}

TEST(Explained, WhatIsPrivateIsSmall) {
  EXPECT_TRUE(names("OSError: [Errno 28] No space left on device", "TMPDIR"));
  EXPECT_FALSE(names("Error: ENOSPC: System limit for number of file watchers reached", "TMPDIR"));
}

TEST(Explained, OthersFailuresAreNotTheirs) {
  for (const char* output :
       {"", "rm: cannot remove 'mnt': Device or resource busy",
        "rm: cannot remove '/proc/1/dist/.env': Device or resource busy",
        "rm: cannot remove 'dist/.env.d': Device or resource busy",
        "touch: cannot touch '/usr/x': Read-only file system",
        "touch: cannot touch 'app/x': Read-only file system",  // above, and that is no reason
        "bash: ./app: Permission denied", "bash: .githooks/x: Permission denied",
        "removed 'app/dist/.env'", "EBUSY"})
    EXPECT_EQ(told(output), "") << output;
}

}  // namespace
}  // namespace lares::tools::test
