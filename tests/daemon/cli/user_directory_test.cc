#include "daemon/cli/user_directory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/temporary_directory.h"

namespace lares::cli {
namespace {

namespace fs = std::filesystem;

class UserDirectory : public ::testing::Test {
 protected:
  void SetUp() override {
    before_ = fs::current_path();
    for (const char* file : {"top.py", "README.md", "src/f.py", "src/README.md", "src/a name.py",
                             "src/deep/g.py", "other/h.py"}) {
      fs::create_directories((fs::path(root_) / file).parent_path());
      std::ofstream(fs::path(root_) / file) << "x\n";
    }
  }
  void TearDown() override { fs::current_path(before_); }
  std::string from_src(const std::string& prompt) const {
    return told_from(names_from(prompt, root_, "src"), "src");
  }

  const TemporaryDirectory directory_;
  const std::string root_ = directory_.path();
  fs::path before_;
};

constexpr const char* kStands = "\n\n(I am in src/.)";

TEST_F(UserDirectory, IsToldOnlyBelowTheRoot) {
  fs::current_path(fs::path(root_) / "src/deep");
  EXPECT_EQ(directory_below(root_), "src/deep");
  EXPECT_EQ(directory_below(root_ + "/src"), "deep");
  fs::current_path(root_);
  EXPECT_EQ(directory_below(root_), "");
  EXPECT_EQ(directory_below(root_ + "/src"), "");
  EXPECT_EQ(directory_below(root_ + "/none"), "");
  EXPECT_EQ(told_from(names_from("mend @top.py", root_, ""), ""), "mend @top.py");
}

TEST_F(UserDirectory, NamesAreLookedForThereFirst) {
  EXPECT_EQ(from_src("@f.py"), std::string("@src/f.py") + kStands);
  EXPECT_EQ(from_src("mend @f.py, @deep/g.py:12 and (@README.md)."),
            std::string("mend @src/f.py, @src/deep/g.py:12 and (@src/README.md).") + kStands);
  EXPECT_EQ(from_src("see @f.py."), std::string("see @src/f.py.") + kStands);
  EXPECT_EQ(from_src("@\"a name.py\" and @../other/h.py"),
            std::string("@\"src/a name.py\" and @other/h.py") + kStands);
}

TEST_F(UserDirectory, WhatIsNotThereIsAsItIsWritten) {
  for (const char* prompt : {"@top.py", "@src/f.py", "@none.py", "me@f.py", "@", "@/etc/hosts",
                             "@\"no end", "@../../x", "f.py"})
    EXPECT_EQ(from_src(prompt), std::string(prompt) + kStands) << prompt;
}

// One that was taken back into the line, and is sent again.
TEST_F(UserDirectory, APromptSaysItOnce) {
  const std::string once = from_src("mend @f.py");
  EXPECT_EQ(from_src(once), once);
  EXPECT_EQ(from_src("/deploy @f.py"), "/deploy @src/f.py");
}

}  // namespace
}  // namespace lares::cli
