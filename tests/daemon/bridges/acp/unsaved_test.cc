#include "daemon/bridges/acp/unsaved.h"

#include <gtest/gtest.h>

#include "tools/text.h"

namespace lares::cli::acp {
namespace {

constexpr const char* kSaved = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\n";
std::string edit(std::string text, std::string_view from, std::string_view to) {
  return text.replace(text.find(from), from.size(), to);
}
std::string unified(const std::string& after) {
  return tools::unified_diff("a", kSaved, after, 1 << 20);
}

TEST(AcpUnsaved, TakesAnEditElsewhere) {
  const std::string mine = "mine\n" + std::string(kSaved);
  EXPECT_EQ(with_edit(mine, unified(edit(kSaved, "five", "FIVE"))), edit(mine, "five", "FIVE"));
}

TEST(AcpUnsaved, TakesAnEditBesideItsOwnChanges) {
  // Within the lines that a hunk shows around
  const std::string mine = edit(edit(kSaved, "four", "4"), "seven", "7");
  EXPECT_EQ(with_edit(mine, unified(edit(kSaved, "five\n", "5\nfive and a half\n"))),
            edit(mine, "five\n", "5\nfive and a half\n"));
}

TEST(AcpUnsaved, RefusesAnEditOfWhatItChanged) {
  EXPECT_EQ(with_edit(edit(kSaved, "five", "V"), unified(edit(kSaved, "five", "5"))), std::nullopt);
}

TEST(AcpUnsaved, RefusesAnEditThatFitsTwice) {
  EXPECT_EQ(with_edit(std::string(kSaved) + kSaved, unified(edit(kSaved, "five", "5"))),
            std::nullopt);
}

TEST(AcpUnsaved, TakesAnEditOfWholeLinesOnly) {
  const std::string diff = tools::unified_diff("a", "x = 1;\nmax = 1;\n", "x = 2;\nmax = 1;\n",
                                               1 << 20);
  EXPECT_EQ(with_edit("x = 3;\nmax = 1;\n", diff), std::nullopt) << "max is another";
  EXPECT_EQ(with_edit("max = 1;\nx = 1;\n", diff), "max = 1;\nx = 2;\n");
  const std::string last = tools::unified_diff("a", "x = 1;\ny", "x = 1;\nz", 1 << 20);
  EXPECT_EQ(with_edit("x = 2;\nyes\n", last), std::nullopt) << "yes is another";
  EXPECT_EQ(with_edit("x = 2;\ny\nmine\n", last), "x = 2;\nz\nmine\n");
}

TEST(AcpUnsaved, RefusesADiffThatWasCutOff) {
  const std::string after = edit(kSaved, "five\n", "five\n[5]\n5\n");
  EXPECT_EQ(with_edit(kSaved, unified(after)), after);
  const std::string cut = tools::unified_diff("a", kSaved, after, unified(after).find("+5"));
  ASSERT_TRUE(cut.ends_with(" more bytes of diff]\n")) << cut;
  EXPECT_EQ(with_edit(kSaved, cut), std::nullopt);
}

TEST(AcpUnsaved, RefusesWhatSaysNothing) { EXPECT_EQ(with_edit(kSaved, ""), std::nullopt); }

TEST(AcpUnsaved, IsNotWhatTheUserSaid) {
  EXPECT_EQ(without_unsaved("do it\n\n<unsaved-in-editor>\nx\n</unsaved-in-editor>"), "do it");
  EXPECT_EQ(without_unsaved("do it\n\n<unsaved-in-editor>\nx"), "do it\n\n<unsaved-in-editor>\nx");
  EXPECT_EQ(without_unsaved("do it"), "do it");
}

}  // namespace
}  // namespace lares::cli::acp
