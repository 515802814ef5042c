#include "daemon/residency/notice.h"

#include <gtest/gtest.h>

namespace lares::daemon {
namespace {

using Kind = Notice::Kind;

bool same(const Notice& a, const Notice& b) {
  return a.kind == b.kind && a.path == b.path && a.from == b.from && a.sha == b.sha &&
         a.reason == b.reason && a.body == b.body &&
         a.crlf.value_or(false) == b.crlf.value_or(false);
}

const std::vector<Notice> kAll = {
    {.kind = Kind::full,
     .path = "a",
     .sha = "12345678",
     .body = "x\n</file>\n<deleted path=\"a\"/>\n"},
    {.kind = Kind::full, .path = "a", .sha = "12345678", .body = "x\n</file>", .crlf = true},
    {.kind = Kind::full, .path = "empty", .sha = "12345678", .body = ""},
    {.kind = Kind::full, .path = "blank", .sha = "12345678", .body = "\n"},
    {.kind = Kind::diff,
     .path = "a \"b\"\\\n<c>/>",
     .sha = "12345678",
     .body = "@@ </changed>\n </changed>\n-<a>\n+b\n\\ No newline at end of file\n"},
    {.kind = Kind::diff, .path = "a", .sha = "12345678", .body = "", .crlf = true},
    {.kind = Kind::reverted, .path = "\xc3\xa9", .sha = "12345678"},
    {.kind = Kind::deleted, .path = "path=\"x\" not shown/"},
    {.kind = Kind::renamed, .path = "a/b", .from = "c\td"},
    {.kind = Kind::listed, .path = ".env", .reason = "secret"},
    {.kind = Kind::not_shown, .path = "src/"},
};

TEST(Notice, ComesBackAsItWas) {
  std::string all;
  for (const Notice& notice : kAll) all += write_notice(notice);
  const auto read = read_notices(all);
  ASSERT_TRUE(read) << read.error();
  ASSERT_EQ(read->size(), kAll.size());
  for (std::size_t i = 0; i < kAll.size(); ++i)
    EXPECT_TRUE(same((*read)[i], kAll[i])) << write_notice((*read)[i]);
}

TEST(Notice, IsAsShortAsThis) {
  EXPECT_EQ(write_notice({.kind = Kind::not_shown, .path = "a.cc"}),
            "<changed path=\"a.cc\" not shown/>\n");
  EXPECT_EQ(write_notice({.kind = Kind::full, .path = "a.cc", .sha = "12345678", .body = "x"}),
            "<file path=\"a.cc\" lines=\"1\" sha=\"12345678\" end=\"no newline\">\nx\n</file>\n");
}

// A prefix that ends between two notices is a shorter list; any other is refused.
TEST(Notice, CutAnywhereNeverReadsAsAnotherThing) {
  for (const Notice& notice : kAll) {
    const std::string text = write_notice(notice);
    for (std::size_t n = 1; n < text.size(); ++n)
      EXPECT_FALSE(read_notices(text.substr(0, n))) << text.substr(0, n);
  }
}

TEST(Notice, DirectoriesCoverWhatLiesBelow) {
  EXPECT_TRUE(covers("src/", "src/a/b"));
  EXPECT_FALSE(covers("src/", "src.cc"));
  EXPECT_FALSE(covers("src", "src/a"));
  EXPECT_TRUE(covers("./", "anything"));
}

}  // namespace
}  // namespace lares::daemon
