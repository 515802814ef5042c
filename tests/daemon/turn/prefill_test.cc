// Prompts that are evaluated piece by piece, where others took what had been.
#include "daemon/turn/prefill.h"

#include <algorithm>
#include <deque>
#include <exception>
#include <functional>
#include <string>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/between_layers.h"
#include "tests/daemon/scripted/scripted_engine.h"

namespace lares::daemon {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr std::int64_t kChunk = 100;

// What was evaluated from where to where.
struct Piece {
  std::int64_t begin = 0, end = 0;
  bool operator==(const Piece&) const = default;
};
void PrintTo(const Piece& piece, std::ostream* out) { *out << piece.begin << ".." << piece.end; }

struct Evaluated {
  std::vector<Piece> pieces;
  std::int64_t n_max = INT64_MAX;         // tokens that there is memory for
  std::function<void()> after_piece;      // on the engine's thread
  class EvictedTimeline* last = nullptr;  // that was made
};

class EvictedTimeline final : public engine::Timeline {
 public:
  EvictedTimeline(Evaluated& told, std::vector<engine::Token> tokens)
      : told_(told), tokens_(std::move(tokens)), n_there_(std::ssize(tokens_)) {
    told_.last = this;
  }
  std::span<const engine::Token> tokens() const override { return tokens_; }
  engine::Result<std::int64_t> sync(std::span<const engine::Token> prompt, std::stop_token stop,
                                    const engine::Progress& progress) override {
    const std::int64_t begin = n_there_, end = std::ssize(prompt);
    if (stop.stop_requested())
      return tl::unexpected(engine::Error{engine::Errc::cancelled, "stopped"});
    told_.pieces.push_back({begin, end});
    tokens_.assign(prompt.begin(), prompt.end());
    n_there_ = end;
    if (progress) progress(end - begin, end - begin);
    if (told_.after_piece) told_.after_piece();
    return end - begin;
  }
  engine::Result<> expect(std::int64_t n) override {
    if (n <= told_.n_max) return {};
    return tl::unexpected(engine::Error{engine::Errc::too_long, "there is no such memory"});
  }
  engine::Result<engine::Token> next(const engine::Sampling&, const engine::TokenMask*) override {
    return engine::Token{0};
  }
  std::int64_t n_there() const { return n_there_; }
  void give_up() { n_there_ = 0; }  // all but what the tokens are

 private:
  Evaluated& told_;
  std::vector<engine::Token> tokens_;
  std::int64_t n_there_;
};

struct Beginning final : engine::Prefix {
  std::vector<engine::Token> ids;
  std::span<const engine::Token> tokens() const override { return ids; }
  std::int64_t n_pages() const override { return 0; }
  std::span<const std::uint8_t> page(std::int64_t) const override { return {}; }
  std::span<const std::uint8_t> frontier() const override { return {}; }
};

class EvictingEngine final : public engine::Engine, public engine::DrawsBetweenLayers {
 public:
  explicit EvictingEngine(Evaluated& told) : told_(told) { info_.n_chunk = kChunk; }
  const engine::ModelInfo& info() const override { return info_; }
  const engine::Tokenizer& tokenizer() const override { return scripted_.tokenizer(); }
  std::unique_ptr<engine::Timeline> timeline() override { return timeline(nullptr); }
  std::unique_ptr<engine::Timeline> timeline(engine::PrefixRef from) override {
    std::vector<engine::Token> ids;
    if (from) ids.assign(from->tokens().begin(), from->tokens().end());
    return std::make_unique<EvictedTimeline>(told_, std::move(ids));
  }
  std::int64_t left_of(const engine::Timeline& t,
                       std::span<const engine::Token> prompt) const override {
    return std::ssize(prompt) - dynamic_cast<const EvictedTimeline&>(t).n_there();
  }

 private:
  Evaluated& told_;
  ScriptedEngine scripted_{std::deque<Play>()};
  engine::ModelInfo info_ = scripted_.info();
};

struct Shared final : SharedBeginning {
  std::shared_ptr<Beginning> has;
  engine::PrefixRef longest(std::span<const engine::Token>) override { return has; }
  std::int64_t next_mark(std::span<const engine::Token>, std::int64_t) override { return kNowhere; }
  void offer(engine::PrefixRef) override {}
  void count(std::int64_t, std::int64_t) override {}
};

class PrefillTest : public ::testing::Test {
 protected:
  // Evaluates 350 tokens, which are then given up, and them and ten more again.
  void evaluate_twice(const std::function<void()>& between) {
    asio::io_context io;
    EngineHost host(io.get_executor());
    host.start(
        [&](const EngineHost::Loading&) -> engine::Result<std::unique_ptr<engine::Engine>> {
          return std::make_unique<EvictingEngine>(told_);
        },
        [](const protocol::ServerState&) {});
    const auto work = [&]() -> asio::awaitable<void> {
      co_await host.settled();
      std::unique_ptr<engine::Timeline> timeline;
      const std::vector<engine::Token> ids(350, 7);
      auto first = prefill(host, timeline, nullptr, ids, {}, nullptr);
      co_await std::move(first);
      told_.last->give_up();
      told_.pieces.clear();
      between();
      std::vector<engine::Token> more = ids;
      more.insert(more.end(), 10, 8);
      auto again = prefill(host, timeline, shared_, more, stop_.get_token(),
                           [&](std::int64_t done, std::int64_t total) {
                             reports_.push_back(done);
                             // What was lost meanwhile counts each time
                             EXPECT_GE(total, shared_->has ? 160 : 360);
                           });
      again_ = co_await std::move(again);
    };
    std::string thrown;
    asio::co_spawn(io, work, [&](std::exception_ptr e) {
      try {
        if (e) std::rethrow_exception(e);
      } catch (const std::exception& x) {
        thrown = x.what();
      }
    });
    io.run();
    EXPECT_EQ(thrown, "");
  }

  Evaluated told_;
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::stop_source stop_;
  std::vector<std::int64_t> reports_;
  Prefilled again_;
};

TEST_F(PrefillTest, WhatWasGivenUpIsEvaluatedAChunkAtATime) {
  evaluate_twice([] {});
  EXPECT_THAT(told_.pieces,
              ElementsAre(Piece{0, 100}, Piece{100, 200}, Piece{200, 300}, Piece{300, 360}));
  EXPECT_EQ(again_.n_evaluated, 360);
  ASSERT_FALSE(reports_.empty());
  EXPECT_EQ(reports_.back(), 360);
}

TEST_F(PrefillTest, WhatWasGivenUpBeginsWithWhatIsShared) {
  evaluate_twice([&] {
    shared_->has = std::make_shared<Beginning>();
    shared_->has->ids.assign(200, 7);
  });
  EXPECT_THAT(told_.pieces, ElementsAre(Piece{200, 300}, Piece{300, 360}));
  EXPECT_EQ(again_.n_evaluated, 160);
}

TEST_F(PrefillTest, ACancelWaitsForOneChunkOfWhatWasGivenUp) {
  evaluate_twice([&] { told_.after_piece = [&] { stop_.request_stop(); }; });
  EXPECT_THAT(told_.pieces, ElementsAre(Piece{0, 100}));
  ASSERT_TRUE(again_.error);
  EXPECT_EQ(again_.error->code, engine::Errc::cancelled);
}

// Two that take it from each other would never come to an end.
TEST_F(PrefillTest, WhatIsGivenUpAgainAndAgainIsEvaluatedAtOnce) {
  evaluate_twice([&] {
    told_.after_piece = [&] {
      if (told_.last->n_there() == 200) told_.last->give_up();
    };
  });
  const std::vector<Piece> lost = {{0, 100}, {100, 200}};
  std::vector<Piece> want;
  for (int i = 0; i < 3; ++i) want.insert(want.end(), lost.begin(), lost.end());
  want.insert(want.end(), {{0, 300}, {300, 360}});
  EXPECT_EQ(told_.pieces, want);
}

TEST_F(PrefillTest, WhatThereIsNoMemoryForIsNotBegun) {
  evaluate_twice([&] { told_.n_max = 300; });
  EXPECT_THAT(told_.pieces, SizeIs(0));
  ASSERT_TRUE(again_.error);
  EXPECT_EQ(again_.error->code, engine::Errc::too_long);
}

}  // namespace
}  // namespace lares::daemon
