#include "daemon/engine_host.h"

#include <fmt/format.h>

#include <chrono>

namespace lares::daemon {
namespace {

constexpr std::chrono::milliseconds kProgressEvery{100};

struct Abandoned {};  // thrown through a load that nobody waits for any more

}  // namespace

EngineHost::EngineHost(asio::any_io_executor io) : io_(io), settled_(io) {}

EngineHost::~EngineHost() {
  abandoned_ = true;
  pool_.join();
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
    using Loaded = engine::Result<std::unique_ptr<engine::Engine>>;
    auto loaded = std::make_shared<Loaded>(tl::unexpected(engine::Error{}));  // shared: a posted function must be copyable
    try {
      *loaded = load(progress);
    } catch (const Abandoned&) {
      return;
    } catch (const std::exception& e) {
      *loaded = tl::unexpected(engine::Error{engine::Errc::no_memory, e.what()});
    }
    asio::post(io_, [this, on_state, loaded] {
      if (*loaded) {
        engine_ = std::move(**loaded);
        state_ = {.state = "ready", .message = fmt::format("{}", fmt::join(engine_->info().notes, "; "))};
      } else {
        state_ = {.state = "failed", .message = loaded->error().message};
      }
      settled_.open();
      on_state(state_);
    });
  });
}

}  // namespace lares::daemon
