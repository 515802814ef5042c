// The MCP client and a scripted server (server.py), over real pipes.
#pragma once

#include <chrono>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/mcp/tools_case.h"

namespace lares::mcp {

using testing::EndsWith;
using testing::StartsWith;
using Clock = std::chrono::steady_clock;

class Mcp : public ToolsCase {
 protected:
  int n_starts() const { return n_logged("start "); }
  std::vector<pid_t> pids_in_log() const {
    std::vector<pid_t> pids;
    std::istringstream lines(log());
    for (std::string word; lines >> word;) {
      if (word != "start" && word != "child") continue;
      lines >> word;
      pids.push_back(std::stoi(word));
    }
    return pids;
  }
  ServerConfig server(const std::string& mode) const {
    return {
        "scripted", "python3", "", {LARES_SOURCE_DIR "/tests/mcp/server.py", mode, log_path()}, {}};
  }
  void use(const std::string& mode) { use(Config{{server(mode)}, {}}); }
  void use(Config config) { ToolsCase::use({dir_.string(), LARES_LAUNCHER}, std::move(config)); }
  Outcome call(const std::string& tool, json arguments = json::object()) {
    return call_on("scripted", tool, std::move(arguments));
  }
};

}  // namespace lares::mcp
