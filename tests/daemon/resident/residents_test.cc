#include "daemon/resident/residents.h"

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/steady_timer.hpp>
#include <gtest/gtest.h>

#include "engine/shrinker.h"
#include "tests/daemon/resident/resident_case.h"

namespace lares::daemon {
namespace {

class ResidentsTest : public ResidentCase {};

// An engine that asks nobody itself.
using Shrinkers = std::vector<std::shared_ptr<engine::Shrinker>>;
class AskingEngine final : public engine::Engine, public engine::AsksShrinkers {
 public:
  AskingEngine(std::unique_ptr<engine::Engine> of, Shrinkers& asked)
      : of_(std::move(of)), asked_(asked) {}
  const engine::ModelInfo& info() const override { return of_->info(); }
  const engine::Tokenizer& tokenizer() const override { return of_->tokenizer(); }
  std::unique_ptr<engine::Timeline> timeline() override { return of_->timeline(); }
  std::unique_ptr<engine::Timeline> timeline(engine::PrefixRef from) override {
    return of_->timeline(std::move(from));
  }
  engine::PrefixFormat prefix_format() const override { return of_->prefix_format(); }
  void ask(std::shared_ptr<engine::Shrinker> shrinker) override {
    asked_.push_back(std::move(shrinker));
  }

 private:
  const std::unique_ptr<engine::Engine> of_;
  Shrinkers& asked_;
};

TEST_F(ResidentsTest, WhatNobodyWorksWithIsGivenUpForOthers) {
  write("a/a.py", source(1, 20));
  write("b/b.py", source(2, 20));
  Shrinkers asked;
  with_engine(
      [&](EngineHost& host, std::shared_ptr<Resident>) -> asio::awaitable<void> {
        const auto io = co_await asio::this_coro::executor;
        Residents residents({.io = io, .disk = disk_, .host = &host, .log = log_});
        const std::string a_root = root_ + "/a", b_root = root_ + "/b";
        auto a = residents.of(a_root);
        const auto begins = co_await begun(a);
        co_await at_rest(a);
        const auto b = residents.of(b_root);
        co_await begun(b);
        EXPECT_EQ(asked.size(), 2u);
        EXPECT_FALSE(asked[0]->shrink()) << "somebody works with it";
        const auto shared = a->shared();
        EXPECT_TRUE(shared->longest(begins.base->tokens));
        a = nullptr;
        EXPECT_TRUE(asked[0]->shrink());
        EXPECT_FALSE(shared->longest(begins.base->tokens));
        EXPECT_TRUE(asked[0]->gone());
        EXPECT_FALSE(asked[0]->shrink());
        EXPECT_FALSE(asked[1]->shrink());
        for (asio::steady_timer timer(io); residents.find(a_root);) {
          timer.expires_after(std::chrono::milliseconds(1));
          co_await timer.async_wait(asio::use_awaitable);
        }
        EXPECT_TRUE(residents.find(b_root));
        a = residents.of(a_root);  // as one that was never there
        co_await begun(a);
        co_await at_rest(a);
        EXPECT_TRUE(a->shared()->longest(begins.base->tokens));
        EXPECT_EQ(asked.size(), 3u);
      },
      [&](std::unique_ptr<engine::Engine> of) {
        return std::make_unique<AskingEngine>(std::move(of), asked);
      });
}

}  // namespace
}  // namespace lares::daemon
