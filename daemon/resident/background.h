// What nobody waits for: evaluates the bases of a repository while no one else wants the engine,
// and now and then, or when asked to, evaluates again what is kept on disk, to compare. Gives way
// within one chunk, and where it only compares within a layer. On the io executor.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "daemon/engine_host.h"
#include "daemon/log.h"
#include "daemon/resident/beginnings.h"
#include "daemon/resident/kept.h"

namespace lares::daemon {

// Of the engine's time scrubbing takes at most one part in so many, and its first part so long
// after the start.
inline constexpr int kScrubShare = 100;
inline constexpr std::chrono::minutes kScrubAfter{10};

// Where there is no room it leaves what others give back to others for so long, twice as long each
// time that there is none all the same.
inline constexpr std::chrono::milliseconds kLeaveRoomFor{1000}, kLeaveRoomMax{64'000};

class Background : public std::enable_shared_from_this<Background> {
 public:
  Background(asio::any_io_executor io, EngineHost& host, const Log& log, std::string root,
             std::shared_ptr<Beginnings> beginnings, std::shared_ptr<KeptPrefixes> kept)
      : io_(io),
        host_(host),
        log_(log),
        root_(std::move(root)),
        beginnings_(std::move(beginnings)),
        kept_(std::move(kept)) {}

  void work();   // begins, or looks again, when there may be something to do
  void scrub();  // all of what is kept, from its beginning

  struct Scrub {
    bool asked = false;     // until it has seen everything once
    std::int64_t done = 0;  // tokens of what is kept, in this pass
    std::string found;      // what differed last, or could not be compared
    int pass = 0;
  };
  const Scrub& scrubbed() const { return scrub_; }

 private:
  asio::awaitable<void> run();
  enum class Step { done, waits, no_room, failed };
  asio::awaitable<Step> evaluate(std::shared_ptr<const Base> base);
  asio::awaitable<void> until_room(std::shared_ptr<const Base> base);
  asio::awaitable<bool> scrub_one();
  asio::awaitable<Step> step(std::unique_ptr<engine::Timeline>& timeline,
                             std::span<const engine::Token> tokens, std::int64_t end, bool offers);
  asio::awaitable<void> pause();

  asio::any_io_executor io_;
  EngineHost& host_;
  const Log& log_;
  const std::string root_;
  const std::shared_ptr<Beginnings> beginnings_;
  const std::shared_ptr<KeptPrefixes> kept_;
  bool working_ = false, more_ = false;  // something that it has not looked at
  Scrub scrub_;
  std::weak_ptr<const Base> scrub_base_;
  std::chrono::steady_clock::time_point scrub_due_ = std::chrono::steady_clock::now() + kScrubAfter;
  std::chrono::steady_clock::duration leaves_room_for_ = kLeaveRoomFor;
};

}  // namespace lares::daemon
