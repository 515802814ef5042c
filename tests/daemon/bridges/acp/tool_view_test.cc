#include "daemon/bridges/acp/tool_view.h"

#include <gtest/gtest.h>

#include "tools/text.h"

namespace lares::cli::acp {
namespace {

Json diff(const char* before, const char* after) {
  return {{"type", "diff"}, {"path", "/r/a"}, {"oldText", before}, {"newText", after}};
}

TEST(AcpDiffs, AreWhatTheUnifiedDiffShowsHunkByHunk) {
  std::string before, after;
  for (int i = 1; i <= 40; ++i) {
    before += std::to_string(i) + "\n";
    after += (i == 2    ? std::string("two")
              : i == 30 ? std::string("thirty\nand more")
                        : std::to_string(i)) +
             "\n";
  }
  const std::string unified = tools::unified_diff("a", before, after, 1 << 20);
  const Json diffs = diffs_of("/r/a", unified, /*created=*/false);
  ASSERT_EQ(diffs.size(), 2u);
  EXPECT_EQ(diffs[0], diff("1\n2\n3\n4\n5\n", "1\ntwo\n3\n4\n5\n"));
  EXPECT_EQ(diffs[1],
            diff("27\n28\n29\n30\n31\n32\n33\n", "27\n28\n29\nthirty\nand more\n31\n32\n33\n"));
  EXPECT_EQ(first_line_of(unified), 2);
}

TEST(AcpDiffs, HaveNoLineEndWhereTheFileHasNone) {
  const Json diffs = diffs_of("/r/a", tools::unified_diff("a", "x\ny", "x\nz", 1 << 20), false);
  ASSERT_EQ(diffs.size(), 1u);
  EXPECT_EQ(diffs[0], diff("x\ny", "x\nz"));
  const Json ended = diffs_of("/r/a", tools::unified_diff("a", "x\ny", "x\ny\n", 1 << 20), false);
  EXPECT_EQ(ended[0], diff("x\ny", "x\ny\n"));
}

TEST(AcpDiffs, ANewFileHasNoOldText) {
  const Json diffs = diffs_of("/r/a", tools::unified_diff("a", "", "new\n", 1 << 20), true);
  ASSERT_EQ(diffs.size(), 1u);
  EXPECT_TRUE(diffs[0]["oldText"].is_null());
  EXPECT_EQ(diffs[0]["newText"], "new\n");
}

TEST(AcpDiffs, OneThatWasCutShowsWhatThereIs) {
  const std::string unified = tools::unified_diff("a", "", std::string(2000, 'x') + "\nsecond\n",
                                                  100);
  EXPECT_TRUE(diffs_of("/r/a", unified, true).empty() ||
              diffs_of("/r/a", unified, true)[0]["newText"].get<std::string>().find("more bytes") ==
                  std::string::npos);
  EXPECT_TRUE(diffs_of("/r/a", "", false).empty());
}

TEST(AcpDiffs, OfACommandStandBehindWhatItPrinted) {
  protocol::Item item;
  item.name = "bash", item.state = "done", item.output = "two lines", item.changes_untold = true;
  protocol::FileChange change;
  change.path = "a", change.before = "none", change.after = "1";
  change.diff =
      "diff --git a/a b/a\nnew file mode 100755\n--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+x\n";
  item.changes.push_back(change);
  const Json result = result_fields(item, Root("/r", "/r")), content = result["content"];
  ASSERT_EQ(content.size(), 2u);
  EXPECT_EQ(content[0]["type"], "content");
  Json created = diff("", "x\n");
  created["oldText"] = nullptr;
  EXPECT_EQ(content[1], created);
  EXPECT_FALSE(result.contains("locations"));
}

TEST(AcpCalls, SayWhereTheyAreAbout) {
  const auto fields = [](const char* name, const char* arguments) {
    protocol::Item item;
    item.name = name, item.arguments = arguments;
    return call_fields(item, Root("/r", "/r"));
  };
  const Json view = fields("str_replace_editor",
                           R"({"command": "view", "path": "/r/src/a.cc", "view_range": [11, 20]})");
  EXPECT_EQ(view["title"], "Read src/a.cc, lines 11 to 20");
  EXPECT_EQ(view["kind"], "read");
  EXPECT_EQ(view["locations"][0]["line"], 11);
  const Json insert = fields(
      "str_replace_editor",
      R"({"command": "insert", "path": "/r/a", "insert_line": 4, "new_str": "x"})");
  EXPECT_EQ(insert["kind"], "edit");
  EXPECT_EQ(insert["locations"][0]["line"], 5);
  EXPECT_EQ(fields("git", R"({"command": "show", "rev": "HEAD"})")["kind"], "read");
  EXPECT_EQ(fields("git", R"({"command": "commit", "message": "m"})")["kind"], "execute");
  EXPECT_EQ(fields("outline", R"({"path": "src"})")["locations"][0]["path"], "/r/src");
  const Json broken = fields("bash", "not json");
  EXPECT_EQ(broken["title"], "bash");
  EXPECT_EQ(broken["rawInput"], "not json");
}

TEST(AcpFence, CannotBeEndedByWhatItHolds) {
  EXPECT_EQ(fenced("a\n"), "```\na\n```");
  EXPECT_EQ(fenced("```\nx"), "````\n```\nx\n````");
}

}  // namespace
}  // namespace lares::cli::acp
