// What is foreseen of an edit, held against what the edit tool makes of the file.
#include "daemon/turn/foreseen_edit.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/temporary_directory.h"
#include "tools/text.h"

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class ForeseenEditTest : public ::testing::Test {
 protected:
  void SetUp() override { make(); }

  // Tools that have seen no file yet.
  void make() {
    ToolboxOptions options;
    options.builtin.root = root_;
    options.builtin.state_dir = root_;
    options.builtin.no_sandbox = true;
    tools_ = make_tools(io_.get_executor(), options, nullptr);
  }
  std::string path() const { return root_ + "/a.txt"; }
  std::string read() const {
    std::ostringstream out;
    out << std::ifstream(path()).rdbuf();
    return out.str();
  }
  bool run(const json& arguments) {
    bool ok = false;
    asio::co_spawn(
        io_,
        [&]() -> asio::awaitable<void> {
          auto running = find_tool(tools_, kEditTool)->run(arguments, {});
          const auto outcome = co_await std::move(running);
          ok = outcome && outcome->ok;
        },
        asio::detached);
    io_.restart();
    io_.run();
    return ok;
  }
  // Of the file with this text, or of none; both as the model is shown them.
  void expect_foreseen(const std::optional<std::string>& text, json arguments) {
    SCOPED_TRACE(arguments.dump() + " of " + json(text.value_or("no file")).dump());
    make();
    fs::remove(path());
    if (text) std::ofstream(path()) << *text;
    arguments["path"] = path();
    const auto edit = foresee(tools_, kEditTool, arguments);
    ASSERT_TRUE(edit);
    EXPECT_EQ(edit->path, path());
    EXPECT_EQ(edit->before, text ? std::optional(tools::shown_text(*text)) : std::nullopt);
    ASSERT_TRUE(run(arguments));
    EXPECT_EQ(edit->after, tools::shown_text(read()));
  }
  std::optional<ForeseenEdit> of(const json& arguments) {
    return foresee(tools_, kEditTool, arguments);
  }

  asio::io_context io_;
  const TemporaryDirectory directory_;
  const std::string root_ = directory_.path();
  Tools tools_;
};

TEST_F(ForeseenEditTest, AnInsertionIsWhatTheToolMakesOfIt) {
  for (const char* text :
       {"one\n", "one", "one\ntwo\n", "one\ntwo", "\n", "one\n\n", "one\r\ntwo"}) {
    const std::string_view all = text;
    const auto n_lines = std::ranges::count(all, '\n') + (all.ends_with('\n') ? 0 : 1);
    for (std::int64_t line = 0; line <= n_lines; ++line)
      for (const char* more : {"new", "new\n", "new\nlines", "new\nlines\n", "\n"})
        expect_foreseen(text, {{"command", "insert"}, {"insert_line", line}, {"new_str", more}});
  }
}

TEST_F(ForeseenEditTest, AReplacementAndANewFileAreWhatTheToolMakesOfThem) {
  expect_foreseen("one two\n",
                  {{"command", "str_replace"}, {"old_str", "one"}, {"new_str", "1\n"}});
  expect_foreseen("one two\n", {{"command", "str_replace"}, {"old_str", " two"}, {"new_str", ""}});
  expect_foreseen(std::nullopt, {{"command", "create"}, {"file_text", "all\n"}});
}

TEST_F(ForeseenEditTest, OfWhatWillFailNothingIsForeseen) {
  std::ofstream(path()) << "one\n";
  const auto replace = [&](const json& old_str) {
    return json{
        {"command", "str_replace"}, {"path", path()}, {"old_str", old_str}, {"new_str", "x"}};
  };
  EXPECT_TRUE(of(replace("one")));
  EXPECT_FALSE(of(replace("two")));
  EXPECT_FALSE(of(replace("")));
  EXPECT_FALSE(of(replace(1)));
  EXPECT_FALSE(of({{"command", "insert"}, {"path", path()}, {"new_str", "x"}}));
  EXPECT_FALSE(
      of({{"command", "insert"}, {"path", path()}, {"insert_line", "1"}, {"new_str", "x"}}));
  EXPECT_FALSE(of({{"command", "undo_edit"}, {"path", path()}}));
  EXPECT_FALSE(of(json::array()));
  EXPECT_FALSE(foresee(tools_, "bash", replace("one")));
  fs::remove(path());
  EXPECT_FALSE(of(replace("one")));
}

}  // namespace
}  // namespace lares::daemon
