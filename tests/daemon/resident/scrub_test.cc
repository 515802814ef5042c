// What is kept, held against the engine.
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/daemon/resident/resident_case.h"

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ScrubTest : public ResidentCase {};

// An engine whose syncs, while `holds`, wait between two layers until they are called off.
struct Held {
  std::atomic<bool> holds = false;
  std::atomic<int> n_waiting = 0, n_called_off = 0;
};
class HeldTimeline final : public engine::Timeline {
 public:
  HeldTimeline(std::unique_ptr<engine::Timeline> of, Held& held)
      : of_(std::move(of)), held_(held) {}
  std::span<const engine::Token> tokens() const override { return of_->tokens(); }
  engine::Result<std::int64_t> sync(std::span<const engine::Token> prompt, std::stop_token stop,
                                    const engine::Progress&) override {
    return of_->sync(prompt, stop, [&](std::int64_t, std::int64_t) {
      if (!held_.holds) return;
      ++held_.n_waiting;
      const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (!stop.stop_requested() && std::chrono::steady_clock::now() < until)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (stop.stop_requested()) ++held_.n_called_off;
      held_.holds = false;
    });
  }
  engine::Result<engine::Token> next(const engine::Sampling& s,
                                     const engine::TokenMask* m) override {
    return of_->next(s, m);
  }
  engine::PrefixRef prefix(std::int64_t n) const override { return of_->prefix(n); }

 private:
  const std::unique_ptr<engine::Timeline> of_;
  Held& held_;
};
class HeldEngine final : public engine::Engine {
 public:
  HeldEngine(std::unique_ptr<engine::Engine> of, Held& held) : of_(std::move(of)), held_(held) {}
  const engine::ModelInfo& info() const override { return of_->info(); }
  const engine::Tokenizer& tokenizer() const override { return of_->tokenizer(); }
  std::unique_ptr<engine::Timeline> timeline() override { return timeline(nullptr); }
  std::unique_ptr<engine::Timeline> timeline(engine::PrefixRef from) override {
    return std::make_unique<HeldTimeline>(of_->timeline(std::move(from)), held_);
  }
  engine::PrefixFormat prefix_format() const override { return of_->prefix_format(); }
  std::unique_ptr<engine::PrefixBuilder> prefix_builder(
      const engine::PrefixRef& from) const override {
    return of_->prefix_builder(from);
  }

 private:
  const std::unique_ptr<engine::Engine> of_;
  Held& held_;
};

// A comparison ends between two layers when somebody comes, and is made again later.
TEST_F(ScrubTest, AScrubIsCalledOffWithinAChunk) {
  tend_every_ = std::chrono::milliseconds(200);
  store_ = kept_ / "store";
  for (int i = 0; i < 6; ++i) write(fmt::format("m{}.py", i), source(i + 1, 60));
  Held held;
  with_engine(
      [&](EngineHost& host, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
        const auto one = co_await begun(resident);
        co_await at_rest(resident);
        const auto n_kept = static_cast<std::int64_t>(one.base->tokens.size()) / 128 * 128;
        co_await until(resident, [&](const auto& report) { return report.disk_tokens == n_kept; });
        held.holds = true;
        EXPECT_TRUE(co_await resident->scrub());
        co_await until(resident, [&](const auto&) { return held.n_waiting == 1; });
        {
          const EngineHost::Person person(host);
          co_await until(resident, [&](const auto&) { return !held.holds; });
        }
        EXPECT_EQ(held.n_called_off, 1);
        const auto clean = co_await until(resident,
                                          [](const auto& report) { return !report.scrubbing; });
        EXPECT_EQ(clean.scrubbed, n_kept);
        EXPECT_EQ(clean.scrub_found, "");
      },
      [&](std::unique_ptr<engine::Engine> of) {
        return std::make_unique<HeldEngine>(std::move(of), held);
      });
}

// What is kept is evaluated again while the daemon serves, and a byte that is not what it was is
// found.
TEST_F(ScrubTest, AScrubHoldsWhatIsKeptAgainstTheEngine) {
  tend_every_ = std::chrono::milliseconds(200);
  store_ = kept_ / "store";
  for (int i = 0; i < 6; ++i) write(fmt::format("m{}.py", i), source(i + 1, 60));
  with_engine([&](EngineHost& host, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
    EXPECT_FALSE(co_await resident->scrub());  // nothing is kept yet
    const auto one = co_await begun(resident);
    co_await at_rest(resident);
    const auto n_kept = static_cast<std::int64_t>(one.base->tokens.size()) / 128 * 128;
    co_await until(resident, [&](const auto& report) { return report.disk_tokens == n_kept; });
    EXPECT_TRUE(co_await resident->scrub());
    const auto clean = co_await until(resident,
                                      [](const auto& report) { return !report.scrubbing; });
    EXPECT_EQ(clean.scrubbed, n_kept);
    EXPECT_EQ(clean.scrub_found, "");
    {
      const EngineHost::Person person(host);  // and it gives way
      EXPECT_TRUE(co_await resident->scrub());
      asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::milliseconds(300));
      co_await timer.async_wait(asio::use_awaitable);
      EXPECT_TRUE((co_await resident->report(false)).scrubbing);
    }
    co_await until(resident, [](const auto& report) { return !report.scrubbing; });
    for (const auto& entry : fs::recursive_directory_iterator(store_)) {
      if (entry.path().extension() != ".ext") continue;
      std::fstream file(entry.path(), std::ios::binary | std::ios::in | std::ios::out);
      file.seekp(static_cast<std::streamoff>(fs::file_size(entry.path()) / 2));
      file.put('\x55');
      break;
    }
    EXPECT_TRUE(co_await resident->scrub());
    const auto damaged = co_await until(resident,
                                        [](const auto& report) { return !report.scrubbing; });
    EXPECT_THAT(damaged.scrub_found, HasSubstr("scrub extent"));
    const auto quarantined = [&] {
      for (const auto& entry : fs::recursive_directory_iterator(store_))
        if (entry.path().parent_path().filename() == "quarantine") return true;
      return false;
    };
    EXPECT_TRUE(quarantined());
    // The next look at the store writes it anew.
    co_await until(resident, [&](const auto& report) { return report.disk_tokens == n_kept; });
    EXPECT_TRUE(co_await resident->scrub());
    const auto mended = co_await until(resident,
                                       [](const auto& report) { return !report.scrubbing; });
    EXPECT_EQ(mended.scrub_found, "");
    EXPECT_EQ(mended.scrubbed, n_kept);
  });
}

}  // namespace
}  // namespace lares::daemon
