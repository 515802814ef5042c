// What another daemon finds of what the last one kept.
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/repository.h"
#include "tests/daemon/resident/resident_case.h"

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class RestartTest : public ResidentCase {};

// Another daemon begins where the last one was, and tells what changed meanwhile.
TEST_F(RestartTest, ARestartBringsTheBaseBack) {
  store_ = kept_ / "store";
  for (int i = 0; i < 6; ++i) write(fmt::format("m{}.py", i), source(i + 1, 60));
  std::vector<engine::Token> tokens;
  with_engine([&](EngineHost&, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
    const auto one = co_await begun(resident);
    tokens = one.base->tokens;
    const auto report = co_await at_rest(resident);
    co_await until(resident,
                   [&](const auto& r) { return r.disk_tokens == report.base_tokens / 128 * 128; });
  });
  with_engine([&](EngineHost& host, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
    const EngineHost::Person person(host);  // nothing is evaluated in the background
    const auto two = co_await begun(resident);
    EXPECT_EQ(two.base->tokens, tokens);
    EXPECT_EQ(two.overlay, "");
    const auto evaluated = co_await first_step(host, resident, two);
    EXPECT_LT(evaluated, 128 + 16);
  });
  std::string changed = source(3, 60);
  changed.replace(changed.find("return 30\n"), 10, "return 31\n");
  write("m2.py", changed);
  with_engine([&](EngineHost& host, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
    for (int i = 0; i < 40; ++i) host.evaluated(1000, std::chrono::seconds(1000));
    const auto three = co_await begun(resident);
    EXPECT_EQ(three.base->tokens, tokens);
    EXPECT_THAT(three.overlay, HasSubstr("return 31"));
  });
}

// Bases of another bound than the setting says now.
TEST_F(RestartTest, ARestartWithAnotherBoundBeginsWithABaseOfIt) {
  store_ = kept_ / "store";
  for (int i = 0; i < 12; ++i) write(fmt::format("m{}.py", i), source(i + 1, 120));
  const auto size_with = [&](std::int64_t tokens_max) {
    std::int64_t n_tokens = 0;
    tokens_max_ = tokens_max;
    with_engine([&](EngineHost&, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
      co_await begun(resident);
      const auto report = co_await at_rest(resident);
      n_tokens = report.base_tokens;
      co_await until(resident,
                     [&](const auto& r) { return r.disk_tokens == n_tokens / 128 * 128; });
    });
    return n_tokens;
  };
  const std::int64_t all = size_with(60'000);
  ASSERT_GT(all, 9'000);
  const std::int64_t some = size_with(6'000);
  EXPECT_LE(some, 6'000);
  EXPECT_GT(size_with(8'000), some);
  EXPECT_EQ(size_with(60'000), all);
  EXPECT_EQ(size_with(200'000), all);
  EXPECT_EQ(size_with(50'000), all);  // nothing is left out of it, and it fits
}

// A repository that was let go and came back while its last work was being done.
TEST_F(RestartTest, AStoreThatAnotherStillHasIsUsedWhenItIsFree) {
  store_ = kept_ / "store";
  fs::create_directories(store_);
  tend_every_ = std::chrono::milliseconds(200);
  for (int i = 0; i < 3; ++i) write(fmt::format("m{}.py", i), source(i + 1, 40));
  with_engine([&](EngineHost& host, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
    auto other = Keeper::open(store_ + "/" + repository_key(root_), *host.engine(), {});
    EXPECT_TRUE(other) << other.error();
    co_await begun(resident);
    const auto report = co_await at_rest(resident);
    EXPECT_EQ((co_await resident->report(false)).disk_tokens, 0);
    other->reset();
    co_await until(resident,
                   [&](const auto& r) { return r.disk_tokens == report.base_tokens / 128 * 128; });
  });
}

// The base to come was half evaluated when the daemon ended: the next one has that half without an
// engine.
TEST_F(RestartTest, ARestartGoesOnWithTheBaseToCome) {
  store_ = kept_ / "store";
  for (int i = 10; i < 40; ++i) write(fmt::format("m{}.py", i), source(i + 1, 60));
  const auto slow = [](EngineHost& host) {
    for (int i = 0; i < 40; ++i) host.evaluated(1000, std::chrono::seconds(1000));
  };
  std::int64_t n_evaluated = 0;
  with_engine([&](EngineHost& host, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
    co_await begun(resident);
    const auto first = co_await at_rest(resident);
    slow(host);
    for (int i = 20; i < 24; ++i) write(fmt::format("m{}.py", i), source(i + 50, 60));
    co_await begun(resident);
    const auto next = co_await until(resident,
                                     [&](const auto& report) { return report.next_tokens > 0; });
    const auto half = co_await until(resident, [&](const auto& report) {
      return report.disk_tokens > first.base_tokens / 2 &&
             report.disk_tokens < first.base_tokens / 5 * 4;
    });
    EXPECT_EQ(half.epoch, 1u);
    EXPECT_LT(half.next_evaluated, half.next_tokens);
    EXPECT_GT(half.disk_tokens, next.next_evaluated + 4 * kSmallMarkEvery);
    n_evaluated = half.disk_tokens;
  });
  with_engine([&](EngineHost& host, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
    slow(host);
    co_await begun(resident);
    co_await until(resident, [](const auto& report) {
      return report.evaluated == report.base_tokens &&
             report.overlay_evaluated + 3 >= report.overlay_tokens;
    });
    const EngineHost::Person person(host);  // so that no more is evaluated than what has begun
    const auto next = co_await until(
        resident, [&](const auto& report) { return report.next_evaluated >= n_evaluated; });
    EXPECT_EQ(next.epoch, 1u);
    EXPECT_LT(next.next_evaluated, next.next_tokens);
  });
}

TEST_F(RestartTest, ASessionOfADeadDaemonIsToldWhatItMissed) {
  for (int i = 0; i < 4; ++i) write(fmt::format("m{}.py", i), source(i + 1, 30));
  with_engine([&](EngineHost&, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
    const auto one = co_await begun(resident);
    const auto ids = std::make_shared<std::vector<engine::Token>>(one.base->tokens);
    ids->push_back(5);
    const std::vector<Written> none;
    std::string own = source(2, 30), others = source(3, 30);
    own.replace(own.find("return 20\n"), 10, "return 21\n");
    others.replace(others.find("return 30\n"), 10, "return 32\n");
    // What it wrote is as it was written; another file changed, a third did after it had been shown
    // anew.
    write("m1.py", own);
    const auto wrote = co_await begun(resident);
    const WasShown shown{.files = {{"m1.py", {wrote.files.at("m1.py").blob, Seen::State::text}},
                                   {"m3.py", {std::string(40, 'a'), Seen::State::text}}},
                         .hidden_below = {}};
    const auto io = co_await asio::this_coro::executor;
    const ResidentWorld world{.io = io, .disk = disk_, .host = host_, .log = log_, .store_dir = {}};
    resident = Resident::make(world, root_);
    write("m1.py", source(2, 30));  // the base of the next daemon is this one's
    co_await begun(resident);
    write("m1.py", own);
    write("m2.py", others);
    for (int i = 0; i < 40; ++i) host_->evaluated(1000, std::chrono::seconds(1000));
    auto again = co_await resident->pin_again(ids, shown);
    EXPECT_TRUE(again) << again.error();
    EXPECT_TRUE(again->base_known);
    const auto update = co_await resident->catch_up(again->pinned, none);
    EXPECT_THAT(update->text, HasSubstr("return 32"));
    EXPECT_THAT(update->text, Not(HasSubstr("return 21")));
    EXPECT_THAT(update->text, HasSubstr("m3.py"));
    (*ids)[40] ^= 1;
    again = co_await resident->pin_again(ids, shown);
    EXPECT_FALSE(again->base_known);
  });
}

}  // namespace
}  // namespace lares::daemon
