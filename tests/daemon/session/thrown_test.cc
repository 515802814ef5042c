// What throws where nothing should: for want of memory, say. It costs one turn.
#include <gtest/gtest.h>

#include <future>
#include <stdexcept>
#include <string>

#include <boost/asio/post.hpp>
#include <fmt/format.h>

#include "tests/daemon/session/world.h"

namespace lares::daemon {
namespace {

struct Thrower final : Subscriber {
  void notify(const std::string&, const std::string& line, Weight) override {
    if (line.find("\"turn/ended\"") == std::string::npos) return;
    ended = true;
    if (throws) throw std::runtime_error("no memory for the end of the turn");
  }
  bool interactive(const std::string&) const override { return false; }
  bool throws = true, ended = false;
};

TEST(Thrown, ATurnWhoseEndThrowsIsOver) {
  World world({{.text = "hm</think>One."}, {.text = "hm</think>Two."}});
  const auto session = world.session();
  Thrower thrower;
  session->subscribe(&thrower);
  world.send(session, "p1");
  ASSERT_TRUE(world.run_until([&] { return thrower.ended && !session->running(); }));
  EXPECT_EQ(session->info().turn_id, 0);
  EXPECT_NE(session->failure(), "");  // what it knows is read back from the journal first
  thrower.throws = thrower.ended = false;
  world.send(session, "p2");
  ASSERT_TRUE(world.run_until([&] { return thrower.ended && !session->running(); }));
  EXPECT_EQ(session->failure(), "");
  EXPECT_EQ(session->info().n_turns, 2);
  session->unsubscribe(&thrower);
}

// One of them goes on, and writes, while the other's reading has yet to begin. What is wrong with
// that ThreadSanitizer sees.
TEST(Thrown, TwoReadTheJournalBackAtATime) {
  constexpr int kBefore = 2000, kMeanwhile = 20;  // before: so that it takes a while
  World world({{.text = "hm</think>One."}});
  const auto session = world.session();
  int n_named = 0;
  for (int i = 0; i < kBefore; ++i) world.name(session, fmt::format("title {}", i), n_named);
  ASSERT_TRUE(world.run_until([&] { return n_named == kBefore; }));
  Thrower thrower;
  session->subscribe(&thrower);
  world.send(session, "p1");
  ASSERT_TRUE(world.run_until([&] { return thrower.ended && !session->running(); }));
  ASSERT_NE(session->failure(), "");
  session->unsubscribe(&thrower);

  std::promise<void> end, go_on;
  const auto at_the_end = [is = end.get_future().share()] { is.wait(); };
  const auto between = [is = go_on.get_future().share()] { is.wait(); };
  n_named = 0;
  asio::post(world.disk, at_the_end);  // so that one thread reads, one after the other
  world.name(session, "first", n_named);
  world.io.poll();
  asio::post(world.disk, between);
  world.name(session, "second", n_named);
  world.io.poll();
  ASSERT_TRUE(world.run_until([&] { return session->failure().empty(); }));
  go_on.set_value();
  for (int i = 0; i < kMeanwhile; ++i) world.name(session, fmt::format("more {}", i), n_named);
  EXPECT_TRUE(world.run_until([&] { return n_named == kMeanwhile + 2; }));
  EXPECT_EQ(session->failure(), "");
  end.set_value();
}

}  // namespace
}  // namespace lares::daemon
