// Secrets stay withheld whatever way a revision names them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/tools/git/git_case.h"

namespace lares::tools {
namespace {

using test::Git;
using test::sh;
using testing::HasSubstr;
using testing::Not;

constexpr char kKey[] =
    "-----BEGIN CERTIFICATE-----\nMIIDxy\n-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w\n";

class Withheld : public Git {
 protected:
  void SetUp() override {
    Git::SetUp();
    repo_.write(".env", "KEY=tops3cret\n");
    repo_.write("chain.crt", kKey);
    repo_.write("a", "a\n");
    repo_.write("empty", "");
    repo_.write("empty.env", "");
    commit_all("fix: first");
  }
  std::string show(const std::string& rev) { return git({{"command", "show"}, {"rev", rev}}).text; }
};

TEST_F(Withheld, HoweverTheRevisionIsWritten) {
  sh(root(), "git tag -a -m x v1 && git tag blob HEAD:.env");
  for (const char* rev : {"HEAD:.env", "HEAD@{2020-01-01 10:00:00}:.env", "HEAD^{/fix:}:.env",
                          "main@{0}:.env", "v1^{}:.env", "blob"}) {
    EXPECT_THAT(show(rev), Not(HasSubstr("s3cret"))) << rev;
    EXPECT_THAT(show(rev), HasSubstr("withheld")) << rev;
  }
  EXPECT_THAT(show("HEAD@{0}:a"), "a\n");
  EXPECT_THAT(show("HEAD^{/fix:}:a"), "a\n");
  EXPECT_THAT(show("HEAD:empty"), Not(HasSubstr("withheld")));
}
TEST_F(Withheld, ByItsId) {
  for (const char* file : {".env", "chain.crt"}) {
    std::string id = sh(root(), std::string("git rev-parse HEAD:") + file);
    id.pop_back();
    EXPECT_THAT(show(id), HasSubstr("withheld")) << file;
    EXPECT_THAT(show(id.substr(0, 8)), HasSubstr("withheld")) << file;
  }
  std::string id = sh(root(), "git rev-parse HEAD:a");
  id.pop_back();
  EXPECT_EQ(show(id), "a\n");
  repo_.write(".env", "KEY=other\n");
  const std::string diff = git({{"command", "diff"}}).text;
  EXPECT_THAT(diff, HasSubstr("diff --git a/.env b/.env\n--- a/.env\n+++ b/.env\n[content"));
  EXPECT_THAT(diff, Not(HasSubstr("index ")));
}
TEST_F(Withheld, FromBlame) {
  EXPECT_THAT(git({{"command", "blame"}, {"path", "chain.crt"}}).text, Not(HasSubstr("MIIE")));
  sh(root(), "echo plain > chain.crt && git commit -qam second");
  EXPECT_THAT(git({{"command", "blame"}, {"path", "chain.crt"}}).text, HasSubstr("plain"));
  repo_.write("chain.crt", kKey);
  EXPECT_THAT(git({{"command", "blame"}, {"path", "chain.crt"}}).text, Not(HasSubstr("MIIE")));
}

}  // namespace
}  // namespace lares::tools
