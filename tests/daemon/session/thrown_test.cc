// What throws where nothing should: for want of memory, say. It costs one turn.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <deque>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <fmt/format.h>

#include "daemon/session/sessions.h"
#include "daemon/session/worktrees.h"
#include "tests/daemon/scripted/scripted_engine.h"

namespace lares::daemon {
namespace {

using namespace std::chrono_literals;

std::string fresh_folder() {
  std::string path = (std::filesystem::temp_directory_path() / "lares-thrown-XXXXXX").string();
  EXPECT_NE(::mkdtemp(path.data()), nullptr);
  std::filesystem::create_directories(path + "/repo/.git");
  std::filesystem::create_directories(path + "/state/sessions");
  return path;
}

// A daemon as run_daemon() makes it, with what these tests need.
struct World {
  std::string folder = fresh_folder();
  asio::io_context io{1};
  asio::thread_pool disk{2}, trees{2}, tool_threads{1};
  const Log log{-1};
  EngineHost host{io.get_executor()};
  WorktreeRecords records{folder + "/state/worktrees"};
  Residents residents{{.io = io.get_executor(),
                       .disk = &trees,
                       .host = &host,
                       .log = &log,
                       .store_dir = folder + "/state/prefixes",
                       .tokens_max = 1000,
                       .worktree_of = [](const std::string&) { return ""; }}};
  Checkpoints checkpoints{trees,
                          {.directory = folder + "/state/snapshots",
                           .store_of = [](const std::string& root) { return root; },
                           .keep = [](const tools::Snapshot&) { return false; }}};
  Worktrees worktrees{trees, checkpoints, records};
  Sessions sessions{{.io = io.get_executor(),
                     .disk = &disk,
                     .tool_threads = &tool_threads,
                     .host = &host,
                     .residents = &residents,
                     .checkpoints = &checkpoints,
                     .worktrees = &worktrees,
                     .log = &log,
                     .state_dir = folder + "/state",
                     .changed = {}}};

  explicit World(std::deque<Play> plays) {
    host.start(
        [plays](const EngineHost::Loading&) -> engine::Result<std::unique_ptr<engine::Engine>> {
          return std::make_unique<ScriptedEngine>(plays);
        },
        [](const protocol::ServerState&) {});
  }
  ~World() {
    host.stop_background();
    for (auto* pool : {&trees, &disk, &tool_threads}) pool->join();
    std::filesystem::remove_all(folder);
  }

  // False: it does not come to that.
  bool run_until(const std::function<bool()>& done) {
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (!done() && std::chrono::steady_clock::now() < until) io.run_one_for(50ms);
    return done();
  }

  std::shared_ptr<Session> session() {
    protocol::SessionCreate request;
    request.root = folder + "/repo";
    request.settings.mode = "ask";
    auto made = sessions.create(request);
    EXPECT_TRUE(made) << made.error().message;
    return *made;
  }

  // Counts up when it is done.
  void name(const std::shared_ptr<Session>& session, const std::string& title, int& n_done) {
    asio::co_spawn(io, session->set_title(title),
                   [&n_done](std::exception_ptr thrown, const Reply<>& done) {
                     EXPECT_TRUE(!thrown && done);
                     ++n_done;
                   });
  }

  void send(const std::shared_ptr<Session>& session, const std::string& id) {
    protocol::PromptSend prompt;
    prompt.session_id = session->info().session_id, prompt.id = id, prompt.content = "Go.";
    asio::co_spawn(io, session->send(prompt), asio::detached);
  }
};

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
