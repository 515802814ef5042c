#include "daemon/turn/prefill.h"

#include <algorithm>
#include <atomic>
#include <tuple>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include "engine/between_layers.h"

namespace lares::daemon {
namespace {

using Clock = std::chrono::steady_clock;

// Who loses more often what it evaluates would never come to an end beside others who do.
constexpr int kLostMax = 2;

void make(engine::Engine& engine, std::unique_ptr<engine::Timeline>& timeline,
          SharedBeginning* shared, std::span<const engine::Token> ids) {
  if (!timeline) timeline = engine.timeline(shared ? shared->longest(ids) : nullptr);
}

// How far a prompt has come, piece by piece; the engine's thread's.
struct Way {
  std::int64_t end = 0;  // of the last piece
  int n_lost = 0;        // times that others took what had been evaluated
};

// How many of `ids` the timeline goes on from: less than its tokens say, where more than a chunk of
// them was given up for others. What the engine cannot tell is taken to be there.
std::int64_t evaluated(const engine::Engine& engine, const engine::Timeline& timeline,
                       std::span<const engine::Token> ids, bool& lost) {
  const auto held = timeline.tokens();
  const std::int64_t common =
      std::mismatch(held.begin(), held.end(), ids.begin(), ids.end()).first - held.begin();
  const auto* const tells = dynamic_cast<const engine::DrawsBetweenLayers*>(&engine);
  const std::int64_t there = tells ? std::ssize(ids) - tells->left_of(timeline, ids) : common;
  lost = common - there > engine.info().n_chunk;
  return lost ? there : common;
}

// Where the next piece ends, of at most n_max tokens. On the engine's thread; makes the timeline,
// also in place of one that lost more than `shared` has.
std::int64_t piece(engine::Engine& engine, std::unique_ptr<engine::Timeline>& timeline,
                   SharedBeginning* shared, std::span<const engine::Token> ids, std::int64_t n_max,
                   Way& way) {
  const auto total = static_cast<std::int64_t>(ids.size()), chunk = engine.info().n_chunk;
  make(engine, timeline, shared, ids);
  if (chunk == 0) return total;
  bool lost = false;
  std::int64_t at = evaluated(engine, *timeline, ids, lost);
  if (lost && at < way.end && ++way.n_lost > kLostMax) at = way.end;  // again, and all at once
  if (lost && shared) {
    const engine::PrefixRef best = shared->longest(ids);
    if (best && std::ssize(best->tokens()) > at) {
      timeline = engine.timeline(best);
      at = std::ssize(best->tokens());
    }
  }
  return std::min({total, (at / chunk + 1) * chunk, at + std::min(chunk, n_max),
                   shared ? shared->next_mark(ids, at) : total});
}

// Carries the engine's reports over to the io executor. What was posted may come when nobody
// listens any more.
class Reports {
 public:
  Reports(asio::any_io_executor io, OnPrefill on_prefill)
      : io_(std::move(io)), shared_(std::make_shared<Shared>()) {
    shared_->on_prefill = std::move(on_prefill);
  }
  ~Reports() { shared_->alive = false; }
  Reports(const Reports&) = delete;

  // Of a piece, behind `evaluated` tokens and before `left`.
  engine::Progress of(std::int64_t evaluated, std::int64_t left) const {
    return [io = io_, shared = shared_, evaluated, left](std::int64_t done, std::int64_t all) {
      const auto now = Clock::now();
      if (now - shared->told < kPrefillReportEvery && (done < all || left > 0)) return;
      shared->told = now;
      asio::post(io, [shared, done = evaluated + done, all = evaluated + all + left] {
        if (shared->alive && shared->on_prefill) shared->on_prefill(done, all);
      });
    };
  }

 private:
  struct Shared {
    OnPrefill on_prefill;
    std::atomic<bool> alive{true};
    Clock::time_point told{};  // the engine's thread's
  };
  asio::any_io_executor io_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace

asio::awaitable<Prefilled> prefill(EngineHost& host, std::unique_ptr<engine::Timeline>& timeline,
                                   std::shared_ptr<SharedBeginning> shared,
                                   std::span<const engine::Token> ids, std::stop_token stop,
                                   OnPrefill on_prefill) {
  const EngineHost::Person waits(host);
  engine::Engine& engine = *host.engine();
  const auto io = co_await asio::this_coro::executor;
  const Reports reports(io, std::move(on_prefill));
  const auto total = static_cast<std::int64_t>(ids.size());
  Prefilled out;
  Way way;
  while (way.end < total) {
    const auto asked = Clock::now();
    const auto left = [&](const engine::DrawsBetweenLayers& of) {
      const bool made = !timeline;
      make(engine, timeline, shared.get(), ids);
      const std::int64_t n = of.left_of(*timeline, ids);
      // At its turn there may be a longer beginning
      if (made && n > kShortPrompt) timeline = nullptr;
      return n;
    };
    const auto sync = [&](std::int64_t n_max) {
      const auto began = Clock::now();
      const auto given = host.given();
      const bool first = way.end == 0;
      const std::int64_t end = piece(engine, timeline, shared.get(), ids, n_max, way);
      way.end = end;
      if (first) {
        if (auto room = timeline->expect(total); !room)
          return std::tuple(engine::Result<std::int64_t>(tl::unexpected(std::move(room.error()))),
                            began - asked, Clock::now() - began);
      }
      auto done = timeline->sync(ids.first(static_cast<std::size_t>(end)), stop,
                                 host.drawing_between(reports.of(out.n_evaluated, total - end)));
      if (done && shared && shared->next_mark(ids, end - 1) == end)
        shared->offer(timeline->prefix(end));
      const auto others = host.given() - given;
      return std::tuple(std::move(done), began - asked + others, Clock::now() - began - others);
    };
    auto [synced, waited, ran] = co_await host.run_between(stop, left, sync);
    out.waited += waited;
    out.ran += ran;
    if (!synced) {
      out.error = std::move(synced.error());
      co_return out;
    }
    out.n_evaluated += *synced;
    host.evaluated(*synced, ran);
  }
  co_return out;
}

asio::awaitable<engine::Result<>> may_have_room(EngineHost& host,
                                                std::unique_ptr<engine::Timeline>& timeline,
                                                std::shared_ptr<SharedBeginning> shared,
                                                std::span<const engine::Token> ids) {
  const EngineHost::Person waits(host);
  const auto nothing = [](const engine::DrawsBetweenLayers&) { return std::int64_t{0}; };
  const auto ask = [&](std::int64_t) -> engine::Result<> {
    const bool made = !timeline;
    make(*host.engine(), timeline, shared.get(), ids);
    auto room = timeline->expect(std::ssize(ids));
    if (made) timeline = nullptr;  // when it is evaluated there may be a longer beginning
    if (!room && room.error().code != engine::Errc::too_long) return {};
    return room;
  };
  const std::stop_token never;
  auto asking = host.run_between(never, nothing, ask);
  co_return co_await std::move(asking);
}

}  // namespace lares::daemon
