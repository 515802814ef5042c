// What sessions begin with, share, and are told.
#include "daemon/resident/resident.h"

#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/repository.h"
#include "daemon/turn/prompt.h"
#include "tests/daemon/resident/resident_case.h"
#include "tests/tools/workspace/plain_repository.h"

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class ResidentTest : public ResidentCase {};

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
  const std::string copy = kept_ / "worktree", store = kept_ / "store";
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
        {tools::test::render_repository(*tools::test::list_files({.root = root_})), false}};
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
