// Who draws at the same time is drawn for together.
#include "daemon/engine_host.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <gtest/gtest.h>

#include "engine/between_layers.h"
#include "tests/daemon/scripted/scripted_engine.h"

namespace lares::daemon {
namespace {

class CountingEngine : public engine::Engine {
 public:
  const engine::ModelInfo& info() const override { return info_; }
  const engine::Tokenizer& tokenizer() const override { return scripted_.tokenizer(); }
  std::unique_ptr<engine::Timeline> timeline() override { return scripted_.timeline(); }
  std::vector<std::size_t> evaluate_together(
      std::span<engine::Timeline* const> timelines) override {
    companies.push_back({timelines.begin(), timelines.end()});
    if (throws_together) throw std::bad_alloc();
    std::vector<std::size_t> without_room;
    for (std::size_t i = room; i < timelines.size(); ++i) without_room.push_back(i);
    return without_room;
  }
  std::vector<std::vector<engine::Timeline*>> companies;
  std::size_t room = kTogetherMax;  // timelines
  bool throws_together = false;
  void keep_apart() { info_.timelines_apart = true; }

 private:
  ScriptedEngine scripted_{std::deque<Play>()};
  engine::ModelInfo info_ = scripted_.info();
};

class LayerByLayerEngine final : public CountingEngine, public engine::DrawsBetweenLayers {
 public:
  std::int64_t left_of(const engine::Timeline&,
                       std::span<const engine::Token> prompt) const override {
    return std::ssize(prompt);
  }
};

struct Counted final : Drawing {
  std::unique_ptr<engine::Timeline> of;
  int left, thrown_at;
  Counted(engine::Engine& engine, int n, int throws = -1)
      : of(engine.timeline()), left(n), thrown_at(throws) {}
  engine::Timeline& timeline() override { return *of; }
  bool draw() override {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (left == thrown_at) throw std::runtime_error("this one only");
    return --left > 0;
  }
};

class EngineHostTest : public ::testing::Test {
 protected:
  void run(std::function<asio::awaitable<void>(EngineHost&, int)> body, int n) {
    asio::io_context io;
    EngineHost host(io.get_executor());
    std::unique_ptr<CountingEngine> owned = layer_by_layer_ ? std::make_unique<LayerByLayerEngine>()
                                                            : std::make_unique<CountingEngine>();
    if (apart_) owned->keep_apart();
    engine_ = owned.get();
    host.start(
        [&](const EngineHost::Loading&) -> engine::Result<std::unique_ptr<engine::Engine>> {
          return std::move(owned);
        },
        [](const protocol::ServerState&) {});
    for (int i = 0; i < n; ++i) {
      asio::co_spawn(
          io,
          [&, i]() -> asio::awaitable<void> {
            co_await host.settled();
            co_await body(host, i);
          },
          [&](std::exception_ptr e) { n_thrown_ += e ? 1 : 0; });
    }
    io.run();
    companies_ = engine_->companies;
  }
  std::size_t largest() const {
    std::size_t most = 0;
    for (const auto& c : companies_) most = std::max(most, c.size());
    return most;
  }

  bool apart_ = false, layer_by_layer_ = false;
  CountingEngine* engine_ = nullptr;
  std::vector<std::vector<engine::Timeline*>> companies_;
  int n_thrown_ = 0;
};

TEST_F(EngineHostTest, OneDrawsAlone) {
  run(
      [&](EngineHost& host, int) -> asio::awaitable<void> {
        Counted drawing(*engine_, 100);
        int slices = 0;
        for (; drawing.left > 0; ++slices) {
          const Spent spent = co_await host.draw(drawing);
          EXPECT_GT(spent.ran.count(), 0);
        }
        EXPECT_GT(slices, 1);  // a slice of time is not all
      },
      1);
  EXPECT_TRUE(companies_.empty());
}

TEST_F(EngineHostTest, SeveralAreDrawnForTogether) {
  run(
      [&](EngineHost& host, int i) -> asio::awaitable<void> {
        Counted drawing(*engine_, 60 + i);
        while (drawing.left > 0) co_await host.draw(drawing);
      },
      5);
  EXPECT_EQ(largest(), 5u);
  EXPECT_GT(companies_.size(), 40u);
  for (auto company : companies_) {
    EXPECT_GE(company.size(), 2u);
    std::sort(company.begin(), company.end());
    EXPECT_EQ(std::unique(company.begin(), company.end()), company.end());
  }
}

TEST_F(EngineHostTest, MoreThanFitTakeTurns) {
  run(
      [&](EngineHost& host, int) -> asio::awaitable<void> {
        Counted drawing(*engine_, 5);
        while (drawing.left > 0) co_await host.draw(drawing);
      },
      static_cast<int>(kTogetherMax) + 3);
  EXPECT_EQ(largest(), kTogetherMax);
}

// Whose draw would take the others' room draws in turn with them, many tokens at a time.
TEST_F(EngineHostTest, WhoHasNoRoomBesideTheOthersWaitsForATurn) {
  constexpr int kDraws = 600;
  std::vector<int> drew;  // which, draw by draw
  std::vector<std::chrono::steady_clock::duration> waited(3), ran(3);
  std::chrono::steady_clock::duration longest{};
  const auto began = std::chrono::steady_clock::now();
  struct Told final : Drawing {
    Told(Counted& of, std::vector<int>& into, int name) : one(of), drew(into), i(name) {}
    engine::Timeline& timeline() override { return one.timeline(); }
    bool draw() override {
      drew.push_back(i);
      return one.draw();
    }
    Counted& one;
    std::vector<int>& drew;
    int i;
  };
  run(
      [&](EngineHost& host, int i) -> asio::awaitable<void> {
        engine_->room = 1;
        Counted drawing(*engine_, kDraws);
        Told told(drawing, drew, i);
        while (drawing.left > 0) {
          const Spent spent = co_await host.draw(told);
          waited[static_cast<std::size_t>(i)] += spent.waited;
          ran[static_cast<std::size_t>(i)] += spent.ran;
          longest = std::max(longest, spent.ran);
        }
      },
      3);
  const auto took = std::chrono::steady_clock::now() - began;
  EXPECT_EQ(drew.size(), 3u * kDraws);
  int turns = 1;
  for (std::size_t k = 1; k < drew.size(); ++k) turns += drew[k] != drew[k - 1];
  EXPECT_GT(longest, 4 * kSlice);
  EXPECT_GE(turns, 4);  // nobody waits until another is done
  EXPECT_LE(turns, 3 * kDraws / 8);
  EXPECT_LE(companies_.size(), 2u * static_cast<std::size_t>(turns));  // asked once a turn
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_GT(waited[i], std::chrono::milliseconds(40));
    EXPECT_LE(waited[i] + ran[i], took);
  }
  EXPECT_LE(ran[0] + ran[1] + ran[2], took);
}

TEST_F(EngineHostTest, WhatOneThrowsIsItsOwnAffair) {
  std::vector<int> left(3, -1);
  run(
      [&](EngineHost& host, int i) -> asio::awaitable<void> {
        Counted drawing(*engine_, 80, i == 1 ? 50 : -1);
        while (drawing.left > 0) {
          try {
            co_await host.draw(drawing);
          } catch (...) {
            left[static_cast<std::size_t>(i)] = drawing.left;
            throw;
          }
        }
        left[static_cast<std::size_t>(i)] = drawing.left;
      },
      3);
  EXPECT_EQ(left, (std::vector<int>{0, 50, 0}));
  EXPECT_EQ(n_thrown_, 1);
}

TEST_F(EngineHostTest, WhatIsThrownWhereAllAreEvaluatedIsToldToEachOfThem) {
  run(
      [&](EngineHost& host, int) -> asio::awaitable<void> {
        engine_->throws_together = true;
        Counted drawing(*engine_, 100);
        while (drawing.left > 0) co_await host.draw(drawing);
      },
      3);
  EXPECT_GE(n_thrown_, 2);  // one that is left alone evaluates for itself
}

// Work of another kind comes between slices, long before those who draw are done.
TEST_F(EngineHostTest, WorkThatNobodyAskedForMakesWay) {
  constexpr std::chrono::seconds kLong{20};
  std::atomic<bool> began = false;
  std::vector<std::string> ends;
  for (const bool person : {false, true}) {
    began = false;
    run(
        [&](EngineHost& host, int i) -> asio::awaitable<void> {
          if (i == 0) {
            const auto work = [&](const std::stop_token& stop) {
              began = true;
              const auto until = std::chrono::steady_clock::now() + kLong;
              while (!stop.stop_requested() && std::chrono::steady_clock::now() < until)
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
              return stop.stop_requested();
            };
            ends.push_back(co_await host.run_unasked(work) ? "called off" : "left alone");
            co_return;
          }
          while (!began) co_await asio::post(asio::use_awaitable);
          if (person) {
            const EngineHost::Person waits(host);
            co_return;
          }
          const auto work = [] { return true; };
          co_await host.run(work);
        },
        2);
  }
  EXPECT_EQ(ends, (std::vector<std::string>{"called off", "called off"}));
}

// One that waits for another machine holds nobody else: here it waits for all the others' last
// token.
TEST_F(EngineHostTest, TimelinesThatAreApartWaitForNobody) {
  constexpr int kDrawings = 20, kDraws = 60;
  struct WaitsForTheOthers final : Drawing {
    std::unique_ptr<engine::Timeline> of;
    const std::atomic<int>& n_done;
    WaitsForTheOthers(engine::Engine& engine, const std::atomic<int>& done)
        : of(engine.timeline()), n_done(done) {}
    engine::Timeline& timeline() override { return *of; }
    bool draw() override {
      const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (n_done < kDrawings - 1 && std::chrono::steady_clock::now() < until)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return false;
    }
  };
  std::atomic<int> n_done = 0;
  int n_done_before = -1, slices = 0;
  apart_ = true;
  run(
      [&](EngineHost& host, int i) -> asio::awaitable<void> {
        if (i == 0) {
          WaitsForTheOthers drawing(*engine_, n_done);
          co_await host.draw(drawing);
          n_done_before = n_done;
          co_return;
        }
        Counted drawing(*engine_, kDraws, i == 1 ? 1 : -1);
        for (bool thrown = false; drawing.left > 0 && !thrown; ++slices) {
          try {
            const Spent spent = co_await host.draw(drawing);
            EXPECT_GT(spent.ran.count(), 0);
          } catch (const std::runtime_error&) {
            thrown = true;
          }
        }
        ++n_done;
      },
      kDrawings);
  EXPECT_EQ(n_done_before, kDrawings - 1);
  EXPECT_GE(slices, 2 * (kDrawings - 1));  // they still draw in slices
  EXPECT_TRUE(companies_.empty());
}

// Between the layers of a long prompt two draw to their end, where the engine can do that.
TEST_F(EngineHostTest, WhoDrawsDoesNotWaitForALongPrompt) {
  constexpr std::chrono::milliseconds kLayer{2};
  constexpr std::chrono::seconds kLong{20};
  for (const bool able : {false, true}) {
    layer_by_layer_ = able;
    std::atomic<bool> evaluating = false;
    std::atomic<int> n_done = 0;
    int n_done_before = -1, reports = 0, slices = 0;
    run(
        [&](EngineHost& host, int i) -> asio::awaitable<void> {
          if (i == 2) {
            const auto prompt = [&] {
              const auto progress =
                  host.drawing_between([&](std::int64_t, std::int64_t) { ++reports; });
              const auto began = std::chrono::steady_clock::now();
              evaluating = true;
              int layers = 0;
              for (; layers < 400 || (able && n_done < 2); ++layers) {
                std::this_thread::sleep_for(kLayer);
                progress(layers, 1 << 20);
                if (std::chrono::steady_clock::now() - began > kLong) break;
              }
              n_done_before = n_done;
              return layers;
            };
            EXPECT_EQ(co_await host.run(prompt), reports);
            co_return;
          }
          while (!evaluating) co_await asio::post(asio::use_awaitable);
          Counted drawing(*engine_, 100);
          for (; drawing.left > 0; ++slices) {
            co_await host.draw(drawing);
            EXPECT_LE(host.n_queued(), 1);  // the other one
          }
          ++n_done;
        },
        3);
    EXPECT_EQ(n_done_before, able ? 2 : 0);
    EXPECT_GT(slices, 4);
  }
}

// How many tokens a prompt has left, as it says.
auto has_left(std::int64_t n) {
  return [n](const engine::DrawsBetweenLayers&) { return n; };
}

using Clock = std::chrono::steady_clock;

// A prompt whose layers take 2 ms until `over`, or 20 s.
int evaluate_layers(EngineHost& host, std::atomic<bool>& evaluating,
                    const std::function<bool()>& over) {
  const auto progress = host.drawing_between([](std::int64_t, std::int64_t) {});
  const auto began = Clock::now();
  int layers = 0;
  for (evaluating = true; !over() && Clock::now() - began < std::chrono::seconds(20); ++layers) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    progress(layers, 1 << 20);
  }
  evaluating = false;
  return layers;
}

TEST_F(EngineHostTest, AShortPromptDoesNotWaitForALongOne) {
  enum { kLong, kShort, kThrows, kAlsoLong, kCalledOff, kAll };
  const std::string names[] = {"long", "short", "throws", "also long", "called off"};
  for (const bool able : {false, true}) {
    layer_by_layer_ = able;
    n_thrown_ = 0;
    std::atomic<bool> evaluating = false;
    std::atomic<int> n_between = 0;
    std::vector<std::string> order;
    std::stop_source stop;
    stop.request_stop();
    run(
        [&](EngineHost& host, int i) -> asio::awaitable<void> {
          if (i == kLong) {
            const auto prompt = [&] {
              const auto began = Clock::now();
              const bool waits = able;
              return evaluate_layers(host, evaluating, [&] {
                return waits ? n_between == 3 : Clock::now() - began > 3 * kBetweenSlices;
              });
            };
            co_await host.run(prompt);
            order.push_back(names[i]);
            co_return;
          }
          while (!evaluating && order.empty()) co_await asio::post(asio::use_awaitable);
          const bool is_long = i == kAlsoLong || i == kCalledOff;
          const auto piece = [&, i](std::int64_t n_max) {
            EXPECT_EQ(n_max, evaluating ? kShortPiece : kWholePiece) << names[i];
            n_between += evaluating ? 1 : 0;
            if (i == kThrows) throw std::runtime_error("this one only");
            return true;
          };
          const auto token = i == kCalledOff ? stop.get_token() : std::stop_token();
          const auto left = has_left(is_long ? kShortPrompt + 1 : kShortPrompt);
          try {
            co_await host.run_between(token, left, piece);
          } catch (const std::runtime_error&) {
            ++n_thrown_;
          }
          order.push_back(names[i]);
        },
        kAll);
    EXPECT_EQ(n_thrown_, 1);
    EXPECT_EQ(n_between, able ? 3 : 0);
    ASSERT_EQ(order.size(), std::size_t{kAll});
    const auto at = std::ranges::find(order, names[kLong]) - order.begin();
    EXPECT_EQ(at, able ? 3 : 0);
    if (able) {
      EXPECT_EQ(order.back(), names[kAlsoLong]);
    }
  }
}

// However many there are and however long they take, a long prompt has half of the time.
TEST_F(EngineHostTest, ShortPromptsLeaveALongOneItsTime) {
  constexpr std::chrono::milliseconds kPiece{3 * kBetweenSlices / 2};
  constexpr std::size_t kPieces = 4;
  layer_by_layer_ = true;
  std::atomic<bool> evaluating = false;
  struct Piece {
    Clock::time_point began, ended;
  };
  std::vector<Piece> pieces;  // the engine's thread's
  std::vector<int> n_done(6);
  Clock::duration given{}, took{};
  run(
      [&](EngineHost& host, int i) -> asio::awaitable<void> {
        if (i == 6) {
          const auto prompt = [&] {
            const auto began = Clock::now();
            const int layers = evaluate_layers(host, evaluating,
                                               [&] { return pieces.size() == kPieces; });
            given = host.given(), took = Clock::now() - began;
            return layers;
          };
          co_await host.run(prompt);
          co_return;
        }
        while (!evaluating) co_await asio::post(asio::use_awaitable);
        const std::stop_token never;
        const auto left = has_left(1);
        while (evaluating) {
          const auto piece = [&](std::int64_t) {
            if (!evaluating) return false;
            const auto began = Clock::now();
            std::this_thread::sleep_for(kPiece);
            pieces.push_back({began, Clock::now()});
            return true;
          };
          const bool done = co_await host.run_between(never, left, piece);
          if (done) ++n_done[static_cast<std::size_t>(i)];
        }
      },
      7);
  ASSERT_EQ(pieces.size(), kPieces);
  for (std::size_t k = 1; k < kPieces; ++k) {
    EXPECT_GE(pieces[k].began - pieces[k - 1].ended, pieces[k - 1].ended - pieces[k - 1].began)
        << k;
  }
  EXPECT_EQ(std::ranges::count(n_done, 1), 4);  // each in its turn
  EXPECT_GE(given, kPieces * kPiece);
  EXPECT_LE(given, took);
}

// What comes between draws between its own layers, but no other piece comes there.
TEST_F(EngineHostTest, BetweenTheLayersOfAShortPromptOthersDraw) {
  layer_by_layer_ = true;
  std::atomic<bool> evaluating = false, within = false;
  std::atomic<int> n_done = 0;
  int most = 0, depth = 0, left_within = -1;
  Clock::duration given{};
  run(
      [&](EngineHost& host, int i) -> asio::awaitable<void> {
        if (i == 0) {
          const auto prompt = [&] {
            return evaluate_layers(host, evaluating, [&] { return n_done == 2; });
          };
          co_await host.run(prompt);
          co_return;
        }
        while (!evaluating) co_await asio::post(asio::use_awaitable);
        if (i == 3) {
          while (!within) co_await asio::post(asio::use_awaitable);
          Counted drawing(*engine_, 100);
          while (drawing.left > 0) co_await host.draw(drawing);
          left_within = within ? 0 : 1;
          ++n_done;
          co_return;
        }
        const std::stop_token never;
        const auto left = has_left(1);
        const auto piece = [&](std::int64_t) {
          most = std::max(most, ++depth);
          const auto before = host.given();
          if (depth == 1 && i == 1) {
            within = true;
            std::atomic<bool> layers = false;
            evaluate_layers(host, layers, [&] { return n_done > 0; });
            within = false;
            given = host.given() - before;
          }
          --depth;
          return true;
        };
        co_await host.run_between(never, left, piece);
        if (i == 1) ++n_done;
      },
      4);
  EXPECT_EQ(most, 1);
  EXPECT_EQ(left_within, 0);
  EXPECT_GT(given.count(), 0);
}

TEST_F(EngineHostTest, AnothersWorkComesBetween) {
  constexpr int kDraws = 400;
  std::vector<int> left(2, kDraws);
  run(
      [&](EngineHost& host, int i) -> asio::awaitable<void> {
        if (i < 2) {
          Counted drawing(*engine_, kDraws);
          while (drawing.left > 0) {
            co_await host.draw(drawing);
            left[static_cast<std::size_t>(i)] = drawing.left;
          }
        } else {
          const auto work = [] { return 1; };
          co_await host.run(work);
          EXPECT_GT(left[0] + left[1], kDraws);
        }
      },
      3);
}

}  // namespace
}  // namespace lares::daemon
