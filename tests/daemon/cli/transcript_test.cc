// What a person reads of a turn, on a terminal that is a file.
#include "daemon/cli/transcript.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "daemon/cli/turn_view.h"

namespace lares::cli {
namespace {

class TranscriptTest : public testing::Test {
 protected:
  ~TranscriptTest() override { std::fclose(file_); }

  std::string shown() {
    std::fseek(file_, 0, SEEK_END);
    std::string text(static_cast<std::size_t>(std::ftell(file_)), '\0');
    std::rewind(file_);
    EXPECT_EQ(std::fread(text.data(), 1, text.size(), file_), text.size());
    return text;
  }

  std::FILE* file_ = std::tmpfile();
  Screen screen_{::fileno(file_), {.width = 20}};
  Transcript transcript_{screen_, {.answer_live = true}};
};

TEST_F(TranscriptTest, ANoteTearsNoWord) {
  transcript_.text("one two thr");
  transcript_.note(Style::plain, "a note");
  transcript_.text("ee four");
  transcript_.finish();
  EXPECT_EQ(shown(), "one two\na note\n\nthree four\n");
}

TEST_F(TranscriptTest, WhatIsSaidMeanwhileTearsNoWord) {
  transcript_.think("a tho");
  transcript_.said("steer", "");
  transcript_.think("ught");
  transcript_.finish();
  EXPECT_EQ(shown(), ": a\n\n> steer\n\n: thought\n");
}

TEST_F(TranscriptTest, AnotherWidthTearsNoWord) {
  transcript_.text("one two thr");
  transcript_.resized();
  transcript_.text("ee four");
  transcript_.finish();
  EXPECT_EQ(shown(), "one two\nthree four\n");
}

TEST_F(TranscriptTest, TheLastWordComesWithTheEndOfTheText) {
  TurnView view(screen_, transcript_);
  view.item_started({.id = "1.1", .turn_id = 1, .kind = "text"});
  view.item_delta({.item_id = "1.1", .field = "text", .text = "Let me look."});
  EXPECT_EQ(shown(), "Let me");
  view.item_completed({.id = "1.1", .turn_id = 1, .kind = "text", .text = "Let me look."});
  EXPECT_EQ(shown(), "Let me look.");
}

TEST(Transcript, OfALongLineThatFailedAFewRowsAreShown) {
  std::FILE* const file = std::tmpfile();
  Screen screen(::fileno(file), {.width = 20});
  Transcript transcript(screen, {.fold_output = true});
  transcript.result(false, std::string(30'000, 'x') + "\nerror", {});
  std::fseek(file, 0, SEEK_END);
  EXPECT_LT(std::ftell(file), 200);
  std::fclose(file);
}

TEST(Transcript, ANoteWithinAnAnswerThatIsHeldLeavesItWhole) {
  testing::internal::CaptureStdout();
  std::FILE* const file = std::tmpfile();
  Screen screen(::fileno(file), {});
  Transcript transcript(screen, {});
  transcript.text("one ");
  transcript.note(Style::plain, "a note");
  transcript.text("two");
  transcript.finish();
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "one two\n");
  std::fclose(file);
}

}  // namespace
}  // namespace lares::cli
