#include "tools/edit/edit_tool.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/tools/scratch.h"
#include "tools/outline/syntax_check.h"
#include "tools/text.h"
#include "tools/workspace/own_files.h"

namespace lares::tools {
namespace {

using testing::Contains;
using testing::Not;
namespace fs = std::filesystem;
using nlohmann::json;

class Edit : public testing::Test {
 protected:
  Outcome run(json args) {
    auto result = test::call(io_, tool_, std::move(args));
    return result ? *result : Outcome{"BROKEN: " + result.error().message, false, {}};
  }
  Outcome replace(const std::string& path, const std::string& from, const std::string& to) {
    return run({{"command", "str_replace"}, {"path", path}, {"old_str", from}, {"new_str", to}});
  }
  Outcome undo(const std::string& path) { return run({{"command", "undo_edit"}, {"path", path}}); }
  Outcome view(const std::string& path) { return run({{"command", "view"}, {"path", path}}); }

  test::Scratch dir_, state_;
  asio::io_context io_;
  EditTool tool_{BuiltinOptions{.root = dir_.root(), .state_dir = state_.root()}};
};

TEST_F(Edit, ViewNumbersTheLines) {
  const auto path = dir_.write("a.py", "x = 1\n\ny = 2\n");
  const Outcome out = view(path);
  EXPECT_TRUE(out.ok);
  EXPECT_EQ(out.text, "     1  x = 1\n     2  \n     3  y = 2\n");
  EXPECT_EQ(run({{"command", "view"}, {"path", path}, {"view_range", {2, -1}}}).text,
            "     2  \n     3  y = 2\n");
  EXPECT_EQ(run({{"command", "view"}, {"path", path}, {"view_range", {3, 99}}}).text,
            "     3  y = 2\n");
}
TEST_F(Edit, DirectoriesElsewhereThatMayBeViewedAreNotEdited) {
  const test::Scratch skills, beyond;
  const auto path = skills.write("a/SKILL.md", "x\n");
  skills.write("a/.env", "KEY=1\n");
  beyond.write("text", "y\n");
  fs::create_symlink(beyond.at("text"), skills.at("a/link"));
  EXPECT_FALSE(view(path).ok);
  EditTool tool(BuiltinOptions{.root = dir_.root(), .viewable = {"/nowhere", skills.root()}});
  const auto call = [&](json args) { return *test::call(io_, tool, std::move(args)); };
  EXPECT_EQ(call({{"command", "view"}, {"path", path}}).text, "     1  x\n");
  for (const char* hidden : {"a/.env", "a/link"})
    EXPECT_FALSE(call({{"command", "view"}, {"path", skills.at(hidden)}}).ok) << hidden;
  EXPECT_FALSE(call({{"command", "create"}, {"path", skills.at("b")}, {"file_text", "x"}}).ok);
  EXPECT_FALSE(
      call({{"command", "str_replace"}, {"path", path}, {"old_str", "x"}, {"new_str", "y"}}).ok);
  const auto names = tool.choices("path", {{"command", "view"}});
  ASSERT_TRUE(names);
  EXPECT_THAT(names->one_of, Contains(path));
  EXPECT_THAT(tool.choices("path", {{"command", "str_replace"}}).value_or(Choices{}).one_of,
              Not(Contains(path)));
}
TEST_F(Edit, WhatIsLaresOwnIsKeptBack) {
  const auto path = dir_.write("state/lares/api-token", "x\n");
  EXPECT_TRUE(view(path).ok);
  mark_as_own(dir_.at("state/lares"));
  fs::create_symlink("state/lares/api-token", dir_.at("link"));
  fs::create_directory_symlink("state/lares", dir_.at("links"));
  for (const auto& at : {path, dir_.at("link"), dir_.at("links/api-token")}) {
    EXPECT_FALSE(view(at).ok) << at;
    EXPECT_FALSE(replace(at, "x", "y").ok) << at;
  }
  for (const char* at : {"state/lares", "state/lares/new", "links/new"}) {
    const Outcome out = run({{"command", "create"}, {"path", dir_.at(at)}, {"file_text", "x"}});
    EXPECT_FALSE(out.ok) << at;
    EXPECT_FALSE(fs::exists(dir_.at("state/lares/new")));
  }
  EXPECT_TRUE(view(dir_.write("state/other", "x\n")).ok);
}
TEST_F(Edit, ViewRangeErrors) {
  const auto path = dir_.write("a", "1\n2\n");
  for (const json& range : {json{0, 1}, json{3, 4}, json{2, 1}, json{1}, json("x")}) {
    const Outcome out = run({{"command", "view"}, {"path", path}, {"view_range", range}});
    EXPECT_FALSE(out.ok);
    EXPECT_TRUE(out.text.starts_with("Invalid `view_range`: ")) << out.text;
  }
}
TEST_F(Edit, ViewClipsAtALine) {
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "some line of text\n";
  const Outcome out = view(dir_.write("big", text));
  EXPECT_LT(out.text.size(), 16'600u);
  EXPECT_NE(out.text.find("<response clipped><NOTE>"), std::string::npos);
  EXPECT_NE(out.text.find("of 3000 are not shown]"), std::string::npos);
}
TEST_F(Edit, ViewOfADirectoryAndOfAnEmptyFile) {
  dir_.write("src/a/b/c.py", "1\n");
  dir_.write("src/d.py", "");
  const Outcome out = view(dir_.at("src"));
  EXPECT_NE(out.text.find(dir_.at("src/a/b/\n")), std::string::npos) << out.text;
  EXPECT_EQ(out.text.find("c.py"), std::string::npos) << out.text;
  EXPECT_NE(view(dir_.at("src/d.py")).text.find("is empty"), std::string::npos);
}
TEST_F(Edit, ViewOfADirectoryByAnyNameIsTheSame) {
  dir_.write("src/a/b.py", "1\n");
  fs::create_directory_symlink("src", dir_.at("link"));
  for (const char* const name : {"src/", "src//", "link", "link/", "src/a/.."}) {
    const Outcome out = view(dir_.at(name));
    EXPECT_NE(out.text.find(dir_.at("src/a/b.py")), std::string::npos) << name << "\n" << out.text;
  }
}
TEST_F(Edit, ViewOfADirectoryThatGitTakesNothingOfSaysSo) {
  dir_.write("a", "1\n");
  fs::create_directory(dir_.at("nothing"));
  const Outcome out = view(dir_.at("nothing"));
  EXPECT_TRUE(out.ok);
  EXPECT_NE(out.text.find("`ls` in bash"), std::string::npos) << out.text;
}

TEST_F(Edit, ReplaceSaysOneLineAndGivesTheDiff) {
  const auto path = dir_.write("src/a.py", "def f(x):\n    return x < 1\n");
  const Outcome out = replace(path, "x < 1", "x <= 1");
  EXPECT_TRUE(out.ok);
  EXPECT_EQ(out.text, "The file " + path + " has been edited successfully.");
  EXPECT_EQ(dir_.read("src/a.py"), "def f(x):\n    return x <= 1\n");
  ASSERT_EQ(out.changes.size(), 1u);
  EXPECT_EQ(out.changes[0].path, "src/a.py");
  EXPECT_EQ(out.changes[0].diff,
            "--- a/src/a.py\n+++ b/src/a.py\n@@ -1,2 +1,2 @@\n def f(x):\n-    return x < 1\n+    "
            "return x <= 1\n");
}
TEST_F(Edit, ExactErrorTexts) {
  const auto path = dir_.write("a", "one\ntwo\none\n");
  EXPECT_EQ(replace(path, "one", "x").text,
            "No replacement was performed. Multiple occurrences of old_str `one` in lines [1, 3]. "
            "Please ensure it is unique");
  EXPECT_TRUE(replace(path, "zzzz", "x")
                  .text.starts_with(
                      "No replacement was performed, old_str `zzzz` did not appear verbatim in " +
                      path + "."));
  EXPECT_EQ(replace("src/a", "one", "x").text,
            "The path src/a is not an absolute path, it should start with `/`. Maybe you meant " +
                dir_.at("src/a") + "?");
  EXPECT_EQ(run({{"command", "create"}, {"path", path}, {"file_text", "x"}}).text,
            "File already exists at: " + path +
                ". Cannot overwrite files using command `create`. Change it with `str_replace`.");
  dir_.write("src/b.py", "");
  for (const char* command : {"view", "str_replace", "insert", "undo_edit"}) {
    EXPECT_EQ(
        run({{"command", command},
             {"path", dir_.at("b.py")},
             {"old_str", "x"},
             {"new_str", "y"},
             {"insert_line", 0}})
            .text,
        "The path " + dir_.at("b.py") + " does not exist. There is " + dir_.at("src/b.py") + ".");
  }
  EXPECT_EQ(replace(path, "two", "two").text,
            "No replacement was performed, old_str and new_str are the same.");
  EXPECT_FALSE(replace(path, "", "two").ok);
  EXPECT_EQ(dir_.read("a"), "one\ntwo\none\n");
}
TEST_F(Edit, UndoTakesBackOneEditAfterTheOther) {
  const auto path = dir_.write("a", "1\n2\n"), other = dir_.write("b", "x\n");
  EXPECT_EQ(undo(path).text, "No edit of " + path + " is left to undo.");
  ASSERT_TRUE(replace(path, "1", "one").ok);
  const Outcome inserted =
      run({{"command", "insert"}, {"path", path}, {"insert_line", 2}, {"new_str", "3"}});
  ASSERT_TRUE(inserted.ok);
  ASSERT_TRUE(replace(other, "x", "y").ok);
  const Outcome out = undo(path);
  EXPECT_EQ(out.text, "The last edit of " + path + " has been undone.");
  ASSERT_EQ(out.changes.size(), 1u);
  EXPECT_EQ(out.changes[0].diff, "--- a/a\n+++ b/a\n@@ -1,3 +1,2 @@\n one\n 2\n-3\n");
  EXPECT_EQ(out.changes[0].after, inserted.changes.at(0).before);
  EXPECT_NE(out.changes[0].after, out.changes[0].before);
  EXPECT_EQ(dir_.read("a"), "one\n2\n");
  ASSERT_TRUE(replace(path, "2", "two").ok);  // an edit between two undos
  EXPECT_TRUE(undo(path).ok);
  EXPECT_TRUE(undo(path).ok);
  EXPECT_EQ(dir_.read("a"), "1\n2\n");
  EXPECT_FALSE(undo(path).ok);
  EXPECT_EQ(dir_.read("b"), "y\n");
}
TEST_F(Edit, UndoOfACreatedFileRemovesIt) {
  const auto path = dir_.at("new.txt");
  const Outcome made = run({{"command", "create"}, {"path", path}, {"file_text", "x\n"}}),
                undone = undo(path);
  ASSERT_TRUE(made.ok);
  EXPECT_EQ(undone.text, "The last edit of " + path + " has been undone; the file is gone again.");
  EXPECT_EQ(made.changes.at(0).before, kNoFile);
  EXPECT_EQ(undone.changes.at(0).before, made.changes.at(0).after);
  EXPECT_EQ(undone.changes.at(0).after, kNoFile);
  EXPECT_FALSE(fs::exists(path));
  EXPECT_TRUE(run({{"command", "create"}, {"path", path}, {"file_text", "y\n"}}).ok);
}
TEST_F(Edit, UndoLeavesWhatOthersWrote) {
  const auto path = dir_.write("a", "1\n");
  ASSERT_TRUE(replace(path, "1", "2").ok);
  dir_.write("a", "3\n");
  EXPECT_EQ(undo(path).text,
            "Nothing was undone: " + path +
                " changed after your last edit of it. View it, and edit what is there now.");
  EXPECT_EQ(dir_.read("a"), "3\n");
}
TEST_F(Edit, UndoKeepsBytesTheModelDoesNotSee) {
  const std::string bytes =
      "\xef\xbb\xbf"
      "a\r\nb";
  const auto path = dir_.write("a", bytes);
  ASSERT_TRUE(replace(path, "a", "c").ok);
  EXPECT_TRUE(undo(path).ok);
  EXPECT_EQ(dir_.read("a"), bytes);
}
TEST_F(Edit, UnusableArgumentsAreOutcomes) {
  const auto path = dir_.write("a", "1\n");
  for (const json& args :
       {json(nullptr), json(3), json::object(), json{{"command", 1}}, json{{"command", "view"}},
        json{{"command", "dance"}, {"path", path}},
        json{{"command", "str_replace"}, {"path", path}},
        json{{"command", "insert"}, {"path", path}, {"insert_line", "x"}, {"new_str", "q"}},
        json{{"command", "create"}, {"path", path}}}) {
    const Outcome out = run(args);
    EXPECT_FALSE(out.ok) << args.dump();
    EXPECT_FALSE(out.text.starts_with("BROKEN")) << out.text;
  }
}
TEST_F(Edit, CreateMakesDirectories) {
  const auto path = dir_.at("new/deep/f.txt");
  const Outcome out = run({{"command", "create"}, {"path", path}, {"file_text", "hello\n"}});
  EXPECT_EQ(out.text, "File created successfully at: " + path);
  EXPECT_EQ(dir_.read("new/deep/f.txt"), "hello\n");
  EXPECT_EQ(out.changes.at(0).path, "new/deep/f.txt");
  EXPECT_TRUE(replace(path, "hello", "bye").ok);
}
TEST_F(Edit, InsertKeepsLinesWhole) {
  const auto path = dir_.write("a", "1\n2\n");
  EXPECT_TRUE(
      run({{"command", "insert"}, {"path", path}, {"insert_line", 0}, {"new_str", "0"}}).ok);
  EXPECT_TRUE(
      run({{"command", "insert"}, {"path", path}, {"insert_line", 3}, {"new_str", "3\n"}}).ok);
  EXPECT_EQ(dir_.read("a"), "0\n1\n2\n3\n");
  EXPECT_EQ(run({{"command", "insert"}, {"path", path}, {"insert_line", 5}, {"new_str", "x"}}).text,
            "Invalid `insert_line` parameter: 5. It should be within the range of lines of the "
            "file: [0, 4]");
  const auto open = dir_.write("b", "1\r\n2");
  EXPECT_TRUE(
      run({{"command", "insert"}, {"path", open}, {"insert_line", 2}, {"new_str", "3\n"}}).ok);
  EXPECT_EQ(dir_.read("b"), "1\r\n2\r\n3");
  const auto empty = dir_.write("c", "");
  EXPECT_TRUE(
      run({{"command", "insert"}, {"path", empty}, {"insert_line", 0}, {"new_str", "x"}}).ok);
  EXPECT_EQ(dir_.read("c"), "x\n");
}
TEST_F(Edit, RelaxedMatchIsSaidAndShown) {
  const auto path = dir_.write("a.py", "def f():\n    if x:   \n        y()\n");
  const Outcome out = replace(path, "    if x:\n        y()", "    if x:\n        z()");
  EXPECT_TRUE(out.ok);
  EXPECT_NE(out.text.find("lines 2-3 when trailing blanks are ignored"), std::string::npos)
      << out.text;
  EXPECT_NE(out.text.find("     3          z()\n"), std::string::npos) << out.text;
  EXPECT_NE(replace(path, "      z()\n", "      w()\n").text, "");
}

TEST_F(Edit, StaleFileIsRefusedOnceWithTheDifference) {
  const auto path = dir_.write("a", "one\ntwo\n");
  tool_.note_seen("a", "one\ntwo\n");
  dir_.write("a", "one\nTWO\n");
  const Outcome out = replace(path, "one", "1");
  EXPECT_FALSE(out.ok);
  EXPECT_NE(out.text.find("changed since you last saw it"), std::string::npos) << out.text;
  EXPECT_NE(out.text.find("-two\n+TWO\n"), std::string::npos) << out.text;
  EXPECT_EQ(dir_.read("a"), "one\nTWO\n");
  EXPECT_TRUE(replace(path, "one", "1").ok);  // the error was the new view
  EXPECT_TRUE(replace(path, "1", "one").ok);  // its own edits are no surprise
}
TEST_F(Edit, AnotherSessionsEditIsNoticed) {
  EditTool other{BuiltinOptions{.root = dir_.root(), .state_dir = state_.root()}};
  const auto path = dir_.write("a", "one\ntwo\n");
  view(path);
  ASSERT_TRUE(
      test::call(io_, other,
                 {{"command", "str_replace"}, {"path", path}, {"old_str", "two"}, {"new_str", "2"}})
          ->ok);
  EXPECT_FALSE(replace(path, "one", "1").ok);
}

TEST_F(Edit, ModeLineEndsBomAndFinalNewlineStay) {
  const auto path = dir_.write("run.sh", "\xef\xbb\xbf#!/bin/sh\r\necho a\r\necho b");
  fs::permissions(path, fs::perms(0755));
  const bool xattr = ::setxattr(path.c_str(), "user.note", "kept", 4, 0) == 0;
  EXPECT_EQ(view(path).text, "     1  #!/bin/sh\n     2  echo a\n     3  echo b\n");
  const auto out = replace(path, "echo a\necho b", "echo c\necho b");
  EXPECT_TRUE(out.ok);
  EXPECT_EQ(dir_.read("run.sh"), "\xef\xbb\xbf#!/bin/sh\r\necho c\r\necho b");
  EXPECT_EQ(out.changes.at(0).after, blob_sha(dir_.read("run.sh")));
  // What a scan calls it
  EXPECT_EQ(out.changes.at(0).shown, blob_sha("#!/bin/sh\necho c\necho b"));
  struct stat st {};
  ::stat(path.c_str(), &st);
  EXPECT_EQ(st.st_mode & 07777, 0755u);
  char value[8] = {};
  if (xattr) {
    EXPECT_EQ(::getxattr(path.c_str(), "user.note", value, sizeof value), 4);
  }
}
TEST_F(Edit, ReadOnlyFileIsRefused) {
  const auto path = dir_.write("a", "1\n");
  fs::permissions(path, fs::perms(0444));
  EXPECT_NE(replace(path, "1", "2").text.find("read-only (mode 0444)"), std::string::npos);
  EXPECT_EQ(dir_.read("a"), "1\n");
}
TEST_F(Edit, HardLinksStayOneFile) {
  const auto path = dir_.write("a", "1234\n");
  fs::create_hard_link(path, dir_.at("b"));
  EXPECT_TRUE(replace(path, "1234", "2").ok);
  EXPECT_EQ(dir_.read("b"), "2\n");
}
TEST_F(Edit, SymlinkInsideEditsItsTarget) {
  dir_.write("real/a", "1\n");
  fs::create_symlink("real/a", dir_.at("link"));
  const Outcome out = replace(dir_.at("link"), "1", "2");
  EXPECT_TRUE(out.ok) << out.text;
  EXPECT_TRUE(fs::is_symlink(dir_.at("link")));
  EXPECT_EQ(dir_.read("real/a"), "2\n");
  EXPECT_EQ(out.changes.at(0).path, "real/a");
}
TEST_F(Edit, NothingOutsideTheRoot) {
  test::Scratch outside;
  const auto secret = outside.write("secret", "1\n");
  fs::create_symlink(secret, dir_.at("file"));
  fs::create_directory_symlink(outside.root(), dir_.at("dir"));
  fs::create_symlink("nowhere", dir_.at("dangling"));
  for (const std::string& path :
       {secret, dir_.at("file"), dir_.at("dir/secret"),
        dir_.root() + "/../" + fs::path(secret).parent_path().filename().string() + "/secret",
        dir_.at("dangling"), std::string("/etc/passwd"), dir_.root() + "x/secret",
        std::string("/proc/self/mem")}) {
    EXPECT_FALSE(view(path).ok) << path;
    EXPECT_FALSE(replace(path, "1", "2").ok) << path;
  }
  EXPECT_FALSE(run({{"command", "create"}, {"path", dir_.at("dir/new")}, {"file_text", "x"}}).ok);
  EXPECT_FALSE(fs::exists(outside.at("new")));
  EXPECT_EQ(outside.read("secret"), "1\n");
}
TEST_F(Edit, SwappingADirectoryForASymlinkNeverEscapes) {
  test::Scratch outside;
  outside.write("a", "out\n");
  dir_.write("d/a", "in\n");
  fs::create_directory_symlink(outside.root(), dir_.at("l"));
  std::atomic<bool> stop{false};
  std::thread flipper([&] {
    while (!stop)
      ::renameat2(AT_FDCWD, dir_.at("d").c_str(), AT_FDCWD, dir_.at("l").c_str(), RENAME_EXCHANGE);
  });
  int escaped = 0, inside = 0, refused = 0;
  // Where the two threads share a core, one of them may see the same state for long.
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  const auto seen_both = [&] { return inside > 0 && refused > 0; };
  for (int i = 0; i < 3000 || (!seen_both() && std::chrono::steady_clock::now() < until); ++i) {
    const auto rooted = RootedFs::open(dir_.root());
    const auto data = rooted->read("d/a");
    if (data && data->bytes == "out\n") ++escaped;
    if (data && data->bytes == "in\n") ++inside;
    if (!data) ++refused;
  }
  stop = true;
  flipper.join();
  EXPECT_EQ(escaped, 0);
  EXPECT_GT(inside, 0);
  EXPECT_GT(refused, 0);
}
TEST_F(Edit, RefusesGitSecretsBinariesAndDevices) {
  dir_.write(".git/config", "[core]\n");
  dir_.write(".env", "TOKEN=1\n");
  dir_.write("key.txt", "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n");
  dir_.write("bin", std::string("a\0b", 3));
  ::mkfifo(dir_.at("fifo").c_str(), 0600);
  fs::create_symlink(".git/config", dir_.at("cfg"));
  fs::create_directory_symlink(".git", dir_.at("g"));
  for (const char* name :
       {".git/config", ".GIT/config", "cfg", ".env", "bin", "fifo", "g/config"}) {
    EXPECT_FALSE(view(dir_.at(name)).ok) << name;
    EXPECT_FALSE(replace(dir_.at(name), "1", "2").ok) << name;
  }
  EXPECT_FALSE(view(dir_.at("key.txt")).ok);
  EXPECT_FALSE(
      run({{"command", "create"}, {"path", dir_.at(".git/hooks/x")}, {"file_text", "x"}}).ok);
  EXPECT_FALSE(run({{"command", "create"}, {"path", dir_.at("g/hooks/x")}, {"file_text", "x"}}).ok);
  EXPECT_FALSE(fs::exists(dir_.at(".git/hooks")));
}
TEST_F(Edit, RefusesWhatIsHiddenFromCommands) {
  for (const char* name :
       {".aws/credentials", ".kube/config", ".ssh/config", "terraform.tfstate", "prod.tfvars",
        "kubeconfig", "service-account-1.json", "client_secret_2.json", "secrets.yml",
        "secrets.toml", "credentials.yaml", ".vault-token", ".dockerconfigjson"}) {
    dir_.write(name, "1\n");
    EXPECT_FALSE(view(dir_.at(name)).ok) << name;
    EXPECT_FALSE(replace(dir_.at(name), "1", "2").ok) << name;
  }
  dir_.write("chain.crt", "x\n-----BEGIN PRIVATE KEY-----\nx\n");
  EXPECT_FALSE(view(dir_.at("chain.crt")).ok);
  for (const char* name : {".env.example", "terraform.tfvars.example", "ca.crt", "id_rsa.pub"}) {
    dir_.write(name, "1\n");
    EXPECT_TRUE(view(dir_.at(name)).ok) << name;
  }
}
TEST_F(Edit, WhatViewKeepsNoFailedEditShows) {
  const std::string key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n";
  const auto path = dir_.write("settings.py", "DEBUG = 1\nKEY = '''" + key + "'''\n");
  EXPECT_FALSE(view(path).ok);
  const Outcome miss = replace(path, "KEY = '''-----BEGIN PRIVATE KEY-----\nx", "");
  EXPECT_FALSE(miss.ok);
  EXPECT_EQ(miss.text.find("MIIE"), std::string::npos) << miss.text;
  EXPECT_TRUE(replace(path, "DEBUG = 1", "DEBUG = 0").ok);
  dir_.write("settings.py", "DEBUG = 0\nKEY = '''" + key + key + "'''\n");
  const Outcome stale = replace(path, "DEBUG = 0", "DEBUG = 1");
  EXPECT_FALSE(stale.ok);
  EXPECT_EQ(stale.text.find("MIIE"), std::string::npos) << stale.text;
  EXPECT_TRUE(replace(path, "DEBUG = 0", "DEBUG = 1").ok);
}
TEST_F(Edit, OddNamesWork) {
  for (const std::string& name :
       {std::string("a\nb"), std::string("-rf"), std::string("\xff\xfe"), std::string(250, 'n')}) {
    const auto path = dir_.write(name, "1\n");
    EXPECT_TRUE(replace(path, "1", "2").ok);
    EXPECT_EQ(dir_.read(name), "2\n");
  }
  EXPECT_FALSE(view(dir_.at(std::string(5000, 'p'))).ok);
  EXPECT_FALSE(view(dir_.at(std::string("a\0b", 3))).ok);
}
TEST_F(Edit, InvalidUtf8ElsewhereSurvives) {
  const auto path = dir_.write("a", "one\n\xff\xfe\xe2\x28\n");
  EXPECT_TRUE(is_utf8(view(path).text));
  EXPECT_TRUE(replace(path, "one", "two").ok);
  EXPECT_EQ(dir_.read("a"), "two\n\xff\xfe\xe2\x28\n");
}
// A file in Latin-1: what the model is shown is what it can name.
TEST_F(Edit, ALineWithWhatIsNoUtf8IsNamedAsItIsShown) {
  const std::string rest = "int b;  // \xe4\r\n";
  const auto path = dir_.write("a", "int a;  // gr\xf6\xdf!\r\n" + rest);
  const std::string shown = "int a;  // gr\uFFFD\uFFFD!\n";
  ASSERT_NE(view(path).text.find(shown), std::string::npos);
  const auto changed = replace(path, shown + "int", "long a;  // gr\uFFFD\uFFFD!\nint");
  EXPECT_TRUE(changed.ok) << changed.text;
  EXPECT_EQ(changed.text.find("verbatim"), std::string::npos) << changed.text;
  EXPECT_EQ(dir_.read("a"), "long a;  // gr\xf6\xdf!\r\n" + rest);
  EXPECT_TRUE(replace(path, "  // gr\uFFFD\uFFFD!", "").ok);  // it may go
  EXPECT_EQ(dir_.read("a"), "long a;\r\n" + rest);
  const auto written = replace(path, "int b;  // \uFFFD", "// \uFFFD\nshort b;");
  EXPECT_FALSE(written.ok);
  EXPECT_NE(written.text.find("no UTF-8"), std::string::npos) << written.text;
  EXPECT_EQ(dir_.read("a"), "long a;\r\n" + rest);
  EXPECT_TRUE(replace(path, "b;  // \uFFFD", "b;  // \uFFFC").ok);  // which begins like the other
  EXPECT_EQ(dir_.read("a"), "long a;\r\nint b;  // \uFFFC\r\n");
}
TEST_F(Edit, Utf16IsRefusedAndLeftAlone) {
  const std::string bytes(
      "\xff\xfe"
      "a\0\n\0",
      6);
  const auto path = dir_.write("a", bytes);
  EXPECT_NE(view(path).text.find("binary file of 6 bytes"), std::string::npos);
  EXPECT_NE(replace(path, "a", "b").text.find("cannot be edited"), std::string::npos);
  EXPECT_EQ(dir_.read("a"), bytes);
}
TEST_F(Edit, AFinalNewlineComesAndGoesOnlyWhenAsked) {
  const auto path = dir_.write("a", "x\ny");
  EXPECT_TRUE(replace(path, "x", "z").ok);
  EXPECT_EQ(dir_.read("a"), "z\ny");
  EXPECT_TRUE(replace(path, "y", "y\n").ok);
  EXPECT_EQ(dir_.read("a"), "z\ny\n");
  EXPECT_TRUE(replace(path, "y\n", "y").ok);
  EXPECT_EQ(dir_.read("a"), "z\ny");
}
TEST_F(Edit, NothingToReplaceIsSaidWithTheWayOut) {
  const auto path = dir_.write("a", "");
  EXPECT_TRUE(
      replace(path, "x", "y")
          .text.starts_with(
              "No replacement was performed, old_str `x` did not appear verbatim in " + path));
  EXPECT_EQ(
      replace(path, "", "y").text,
      "No replacement was performed, old_str is empty. Use `insert` to add text to " + path + ".");
  EXPECT_EQ(replace(dir_.at("b"), "", "y").text,
            "The path " + dir_.at("b") + " does not exist. `create` makes a new file.");
  EXPECT_EQ(view(dir_.at("b")).text, "The path " + dir_.at("b") + " does not exist.");
}
// As a full disk: the write fails half-way.
TEST_F(Edit, AWriteThatFailsLeavesTheFileAndNothingElse) {
  const std::string old = "one\n" + std::string(100, 'x');
  const auto path = dir_.write("a", old);
  struct rlimit was {};
  ::getrlimit(RLIMIT_FSIZE, &was);
  ::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { 512, was.rlim_max };
  ::setrlimit(RLIMIT_FSIZE, &small);
  const Outcome edited = replace(path, "one", std::string(5000, 'y')),
                made = run({{"command", "create"},
                            {"path", dir_.at("b")},
                            {"file_text", std::string(5000, 'y')}});
  ::setrlimit(RLIMIT_FSIZE, &was);
  EXPECT_EQ(edited.text,
            "The file " + path + " could not be written: File too large. Nothing was changed.");
  EXPECT_FALSE(made.ok);
  EXPECT_EQ(dir_.read("a"), old);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_.root()), {}), 1);
  EXPECT_TRUE(replace(path, "one", "two").ok);
}
// In a thread of its own, where this call of the system's fails.
bool without(int system_call, int error, const std::function<void()>& work) {
  bool denied = false;
  std::thread([&] {
    sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(system_call), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog filter{4, steps};
    denied = ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
             ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
    if (denied) work();
  }).join();
  return denied;
}
// As a full disk.
class EditInPlace : public Edit {
 protected:
  void SetUp() override {
    fs::create_hard_link(path_, dir_.at("b"));
    ::getrlimit(RLIMIT_FSIZE, &was_);
    ::signal(SIGXFSZ, SIG_IGN);
  }
  void TearDown() override { ::setrlimit(RLIMIT_FSIZE, &was_); }
  Outcome grow() {
    const struct rlimit small { 512, was_.rlim_max };
    ::setrlimit(RLIMIT_FSIZE, &small);
    auto out = replace(path_, "one", std::string(5000, 'y'));
    ::setrlimit(RLIMIT_FSIZE, &was_);
    return out;
  }
  void expect_nothing_changed(const Outcome& out) {
    EXPECT_EQ(out.text,
              "The file " + path_ + " could not be written: File too large. Nothing was changed.");
    EXPECT_EQ(dir_.read("a"), old_);
    EXPECT_EQ(dir_.read("b"), old_);
    EXPECT_EQ(fs::hard_link_count(path_), 2u);
  }
  const std::string old_ = "one\n" + std::string(100, 'x');
  const std::string path_ = dir_.write("a", old_);
  struct rlimit was_ {};
};
TEST_F(EditInPlace, AWriteThatFailsLeavesTheFile) {
  expect_nothing_changed(grow());
  EXPECT_TRUE(replace(path_, "one", "two").ok);
}
TEST_F(EditInPlace, TheRoomIsThereBeforeTheFirstByteIsWritten) {
  if (!without(SYS_write, EIO, [&] { expect_nothing_changed(grow()); }))
    GTEST_SKIP() << "no seccomp here";
}
TEST_F(EditInPlace, WhereNoRoomCanBeReservedTheOldBytesArePutBack) {
  if (!without(SYS_fallocate, ENOSYS, [&] { expect_nothing_changed(grow()); }))
    GTEST_SKIP() << "no seccomp here";
}
TEST_F(EditInPlace, WhatCannotBePutBackIsSaid) {
  const auto shrink = [&] {
    EXPECT_EQ(replace(path_, "one", "1").text,
              "The file " + path_ +
                  " may be partly written now, view it; it could not be written: "
                  "Input/output error.");
  };
  if (!without(SYS_ftruncate, EIO, shrink)) GTEST_SKIP() << "no seccomp here";
}
TEST_F(Edit, KilledAtAnyMomentTheFileIsTheOldOrTheNewOne) {
  std::string rest;
  for (int i = 0; i < 5000; ++i) rest += "a line that stays as it is\n";
  const auto path = dir_.write("f", "old\n" + rest);
  for (int i = 0; i < 25; ++i) {
    int begun[2];
    ASSERT_EQ(::pipe(begun), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      for (;;) {
        replace(path, "old\n", "new\nand longer\n");
        replace(path, "new\nand longer\n", "old\n");
        (void)!::write(begun[1], "x", 1);
      }
    }
    char byte = 0;
    EXPECT_EQ(::read(begun[0], &byte, 1), 1);
    ::usleep(static_cast<useconds_t>(977 * i));  // somewhere in one of the next edits
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ::close(begun[0]);
    ::close(begun[1]);
    const std::string now = dir_.read("f");
    ASSERT_TRUE(now == "old\n" + rest || now == "new\nand longer\n" + rest) << now.size();
    dir_.write("f", "old\n" + rest);
  }
}
TEST_F(Edit, NoTemporaryIsLeft) {
  const auto path = dir_.write("a", "1\n");
  replace(path, "1", "2");
  replace(path, "nothing", "3");
  int n = 0;
  for (const auto& entry : fs::directory_iterator(dir_.root())) n += entry.path().filename() != "a";
  EXPECT_EQ(n, 0);
}
TEST_F(Edit, ReplaceFailsWhenTheFileChangedAfterTheRead) {
  dir_.write("a", "1\n");
  const auto rooted = RootedFs::open(dir_.root());
  const auto data = rooted->read("a");
  dir_.write("a", "22\n");
  EXPECT_FALSE(rooted->replace(*data, "x"));
  EXPECT_EQ(dir_.read("a"), "22\n");
}

TEST_F(Edit, ANewSyntaxErrorIsSaidBelowTheResult) {
  const auto path = dir_.write("a.py", "def f(x):\n    return x\n");
  if (!can_check_syntax("a.py", "")) GTEST_SKIP() << "built with LARES_TREE_SITTER=OFF";
  const std::string said =
      "\nThe file now has a syntax error at line 2: `return (x`; it had none there before this "
      "edit.";
  EXPECT_EQ(replace(path, "return x", "return (x").text,
            "The file " + path + " has been edited successfully." + said);
  EXPECT_EQ(replace(path, "def f(x)", "def f(y)").text,
            "The file " + path + " has been edited successfully.");
  EXPECT_EQ(replace(path, "return (x", "return (y)").text,
            "The file " + path + " has been edited successfully.");
  EXPECT_EQ(undo(path).text, "The last edit of " + path + " has been undone." + said);
  EXPECT_NE(
      run({{"command", "insert"}, {"path", path}, {"insert_line", 0}, {"new_str", "import ("}})
          .text.find("syntax error"),
      std::string::npos);
  const auto made =
      run({{"command", "create"}, {"path", dir_.at("b.json")}, {"file_text", "{\"a\": }\n"}});
  EXPECT_TRUE(made.ok);
  EXPECT_NE(made.text.find("syntax error at line 1"), std::string::npos) << made.text;
}

TEST_F(Edit, ChoicesNameFilesAndText) {
  dir_.write("src/a.py", "x = 1\r\n");
  dir_.write("logo.png", std::string("\0\1", 2));
  const auto paths = tool_.choices("path", {{"command", "str_replace"}});
  ASSERT_TRUE(paths);
  EXPECT_THAT(paths->one_of,
              ::testing::UnorderedElementsAre(dir_.at("src/a.py"), dir_.at("logo.png")));
  const auto shown = tool_.choices("path", {{"command", "view"}});
  ASSERT_TRUE(shown);
  EXPECT_THAT(shown->one_of,
              ::testing::IsSupersetOf({dir_.at("src/a.py"), dir_.at("src"), dir_.root()}));
  EXPECT_FALSE(tool_.choices("path", {{"command", "create"}}));
  EXPECT_FALSE(tool_.choices("path", {}));
  const auto text = tool_.choices("old_str",
                                  {{"command", "str_replace"}, {"path", dir_.at("src/a.py")}});
  ASSERT_TRUE(text);
  EXPECT_EQ(text->substring_of, "x = 1\n");
  EXPECT_TRUE(text->unique);
  EXPECT_FALSE(tool_.choices("old_str", {{"command", "insert"}, {"path", dir_.at("src/a.py")}}));
  EXPECT_FALSE(tool_.choices("old_str", {{"command", "str_replace"}, {"path", "/etc/passwd"}}));
}
// As the umask has it, which is read and never changed: other threads make files too.
TEST_F(Edit, NewFilesHaveTheModeOfTheUmask) {
  for (const mode_t mask : {mode_t{022}, mode_t{077}, mode_t{0}}) {
    const mode_t before = ::umask(mask);
    const std::string path = dir_.at(fmt::format("new{:o}", mask));
    EXPECT_TRUE(run({{"command", "create"}, {"path", path}, {"file_text", "x\n"}}).ok);
    struct stat st {};
    EXPECT_EQ(::stat(path.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0666u & ~mask);
    EXPECT_EQ(::umask(before), mask);
  }
}

TEST_F(Edit, OnlyViewLeavesThingsAlone) {
  EXPECT_FALSE(tool_.mutates({{"command", "view"}}));
  EXPECT_TRUE(tool_.mutates({{"command", "insert"}}));
  EXPECT_TRUE(tool_.mutates(nullptr));
}

}  // namespace
}  // namespace lares::tools
