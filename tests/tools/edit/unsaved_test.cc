// Files that the user's editor holds unsaved changes of.
#include "tests/tools/scratch.h"
#include "tools/edit/edit_tool.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

using nlohmann::json;

class FakeEditor final : public EditorTexts {
 public:
  boost::asio::awaitable<std::optional<std::string>> unsaved(std::string path) override {
    asked.push_back(path);
    co_return last_unsaved(path);
  }
  std::optional<std::string> last_unsaved(const std::string& path) const override {
    const auto it = texts.find(path);
    return it == texts.end() ? std::nullopt : std::optional(it->second);
  }
  std::map<std::string, std::string> texts;
  std::vector<std::string> asked;
};

class EditUnsaved : public testing::Test {
 protected:
  EditUnsaved() { tool_.use_editor(editor_); }
  Outcome run(json args) {
    auto result = test::call(io_, tool_, std::move(args));
    return result ? *result : Outcome{"BROKEN: " + result.error().message, false, {}};
  }
  Outcome view(const std::string& path) { return run({{"command", "view"}, {"path", path}}); }
  Outcome replace(const std::string& path, const std::string& from, const std::string& to) {
    return run({{"command", "str_replace"}, {"path", path}, {"old_str", from}, {"new_str", to}});
  }

  test::Scratch dir_, state_;
  asio::io_context io_;
  std::shared_ptr<FakeEditor> editor_ = std::make_shared<FakeEditor>();
  EditTool tool_{BuiltinOptions{.root = dir_.root(), .state_dir = state_.root()}};
  const std::string path_ = dir_.write("src/a.txt", "one\ntwo\n");
};

TEST_F(EditUnsaved, ViewShowsTheEditorsTextAndSaysOnceWhoSeesWhat) {
  editor_->texts["src/a.txt"] = "one\r\nmine\r\n";
  const std::string first = view(path_).text, second = view(path_).text;
  EXPECT_EQ(
      first,
      "     1  one\n     2  mine\n[The user has not saved this in the editor yet. `view` shows the "
      "editor's text, and edits go into it; commands and tests see the file as it is on disk.]\n");
  EXPECT_EQ(second,
            "     1  one\n     2  mine\n[The user has not saved this in the editor yet.]\n");
  editor_->texts.clear();
  EXPECT_EQ(view(path_).text, "     1  one\n     2  two\n");
}

TEST_F(EditUnsaved, TheEditorIsAskedForTheFileHoweverItsPathIsWritten) {
  editor_->texts["src/a.txt"] = "mine\n";
  for (const char* path : {"./src/a.txt", "/src//a.txt", "src/../src/a.txt"})
    EXPECT_TRUE(view(dir_.root() + "/" + path).text.starts_with("     1  mine\n")) << path;
  view(dir_.root() + "/../elsewhere.txt");
  EXPECT_EQ(editor_->asked, std::vector<std::string>(3, "src/a.txt"));
}

TEST(EditorsPath, IsBelowTheWorktree) {
  for (const char* name : {"a.txt", "a/b.txt", "..foo", "a/..b", ".git"})
    EXPECT_EQ(editors_path(name), name);
  EXPECT_EQ(editors_path("./a//b/../c"), "a/c");
  for (const char* name : {"", ".", "..", "../a", "a/../../b", "/a", "a/", "a/.."})
    EXPECT_EQ(editors_path(name), "") << name;
}

TEST_F(EditUnsaved, AnEditDoesNotWriteOverIt) {
  editor_->texts["src/a.txt"] = "one\ntwo\nmine\n";
  ASSERT_TRUE(view(path_).ok);
  for (const json& args :
       {json{{"command", "str_replace"}, {"path", path_}, {"old_str", "two"}, {"new_str", "2"}},
        json{{"command", "insert"}, {"path", path_}, {"insert_line", 0}, {"new_str", "0"}}}) {
    const Outcome out = run(args);
    EXPECT_FALSE(out.ok);
    EXPECT_EQ(out.text, "No edit was performed: the user has changes of " + path_ +
                            " in the editor that are not saved, and the editor did not save them. "
                            "Ask the user to save the file, or try again.");
  }
  EXPECT_EQ(dir_.read("src/a.txt"), "one\ntwo\n");
}

TEST_F(EditUnsaved, NorDoesTakingAnEditBack) {
  ASSERT_TRUE(replace(path_, "two", "2").ok);
  editor_->texts["src/a.txt"] = "one\n2\nmine\n";
  const Outcome out = run({{"command", "undo_edit"}, {"path", path_}});
  EXPECT_FALSE(out.ok);
  EXPECT_NE(out.text.find("They have changed these lines:"), std::string::npos) << out.text;
  EXPECT_EQ(dir_.read("src/a.txt"), "one\n2\n");
  editor_->texts.clear();
  EXPECT_FALSE(run({{"command", "undo_edit"}, {"path", path_}}).text.find("has been undone") ==
               std::string::npos);
}

TEST_F(EditUnsaved, OfWhatTheModelHasNotSeenTheLinesAreShownAndTheEditIsOfThemOnceTheyAreSaved) {
  ASSERT_TRUE(view(path_).ok);
  editor_->texts["src/a.txt"] = "one\ntwo\nmine\n";
  EXPECT_NE(replace(path_, "two", "2").text.find("\n+mine\n"), std::string::npos);
  dir_.write("src/a.txt", editor_->texts["src/a.txt"]);
  editor_->texts.clear();
  EXPECT_TRUE(replace(path_, "mine", "ours").ok);  // it was seen
  EXPECT_EQ(dir_.read("src/a.txt"), "one\ntwo\nours\n");
}

TEST_F(EditUnsaved, OldStrIsOfTheEditorsText) {
  editor_->texts["src/a.txt"] = "one\r\nmine\r\n";
  const auto choices = tool_.choices("old_str", {{"command", "str_replace"}, {"path", path_}});
  ASSERT_TRUE(choices);
  EXPECT_EQ(choices->substring_of, "one\nmine\n");
  editor_->texts.clear();
  EXPECT_EQ(tool_.choices("old_str", {{"command", "str_replace"}, {"path", path_}})->substring_of,
            "one\ntwo\n");
}

TEST_F(EditUnsaved, NoOldStrIsOfTextThatIsKeptBack) {
  dir_.write(".env", "");
  editor_->texts[".env"] = "DB_PASSWORD=hunter2\n";
  editor_->texts["src/a.txt"] = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqG\n";
  for (const auto& path : {dir_.at(".env"), path_})
    EXPECT_FALSE(tool_.choices("old_str", {{"command", "str_replace"}, {"path", path}})) << path;
}

TEST_F(EditUnsaved, TheEditorIsAskedOfFilesThatTheModelMayReadAlone) {
  dir_.write(".env", "KEY=1\n");
  view(path_), view(dir_.at("src")), view(dir_.at(".env")), view("/etc/passwd");
  run({{"command", "create"}, {"path", dir_.at("b.txt")}, {"file_text", "b\n"}});
  EXPECT_EQ(editor_->asked, std::vector<std::string>{"src/a.txt"});
}

TEST_F(EditUnsaved, AKeyTypedIntoTheEditorIsKept) {
  editor_->texts["src/a.txt"] = std::string("-----BEGIN RSA ") +
                                "PRIVATE KEY-----\nMIIabc\n-----END RSA " + "PRIVATE KEY-----\n";
  const Outcome out = view(path_);
  EXPECT_FALSE(out.ok);
  EXPECT_NE(out.text.find("holds a private key"), std::string::npos) << out.text;
  const Outcome edit = replace(path_, "two", "2");
  EXPECT_FALSE(edit.ok);
  EXPECT_NE(edit.text.find("Ask the user to save"), std::string::npos) << edit.text;
  EXPECT_EQ(edit.text.find("MIIabc"), std::string::npos) << edit.text;
}

TEST_F(EditUnsaved, ASecretBesideWhatIsNotSavedIsKept) {
  const std::string token = std::string("ghp_") + "Zx8Qw3Er5Ty7Ui9Op1As3Df5Gh7Jk9Lz2Xc4";
  dir_.write("src/a.txt", "one\nKEY = \"" + token + "\"\ntwo\n");
  ASSERT_TRUE(replace(path_, "two", "2").ok);
  for (const std::string& typed :
       {"one\nKEY = \"" + token + "\"\n2\nmine\n", std::string("one\n")}) {
    editor_->texts["src/a.txt"] = typed;
    const Outcome undo = run({{"command", "undo_edit"}, {"path", path_}});
    EXPECT_FALSE(undo.ok);
    EXPECT_EQ(undo.text.find(token), std::string::npos) << undo.text;
    const Outcome edit = replace(path_, "one", "1");
    EXPECT_FALSE(edit.ok);
    EXPECT_EQ(edit.text.find(token), std::string::npos) << edit.text;
    editor_->texts.clear();
    (void)replace(path_, "one", "one");  // what is on the disk is what was seen last again
  }
}

}  // namespace
}  // namespace lares::tools
