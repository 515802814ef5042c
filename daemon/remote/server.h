// The server that a remote engine is behind: requests to it and what comes back, waited for on the
// thread that asks, until somebody says stop.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include <boost/asio/io_context.hpp>
#include <nlohmann/json_fwd.hpp>

#include "engine/engine.h"
#include "mcp/http_exchange.h"
#include "mcp/sse.h"

namespace lares::daemon {

namespace asio = boost::asio;

inline constexpr std::size_t kRemoteAnswerBytesMax = 16 << 20;  // that is not a stream
// vLLM's first one repeats the prompt's ids
inline constexpr std::size_t kRemoteEventBytesMax = 64 << 20;
inline constexpr std::chrono::milliseconds kPauseMax{60'000};  // between two tokens of a stream

// Until the next one, whatever keeps the connection alive
inline constexpr std::chrono::minutes kEventMax{30};

class RemoteServer;

// An answer that comes piece by piece. One thread at a time.
class RemoteStream {
 public:
  // The next event's data; nullopt: the stream is over. An error: it broke, or `stop`, or silence.
  engine::Result<std::optional<std::string>> next(const std::stop_token& stop,
                                                  std::chrono::milliseconds silence_max);

 private:
  friend class RemoteServer;
  explicit RemoteStream(const RemoteServer& server);

  const RemoteServer& server_;
  asio::io_context io_{1};
  std::unique_ptr<mcp::Exchange> exchange_;
  mcp::SseParser parser_;
  std::deque<std::string> events_;
};

class RemoteServer {
 public:
  using Json = nlohmann::json;

  // `key`: the bearer token; empty: none. The error is one line.
  static engine::Result<std::unique_ptr<RemoteServer>> at(const std::string& url, std::string key,
                                                          std::chrono::milliseconds silence_max,
                                                          std::chrono::milliseconds retry_after);

  const std::string& name() const { return url_.authority; }
  bool encrypted() const { return url_.tls; }

  // A whole answer. `what` begins every error: "compare tokenizers".
  engine::Result<Json> ask(std::string_view what, const std::string& method,
                           const std::string& path, const std::string& body,
                           const std::stop_token& stop) const;
  engine::Result<std::unique_ptr<RemoteStream>> stream(std::string_view what,
                                                       const std::string& path,
                                                       const std::string& body,
                                                       const std::stop_token& stop) const;
  // Between two tries of something that broke. False: `stop` came first.
  bool wait_before(int next_try, const std::stop_token& stop) const;
  std::chrono::milliseconds silence_max() const { return silence_max_; }

  // What it has refused, as some engines' speculative decoding does, and is not asked for again.
  struct Lacks {
    std::atomic<bool> min_p{false}, logprobs{false};
  };
  Lacks& lacks() const { return lacks_; }

 private:
  RemoteServer() = default;
  engine::Result<std::unique_ptr<RemoteStream>> begin(std::string_view what,
                                                      const std::string& method,
                                                      const std::string& path,
                                                      const std::string& body,
                                                      const std::stop_token& stop) const;
  mcp::Url url_;
  std::string base_, key_;
  std::chrono::milliseconds silence_max_{}, retry_after_{};
  mutable Lacks lacks_;
};

}  // namespace lares::daemon
