// What the commands do and say.
#include <filesystem>
#include <string>

#include "tests/tools/edit/edit_case.h"
#include "tools/outline/syntax_check.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

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

// Sampling is held to the text that these give, so they would spell out a secret.
TEST_F(Edit, NoChoicesAreOfTextThatIsKeptBack) {
  dir_.write(".env", "DB_PASSWORD=hunter2\n");
  dir_.write(".git/config", "[core]\n");
  dir_.write("state/.lares-own", "");
  dir_.write("state/session", "hunter2\n");
  dir_.write("notes.txt", "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqG\n");
  std::filesystem::create_symlink(".env", dir_.at("plain.py"));
  for (const char* name : {".env", ".git/config", "state/session", "notes.txt", "plain.py"})
    EXPECT_FALSE(tool_.choices("old_str", {{"command", "str_replace"}, {"path", dir_.at(name)}}))
        << name;
}

TEST_F(Edit, OnlyViewLeavesThingsAlone) {
  EXPECT_FALSE(tool_.mutates({{"command", "view"}}));
  EXPECT_TRUE(tool_.mutates({{"command", "insert"}}));
  EXPECT_TRUE(tool_.mutates(nullptr));
}

}  // namespace
}  // namespace lares::tools
