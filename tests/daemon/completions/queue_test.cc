// Who generates now, who waits and who is refused or let go, over a scripted model.
#include <atomic>
#include <deque>
#include <future>
#include <stop_token>

#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>

#include "daemon/contexts.h"
#include "daemon/on_disk_pool.h"
#include "tests/daemon/completions/generator_case.h"

namespace lares::daemon {
namespace {

using Reason = GenerationEnd::Reason;
using test::Answered, test::read;
class QueueTest : public test::GeneratorCase {};

// As the daemon ends where a handler did not. A frame that is unwound later than this refers to
// what is gone: the server of its connection, for one.
TEST(Queue, WhatItsThreadsHoldIsUnwoundWhenItIsAbandoned) {
  struct Local {
    std::atomic<int>& n;
    ~Local() { ++n; }
  };
  IoLoop io;
  EngineHost host(io.get_executor());
  const Log log(-1);
  Generator generator(io.get_executor(), host, log, {});
  asio::any_io_executor aside = generator.aside();
  std::promise<void> go_on;
  std::atomic<int> n_unwound = 0;
  const auto job = [gone_on = go_on.get_future().share()] {
    gone_on.wait();
    return true;
  };
  const auto reads = [&]() -> asio::awaitable<void> {
    const Local local{n_unwound};
    co_await on_disk_pool(aside, job);
  };
  constexpr int kReads = 5;  // more than it has threads
  for (int i = 0; i < kReads; ++i) asio::co_spawn(io, reads, asio::detached);
  io.poll();
  go_on.set_value();
  generator.abandon();
  io.abandon();
  EXPECT_EQ(n_unwound, kReads);
}

TEST_F(QueueTest, OneAfterTheOtherAndNoMoreThanMayWait) {
  options.running_max = 1, options.queued_max = 1;
  run({{.text = "one"}, {.text = "two"}}, [](Generator& g) -> asio::awaitable<void> {
    Conversation c = user("x");
    c.thinking = false;
    auto b1 = g.begin(c, {});
    auto first = co_await std::move(b1);
    std::stop_source stop;
    auto b2 = g.begin(c, stop.get_token());
    auto second = co_await std::move(b2);
    auto b3 = g.begin(c, {});
    const auto third = co_await std::move(b3);
    if (!first || !second) co_return ADD_FAILURE();
    EXPECT_TRUE(!third && third.error().kind == Refusal::Kind::not_ready);
    EXPECT_EQ(g.counts().waiting, 1u);
    const auto io = co_await asio::this_coro::executor;
    // It begins when it is awaited
    auto waiting = asio::co_spawn(io, read(std::move(*second)), asio::use_awaitable);
    auto r1 = read(std::move(*first));
    EXPECT_EQ((co_await std::move(r1)).content, "one");
    EXPECT_EQ((co_await std::move(waiting)).content, "two");
    EXPECT_EQ(g.counts().running, 0u);
  });
}

TEST_F(QueueTest, OfAnEngineElsewhereNoneWaitsForAnother) {
  options.running_max = 1, apart = true;
  run({{.text = "one"}, {.text = "two"}}, [](Generator& g) -> asio::awaitable<void> {
    Conversation c = user("x");
    c.thinking = false;
    const auto io = co_await asio::this_coro::executor;
    std::deque<std::unique_ptr<Generation>> begun;
    for (int i = 0; i < 2; ++i)
      asio::co_spawn(io, g.begin(c, {}), [&](std::exception_ptr, auto generation) {
        if (generation) begun.push_back(std::move(*generation));
      });
    while (begun.size() < 2) co_await asio::post(io, asio::use_awaitable);
    EXPECT_EQ(g.counts().waiting, 0u);
    if (g.counts().running != 2) co_return ADD_FAILURE();
    auto r2 = read(std::move(begun[1]));
    EXPECT_EQ((co_await std::move(r2)).content, "one") << "and the first has not begun";
    auto r1 = read(std::move(begun[0]));
    EXPECT_EQ((co_await std::move(r1)).content, "two");
  });
}

TEST_F(QueueTest, WhoWaitsAndHangsUpLeavesTheQueue) {
  options.running_max = 1;
  run({{.text = "one"}, {.text = "three"}}, [](Generator& g) -> asio::awaitable<void> {
    Conversation c = user("x");
    c.thinking = false;
    auto b1 = g.begin(c, {});
    auto first = co_await std::move(b1);
    std::stop_source stop;
    auto b2 = g.begin(c, stop.get_token());
    auto second = co_await std::move(b2);
    if (!first || !second) co_return ADD_FAILURE();
    stop.request_stop();
    auto r2 = read(std::move(*second));
    EXPECT_EQ((co_await std::move(r2)).end.reason, Reason::cancelled);
    EXPECT_EQ(g.counts().waiting, 0u);
    auto r1 = read(std::move(*first));
    EXPECT_EQ((co_await std::move(r1)).content, "one");
    auto third = ask(g, c);
    EXPECT_EQ((co_await std::move(third)).content, "three");
  });
}

TEST_F(QueueTest, WhenTheDaemonEndsEveryAnswerDoes) {
  run({{.text = "x", .open_ended = true}}, [](Generator& g) -> asio::awaitable<void> {
    Conversation c = user("x");
    c.thinking = false;
    auto beginning = g.begin(c, {});
    auto generation = co_await std::move(beginning);
    if (!generation) co_return ADD_FAILURE();
    auto saying = (*generation)->next();
    EXPECT_FALSE((co_await std::move(saying)).empty());
    g.end();
    auto rest = read(std::move(*generation));
    EXPECT_EQ((co_await std::move(rest)).end.reason, Reason::ending);
    auto late = ask(g, c);
    const Answered a = co_await std::move(late);
    EXPECT_TRUE(a.refusal && a.refusal->kind == Refusal::Kind::not_ready);
  });
}

// As one that finds too many waiting: it may ask again.
TEST_F(QueueTest, WhoHasNoMemoryIsRefusedForNow) {
  const auto no_memory = engine::Errc::no_memory;
  run({{.text = "x", .fail_sync = 0, .fails_with = no_memory},
       {.text = "abcdef", .fail_at = 3, .fails_with = no_memory},
       {.text = "abcdef", .fail_at = 3}},
      [](Generator& g) -> asio::awaitable<void> {
        Conversation c = user("x");
        c.thinking = false;
        for (const char* said : {"", "abc"}) {
          auto asking = ask(g, c);
          const Answered a = co_await std::move(asking);
          EXPECT_EQ(a.content, said);
          EXPECT_EQ(a.end.reason, Reason::failed);
          if (!a.end.refused) co_return ADD_FAILURE();
          EXPECT_EQ(a.end.refused->kind, Refusal::Kind::not_ready);
          EXPECT_NE(a.end.refused->message.find("service unavailable: the script fails here"),
                    std::string::npos)
              << a.end.refused->message;
        }
        auto broken = ask(g, c);
        EXPECT_FALSE((co_await std::move(broken)).end.refused);
      });
}

// No other try makes sense: agents read in it that they must ask for less.
TEST_F(QueueTest, WhatNoMemoryEverHoldsIsTooLong) {
  run({{.text = "x", .fail_sync = 0, .fails_with = engine::Errc::too_long}},
      [](Generator& g) -> asio::awaitable<void> {
        auto asking = ask(g, user("x"));
        const Answered a = co_await std::move(asking);
        if (!a.end.refused) co_return ADD_FAILURE();
        EXPECT_EQ(a.end.refused->kind, Refusal::Kind::too_long);
        EXPECT_EQ(a.end.refused->message,
                  "generate: the prompt is too long: the script fails here");
      });
}

}  // namespace
}  // namespace lares::daemon
