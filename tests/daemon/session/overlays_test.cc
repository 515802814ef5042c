#include "daemon/session/overlays.h"

#include <exception>
#include <functional>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <gtest/gtest.h>

#include "daemon/protocol/overlay_wire.h"

namespace lares::daemon {
namespace {

class OverlaysTest : public testing::Test {
 protected:
  // What a tool is told of the file.
  std::optional<std::string> ask(const std::string& path, bool save = false) {
    std::optional<std::string> text;
    bool over = false;
    const auto asking = [&]() -> asio::awaitable<void> {
      if (save) {
        auto saving = overlays_->save(path);
        co_await std::move(saving);
      }
      auto unsaved = overlays_->unsaved(path);
      text = co_await std::move(unsaved);
      over = true;
    };
    asio::co_spawn(io_, asking, [](std::exception_ptr thrown) {
      if (thrown) std::rethrow_exception(thrown);
    });
    io_.restart();
    io_.run_for(std::chrono::seconds(60));
    EXPECT_TRUE(over);
    return text;
  }
  // An editor that answers as the function says, in a moment.
  void editor(std::function<std::optional<std::string>(const std::string& path, bool save)> holds) {
    overlays_->editor_came([this, holds = std::move(holds)](const std::string& path, bool save) {
      ++n_asked_;
      asio::post(io_,
                 [this, holds, path, save] { overlays_->told(path, holds(path, save), false); });
    });
  }

  asio::io_context io_{1};
  std::shared_ptr<Overlays> overlays_ = std::make_shared<Overlays>(io_.get_executor(),
                                                                   std::chrono::milliseconds(50));
  int n_asked_ = 0;
};

TEST_F(OverlaysTest, WithoutAnEditorNothingIsUnsaved) { EXPECT_EQ(ask("a.txt"), std::nullopt); }

TEST_F(OverlaysTest, TheEditorIsAskedEachTime) {
  std::string text = "one";
  editor([&](const std::string& path, bool) {
    return path == "a.txt" ? std::optional(text) : std::nullopt;
  });
  EXPECT_EQ(ask("a.txt"), "one");
  EXPECT_EQ(overlays_->last_unsaved("a.txt"), "one");
  text = "two";
  EXPECT_EQ(ask("a.txt"), "two");
  EXPECT_EQ(ask("b.txt"), std::nullopt);
  EXPECT_EQ(n_asked_, 3);
}

TEST_F(OverlaysTest, WhatIsSavedIsUnsavedNoLonger) {
  bool saved = false;
  editor([&](const std::string&, bool save) {
    return (saved = saved || save) ? std::nullopt : std::optional<std::string>("mine");
  });
  EXPECT_EQ(ask("a.txt"), "mine");
  EXPECT_EQ(ask("a.txt", /*save=*/true), std::nullopt);
  EXPECT_EQ(overlays_->last_unsaved("a.txt"), std::nullopt);
}

TEST_F(OverlaysTest, AnEditorThatDoesNotAnswerIsNotWaitedForAgain) {
  overlays_->editor_came([this](const std::string&, bool) { ++n_asked_; });
  EXPECT_EQ(ask("a.txt"), std::nullopt);
  EXPECT_EQ(ask("a.txt"), std::nullopt);
  EXPECT_EQ(n_asked_, 1);
  editor([](const std::string&, bool) { return std::optional<std::string>("of another"); });
  EXPECT_EQ(ask("a.txt"), "of another");
}

TEST_F(OverlaysTest, AnEditorThatDoesNotAnswerHoldsWhatItHeldLast) {
  overlays_->editor_came([](const std::string&, bool) {});
  overlays_->told("a.txt", "mine", /*shown=*/true);
  EXPECT_EQ(ask("a.txt", /*save=*/true), "mine");
  EXPECT_EQ(overlays_->shown().size(), 1u);
}

TEST_F(OverlaysTest, AnEditorThatLeavesIsWaitedForNoLonger) {
  overlays_ = std::make_shared<Overlays>(io_.get_executor());
  overlays_->editor_came(
      [this](const std::string&, bool) { asio::post(io_, [this] { overlays_->editor_left(); }); });
  overlays_->told("b.txt", "kept until then", false);
  EXPECT_EQ(ask("a.txt"), std::nullopt);
  EXPECT_EQ(overlays_->last_unsaved("b.txt"), std::nullopt);
}

TEST_F(OverlaysTest, TheModelKnowsWhatItWasTold) {
  overlays_->told("a.txt", "one\r\n", true);
  overlays_->told("b.txt", "two\n", false);
  ASSERT_EQ(overlays_->shown().size(), 1u);
  EXPECT_EQ(overlays_->shown()[0].content, "one\n");  // as it is shown
  overlays_->told("a.txt", std::nullopt, true);
  EXPECT_TRUE(overlays_->shown().empty());
}

TEST_F(OverlaysTest, OfTooManyTheOldestIsForgotten) {
  for (std::size_t i = 0; i <= protocol::kOverlaysMax; ++i)
    overlays_->told(std::to_string(i), "text", false);
  EXPECT_EQ(overlays_->last_unsaved("0"), std::nullopt);
  EXPECT_EQ(overlays_->last_unsaved("1"), "text");
}

}  // namespace
}  // namespace lares::daemon
