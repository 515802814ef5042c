// What `view` shows.
#include <filesystem>
#include <string>

#include "tests/tools/edit/edit_case.h"

namespace lares::tools {
namespace {

using testing::Contains;
using testing::Not;
namespace fs = std::filesystem;
using nlohmann::json;

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

}  // namespace
}  // namespace lares::tools
