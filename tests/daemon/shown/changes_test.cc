// What a session changed, of which some was taken back.
#include "daemon/shown/changes.h"

#include <gtest/gtest.h>

namespace lares::shown {
namespace {

daemon::protocol::Item change(const std::string& path, const std::string& before,
                              const std::string& after) {
  daemon::protocol::Item item;
  daemon::protocol::FileChange c;
  c.path = path, c.diff = before + ">" + after, c.before = before, c.after = after;
  item.changes.push_back(c);
  return item;
}

std::string told(const Changes& changes, const std::string& path) {
  std::string out;
  for (const auto& c : changes.of(path)) out += c.diff + " ";
  return out;
}

TEST(Changes, WhatWasTakenBackIsLeftOut) {
  Changes changes;
  changes.add(change("a", "1", "2"));
  changes.add(change("b", "none", "7"));
  changes.add(change("a", "2", "3"));
  EXPECT_EQ(told(changes, "a"), "1>2 2>3 ");
  changes.add(change("a", "3", "2"));
  EXPECT_EQ(told(changes, "a"), "1>2 ");
  changes.add(change("a", "2", "4"));
  EXPECT_EQ(told(changes, "a"), "1>2 2>4 ");
  changes.add(change("a", "4", "1"));
  EXPECT_EQ(told(changes, "a"), "");
  EXPECT_EQ(told(changes, "b"), "none>7 ");
}

TEST(Changes, ContentsWithoutANameAreAllKept) {
  Changes changes;
  changes.add(change("a", "", ""));
  changes.add(change("a", "", ""));
  EXPECT_EQ(changes.of("a").size(), 2u);
}

TEST(Changes, ACommandMayHaveChangedMoreWhereTheSnapshotsSaySoOrAreMissing) {
  const auto complete = [](const std::string& before, const std::string& after) {
    daemon::protocol::Item item;
    item.changes_untold = true, item.snapshot = before, item.snapshot_after = after;
    Changes changes;
    changes.add(item);
    return changes.complete();
  };
  EXPECT_TRUE(complete("1", "1"));
  EXPECT_FALSE(complete("1", "2"));
  EXPECT_FALSE(complete("1", ""));
  EXPECT_FALSE(complete("", ""));
}

daemon::protocol::FileChange of_mode(const std::string& content) {
  return {.path = "a",
          .diff = "diff --git a/a b/a\nold mode 100644\nnew mode 100755\n",
          .before = content,
          .after = content,
          .shown = {}};
}

daemon::protocol::Item command(std::vector<daemon::protocol::FileChange> found) {
  return {
      .changes = std::move(found), .changes_untold = true, .snapshot = "1", .snapshot_after = "2"};
}

TEST(Changes, WhatACommandChangedIsAmongThem) {
  Changes changes;
  changes.add(change("a", "1", "2"));
  changes.add(command(change("b", "none", "7").changes));
  EXPECT_EQ(changes.net(), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(changes.complete());
  changes.add(command(change("a", "2", "1").changes));  // as it was
  EXPECT_EQ(changes.net(), std::vector<std::string>{"b"});
  EXPECT_EQ(told(changes, "a"), "");
  EXPECT_EQ(changes.all().size(), 3u);
}

TEST(Changes, AnotherModeIsAChange) {
  Changes changes;
  changes.add(command({of_mode("1")}));
  EXPECT_EQ(changes.net(), std::vector<std::string>{"a"});
  ASSERT_EQ(changes.of("a").size(), 1u);
  EXPECT_EQ(as_patch(changes.of("a")[0]), of_mode("1").diff);
  changes.add(change("a", "1", "2"));
  changes.add(change("a", "2", "1"));
  ASSERT_EQ(changes.of("a").size(), 1u);
  EXPECT_EQ(changes.net(), std::vector<std::string>{"a"});
  changes.add(command({of_mode("1")}));  // and back
  EXPECT_TRUE(changes.of("a").empty());
  EXPECT_TRUE(changes.net().empty());
}

}  // namespace
}  // namespace lares::shown
