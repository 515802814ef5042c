#include "daemon/bridges/acp/agreement.h"

#include <gtest/gtest.h>

#include <limits>

#include "tools/text.h"

namespace lares::cli::acp {
namespace {

using enum Agreement::Standing;
constexpr std::int64_t kLongAgo = 1, kJustNow = std::numeric_limits<std::int64_t>::max();

TEST(AcpAgreement, AnOldTextOfTheDisksIsStale) {
  Agreement a;
  EXPECT_EQ(a.of("/r/a", "1\n", "1\n", kLongAgo), same);
  EXPECT_EQ(a.of("/r/a", "1\n", "2\n", kJustNow), stale);
  EXPECT_EQ(a.of("/r/a", "1\r\n", "3\n", kJustNow), stale);
  EXPECT_EQ(a.of("/r/a", "3\n", "3\n", kJustNow), same);
  EXPECT_EQ(a.of("/r/a", "3\n", "4\n", kJustNow), stale);
}

TEST(AcpAgreement, WhatWasWrittenOverWhatIsOnDiskIsUnsaved) {
  Agreement a;
  EXPECT_EQ(a.of("/r/a", "1\n", "1\n", kLongAgo), same);
  EXPECT_EQ(a.of("/r/a", "mine\n", "1\n", kLongAgo), unsaved);
  EXPECT_EQ(a.of("/r/a", "mine\n", "2\n", kJustNow), parted);  // over 1, which is gone
  EXPECT_EQ(a.of("/r/a", "mine\n", "mine\n", kJustNow), same);
}

TEST(AcpAgreement, ANewlineAtTheEndIsNoOtherText) {
  Agreement a;
  EXPECT_EQ(a.of("/r/a", "1\n2", "1\n2\n", kJustNow), same);
  EXPECT_EQ(a.of("/r/a", "1\n2\n", "1\n2", kJustNow), same);
  EXPECT_EQ(a.of("/r/a", "1\n2", "others'\n", kJustNow), stale);
  EXPECT_EQ(a.of("/r/b", "1\n2", "1\n2\n\n", kLongAgo), unsaved) << "that is a line";
}

TEST(AcpAgreement, OfAnotherEncodingTheAsciiSpeaks) {
  Agreement a;
  EXPECT_EQ(a.of("/r/a", "caf\u00e9 1\n", "caf\xe9 1\n", kLongAgo), same);
  EXPECT_EQ(a.of("/r/a", "caf\u00e9 1\n", "caf\xe9 2\n", kJustNow), stale);
  EXPECT_EQ(a.of("/r/a", "caf\u00e9 mine\n", "caf\xe9 2\n", kJustNow), parted);
  EXPECT_EQ(a.of("/r/b", "caf\ufffd mine\n", "caf\xe9 1\n", kLongAgo), parted);
}

TEST(AcpAgreement, WhoSavesAndTypesOnPartsNothing) {
  const std::string before = "a\nb\nc\n", saved = "a\nb\nnew(\nc\n";
  for (const char* held : {
           "a\nb\nnew(\nmore\nc\n",         // below it
           "first\na\nb\nnew(\nc\nlast\n",  // elsewhere
           "a\nb\nnew(x, y)\nmore()\nc\n",  // in the line itself
           "a\nB\nnew(\n",                  // over what was there before
       }) {
    Agreement a;
    EXPECT_EQ(a.of("/r/a", before, before, kLongAgo), same);
    EXPECT_EQ(a.of("/r/a", held, saved, kJustNow), unsaved) << held;
    EXPECT_EQ(a.of("/r/a", held, saved, kJustNow), unsaved) << held;
    EXPECT_EQ(a.of("/r/a", saved, saved + "others'\n", kJustNow), stale) << held;
  }
  Agreement a;  // and again, over what was not saved
  EXPECT_EQ(a.of("/r/a", "1\n", "1\n", kLongAgo), same);
  EXPECT_EQ(a.of("/r/a", "1\n2\n", "1\n", kLongAgo), unsaved);
  EXPECT_EQ(a.of("/r/a", "1\n2\n3\n4\n", "1\n2\n3\n", kJustNow), unsaved);
}

TEST(AcpAgreement, WhatOthersWroteIsNotWrittenOver) {
  const std::string before = "a\nb\nc\n";
  const auto standing = [&](const std::string& held, const std::string& disk) {
    Agreement a;
    EXPECT_EQ(a.of("/r/a", before, before, kLongAgo), same);
    return a.of("/r/a", held, disk, kJustNow);
  };
  EXPECT_EQ(standing("a\nmine\nb\nc\n", "a\nb\ntheirs\nc\n"), parted);
  EXPECT_EQ(standing("a\nmine\nb\nc\n", "a\nb\n"), parted) << "c would come back";
  EXPECT_EQ(standing("a\nmine\nb\nc\n", "a\ntheirs\nb\nc\n"), parted);
  EXPECT_EQ(standing("a\nb\nc\nmine\n", std::string("\0\n", 2)), parted);
}

TEST(AcpAgreement, OurOwnEditsDoNotPartThem) {
  Agreement a;
  const std::string one = tools::blob_sha("1\n"), two = tools::blob_sha("2\n");
  EXPECT_EQ(a.of("/r/a", "1\n", "1\n", kLongAgo), same);
  a.edited("/r/a", one, two);
  EXPECT_EQ(a.of("/r/a", "1\n", "2\n", kJustNow), stale);
  EXPECT_EQ(a.of("/r/a", "2 and mine\n", "2\n", kJustNow), unsaved);
  // Of another text than is known: somebody was between
  a.edited("/r/a", one, tools::blob_sha("3\n"));
  EXPECT_EQ(a.of("/r/a", "2 and mine\n", "3\n", kJustNow), parted);
}

TEST(AcpAgreement, WhoTypesOnInWhatWasThereBeforeOurEditsIsBehind) {
  const std::string before = "a\nb\n", one = "A\nb\n", two = "A\nB\n";
  Agreement a;
  EXPECT_EQ(a.of("/r/a", before, before, kLongAgo), same);
  EXPECT_EQ(a.before_edits("/r/a", before), std::nullopt) << "there were none";
  a.edited("/r/a", tools::blob_sha(before), tools::blob_sha(one));
  EXPECT_EQ(a.of("/r/a", before + "mine\n", one, kJustNow), behind);
  a.edited("/r/a", tools::blob_sha(one), tools::blob_sha(two));
  EXPECT_EQ(a.of("/r/a", before + "mine\n", two, kJustNow), behind);
  EXPECT_EQ(a.before_edits("/r/a", two), "a\nb");
  EXPECT_EQ(a.before_edits("/r/a", one), std::nullopt) << "somebody was between";
  EXPECT_EQ(a.of("/r/a", before + "mine\n", two + "theirs\n", kJustNow), parted);
  EXPECT_EQ(a.of("/r/a", before, two, kJustNow), stale);
  EXPECT_EQ(a.of("/r/a", two + "mine\n", two, kJustNow), unsaved) << "read again, and typed on in";
  EXPECT_EQ(a.before_edits("/r/a", two), std::nullopt) << "it has them";
}

TEST(AcpAgreement, AnEmptyFileIsKnownToo) {
  Agreement a;
  EXPECT_EQ(a.of("/r/a", "", "", kLongAgo), same);
  a.edited("/r/a", tools::blob_sha(""), tools::blob_sha("1\n"));
  EXPECT_EQ(a.of("/r/a", "mine\n", "1\n", kJustNow), behind);
  EXPECT_EQ(a.of("/r/a", "1\nmine\n", "1\n", kJustNow), unsaved);
}

TEST(AcpAgreement, OfUnknownFilesTheAgeSpeaks) {
  Agreement a;
  EXPECT_EQ(a.of("/r/a", "?\n", "1\n", kJustNow), parted);
  // The look alone makes it no better known
  EXPECT_EQ(a.of("/r/a", "?\n", "1\n", kJustNow), parted);
  EXPECT_EQ(a.of("/r/b", "?\n", "1\n", kLongAgo), unsaved);
  EXPECT_EQ(a.of("/r/b", "?\n", "2\n", kJustNow), parted);
}

TEST(AcpAgreement, ForgetsTheFilesAskedLongestAgo) {
  Agreement a;
  EXPECT_EQ(a.of("/r/a", "1\n", "1\n", kLongAgo), same);
  EXPECT_EQ(a.of("/r/b", "1\n", "1\n", kLongAgo), same);
  for (std::size_t i = 0; i + 1 < kAgreementsMax; ++i)
    (void)a.of("/r/" + std::to_string(i), "x\n", "x\n", kLongAgo);
  EXPECT_EQ(a.of("/r/b", "1\n", "2\n", kJustNow), stale);
  EXPECT_EQ(a.of("/r/a", "1\n", "2\n", kJustNow), parted);
}

}  // namespace
}  // namespace lares::cli::acp
