#include "daemon/engine_host.h"

#include <chrono>

namespace lares::daemon {
namespace {

constexpr std::chrono::milliseconds kProgressEvery{100};

}  // namespace

EngineHost::EngineHost(asio::any_io_executor io) : io_(io), settled_(io) {}

EngineHost::~EngineHost() { pool_.join(); }

void EngineHost::start(Load load, OnState on_state) {
  asio::post(pool_, [this, load = std::move(load), on_state = std::move(on_state)] {
    auto told = std::chrono::steady_clock::time_point{};
    const auto progress = [&](std::int64_t done, std::int64_t total) {
      const auto now = std::chrono::steady_clock::now();
      if (now - told < kProgressEvery) return;
      told = now;
      asio::post(io_, [this, on_state, done, total] {
        if (state_.state != "loading") return;
        state_.done = done, state_.total = total;
        on_state(state_);
      });
    };
    // A shared holder, for a posted function must be copyable.
    auto loaded = std::make_shared<engine::Result<std::unique_ptr<engine::Engine>>>(load(progress));
    asio::post(io_, [this, on_state, loaded] {
      if (*loaded) {
        engine_ = std::move(**loaded);
        state_ = {.state = "ready"};
      } else {
        state_ = {.state = "failed", .message = loaded->error().message};
      }
      settled_.open();
      on_state(state_);
    });
  });
}

}  // namespace lares::daemon
