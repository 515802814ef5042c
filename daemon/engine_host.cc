#include "daemon/engine_host.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ranges>
#include <utility>

#include <boost/asio/associated_executor.hpp>

#include "engine/between_layers.h"

namespace lares::daemon {
namespace {

constexpr std::chrono::milliseconds kProgressEvery{100};
constexpr double kGuessedOperations = 2e10;  // a second, of a machine nobody has measured yet
constexpr double kGuessedElsewhere = 5000;   // tokens a second, of a server nobody has measured yet
constexpr std::int64_t kRateTokensMin = 256;  // fewer say nothing of a prefill's rate

struct Abandoned {};  // thrown through a load that nobody waits for any more

}  // namespace

EngineHost::EngineHost(asio::any_io_executor io) : io_(io), settled_(io) {}

EngineHost::~EngineHost() { end(); }

void EngineHost::end() {
  abandoned_ = true;
  stop_background();
  pool_.join();
  if (apart_) apart_->join();
}

void EngineHost::start(Load load, OnState on_state) {
  asio::post(pool_, [this, load = std::move(load), on_state = std::move(on_state)] {
    auto told = std::chrono::steady_clock::time_point{};
    const auto progress = [&](std::int64_t done, std::int64_t total) {
      if (abandoned_) throw Abandoned{};
      const auto now = std::chrono::steady_clock::now();
      if (now - told < kProgressEvery) return;
      told = now;
      asio::post(io_, [this, on_state, done, total] {
        if (state_.state != "loading") return;
        state_.done = done, state_.total = total;
        on_state(state_);
      });
    };
    struct Loaded {
      engine::Result<std::unique_ptr<engine::Engine>> engine = tl::unexpected(engine::Error{});
      std::unique_ptr<asio::thread_pool> apart;
    };
    const auto loaded = std::make_shared<Loaded>();  // a posted function must be copyable
    const auto waits = [&](const std::string& why) {
      asio::post(io_, [this, on_state, why] {
        if (state_.state != "loading") return;
        state_.message = why;
        on_state(state_);
      });
    };
    try {
      loaded->engine = load({progress, stop_.get_token(), waits});
      if (loaded->engine && (*loaded->engine)->info().timelines_apart)
        loaded->apart = std::make_unique<asio::thread_pool>(kApartMax);
    } catch (const Abandoned&) {
      return;
    } catch (const std::exception& e) {
      loaded->engine = tl::unexpected(engine::Error{engine::Errc::no_memory, e.what()});
    }
    asio::post(io_, [this, on_state, loaded] {
      if (loaded->engine) {
        engine_ = std::move(*loaded->engine), apart_ = std::move(loaded->apart);
        between_ = dynamic_cast<const engine::DrawsBetweenLayers*>(engine_.get());
        state_ = {.state = "ready",
                  .message = fmt::format("{}", fmt::join(engine_->info().notes, "; "))};
      } else {
        state_ = {.state = "failed", .message = loaded->engine.error().message};
      }
      settled_.open();
      on_state(state_);
    });
  });
}

double EngineHost::prefill_rate() const {
  if (const double rate = rate_; rate > 0) return rate;
  if (!engine_) return 0;
  const engine::ModelInfo& info = engine_->info();
  const auto n_parameters = static_cast<double>(info.n_parameters);
  return n_parameters > 0 && !info.timelines_apart ? kGuessedOperations / (2 * n_parameters)
                                                   : kGuessedElsewhere;
}

void EngineHost::evaluated(std::int64_t n_tokens, std::chrono::steady_clock::duration time) {
  const double s = std::chrono::duration<double>(time).count();
  if (n_tokens < kRateTokensMin || s <= 0) return;
  const double now = static_cast<double>(n_tokens) / s, before = rate_;
  rate_ = before > 0 ? before + (now - before) / 4 : now;
}

struct EngineHost::Waiting {
  using Clock = std::chrono::steady_clock;
  explicit Waiting(Drawing& of) : drawing(of) {}

  Drawing& drawing;  // not to be touched any more once it is told
  Clock::time_point asked = Clock::now(), began = Clock::time_point();
  Spent spent = Spent();
  bool done = false, without_room = false, counted = true;  // counted: in n_queued_
  std::exception_ptr error;
  std::function<void()> tell;  // whoever asked, that it is done; nobody where they wait for `work`

  void begin() {
    began = Clock::now();
    spent.waited += began - asked;
  }
  void end() {
    done = true;
    spent.ran += Clock::now() - began;
    if (tell) std::exchange(tell, nullptr)();
  }
  void put_off() {
    without_room = true;
    asked = began;  // nothing ran since
  }
  // A token; ends with the last one, or with what was thrown, which is its own asker's affair.
  void draw() {
    try {
      if (!drawing.draw()) end();
    } catch (...) {
      error = std::current_exception();
      end();
    }
  }
};

void EngineHost::begin(Waiting& one) {
  one.begin();
  if (std::exchange(one.counted, false)) asio::post(io_, [this] { --n_queued_; });
}

// On the engine's thread. Whoever joins is drawn for until the first one's slice is over; what was
// posted for it then has nothing to do, unless it has no room beside the others: that is its turn.
void EngineHost::draw_with_company(const WaitingRef& first) {
  std::vector<WaitingRef> drawn;
  const auto join = [&] {
    const std::lock_guard lock(company_mutex_);
    std::erase_if(company_, [&](const WaitingRef& w) {
      if (w->without_room || drawn.size() == kTogetherMax) return false;
      begin(*w);
      drawn.push_back(w);
      return true;
    });
  };
  const auto put_off = [&](const std::vector<std::size_t>& without_room) {
    const std::lock_guard lock(company_mutex_);
    for (const std::size_t i : without_room | std::views::reverse) {
      drawn[i]->put_off();
      company_.push_back(drawn[i]);
      drawn.erase(drawn.begin() + static_cast<std::ptrdiff_t>(i));
    }
  };
  {
    const std::lock_guard lock(company_mutex_);
    std::erase(company_, first);
  }
  drawn.push_back(first);
  try {
    begin(*first);
    const auto until = first->began + (first->without_room ? kSliceWithoutRoom : kSlice);
    while (!drawn.empty()) {
      for (const WaitingRef& w : drawn) w->draw();
      std::erase_if(drawn, [](const WaitingRef& w) { return w->done; });
      if (std::chrono::steady_clock::now() >= until) break;
      join();
      if (drawn.size() < 2) continue;  // alone it evaluates for itself
      std::vector<engine::Timeline*> timelines;
      for (const WaitingRef& w : drawn) timelines.push_back(&w->drawing.timeline());
      put_off(engine_->evaluate_together(timelines));
    }
  } catch (...) {  // what evaluates all of them is everybody's affair
    for (const WaitingRef& w : drawn)
      if (!w->done) w->error = std::current_exception();
  }
  for (const WaitingRef& w : drawn)
    if (!w->done) w->end();
}

void EngineHost::draw_between() {
  WaitingRef first;
  {
    const std::lock_guard lock(company_mutex_);
    if (company_.empty()) return;
    first = company_.front();
  }
  draw_with_company(first);
}

// The first that is short, or was called off; null: none.
EngineHost::PieceRef EngineHost::short_piece() {
  for (;;) {
    PieceRef one;
    {
      const std::lock_guard lock(company_mutex_);
      const auto at = std::ranges::find_if(
          pieces_, [](const PieceRef& p) { return !p->known_long || p->stop.stop_requested(); });
      if (at == pieces_.end()) return nullptr;
      one = *at;
    }
    if (one->stop.stop_requested()) return one;
    try {
      if (one->left(*between_) <= kShortPrompt) return one;
    } catch (...) {  // so does its own turn, where it is told
    }
    one->known_long = true;
  }
}

void EngineHost::begin(Piece& one, std::int64_t n_max) {
  {
    const std::lock_guard lock(company_mutex_);
    std::erase_if(pieces_, [&](const PieceRef& p) { return p.get() == &one; });
  }
  one.begun = true;
  one.left = nullptr;
  asio::post(io_, [this] { --n_queued_; });
  // What was posted for it may lie there for long, and holds nothing
  std::exchange(one.run, nullptr)(n_max);
}

void EngineHost::post(PieceRef one) {
  {
    const std::lock_guard lock(company_mutex_);
    pieces_.push_back(one);
  }
  asio::post(pool_, [this, one] {
    if (!one->begun) begin(*one, kWholePiece);
  });
}

// One piece, if the prompt around it has had as much time since the last one as that took: so it
// takes at most twice as long, however many short ones there are.
void EngineHost::evaluate_between() {
  const auto began = Waiting::Clock::now();
  if (evaluates_between_ || began - short_ended_ < short_took_) return;
  const PieceRef one = short_piece();
  if (!one) return;
  const auto given_before = given_;  // what it gives to others is part of what it takes
  evaluates_between_ = true;
  begin(*one, kShortPiece);
  evaluates_between_ = false;
  given_ = given_before;
  short_ended_ = Waiting::Clock::now();
  short_took_ = short_ended_ - began;
}

engine::Progress EngineHost::drawing_between(engine::Progress progress) {
  if (!between_) return progress;
  return [this, progress = std::move(progress), last = Waiting::Clock::now()](
             std::int64_t done, std::int64_t total) mutable {
    if (progress) progress(done, total);
    const auto began = Waiting::Clock::now();
    if (done >= total || began - last < kBetweenSlices) return;
    draw_between();
    evaluate_between();
    last = Waiting::Clock::now();
    given_ += last - began;
  };
}

void EngineHost::draw_apart(Waiting& one) {
  one.begin();
  const auto until = one.began + kSlice;
  while (!one.done && Waiting::Clock::now() < until) one.draw();
  if (!one.done) one.end();
}

asio::awaitable<Spent> EngineHost::draw(Drawing& drawing) {
  const auto waiting = std::make_shared<Waiting>(drawing);
  if (apart_) {
    const auto work = [waiting] {
      draw_apart(*waiting);
      return true;
    };
    co_await run(work);
  } else {
    call_off();
    ++n_queued_;
    // It may be drawn for before what is posted here comes to its turn, and is told so at once.
    auto initiate = [this](auto handler, WaitingRef one) {
      auto home = asio::prefer(asio::get_associated_executor(handler, io_),
                               asio::execution::outstanding_work.tracked);
      auto kept = std::make_shared<decltype(handler)>(std::move(handler));
      one->tell = [home, kept] { asio::post(home, [kept] { std::move (*kept)(); }); };
      {
        const std::lock_guard lock(company_mutex_);
        company_.push_back(one);
      }
      asio::post(pool_, [this, one] {
        if (!one->done) draw_with_company(one);
      });
    };
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(
        initiate, asio::use_awaitable, waiting);
  }
  if (waiting->error) std::rethrow_exception(waiting->error);
  co_return waiting->spent;
}

}  // namespace lares::daemon
