// Who wrote which line: the git tool's blame beside git's own.
#include <gmock/gmock.h>

#include <random>
#include <vector>

#include "tests/tools/git/git_case.h"

namespace lares::tools {
namespace {

using test::Git;
using test::json;
using test::sh;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST_F(Git, BlameIsGitsBlame) {
  repo_.write("a.c", "one\ntwo\nthree\nfour\nfive\n");
  commit_all("first");
  repo_.write("a.c", "zero\none\nTWO\nthree\nfour\nfive\n");
  commit_all("second");
  const auto first = sh(root(), "git log --format='%h %ad %an' --date=short -1 HEAD~1");
  const auto second = sh(root(), "git log --format='%h %ad %an' --date=short -1 HEAD");
  EXPECT_EQ(git({{"command", "blame"}, {"path", "a.c"}}).text,
            second + "     1  zero\n" + first + "     2  one\n" + second + "     3  TWO\n" + first +
                "     4  three\n     5  four\n     6  five\n");
  EXPECT_EQ(git({{"command", "blame"}, {"path", "a.c:4-5"}}).text,
            first + "     4  three\n     5  four\n");
  EXPECT_EQ(git({{"command", "blame"}, {"path", "a.c:1"}}).text, second + "     1  zero\n");
  EXPECT_EQ(git({{"command", "blame"}, {"path", "a.c:5-99"}, {"rev", "HEAD~1"}}).text,
            first + "     5  five\n");
  repo_.write("a.c", "zero\none\nTWO\nnew\nthree\nfour\nfive\n");
  EXPECT_EQ(git({{"command", "blame"}, {"path", "a.c:3-5"}}).text,
            second + "     3  TWO\nnot committed yet\n     4  new\n" + first + "     5  three\n");
}

// Every line is unique, so that there is one answer: merges, deletions, renames.
TEST_F(Git, BlameAgreesWithGitOnARandomHistory) {
  std::mt19937 random(7);
  std::vector<std::string> lines;
  int n = 0;
  const auto edit = [&](std::vector<std::string>& text) {
    for (int i = 0; i < 4; ++i) {
      const std::size_t at = random() % (text.size() + 1);
      if (random() % 3 == 0 && at < text.size())
        text.erase(text.begin() + static_cast<std::ptrdiff_t>(at));
      else
        text.insert(text.begin() + static_cast<std::ptrdiff_t>(at), "line " + std::to_string(n++));
    }
  };
  const auto write = [&](const std::string& name) {
    std::string text;
    for (const auto& line : lines) text += line + "\n";
    repo_.write(name, text);
  };
  for (int i = 0; i < 60; ++i) lines.push_back("line " + std::to_string(n++));
  std::string name = "a";
  for (int i = 0; i < 25; ++i) {
    if (i == 12) {
      sh(root(), "git mv a b");
      name = "b";
    }
    edit(lines);
    write(name);
    commit_all("number " + std::to_string(i));
  }
  std::istringstream ids(sh(root(), "git blame -l -s b | sed 's/^^//' | cut -c1-7"));
  std::string want, before;
  for (std::size_t i = 1; i <= lines.size(); ++i) {
    std::string id;
    ids >> id;
    if (id != before) want += sh(root(), "git log -1 --date=short --format='%h %ad %an' " + id);
    before = id;
    want += std::string(6 - std::to_string(i).size(), ' ') + std::to_string(i) + "  " +
            lines[i - 1] + "\n";
  }
  EXPECT_EQ(git({{"command", "blame"}, {"path", "b"}}).text, want);
}

TEST_F(Git, BlameSaysWhatItCannotTell) {
  repo_.write("a", "1\n");
  repo_.write(".env", "KEY=tops3cret\n");
  repo_.write("bin", std::string("a\0b", 3));
  repo_.write("empty", "");
  repo_.write("dir/x:1", "x\n");
  commit_all("first");
  repo_.write("new", "1\n");
  const auto blame = [&](const char* path) {
    return git({{"command", "blame"}, {"path", path}}).text;
  };
  EXPECT_THAT(git({{"command", "blame"}}).text, StartsWith("blame: `path` is missing"));
  EXPECT_EQ(blame("a:3-4"), "blame: a has the lines 1-1, not 3-4");
  EXPECT_THAT(blame(".env"), StartsWith("blame: .env is not shown"));
  EXPECT_EQ(blame("bin"), "blame: bin is binary");
  EXPECT_EQ(blame("empty"), "empty is empty\n");
  EXPECT_EQ(blame("dir"), "blame: dir is a directory; name a file");
  EXPECT_THAT(blame("new"), StartsWith("blame: new is not in that commit"));
  EXPECT_THAT(blame("../a"), HasSubstr("outside the repository"));
  EXPECT_THAT(blame("dir/x:1"), HasSubstr("     1  x\n"));
}

TEST_F(Git, OfAPartialCloneNothingIsMadeUp) {
  for (const char* text : {"1\n", "1\n2\n", "1\n2\n3\n"}) {
    repo_.write("a", text);
    commit_all("to " + std::string(text));
  }
  sh(root(),
     "git config uploadpack.allowFilter true && git clone -q --filter=blob:none file://$PWD "
     "clone");
  work_in((root() / "clone").string());
  EXPECT_TRUE(git({{"command", "status"}}).ok);
  EXPECT_TRUE(git({{"command", "log"}, {"path", "a"}}).ok);
  EXPECT_THAT(git({{"command", "show"}, {"rev", "nothing"}}).text, HasSubstr("no such revision"));
  const json asked[] = {{{"command", "blame"}, {"path", "a"}},
                        {{"command", "diff"}, {"rev", "HEAD~1"}},
                        {{"command", "show"}, {"rev", "HEAD~1"}},
                        {{"command", "show"}, {"rev", "HEAD~1:a"}}};
  for (const json& one : asked) {
    const auto out = git(one);
    EXPECT_FALSE(out.ok) << one;
    EXPECT_THAT(out.text, HasSubstr("is not here, for this is a partial clone")) << one;
  }
  sh(root() / "clone", "git log -p");  // fetches what is missing
  for (const json& one : asked) EXPECT_TRUE(git(one).ok) << one;
}

TEST_F(Git, BlameKeepsToItsBoundAndToLfInACheckoutWithCrlf) {
  std::string text, crlf;
  for (int i = 0; i < 3000; ++i)
    text += "line " + std::to_string(i) + "\n", crlf += "line " + std::to_string(i) + "\r\n";
  repo_.write("a", text);
  commit_all("first");
  repo_.write("a", crlf);
  const auto out = git({{"command", "blame"}, {"path", "a"}}).text;
  EXPECT_THAT(out, Not(HasSubstr("not committed yet")));
  EXPECT_LT(out.size(), 16'200u);
  EXPECT_THAT(out, HasSubstr("more lines; give the lines you mean, as a:10-60]\n"));
}

}  // namespace
}  // namespace lares::tools
