// What carries messages to one server and back, as the conversation sees it. Runs on the io thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mcp/failure.h"
#include "mcp/message.h"

namespace lares::mcp {

enum class Era {
  legacy,
  modern
};  // up to 2025-11-25, with a handshake; from 2026-07-28 on, stateless

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Outgoing {
  std::string line;                // one JSON-RPC message and a newline
  std::optional<std::int64_t> id;  // of a request
  Headers headers;                 // for HTTP, beside those of the configuration and the version
  bool first = false;              // what is sent after it waits until the server has taken it
};

class Transport {
 public:
  struct Events {  // they outlive nobody: who hears them holds the transport
    std::function<void(Message)> message;
    std::function<void(std::int64_t id, Failure)> failed;  // this request will not be answered
    std::function<void(std::string why)> ended;            // nothing will: once
  };

  virtual ~Transport() = default;
  virtual void start(Events events) = 0;
  virtual void send(Outgoing message) = 0;
  // The answer is no longer wanted. True where that alone tells the server.
  virtual bool abandon(std::int64_t id) = 0;
  virtual void speak(Era era, const std::string& version) = 0;
  virtual void listen() {}  // legacy HTTP: opens the stream of what the server sends unasked
  virtual bool has_headers() const { return false; }
  virtual bool alive() const = 0;
  virtual const std::string& why_ended() const = 0;
  virtual void close(const std::string& why) = 0;
};

}  // namespace lares::mcp
