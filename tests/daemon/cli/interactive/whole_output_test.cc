#include "daemon/cli/interactive/whole_output.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/temporary_directory.h"
#include "tools/clip.h"

namespace lares::cli {
namespace {

class WholeOutput : public ::testing::Test {
 protected:
  static std::string lines(int n) {
    std::string text;
    for (int i = 1; i <= n; ++i) text += std::to_string(i) + "\n";
    return text;
  }
  std::string clipped(const std::string& text) const {
    return tools::clipped(state_ + "/sessions/m9bq", "bash", text);
  }

  const TemporaryDirectory directory_;
  const std::string state_ = directory_.path();
};

TEST_F(WholeOutput, WhatIsWholeStaysAsItIs) {
  EXPECT_EQ(whole_output(clipped(lines(100)), state_), lines(100));
  EXPECT_EQ(whole_output("", state_), "");
}

TEST_F(WholeOutput, IsReadFromTheFileWithTheRemarksAroundIt) {
  const std::string text = lines(20'000),
                    given = "[a new shell]\n" + clipped(text) + "[exit code: 3]";
  ASSERT_NE(given.find("<NOTE>"), std::string::npos);
  EXPECT_EQ(whole_output(given, state_), "[a new shell]\n" + text + "[exit code: 3]");
}

TEST_F(WholeOutput, OfAVeryLongOneTheBeginningAndTheEndAreShownAndWhereTheRestIs) {
  const std::string text = lines(400'000), out = whole_output(clipped(text), state_);
  EXPECT_LE(out.size(), kWholeOutputBytesMax + 20'000);
  const std::size_t told = out.rfind("\n[");
  EXPECT_EQ(out.substr(0, told), text.substr(0, told));
  EXPECT_GT(told, kWholeOutputBytesMax - 100);
  const std::string rest = out.substr(told + 1);
  const std::string says = "[more in " + state_ +
                           "/sessions/m9bq/outputs/bash-0001.txt; the end of all:]\n";
  ASSERT_TRUE(rest.starts_with(says)) << rest.substr(0, 200);
  EXPECT_GT(rest.size(), says.size() + 1000);
  EXPECT_TRUE(text.ends_with(rest.substr(says.size()))) << rest.substr(0, 400);
}

TEST_F(WholeOutput, WhereTheFileIsGoneAPersonIsToldSo) {
  const std::string given = clipped(lines(20'000));
  std::filesystem::remove_all(state_);
  const std::string out = whole_output(given, state_);
  EXPECT_EQ(out.find("NOTE"), std::string::npos);
  EXPECT_NE(out.find("\n[92894 bytes left out here]\n"), std::string::npos)
      << out.substr(9'900, 300);
  EXPECT_TRUE(out.ends_with("\n20000\n"));
}

TEST_F(WholeOutput, NamesNoOtherFile) {
  const std::string other = state_ + "-other";
  std::ofstream(other) << "a secret\n";
  const std::string said = std::string(tools::kClippedNote) +
                           "\n[9 bytes left out here; the full output is in " + other +
                           ", which `str_replace_editor view` can read]\n";
  EXPECT_EQ(whole_output(said, state_), "[9 bytes left out here]\n");
  std::filesystem::remove(other);
}

}  // namespace
}  // namespace lares::cli
