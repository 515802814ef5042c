// One configured server: started at the first use, restarted after its death, asked for its tools
// and called.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "mcp/connection.h"

namespace lares::mcp {

struct RemoteTool {
  std::string name, description;
  nlohmann::json schema;
};

class Client : public std::enable_shared_from_this<Client> {
 public:
  Client(asio::any_io_executor io, ServerConfig server, std::string root, const Limits& limits);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client();

  const std::string& name() const { return server_.name; }
  // Sorted by name. Asked anew after a restart, and when the server said that they changed.
  asio::awaitable<Reply<std::vector<RemoteTool>>> tools();
  asio::awaitable<Reply<nlohmann::json>> call(std::string tool, nlohmann::json arguments);

 private:
  asio::awaitable<Reply<std::shared_ptr<Connection>>> connected();
  asio::awaitable<Reply<std::shared_ptr<Connection>>> connect();
  asio::awaitable<Reply<std::vector<RemoteTool>>> list(std::shared_ptr<Connection> connection);
  void note_end();

  asio::any_io_executor io_;
  ServerConfig server_;
  std::string root_;
  Limits limits_;
  std::shared_ptr<Connection> connection_;
  bool starting_ = false;
  asio::steady_timer started_;  // never expires; cancelled when `starting_` becomes false
  std::vector<RemoteTool> tools_;
  bool listed_ = false;
  int n_deaths_ = 0;  // in a row, without an answered call between them
  std::string last_death_;
  std::chrono::steady_clock::time_point not_before_{};
};

}  // namespace lares::mcp
