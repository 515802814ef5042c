// Carries MCP between a client on two descriptors and the daemon, and finds or starts the daemon
// again when it is lost.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "daemon/bridges/line_reader.h"
#include "daemon/bridges/mcp/traffic.h"
#include "daemon/client/error.h"
#include "daemon/client/start.h"
#include "tools/fd.h"

namespace lares::cli {

// In each direction; then its source waits
inline constexpr std::size_t kMcpBytesUnderWayMax = 1 << 20;
// After the client said that it is done
inline constexpr std::chrono::milliseconds kMcpLastAnswersWithin{1000};

// One thread reads and writes, and no write waits for a client that does not read: it takes what a
// pipe surely has room for. Another thread starts the daemon. Nothing of the client's descriptors
// is made non-blocking, for they may be shared with others.
class McpBridge {
 public:
  McpBridge(const DaemonAddress& address, std::string root, int in, int out);
  ~McpBridge();
  McpBridge(const McpBridge&) = delete;
  McpBridge& operator=(const McpBridge&) = delete;

  // Until the client is done and has its answers. The error says what failed.
  Result<> run();
  bool starting() const;  // a thread waits for a daemon that begins

 private:
  using Clock = std::chrono::steady_clock;
  struct Starter;
  Result<> wait();
  Result<> read_client();
  Result<> write_client();
  void read_daemon();
  void write_daemon();
  void connect();
  void lose();
  void start();
  Result<> started();
  void tell(std::string line);
  bool has_room() const { return bytes_down_ < kMcpBytesUnderWayMax; }

  const DaemonAddress address_;
  const int in_, out_;
  McpTraffic traffic_;
  tools::Fd daemon_;
  LineReader from_client_, from_daemon_;
  std::size_t up_ = 0, down_ = 0;  // of the first line of either direction, written
  std::deque<std::string> to_client_;
  std::size_t bytes_down_ = 0;
  bool ended_ = false, half_closed_ = false;
  int n_hangups_ = 0;  // in a row
  Clock::time_point attempt_at_, until_ = Clock::time_point::max();
  std::shared_ptr<Starter> starter_;
};

}  // namespace lares::cli
