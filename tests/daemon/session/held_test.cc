// Worktrees that go while a session is at work there, or comes to it: one of the two waits.
#include <signal.h>
#include <sys/resource.h>

#include <cstdlib>
#include <future>
#include <optional>
#include <stdexcept>

#include <boost/asio/post.hpp>

#include "tests/daemon/session/world.h"
#include "tools/git/worktree.h"

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;
using protocol::Code;

// A pool of two threads that do nothing else until it goes.
class Busy {
 public:
  explicit Busy(asio::thread_pool& pool) {
    const auto wait = [until = end_.get_future().share()] { until.wait(); };
    for (int i = 0; i < 2; ++i) asio::post(pool, wait);
  }
  ~Busy() { end_.set_value(); }

 private:
  std::promise<void> end_;
};

template <class T>
std::optional<Reply<T>>& begin(World& world, asio::awaitable<Reply<T>> work,
                               std::optional<Reply<T>>& reply) {
  asio::co_spawn(world.io, std::move(work), [&reply](std::exception_ptr thrown, Reply<T> done) {
    if (thrown) std::rethrow_exception(thrown);
    reply.emplace(std::move(done));
  });
  world.io.restart();
  world.io.poll();
  return reply;
}

struct Thrower final : Subscriber {
  void notify(const std::string&, const std::string& line, Weight) override {
    if (line.find("\"turn/ended\"") == std::string::npos) return;
    ended = true;
    throw std::runtime_error("no memory for the end of the turn");
  }
  bool interactive(const std::string&) const override { return false; }
  bool ended = false;
};

// A session whose first turn could not be written to its end.
std::shared_ptr<Session> unwritten(World& world) {
  const auto session = world.session();
  Thrower thrower;
  session->subscribe(&thrower);
  world.send(session, "p1");
  EXPECT_TRUE(world.run_until([&] { return thrower.ended && !session->running(); }));
  session->unsubscribe(&thrower);
  EXPECT_NE(session->failure(), "");
  return session;
}

std::unique_ptr<Sessions::Still> hold(World& world, const std::string& root) {
  std::optional<Reply<std::unique_ptr<Sessions::Still>>> reply;
  begin(world, world.sessions.hold_still(root, /*force=*/false), reply);
  EXPECT_TRUE(reply && *reply);
  return reply && *reply ? std::move(**reply) : nullptr;
}

TEST(Held, ARewindingThatWaitsForItsJournalEndsWhereTheWorktreeGoes) {
  for (const bool back : {true, false}) {
    World world({{.text = "hm</think>One."}});
    const auto session = unwritten(world);
    std::optional<Reply<protocol::SessionRewindResult>> reply;
    std::unique_ptr<Sessions::Still> still;
    {
      const Busy disk(world.disk);
      begin(world, back ? session->rewind({.turn_id = 1, .files = "restore"}) : session->unrewind(),
            reply);
      still = hold(world, world.repo());
      ASSERT_TRUE(still);
      EXPECT_FALSE(reply);
    }
    ASSERT_TRUE(world.run_until([&] { return reply.has_value(); }));
    ASSERT_FALSE(*reply);
    EXPECT_EQ(reply->error().code, Code::busy) << reply->error().message;
    EXPECT_EQ(session->info().n_turns, 1);
  }
}

// Files have no room for anything, as on a full disk.
void without_room(const std::function<void()>& work) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &none), 0);
  work();
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
}

TEST(Held, TestsOfWhatCannotBeWrittenAreInTheWay) {
  World world({});
  const auto session = world.session();
  std::optional<Reply<protocol::SessionTestResult>> tested;
  std::optional<Reply<>> named;
  std::optional<Reply<std::unique_ptr<Sessions::Still>>> held;
  {
    const Busy disk(world.disk);
    begin(world, session->test(""), tested);
    without_room([&] { begin(world, session->set_title("Title"), named); });
    EXPECT_NE(session->failure(), "");
    begin(world, world.sessions.hold_still(world.repo(), /*force=*/false), held);
    ASSERT_TRUE(held) << "they may take minutes";
    ASSERT_FALSE(*held) << "the worktree would go under them";
    EXPECT_EQ(held->error().code, Code::busy) << held->error().message;
    EXPECT_FALSE(tested);
  }
  EXPECT_TRUE(world.run_until([&] { return tested && named; }));
  EXPECT_TRUE(hold(world, world.repo()));
}

// As a daemon leaves it that was killed over the making of a session.
WorktreeRecord unfinished(World& world) {
  const std::string git = "git -C " + world.repo() + " -c user.name=a -c user.email=a@b ";
  EXPECT_EQ(std::system((git + "init -q && " + git + "commit -q --allow-empty -m first").c_str()),
            0);
  WorktreeRecord record;
  record.session_id = "0123456789abcdef", record.worktree_of = record.store_of = world.repo();
  record.root = world.records.root_of(world.repo(), record.session_id);
  record.branch = branch_name("", record.session_id);
  EXPECT_TRUE(world.records.write(record));
  const auto commit = tools::add_worktree({.repository = world.repo(),
                                           .path = record.root,
                                           .name = record.name(),
                                           .branch = record.branch});
  EXPECT_TRUE(commit) << commit.error();
  record.commit = commit.value_or("");
  EXPECT_TRUE(world.records.write(record));
  return record;
}

void take_back(World& world, const WorktreeRecord& record, bool& done) {
  asio::co_spawn(world.io, world.sessions.take_back_unfinished({record}),
                 [&done](std::exception_ptr thrown) {
                   EXPECT_FALSE(thrown);
                   done = true;
                 });
  world.io.restart();
  world.io.poll();
}

#define NEEDS_GIT \
  if (std::system("command -v git >/dev/null 2>&1") != 0) GTEST_SKIP() << "git is not installed"

TEST(Held, AnUnfinishedWorktreeGoesAtTheNextStart) {
  NEEDS_GIT;
  World world({});
  const auto record = unfinished(world);
  bool done = false;
  take_back(world, record, done);
  EXPECT_TRUE(world.run_until([&] { return done; }));
  EXPECT_FALSE(fs::exists(record.root));
  EXPECT_FALSE(world.worktrees.is_held(record.root));
}

TEST(Held, AnUnfinishedWorktreeStaysWhereASessionHasComeToIt) {
  NEEDS_GIT;
  World world({{.text = "hm</think>One."}});
  const auto record = unfinished(world);
  bool done = false;
  std::shared_ptr<Session> session;
  {
    const Busy disk(world.disk);  // it is not known yet whether it has a journal
    take_back(world, record, done);
    EXPECT_TRUE(world.worktrees.is_held(record.root));
    session = world.session(record.root);
    world.send(session, "p1");
  }
  EXPECT_TRUE(world.run_until([&] { return done && session->info().n_turns == 1; }));
  EXPECT_TRUE(world.run_until([&] { return !session->running(); }));
  EXPECT_TRUE(fs::exists(record.root));
}

TEST(Held, NoTurnBeginsInAnUnfinishedWorktreeThatGoes) {
  NEEDS_GIT;
  World world({{.text = "hm</think>One."}});
  const auto record = unfinished(world);
  bool done = false;
  std::shared_ptr<Session> session;
  {
    const Busy trees(world.trees);  // which remove it
    take_back(world, record, done);
    while (world.io.run_one_for(std::chrono::milliseconds(200)) > 0) {
    }
    session = world.session(record.root);
    world.send(session, "p1");
    world.io.poll();
  }
  EXPECT_TRUE(world.run_until([&] { return done && !session->running(); }));
  // On a very crowded machine it was not that far yet, and stays
  EXPECT_EQ(session->info().n_turns, fs::exists(record.root) ? 1 : 0);
  EXPECT_EQ(session->info().closed, !fs::exists(record.root));
}

}  // namespace
}  // namespace lares::daemon
