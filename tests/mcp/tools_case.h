// The MCP client's tools over servers that write a log, each with a folder of its own.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mcp/mcp.h"
#include "mcp/process.h"
#include "mcp/tools.h"
#include "tests/temporary_directory.h"

namespace lares::mcp {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using tools::Outcome;
using tools::Result;

class ToolsCase : public testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);  // as in the daemon: a server may be gone when it is written to
    limits_.start_timeout_ms = limits_.list_timeout_ms = limits_.call_timeout_ms = 20'000;
    limits_.search_patience_ms = 20'000;  // five Python servers, on a machine that builds
    limits_.line_bytes = 1 << 20;
    limits_.backoff_ms = 50;
  }
  void TearDown() override {
    tools_.clear();
    io_.restart();
    io_.run_for(std::chrono::seconds(5));  // what was cancelled comes back
  }

  std::string log_path() const { return (dir_ / "log").string(); }
  std::string log() const {
    std::ifstream file(log_path());
    return {std::istreambuf_iterator<char>(file), {}};
  }
  int n_logged(const std::string& text) const {
    const auto all = log();
    int n = 0;
    for (auto at = all.find(text); at != std::string::npos; at = all.find(text, at + 1)) ++n;
    return n;
  }
  // The server writes its log when it comes to it; CTest's timeout ends a wait for what never
  // comes.
  void wait_for_log(const std::string& text) {
    io_.restart();
    while (log().find(text) == std::string::npos) io_.run_for(std::chrono::milliseconds(10));
  }

  void use(const Place& place, Config config) {
    tools_ = make_tools(io_.get_executor(), place, std::move(config), elicit_, limits_);
  }
  Outcome run(tools::Tool& tool, json args, tools::OnOutput on_output = {}) {
    std::optional<Result<Outcome>> result;
    boost::asio::co_spawn(io_, tool.run(std::move(args), std::move(on_output)),
                          [&](std::exception_ptr thrown, Result<Outcome> r) {
                            if (thrown) std::rethrow_exception(thrown);
                            result = std::move(r);
                          });
    io_.restart();
    while (!result && io_.run_one() > 0) {
    }
    if (!result) return {.text = "never finished", .ok = false, .changes = {}};
    if (!*result) return {.text = "ERROR: " + result->error().message, .ok = false, .changes = {}};
    return std::move(**result);
  }
  Outcome search(const std::string& query) { return run(*tools_[0], {{"query", query}}); }
  Outcome call_on(const std::string& server, const std::string& tool, json arguments) {
    return run(*tools_[1],
               {{"server", server}, {"tool", tool}, {"arguments", std::move(arguments)}});
  }

  const TemporaryDirectory made_;
  const std::filesystem::path dir_ = made_.path();
  Limits limits_;
  Elicit elicit_;
  boost::asio::io_context io_;
  std::vector<std::unique_ptr<tools::Tool>> tools_;
};

}  // namespace lares::mcp
