// A resident repository with nano: what sessions begin with, share, and are told.
#include "daemon/resident/resident.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <thread>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/contexts.h"
#include "daemon/protocol/nano_directory.h"
#include "daemon/repository.h"
#include "daemon/turn/prompt.h"
#include "tools/workspace/workspace.h"

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kPasses = 6000;  // of waiting 10 ms for the background

class ResidentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/lares-resident-XXXXXX";
    root_ = fs::canonical(::mkdtemp(name)).string();
  }
  void TearDown() override {
    fs::remove_all(root_);
    if (!store_.empty()) fs::remove_all(store_);
  }

  void write(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(root_ + "/" + path).parent_path());
    std::ofstream(root_ + "/" + path) << text;
  }
  static std::string source(int seed, int lines) {
    std::string out;
    for (int i = 0; i < lines; ++i)
      out += "def value_" + std::to_string(seed) + "_" + std::to_string(i) + "():\n    return " +
             std::to_string(i * seed) + "\n";
    return out;
  }

  // Runs `body` beside a loaded engine.
  using Load = engine::Result<std::unique_ptr<engine::Engine>>;
  void with_engine(
      std::function<asio::awaitable<void>(EngineHost&, std::shared_ptr<Resident>)> body,
      std::function<std::unique_ptr<engine::Engine>(std::unique_ptr<engine::Engine>)> wrapped =
          {}) {
    IoLoop io;
    DiskPool disk(2);
    Log log(-1);
    std::string thrown = "nothing ran";
    {
      EngineHost host(io.get_executor());
      host.start(
          [&](const EngineHost::Loading& loading) -> Load {
            auto loaded = engine::load({.directory = nano_directory(), .n_threads = 2},
                                       loading.progress);
            if (loaded && wrapped) return wrapped(std::move(*loaded));
            return loaded;
          },
          [](const protocol::ServerState&) {});
      const auto run = [&]() -> asio::awaitable<void> {
        co_await host.settled();
        auto resident = Resident::make({.io = io.get_executor(),
                                        .disk = &disk,
                                        .host = &host,
                                        .log = &log,
                                        .store_dir = store_,
                                        .tokens_max = tokens_max_,
                                        .tend_every = tend_every_},
                                       root_);
        disk_ = &disk, host_ = &host, log_ = &log;
        co_await body(host, resident);
        host.stop_background();
      };
      asio::co_spawn(io, run, [&](std::exception_ptr e) {
        thrown.clear();
        try {
          if (e) std::rethrow_exception(e);
        } catch (const std::exception& x) {
          thrown = x.what();
        }
        io.stop();
      });
      io.run();
      host.end();
      disk.abandon();
      io.abandon();
    }
    EXPECT_EQ(thrown, "");
  }
  // Until the background has evaluated all there is.
  static asio::awaitable<protocol::RepoPrefixResult> at_rest(
      const std::shared_ptr<Resident>& resident) {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    for (int i = 0; i < kPasses; ++i) {
      auto report = co_await resident->report(true);
      if (report.evaluated == report.base_tokens && report.next_tokens == report.next_evaluated)
        co_return report;
      timer.expires_after(std::chrono::milliseconds(10));
      co_await timer.async_wait(asio::use_awaitable);
    }
    ADD_FAILURE() << "the background did not come to rest";
    co_return protocol::RepoPrefixResult{};
  }
  // A report of which `is_so`.
  static asio::awaitable<protocol::RepoPrefixResult> until(
      std::shared_ptr<Resident> resident,
      std::function<bool(const protocol::RepoPrefixResult&)> is_so) {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    protocol::RepoPrefixResult report;
    for (int i = 0; i < kPasses; ++i) {
      report = co_await resident->report(false);
      if (is_so(report)) co_return report;
      timer.expires_after(std::chrono::milliseconds(10));
      co_await timer.async_wait(asio::use_awaitable);
    }
    ADD_FAILURE() << "it never came to be";
    co_return report;
  }
  static asio::awaitable<Resident::Beginning> begun(const std::shared_ptr<Resident>& resident) {
    auto beginning = co_await resident->begin();
    EXPECT_TRUE(beginning) << beginning.error();
    co_return std::move(*beginning);
  }
  // What a session's first step evaluates.
  static asio::awaitable<std::int64_t> first_step(EngineHost& host,
                                                  const std::shared_ptr<Resident>& resident,
                                                  const Resident::Beginning& beginning) {
    auto ids = beginning.base->tokens;
    for (const auto id : host.engine()->tokenizer().encode("What is here?", false))
      ids.push_back(id);
    const auto shared = resident->shared();
    const auto step = [&] {
      auto timeline = host.engine()->timeline(shared->longest(ids));
      return timeline->sync(ids, {}, nullptr).value();
    };
    co_return co_await host.run(step);
  }

  std::string root_, store_;  // store_ empty: nothing is kept
  std::int64_t tokens_max_ = kResidentTokens;
  std::chrono::milliseconds tend_every_ = kTendEvery;
  asio::thread_pool* disk_ = nullptr;
  EngineHost* host_ = nullptr;
  const Log* log_ = nullptr;
};

TEST_F(ResidentTest, TheBackgroundEvaluatesTheBaseAndSessionsForkFromIt) {
  for (int i = 0; i < 6; ++i) write(fmt::format("src/m{}.py", i), source(i + 1, 40));
  with_engine([&](EngineHost& host, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
    const auto one = co_await begun(resident);
    EXPECT_EQ(one.overlay, "");
    const auto report = co_await at_rest(resident);
    EXPECT_GT(report.base_tokens, 1024);
    EXPECT_EQ(report.epoch, 1u);
    EXPECT_EQ(report.files.size(), 6u);
    EXPECT_GT(report.page_bytes, 0);
    EXPECT_GT(report.tokens_per_s, 0);
    const auto evaluated = co_await first_step(host, resident, one);
    EXPECT_LT(evaluated, 16);
    const auto two = co_await begun(resident);
    EXPECT_EQ(two.base, one.base);
  });
}

// A copy of the repository, as a session's own worktree is one.
TEST_F(ResidentTest, AWorktreeBeginsWithWhatItsRepositoryHasEvaluated) {
  for (int i = 0; i < 6; ++i) write(fmt::format("src/m{}.py", i), source(i + 1, 40));
  const std::string copy = root_ + "-worktree", store = root_ + "-store";
  fs::create_directory(store);
  with_engine([&](EngineHost& host, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
    const auto one = co_await begun(resident);
    const auto whole = co_await at_rest(resident);
    fs::copy(root_, copy, fs::copy_options::recursive);
    const auto io = co_await asio::this_coro::executor;
    const auto worktree = Resident::make(
        {.io = io, .disk = disk_, .host = host_, .log = log_, .store_dir = store}, copy, resident);
    const auto two = co_await begun(worktree);
    EXPECT_EQ(two.base, one.base);
    EXPECT_EQ(two.overlay, "");
    const auto evaluated = co_await first_step(host, worktree, two);
    EXPECT_LT(evaluated, 16);
    const auto report = co_await worktree->report(false);
    EXPECT_EQ(report.evaluated, whole.base_tokens);
    EXPECT_EQ(report.page_bytes, 0) << "they are its repository's";
    EXPECT_EQ(report.disk_bytes, 0);
  });
  EXPECT_TRUE(fs::is_empty(store)) << "of a worktree nothing is kept on disk";
  fs::remove_all(copy);
  fs::remove_all(store);
}

TEST_F(ResidentTest, WhatAWorktreesSessionEvaluatesIsItsRepositorysToo) {
  for (int i = 0; i < 6; ++i) write(fmt::format("src/m{}.py", i), source(i + 1, 40));
  with_engine([&](EngineHost& host, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
    const auto one = co_await begun(resident);
    const auto base = one.base;
    int n_offered = 0;
    const auto theirs = std::make_shared<Beginnings>(
        [&](const engine::PrefixRef&, const std::shared_ptr<const Base>&) { ++n_offered; });
    Beginnings own(nullptr, theirs);
    theirs->keep({base});
    own.keep({base});
    const auto evaluate = [&] {
      auto timeline = host.engine()->timeline();
      const auto n = std::min<std::size_t>(1024, base->tokens.size());
      EXPECT_TRUE(timeline->sync(std::span(base->tokens).first(n), {}, nullptr));
      own.offer(timeline->prefix(static_cast<std::int64_t>(n)));
      return static_cast<std::int64_t>(n);
    };
    const auto n = co_await host.run(evaluate);
    EXPECT_EQ(theirs->evaluated(*base), n);
    EXPECT_EQ(n_offered, 1);
    EXPECT_EQ(own.pages(), 0u);
    EXPECT_EQ(own.unfinished(), nullptr) << "its repository evaluates the base";
    theirs->keep({});  // a rebase took its place
    EXPECT_EQ(own.evaluated(*base), n);
    EXPECT_GT(own.pages(), 0u);
    EXPECT_EQ(own.unfinished(), base);
  });
}

// What nano was trained on: the text of all files, tokenised as one.
TEST_F(ResidentTest, ASmallRepositoryIsTheTextItAlwaysWas) {
  write("README.md", "# Shop\n\nIt sells.\n");
  write("src/a.py", source(2, 20));
  write("src/empty.py", "");
  write("src/no_newline.c", "int f(void) { return 1; }");
  write("lib/b.js", "\n\n  module.exports = {};\n\n\n");
  write("data.bin", std::string("a\0b", 3));
  with_engine([&](EngineHost& host, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
    const auto one = co_await begun(resident);
    const std::vector<engine::Segment> whole{
        {prompt_head(), true},
        {tools::render_repository(*tools::list_files({.root = root_})), false}};
    EXPECT_EQ(one.base->tokens, host.engine()->tokenizer().encode(whole));
  });
}

TEST_F(ResidentTest, ASmallRepositoryIsWrittenAnewAtOnce) {
  for (int i = 0; i < 6; ++i) write(fmt::format("m{}.py", i), source(i + 1, 40));
  with_engine([&](EngineHost& host, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
    const auto one = co_await begun(resident);
    const auto before = co_await at_rest(resident);
    host.evaluated(100'000, std::chrono::seconds(10));
    write("m5.py", "def other():\n    return 1\n");
    const auto two = co_await begun(resident);
    EXPECT_EQ(two.overlay, "");
    EXPECT_NE(two.base, one.base);
    EXPECT_LT(two.base->tokens.size(), one.base->tokens.size());
    // Only what lies behind the last place before the change is evaluated again.
    const auto evaluated = co_await first_step(host, resident, two);
    EXPECT_LT(evaluated, 2100);
    EXPECT_LT(evaluated, before.base_tokens);
  });
}

TEST_F(ResidentTest, WhereEvaluatingIsSlowChangesAreToldUntilARebase) {
  for (int i = 0; i < 6; ++i) write(fmt::format("m{}.py", i), source(i + 1, 60));
  with_engine([&](EngineHost& host, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
    const auto one = co_await begun(resident);
    co_await at_rest(resident);
    for (int i = 0; i < 40; ++i)
      host.evaluated(1000, std::chrono::seconds(1000));  // a token a second
    std::string changed = source(3, 60);
    changed.replace(changed.find("return 30\n"), 10, "return 31\n");
    write("m2.py", changed);
    const auto two = co_await begun(resident);
    EXPECT_EQ(two.base, one.base);
    EXPECT_THAT(two.overlay, HasSubstr("return 31"));
    EXPECT_THAT(two.overlay, HasSubstr("m2.py"));
    EXPECT_LT(two.overlay.size(), 600u);
    // What changed is evaluated in the background too: a session pays for its task.
    const auto ahead = co_await until(resident, [](const auto& report) {
      return report.overlay_evaluated + 3 >= report.overlay_tokens;
    });
    EXPECT_GT(ahead.overlay_tokens, 50);
    auto ids = two.base->tokens;
    const auto behind = begin_session(two.overlay, root_, "What is here?");
    for (const auto id : host.engine()->tokenizer().encode(behind)) ids.push_back(id);
    const auto shared = resident->shared();
    const auto step = [&] {
      return host.engine()->timeline(shared->longest(ids))->sync(ids, {}, nullptr).value();
    };
    const auto n_evaluated = co_await host.run(step);
    EXPECT_LT(n_evaluated, 24);
    // More than a quarter of the base: a rebase is due, and takes over when it is evaluated.
    for (int i = 0; i < 5; ++i) write(fmt::format("m{}.py", i), source(i + 100, 60));
    co_await begun(resident);
    const auto report = co_await at_rest(resident);
    EXPECT_GT(report.next_tokens, 0);
    const auto three = co_await begun(resident);
    EXPECT_NE(three.base, one.base);
    EXPECT_EQ(three.overlay, "");
    const auto after = co_await resident->report(false);
    EXPECT_EQ(after.epoch, 2u);
    EXPECT_EQ(after.evaluated, after.base_tokens);
  });
}

TEST_F(ResidentTest, ASessionIsToldWhatItDidNotWrite) {
  write("a.py", source(2, 30));
  write("b.py", source(3, 30));
  with_engine([&](EngineHost&, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
    const auto one = co_await begun(resident);
    const std::vector<Written> none;
    auto nothing = co_await resident->catch_up(one.pinned, none);
    EXPECT_EQ(nothing->text, "");
    std::string own = source(2, 30), others = source(3, 30);
    own.replace(own.find("return 20\n"), 10, "return 21\n");
    others.replace(others.find("return 30\n"), 10, "return 32\n");
    write("a.py", own);
    write("b.py", others);
    const auto blob = [&](const tools::Workspace& files, const std::string& path) {
      return files.at(path).blob;
    };
    const auto now = co_await begun(resident);
    const std::vector<Written> wrote{{"a.py", blob(now.files, "a.py")}};
    auto update = co_await resident->catch_up(one.pinned, wrote);
    EXPECT_THAT(update->text, HasSubstr("return 32"));
    EXPECT_THAT(update->text, Not(HasSubstr("return 21")));
    EXPECT_EQ(update->changed.size(), 2u);
    nothing = co_await resident->catch_up(one.pinned, none);
    EXPECT_EQ(nothing->text, "");
    fs::remove(root_ + "/b.py");
    update = co_await resident->catch_up(one.pinned, none);
    EXPECT_THAT(update->text, HasSubstr("b.py"));
    // What it wrote and somebody took back at once, it believes in until it is told.
    const std::vector<Written> undone{{"a.py", std::string(40, 'c')},
                                      {"new.py", std::string(40, 'd')}};
    update = co_await resident->catch_up(one.pinned, undone);
    EXPECT_THAT(update->text, HasSubstr("a.py"));
    EXPECT_THAT(update->text, HasSubstr("new.py"));
  });
}

// Another daemon begins where the last one was, and tells what changed meanwhile.
TEST_F(ResidentTest, ARestartBringsTheBaseBack) {
  store_ = root_ + "-store";
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
TEST_F(ResidentTest, ARestartWithAnotherBoundBeginsWithABaseOfIt) {
  store_ = root_ + "-store";
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
TEST_F(ResidentTest, AStoreThatAnotherStillHasIsUsedWhenItIsFree) {
  store_ = root_ + "-store";
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
TEST_F(ResidentTest, ARestartGoesOnWithTheBaseToCome) {
  store_ = root_ + "-store";
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

TEST_F(ResidentTest, ASessionOfADeadDaemonIsToldWhatItMissed) {
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
TEST_F(ResidentTest, AScrubIsCalledOffWithinAChunk) {
  tend_every_ = std::chrono::milliseconds(200);
  store_ = root_ + "-store";
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
TEST_F(ResidentTest, AScrubHoldsWhatIsKeptAgainstTheEngine) {
  tend_every_ = std::chrono::milliseconds(200);
  store_ = root_ + "-store";
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

// While the files are read, rendered or read back, who asks for the state is told so at once.
TEST_F(ResidentTest, WhoAsksDoesNotWaitForTheFiles) {
  for (int i = 0; i < 60; ++i) write(fmt::format("m{}.py", i), source(i + 1, 200));
  with_engine([&](EngineHost&, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
    const auto io = co_await asio::this_coro::executor;
    bool done = false;
    const auto begin = [&]() -> asio::awaitable<void> {
      co_await begun(resident);
      done = true;
    };
    asio::co_spawn(io, begin, [](std::exception_ptr) {});
    protocol::RepoPrefixResult early;
    while (!early.looking && !done) early = co_await resident->report(true);
    EXPECT_FALSE(done);
    EXPECT_TRUE(early.looking);
    EXPECT_EQ(early.epoch, 0u);
    const auto late = co_await until(resident,
                                     [&](const auto& report) { return done && !report.looking; });
    EXPECT_EQ(late.epoch, 1u);
    EXPECT_EQ((co_await resident->report(true)).files.size(), 60u);
  });
}

// Where files are written faster than they can be looked at. Every look holds the repository.
TEST_F(ResidentTest, ChangesThatComeDuringALookAreOneMoreLook) {
  for (int i = 0; i < 6; ++i) write(fmt::format("m{}.py", i), source(i + 1, 60));
  with_engine([&](EngineHost&, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
    co_await begun(resident);
    const auto is_looking = [](const auto& report) { return report.looking; };
    co_await until(resident, std::not_fn(is_looking));
    std::promise<void> promised;
    const auto go = promised.get_future().share();
    for (int i = 0; i < 2; ++i) asio::post(*disk_, [go] { go.wait(); });  // the pool's threads
    write("new0.py", source(2, 1));
    co_await until(resident, is_looking);
    const auto n_holding = resident.use_count();
    asio::steady_timer timer(co_await asio::this_coro::executor);
    for (int i = 1; i < 6; ++i) {
      write(fmt::format("new{}.py", i), source(2, 1));
      timer.expires_after(2 * tools::WatcherLimits().quiet);
      co_await timer.async_wait(asio::use_awaitable);
    }
    EXPECT_LE(resident.use_count(), n_holding);
    promised.set_value();
    const auto all = co_await until(resident, std::not_fn(is_looking));
    EXPECT_GT(all.overlay_tokens, 0);
    write("new6.py", source(2, 1));
    co_await until(resident, [&all](const auto& report) {
      return report.overlay_tokens > all.overlay_tokens;
    });
  });
}

// While somebody waits for the engine the background does nothing.
TEST_F(ResidentTest, PeopleComeFirst) {
  for (int i = 0; i < 6; ++i) write(fmt::format("m{}.py", i), source(i + 1, 60));
  with_engine([&](EngineHost& host, std::shared_ptr<Resident> resident) -> asio::awaitable<void> {
    {
      const EngineHost::Person person(host);
      co_await begun(resident);
      asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::milliseconds(300));
      co_await timer.async_wait(asio::use_awaitable);
      EXPECT_EQ((co_await resident->report(false)).evaluated, 0);
    }
    const auto report = co_await at_rest(resident);
    EXPECT_GT(report.evaluated, 0);
  });
}

}  // namespace
}  // namespace lares::daemon
