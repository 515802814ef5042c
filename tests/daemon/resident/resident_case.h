// A resident repository of a scratch directory beside a loaded nano: what its tests begin with.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <gtest/gtest.h>

#include "daemon/contexts.h"
#include "daemon/protocol/nano_directory.h"
#include "daemon/resident/resident.h"
#include "tests/temporary_directory.h"

namespace lares::daemon {

inline constexpr int kPasses = 6000;  // of waiting 10 ms for the background

class ResidentCase : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + "/" + path).parent_path());
    std::ofstream(root_ + "/" + path) << text;
  }
  static std::string source(int seed, int lines) {
    std::string out;
    for (int i = 0; i < lines; ++i)
      out += "def value_" + std::to_string(seed) + "_" + std::to_string(i) + "():\n    return " +
             std::to_string(i * seed) + "\n";
    return out;
  }

  // Runs `body` beside a loaded engine.
  using Load = engine::Result<std::unique_ptr<engine::Engine>>;
  void with_engine(
      std::function<asio::awaitable<void>(EngineHost&, std::shared_ptr<Resident>)> body,
      std::function<std::unique_ptr<engine::Engine>(std::unique_ptr<engine::Engine>)> wrapped =
          {}) {
    IoLoop io;
    DiskPool disk(2);
    Log log(-1);
    std::string thrown = "nothing ran";
    {
      EngineHost host(io.get_executor());
      host.start(
          [&](const EngineHost::Loading& loading) -> Load {
            auto loaded = engine::load({.directory = nano_directory(), .n_threads = 2},
                                       loading.progress);
            if (loaded && wrapped) return wrapped(std::move(*loaded));
            return loaded;
          },
          [](const protocol::ServerState&) {});
      const auto run = [&]() -> asio::awaitable<void> {
        co_await host.settled();
        auto resident = Resident::make({.io = io.get_executor(),
                                        .disk = &disk,
                                        .host = &host,
                                        .log = &log,
                                        .store_dir = store_,
                                        .tokens_max = tokens_max_,
                                        .tend_every = tend_every_},
                                       root_);
        disk_ = &disk, host_ = &host, log_ = &log;
        co_await body(host, resident);
        host.stop_background();
      };
      asio::co_spawn(io, run, [&](std::exception_ptr e) {
        thrown.clear();
        try {
          if (e) std::rethrow_exception(e);
        } catch (const std::exception& x) {
          thrown = x.what();
        }
        io.stop();
      });
      io.run();
      host.end();
      disk.abandon();
      io.abandon();
    }
    EXPECT_EQ(thrown, "");
  }
  // Until the background has evaluated all there is.
  static asio::awaitable<protocol::RepoPrefixResult> at_rest(
      const std::shared_ptr<Resident>& resident) {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    for (int i = 0; i < kPasses; ++i) {
      auto report = co_await resident->report(true);
      if (report.evaluated == report.base_tokens && report.next_tokens == report.next_evaluated)
        co_return report;
      timer.expires_after(std::chrono::milliseconds(10));
      co_await timer.async_wait(asio::use_awaitable);
    }
    ADD_FAILURE() << "the background did not come to rest";
    co_return protocol::RepoPrefixResult{};
  }
  // A report of which `is_so`.
  static asio::awaitable<protocol::RepoPrefixResult> until(
      std::shared_ptr<Resident> resident,
      std::function<bool(const protocol::RepoPrefixResult&)> is_so) {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    protocol::RepoPrefixResult report;
    for (int i = 0; i < kPasses; ++i) {
      report = co_await resident->report(false);
      if (is_so(report)) co_return report;
      timer.expires_after(std::chrono::milliseconds(10));
      co_await timer.async_wait(asio::use_awaitable);
    }
    ADD_FAILURE() << "it never came to be";
    co_return report;
  }
  static asio::awaitable<Resident::Beginning> begun(const std::shared_ptr<Resident>& resident) {
    auto beginning = co_await resident->begin();
    EXPECT_TRUE(beginning) << beginning.error();
    co_return std::move(*beginning);
  }
  // What a session's first step evaluates.
  static asio::awaitable<std::int64_t> first_step(EngineHost& host,
                                                  const std::shared_ptr<Resident>& resident,
                                                  const Resident::Beginning& beginning) {
    auto ids = beginning.base->tokens;
    for (const auto id : host.engine()->tokenizer().encode("What is here?", false))
      ids.push_back(id);
    const auto shared = resident->shared();
    const auto step = [&] {
      auto timeline = host.engine()->timeline(shared->longest(ids));
      return timeline->sync(ids, {}, nullptr).value();
    };
    co_return co_await host.run(step);
  }

  const TemporaryDirectory repository_, kept_;
  const std::string root_ = repository_.path();
  std::string store_;  // in kept_; empty: nothing is kept
  std::int64_t tokens_max_ = kResidentTokens;
  std::chrono::milliseconds tend_every_ = kTendEvery;
  asio::thread_pool* disk_ = nullptr;
  EngineHost* host_ = nullptr;
  const Log* log_ = nullptr;
};

}  // namespace lares::daemon
