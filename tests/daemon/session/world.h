// Sessions as a daemon has them, with an engine that follows a script, for what a client's timing
// cannot bring about.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include "daemon/session/wired_sessions.h"
#include "tests/daemon/scripted/scripted_engine.h"
#include "tests/temporary_directory.h"

namespace lares::daemon {

inline std::string with_folders(const std::string& path) {
  std::filesystem::create_directories(path + "/repo/.git");
  std::filesystem::create_directories(path + "/state/sessions");
  return path;
}

// Of a daemon what these tests need.
struct World {
  const TemporaryDirectory directory;
  const std::string folder = with_folders(directory.path());
  asio::io_context io{1};
  asio::thread_pool disk{2}, trees{2}, tool_threads{1};
  const Log log{-1};
  EngineHost host{io.get_executor()};
  WiredSessions wired{{.io = io.get_executor(),
                       .disk = &disk,
                       .tool_threads = &tool_threads,
                       .host = &host,
                       .log = &log,
                       .state_dir = folder + "/state"},
                      trees,
                      /*resident_tokens=*/1000};
  const WorktreeRecords& records = wired.records;
  Worktrees& worktrees = wired.worktrees;
  Sessions& sessions = wired.sessions;

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
  }

  // False: it does not come to that.
  bool run_until(const std::function<bool()>& done) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!done() && std::chrono::steady_clock::now() < until)
      io.run_one_for(std::chrono::milliseconds(50));
    return done();
  }

  std::string repo() const { return folder + "/repo"; }
  std::shared_ptr<Session> session() { return session(repo()); }
  std::shared_ptr<Session> session(const std::string& root) {
    protocol::SessionCreate request;
    request.root = root;
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

}  // namespace lares::daemon
