#include "daemon/resident/residents.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/steady_timer.hpp>
#include <gtest/gtest.h>

#include "engine/between_layers.h"
#include "engine/shrinker.h"
#include "tests/daemon/resident/resident_case.h"

namespace lares::daemon {
namespace {

using Shrinkers = std::vector<std::shared_ptr<engine::Shrinker>>;
// What an engine asks, and hears.
struct Asking {
  Shrinkers asked;
  std::atomic<bool> has_no_room = false;  // who evaluates asks all of them
  std::atomic<int> n_given = 0;           // by those
  std::atomic<bool> evicts = false;       // what rests has lost what it had
  std::atomic<int> n_made = 0, n_resting = 0, n_forks = 0;
};
class AskingTimeline final : public engine::Timeline, public engine::Rests {
 public:
  AskingTimeline(std::unique_ptr<engine::Timeline> of, Asking& asking)
      : of_(std::move(of)), asking_(asking) {
    ++asking_.n_made;
  }
  ~AskingTimeline() override {
    --asking_.n_made;
    rest(engine::Rest::none);
  }
  std::span<const engine::Token> tokens() const override { return of_->tokens(); }
  engine::Result<std::int64_t> sync(std::span<const engine::Token> prompt, std::stop_token stop,
                                    const engine::Progress& progress) override {
    rest(engine::Rest::none);
    if (asking_.has_no_room)
      for (const auto& one : asking_.asked) asking_.n_given += one->shrink() ? 1 : 0;
    return of_->sync(prompt, stop, progress);
  }
  engine::Result<engine::Token> next(const engine::Sampling& s,
                                     const engine::TokenMask* m) override {
    return of_->next(s, m);
  }
  engine::PrefixRef prefix(std::int64_t n) const override { return of_->prefix(n); }
  void rest(engine::Rest how) override {
    const bool now = how == engine::Rest::spare;
    if (std::exchange(rests_, now) != now) asking_.n_resting += now ? 1 : -1;
  }
  const engine::Timeline& of() const { return *of_; }

 private:
  const std::unique_ptr<engine::Timeline> of_;
  Asking& asking_;
  bool rests_ = false;
};
class AskingEngine final : public engine::Engine,
                           public engine::AsksShrinkers,
                           public engine::DrawsBetweenLayers {
 public:
  AskingEngine(std::unique_ptr<engine::Engine> of, Asking& asking)
      : of_(std::move(of)), asking_(asking) {}
  const engine::ModelInfo& info() const override { return of_->info(); }
  const engine::Tokenizer& tokenizer() const override { return of_->tokenizer(); }
  std::unique_ptr<engine::Timeline> timeline() override { return timeline(nullptr); }
  std::unique_ptr<engine::Timeline> timeline(engine::PrefixRef from) override {
    if (from) ++asking_.n_forks;
    return std::make_unique<AskingTimeline>(of_->timeline(std::move(from)), asking_);
  }
  engine::PrefixFormat prefix_format() const override { return of_->prefix_format(); }
  std::unique_ptr<engine::PrefixBuilder> prefix_builder(
      const engine::PrefixRef& from) const override {
    return of_->prefix_builder(from);
  }
  void ask(std::shared_ptr<engine::Shrinker> shrinker) override {
    asking_.asked.push_back(std::move(shrinker));
  }
  std::int64_t left_of(const engine::Timeline& t,
                       std::span<const engine::Token> prompt) const override {
    return std::ssize(prompt) - (asking_.evicts ? 0 : std::ssize(t.tokens()));
  }

 private:
  const std::unique_ptr<engine::Engine> of_;
  Asking& asking_;
};

class ResidentsTest : public ResidentCase {
 protected:
  using Body = std::function<asio::awaitable<void>(EngineHost&)>;
  void with_asking_engine(Asking& asking, Body body) {
    with_engine([&](EngineHost& host, std::shared_ptr<Resident>) { return body(host); },
                [&](std::unique_ptr<engine::Engine> of) {
                  return std::make_unique<AskingEngine>(std::move(of), asking);
                });
  }
  // For somebody on the engine's thread, whose piece comes when none of the background's runs.
  static asio::awaitable<bool> shrinks(EngineHost& host, std::shared_ptr<engine::Shrinker> one) {
    const auto ask = [one] { return one->shrink(); };
    co_return co_await host.run(ask);
  }
  static asio::awaitable<void> until_is(std::function<bool()> is_so) {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    for (int i = 0; i < kPasses && !is_so(); ++i) {
      timer.expires_after(std::chrono::milliseconds(10));
      co_await timer.async_wait(asio::use_awaitable);
    }
    EXPECT_TRUE(is_so());
  }
};

TEST_F(ResidentsTest, WhatNobodyWorksWithIsGivenUpForOthers) {
  write("a/a.py", source(1, 20));
  write("b/b.py", source(2, 20));
  Asking asking;
  const Shrinkers& asked = asking.asked;
  with_asking_engine(asking, [&](EngineHost& host) -> asio::awaitable<void> {
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
    co_await until_is([&] { return !residents.find(a_root); });
    EXPECT_TRUE(residents.find(b_root));
    a = residents.of(a_root);  // as one that was never there
    co_await begun(a);
    co_await at_rest(a);
    EXPECT_TRUE(a->shared()->longest(begins.base->tokens));
    EXPECT_EQ(asked.size(), 3u);
  });
}

// The base is more than an engine has room for beside what it began with.
TEST_F(ResidentsTest, WhatTheBackgroundEvaluatesIsNotGivenUpForItself) {
  for (int i = 0; i < 2; ++i) write("a/m" + std::to_string(i) + ".py", source(i + 1, 100));
  Asking asking;
  asking.has_no_room = true;
  with_asking_engine(asking, [&](EngineHost& host) -> asio::awaitable<void> {
    const auto io = co_await asio::this_coro::executor;
    Residents residents({.io = io, .disk = disk_, .host = &host, .log = log_});
    auto a = residents.of(root_ + "/a");
    const auto begins = co_await begun(a);
    EXPECT_GT(std::ssize(begins.base->tokens), 2 * kSmallMarkEvery);
    a = nullptr;  // the background alone goes on with it
    const auto evaluated = residents.find(root_ + "/a");
    co_await at_rest(evaluated);
    EXPECT_EQ(asking.n_given, 0);
    EXPECT_EQ(residents.find(root_ + "/a"), evaluated);
  });
}

TEST_F(ResidentsTest, WhatTheBackgroundEvaluatesIsGivenUpForSomebodyElse) {
  for (int i = 0; i < 6; ++i) write("a/m" + std::to_string(i) + ".py", source(i + 1, 100));
  Asking asking;
  with_asking_engine(asking, [&](EngineHost& host) -> asio::awaitable<void> {
    const auto io = co_await asio::this_coro::executor;
    Residents residents({.io = io, .disk = disk_, .host = &host, .log = log_});
    auto a = residents.of(root_ + "/a");
    const auto begins = co_await begun(a);
    const auto shared = std::static_pointer_cast<Beginnings>(a->shared());
    a = nullptr;
    co_await until_is([&] { return shared->evaluated(*begins.base) > 0; });
    const EngineHost::Person waits(host);
    const auto look = [&] { return std::pair(asking.n_made.load(), asking.n_resting.load()); };
    const auto [n_made, n_resting] = co_await host.run(look);  // behind the piece that runs
    EXPECT_GT(n_made, 0);
    EXPECT_EQ(n_resting, n_made) << "what it evaluates with can be given up as well";
    const bool given = co_await shrinks(host, asking.asked[0]);
    EXPECT_TRUE(given);
    EXPECT_FALSE(shared->longest(begins.base->tokens));
    co_await until_is([&] { return asking.n_made == 0 && !residents.find(root_ + "/a"); });
  });
}

// Else all that it had would be one piece, which people wait for.
TEST_F(ResidentsTest, TheBackgroundGoesOnFromWhatIsSharedWhereItsOwnWasGivenUp) {
  for (int i = 0; i < 6; ++i) write("a/m" + std::to_string(i) + ".py", source(i + 1, 100));
  Asking asking;
  with_asking_engine(asking, [&](EngineHost& host) -> asio::awaitable<void> {
    const auto io = co_await asio::this_coro::executor;
    Residents residents({.io = io, .disk = disk_, .host = &host, .log = log_});
    const auto a = residents.of(root_ + "/a");
    co_await begun(a);
    co_await until(a, [](const auto& report) { return report.evaluated > 0; });
    EXPECT_EQ(asking.n_forks, 0);
    asking.evicts = true;
    co_await until_is([&] { return asking.n_forks > 0; });
    asking.evicts = false;
    co_await at_rest(a);
  });
}

TEST_F(ResidentsTest, AWorktreeThatNobodyWorksInDoesNotKeepItsRepository) {
  for (const std::string name : {"a", "b"}) write(name + "/a.py", source(1, 20));
  Asking asking;
  const Shrinkers& asked = asking.asked;
  with_asking_engine(asking, [&](EngineHost& host) -> asio::awaitable<void> {
    const auto io = co_await asio::this_coro::executor;
    const std::string a_root = root_ + "/a", b_root = root_ + "/b";
    Residents residents({.io = io,
                         .disk = disk_,
                         .host = &host,
                         .log = log_,
                         .worktree_of = [=](const std::string& root) {
                           return root == b_root ? a_root : std::string();
                         }});
    auto b = residents.of(b_root);
    const auto begins = co_await begun(b);
    co_await at_rest(b);
    const auto shared = residents.find(a_root)->shared();
    EXPECT_TRUE(shared->longest(begins.base->tokens));
    EXPECT_EQ(asked.size(), 2u);
    const bool while_working = co_await shrinks(host, asked[0]);
    EXPECT_FALSE(while_working);
    b = nullptr;
    const bool without_it = co_await shrinks(host, asked[0]);
    EXPECT_TRUE(without_it);
    EXPECT_FALSE(shared->longest(begins.base->tokens));
    co_await until_is([&] { return !residents.find(a_root); });
    b = residents.of(b_root);  // it needs that again
    co_await begun(b);
    co_await at_rest(b);
    EXPECT_TRUE(residents.find(a_root));
    EXPECT_TRUE(shared->longest(begins.base->tokens));
    EXPECT_TRUE(b->shared()->longest(begins.base->tokens)) << "which it holds as well from now on";
    EXPECT_EQ(asked.size(), 4u);
    b = nullptr;
    for (const auto& one : {asked[2], asked[3]}) {
      const bool given = co_await shrinks(host, one);
      EXPECT_TRUE(given);
    }
    EXPECT_FALSE(shared->longest(begins.base->tokens));
    co_await until_is([&] { return !residents.find(a_root) && !residents.find(b_root); });
    b = residents.of(b_root);
    co_await begun(b);
    co_await at_rest(b);
    EXPECT_TRUE(b->shared()->longest(begins.base->tokens));
    EXPECT_TRUE(residents.find(a_root));
  });
}

TEST_F(ResidentsTest, WhoComesWhileItIsGivenUpBeginsWithWhatIsOnTheDisk) {
  store_ = kept_ / "store";
  write("a/a.py", source(1, 100));
  Asking asking;
  with_asking_engine(asking, [&](EngineHost& host) -> asio::awaitable<void> {
    const auto io = co_await asio::this_coro::executor;
    const std::string a_root = root_ + "/a";
    Residents residents({.io = io, .disk = disk_, .host = &host, .log = log_, .store_dir = store_});
    auto a = residents.of(a_root);
    const auto begins = co_await begun(a);
    co_await at_rest(a);
    const auto kept = co_await until(a, [](const auto& report) { return report.disk_tokens > 0; });
    const bool while_working = co_await shrinks(host, asking.asked[0]);
    EXPECT_FALSE(while_working);
    a = nullptr;
    EXPECT_TRUE(asking.asked[0]->shrink());
    a = residents.of(a_root);  // before it is let go
    EXPECT_EQ(asking.asked.size(), 2u);
    co_await begun(a);
    EXPECT_EQ(residents.find(a_root).get(), a.get());
    const auto read = a->shared()->longest(begins.base->tokens);
    EXPECT_GE(read ? std::ssize(read->tokens()) : 0, kept.disk_tokens);
    co_await at_rest(a);
    EXPECT_FALSE(asking.asked[1]->gone());
    a = nullptr;
    const bool again = co_await shrinks(host, asking.asked[1]);
    EXPECT_TRUE(again);
    co_await until_is([&] { return !residents.find(a_root); });
  });
}

}  // namespace
}  // namespace lares::daemon
