// Where the engine runs: loads the model in the background, then runs what sessions send it on one
// thread, first come first served, in pieces short enough that they take turns. What an engine of
// another machine is asked has threads of its own (ModelInfo::timelines_apart).
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "daemon/gate.h"
#include "daemon/on_disk_pool.h"
#include "daemon/protocol/protocol.h"
#include "engine/engine.h"

namespace lares::engine {
class DrawsBetweenLayers;  // engine/between_layers.h
}

namespace lares::daemon {

// Draws token after token of one timeline; together with others where several do so at a time.
class Drawing {
 public:
  virtual ~Drawing() = default;
  virtual engine::Timeline& timeline() = 0;
  virtual bool draw() = 0;  // a token; false: there are no more
};
struct Spent {
  std::chrono::steady_clock::duration waited{}, ran{};
};
inline constexpr std::size_t kTogetherMax = 16;  // timelines in one pass
// Of drawing: what another session's work waits for at most, and how often people see new text.
inline constexpr std::chrono::milliseconds kSlice{40};
// The same, of one that has no room on the GPUs beside the others: to bring it there and them back
// should take some 0.1 s of a turn (predicted: kernels/cuda/NOTES.md).
inline constexpr std::chrono::milliseconds kSliceWithoutRoom{400};
// What a prompt's evaluation has for itself before others draw between its layers.
inline constexpr std::chrono::milliseconds kBetweenSlices{160};
// Tokens. A prompt with so few left need not wait for another's chunk: a piece of it comes between
// two layers, and then the long one has as much time for itself before the next. Pieces are no
// shorter, for each reads nearly all experts again (of V4-Flash's 200 tokens ask for all but a
// hundredth); and no longer, for a cancel of the long prompt waits until one is through, as long as
// for a quarter of a chunk.
inline constexpr std::int64_t kShortPrompt = 512, kShortPiece = 256;
inline constexpr std::int64_t kWholePiece = std::numeric_limits<std::int64_t>::max();
// Pieces at a time where timelines are apart: threads that do nothing but wait
inline constexpr std::size_t kApartMax = 64;

class EngineHost {
 public:
  struct Loading {
    engine::Progress progress;
    std::stop_token stop;                               // nobody waits for it any more
    std::function<void(const std::string& why)> waits;  // for what is not there yet
  };
  using Load =
      std::function<engine::Result<std::unique_ptr<engine::Engine>>(const Loading& loading)>;
  using OnState = std::function<void(const protocol::ServerState&)>;

  explicit EngineHost(asio::any_io_executor io);
  ~EngineHost();  // end()
  EngineHost(const EngineHost&) = delete;
  EngineHost& operator=(const EngineHost&) = delete;

  // Waits for what runs on the engine's thread; a load is abandoned at its next progress report.
  // Nothing is to be asked for after that.
  void end();

  // Begins to load; `on_state` hears of every change, at most ten times a second, on the io
  // executor.
  void start(Load load, OnState on_state);
  const protocol::ServerState& state() const { return state_; }
  asio::awaitable<void> settled() { return settled_.wait(); }  // ready or failed
  engine::Engine* engine() const { return engine_.get(); }     // null unless ready
  int n_queued() const { return n_queued_; }

  // Work that nobody waits for runs only while this is false, and ends at the token's word.
  bool people_wait() const { return n_queued_ > 0 || n_people_ > 0; }
  std::stop_token stop_token() const { return stop_.get_token(); }
  bool stopping() const { return stop_.stop_requested(); }
  void stop_background() {
    stop_.request_stop();
    call_off();
  }
  // While it lives, somebody waits for the engine.
  class Person {
   public:
    explicit Person(EngineHost& host) : host_(host) {
      ++host_.n_people_;
      host_.call_off();
    }
    ~Person() { --host_.n_people_; }
    Person(const Person&) = delete;

   private:
    EngineHost& host_;
  };

  // Tokens evaluated a second, lately; before any were, a guess from the model's size.
  double prefill_rate() const;
  void evaluated(std::int64_t n_tokens, std::chrono::steady_clock::duration time);

  // Runs `work` on the engine's thread, or one of them, and resumes here with what it returns (not
  // void).
  template <class Work>
  asio::awaitable<std::invoke_result_t<Work>> run(Work work) {
    call_off();
    return enqueue(std::move(work));
  }
  // The same for work that waits for another machine, and that nobody waits for: its token fires
  // when somebody does, or the daemon ends.
  template <class Work>
  asio::awaitable<std::invoke_result_t<Work, std::stop_token>> run_unasked(Work work) {
    return enqueue([work = std::move(work), stop = unasked_.get_token()] { return work(stop); });
  }

  // The same for a piece of a prompt, which is told how many tokens it may have. `left` says on the
  // engine's thread how many the prompt has left: of a short one (kShortPrompt) a piece is
  // evaluated between the layers of another's, where the engine can do that. So is one whose `stop`
  // fired, which only says so. Neither may touch a timeline that is not its own.
  template <class Left, class Work>
  asio::awaitable<std::invoke_result_t<Work, std::int64_t>> run_between(std::stop_token stop,
                                                                        Left left, Work work) {
    call_off();
    if (!between_) {
      auto whole = [work = std::move(work)]() mutable { return work(kWholePiece); };
      return enqueue(std::move(whole));
    }
    return enqueue_between(std::move(stop), std::move(left), std::move(work));
  }

  // Draws until a slice of time is over or there are no more tokens. Those that ask meanwhile join
  // in, if they have room beside the others; else they wait for their turn.
  asio::awaitable<Spent> draw(Drawing& drawing);

  // For a sync on the engine's thread: its progress, which may be null, and slices for those who
  // draw meanwhile and pieces of short prompts, where the engine can do that between layers. A
  // chunk of a large model takes a CPU many seconds, and nobody's answer should stand still for so
  // long. What comes between may say the same: others then draw between its layers.
  engine::Progress drawing_between(engine::Progress progress);
  // The time such syncs have given to others, all of them together; on the engine's thread.
  std::chrono::steady_clock::duration given() const { return given_; }

 private:
  struct Waiting;  // a drawing that was asked for
  using WaitingRef = std::shared_ptr<Waiting>;
  struct Piece {  // of a prompt
    std::stop_token stop;
    std::function<std::int64_t(const engine::DrawsBetweenLayers&)> left;
    std::function<void(std::int64_t n_max)> run;  // and tell whoever asked; once
    bool begun = false, known_long = false;       // the engine's thread's
  };
  using PieceRef = std::shared_ptr<Piece>;
  void draw_with_company(const WaitingRef& first);
  void draw_between();
  PieceRef short_piece();
  void evaluate_between();
  void begin(Piece& one, std::int64_t n_max);
  void post(PieceRef one);
  static void draw_apart(Waiting& one);
  void begin(Waiting& one);
  void call_off() {
    unasked_.request_stop();
    unasked_ = std::stop_source();
  }
  template <class Work>
  asio::awaitable<std::invoke_result_t<Work>> enqueue(Work work) {
    ++n_queued_;
    auto counted = [this, work = std::move(work)]() mutable {
      asio::post(io_, [this] { --n_queued_; });
      return work();
    };
    auto working = on_disk_pool(apart_ ? *apart_ : pool_, std::move(counted));
    co_return co_await std::move(working);
  }
  template <class Left, class Work>
  asio::awaitable<std::invoke_result_t<Work, std::int64_t>> enqueue_between(std::stop_token stop,
                                                                            Left left, Work work) {
    using R = std::invoke_result_t<Work, std::int64_t>;
    ++n_queued_;
    const auto one = std::make_shared<Piece>();
    one->stop = std::move(stop), one->left = std::move(left);
    auto initiate = [this](auto handler, PieceRef piece, Work job) {
      auto home = asio::prefer(asio::get_associated_executor(handler, io_),
                               asio::execution::outstanding_work.tracked);
      auto kept = std::make_shared<decltype(handler)>(std::move(handler));
      piece->run = [home, kept, job = std::move(job)](std::int64_t n_max) mutable {
        do_and_resume<R>(std::move(*kept), home, [&] { return job(n_max); });
      };
      post(std::move(piece));
    };
    auto result = co_await asio::async_initiate<const asio::use_awaitable_t<>,
                                                void(std::exception_ptr, std::optional<R>)>(
        initiate, asio::use_awaitable, one, std::move(work));
    co_return std::move(*result);
  }

  asio::any_io_executor io_;
  protocol::ServerState state_;
  std::unique_ptr<engine::Engine> engine_;
  Gate settled_;
  int n_queued_ = 0, n_people_ = 0;
  std::stop_source stop_, unasked_;
  std::atomic<double> rate_{0};
  std::atomic<bool> abandoned_{false};
  std::mutex company_mutex_;         // of the next two
  std::vector<WaitingRef> company_;  // asked for and not begun, or without room
  std::vector<PieceRef> pieces_;     // asked for and not begun, the first one first
  asio::thread_pool pool_{1};
  std::unique_ptr<asio::thread_pool> apart_;             // null: not known yet, or they are not
  const engine::DrawsBetweenLayers* between_ = nullptr;  // the engine; null: it is none
  // The engine's thread's.
  bool evaluates_between_ = false;  // a piece, between another's layers
  std::chrono::steady_clock::duration given_{}, short_took_{};
  std::chrono::steady_clock::time_point short_ended_{};
};

}  // namespace lares::daemon
