// What the background makes of an engine that has no room.
#include "daemon/resident/background.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include <boost/asio/steady_timer.hpp>
#include <gtest/gtest.h>

#include "tests/daemon/resident/resident_case.h"

namespace lares::daemon {
namespace {

class BackgroundTest : public ResidentCase {};

// An engine that shares nothing of more than `n_max` tokens.
struct Full {
  std::atomic<std::int64_t> n_max = 0;
  std::atomic<int> n_refused = 0;
  std::atomic<std::uint64_t> held = 1000;  // bytes, by all sequences
};
class FullTimeline final : public engine::Timeline {
 public:
  FullTimeline(std::unique_ptr<engine::Timeline> of, Full& full)
      : of_(std::move(of)), full_(full) {}
  std::span<const engine::Token> tokens() const override { return of_->tokens(); }
  engine::Result<std::int64_t> sync(std::span<const engine::Token> prompt, std::stop_token stop,
                                    const engine::Progress& progress) override {
    return of_->sync(prompt, stop, progress);
  }
  engine::Result<engine::Token> next(const engine::Sampling& s,
                                     const engine::TokenMask* m) override {
    return of_->next(s, m);
  }
  engine::PrefixRef prefix(std::int64_t n) const override {
    if (n <= full_.n_max) return of_->prefix(n);
    ++full_.n_refused;
    return nullptr;
  }

 private:
  const std::unique_ptr<engine::Timeline> of_;
  Full& full_;
};
class FullEngine final : public engine::Engine {
 public:
  FullEngine(std::unique_ptr<engine::Engine> of, Full& full) : of_(std::move(of)), full_(full) {}
  const engine::ModelInfo& info() const override { return of_->info(); }
  const engine::Tokenizer& tokenizer() const override { return of_->tokenizer(); }
  std::unique_ptr<engine::Timeline> timeline() override { return timeline(nullptr); }
  std::unique_ptr<engine::Timeline> timeline(engine::PrefixRef from) override {
    return std::make_unique<FullTimeline>(of_->timeline(std::move(from)), full_);
  }
  engine::PrefixFormat prefix_format() const override { return of_->prefix_format(); }
  engine::MemoryUse memory() const override {
    engine::MemoryUse use;
    use.sequences.bytes = full_.held;
    return use;
  }

 private:
  const std::unique_ptr<engine::Engine> of_;
  Full& full_;
};

// It stops there, and goes on when somebody comes and there is room.
TEST_F(BackgroundTest, ABaseThatHasNoRoomIsNotEvaluatedAgainAndAgain) {
  for (int i = 0; i < 4; ++i) write("m" + std::to_string(i) + ".py", source(i + 1, 100));
  Full full;
  full.n_max = kSmallMarkEvery;
  with_engine(
      [&](EngineHost&, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
        const auto one = co_await begun(resident);
        EXPECT_GT(std::ssize(one.base->tokens), 2 * kSmallMarkEvery);
        co_await until(resident, [&](const auto&) { return full.n_refused > 0; });
        asio::steady_timer timer(co_await asio::this_coro::executor);
        for (int i = 0; i < 50; ++i) {
          timer.expires_after(std::chrono::milliseconds(10));
          co_await timer.async_wait(asio::use_awaitable);
        }
        EXPECT_LE(full.n_refused, 3) << "once for each time that somebody looked at the files";
        const auto report = co_await resident->report(false);
        EXPECT_EQ(report.evaluated, kSmallMarkEvery);
        full.n_max = std::int64_t{1} << 40;
        co_await begun(resident);
        co_await at_rest(resident);
      },
      [&](std::unique_ptr<engine::Engine> of) {
        return std::make_unique<FullEngine>(std::move(of), full);
      });
}

// Nobody comes.
TEST_F(BackgroundTest, ABaseThatHadNoRoomGoesOnWhenMemoryIsGivenBack) {
  for (int i = 0; i < 4; ++i) write("m" + std::to_string(i) + ".py", source(i + 1, 100));
  Full full;
  full.n_max = kSmallMarkEvery;
  with_engine(
      [&](EngineHost&, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
        co_await begun(resident);
        co_await until(resident, [&](const auto& r) { return full.n_refused > 0 && !r.looking; });
        full.n_max = std::int64_t{1} << 40;
        asio::steady_timer timer(co_await asio::this_coro::executor);
        timer.expires_after(kLeaveRoomFor / 2);  // it has begun to wait
        co_await timer.async_wait(asio::use_awaitable);
        full.held = 500;
        const auto report = co_await until(
            resident, [](const auto& r) { return r.evaluated == r.base_tokens; });
        EXPECT_EQ(report.evaluated, report.base_tokens);
      },
      [&](std::unique_ptr<engine::Engine> of) {
        return std::make_unique<FullEngine>(std::move(of), full);
      });
}

}  // namespace
}  // namespace lares::daemon
