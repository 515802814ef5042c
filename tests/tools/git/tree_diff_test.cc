#include "tools/git/tree_diff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/tools/git/git_case.h"

namespace lares::tools {
namespace {

using test::Git;
using test::sh;
using testing::HasSubstr;

class Renames : public Git {
 protected:
  // The files of old/ are moved to new/, a line more in each but for one.
  std::string commit_moved(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      std::string text;
      for (int line = 0; line < 20; ++line)
        text += "line " + std::to_string(line) + " of " + std::to_string(i) + "\n";
      repo_.write("old/" + std::to_string(i), text);
    }
    commit_all("first");
    sh(root(), "git mv old new && cp new/0 kept && sed -i '$aone more' new/* && mv kept new/0");
    return git({{"command", "commit"}, {"message", "second"}}).text;
  }
};

TEST_F(Renames, AreFoundThoughTheFilesChanged) {
  EXPECT_THAT(commit_moved(20), HasSubstr(" 20 files changed, 19 insertions(+)\n"));
}
TEST_F(Renames, OfVeryManyAreThoseThatKeptTheirContent) {
  const std::size_t n = git::kRenamesComparedMax + 1;
  EXPECT_THAT(commit_moved(n), HasSubstr(std::to_string(2 * (n - 1) + 1) + " files changed"));
}

}  // namespace
}  // namespace lares::tools
