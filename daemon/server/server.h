// What clients can ask of the daemon, whatever carries their lines: the protocol's methods over
// sessions and engine.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include <boost/asio/steady_timer.hpp>

#include "daemon/engine_host.h"
#include "daemon/gate.h"
#include "daemon/log.h"
#include "daemon/protocol/protocol.h"
#include "daemon/protocol/wire.h"
#include "daemon/server/client_limits.h"
#include "daemon/server/listener.h"
#include "daemon/session/sessions.h"

namespace lares::daemon {

class Connection;
class HttpServer;
class McpDoor;

struct ServerOptions {
  std::string socket, state_dir, model_directory, version;
  std::string http = {};  // see ServerStatusResult
  std::string daemon_id, boot_id;
  tools::BuiltinOptions shell;  // how commands would run: what server/status says about the shell
  ClientLimits limits = {};
  std::function<void()> ending = {};  // called before HTTP's clients are left
};

class Server {
 public:
  Server(asio::any_io_executor io, asio::thread_pool& disk, EngineHost& host, Residents& residents,
         Sessions& sessions, Worktrees& worktrees, HttpServer& http, const Log& log,
         ServerOptions options);
  ~Server();

  // Until stopped and the last words are with the clients
  asio::awaitable<void> serve(Listener& listener);
  // Turns end with "cancelled" ("now"), or are waited for ("idle"); then serve() returns.
  asio::awaitable<void> stop(bool now);
  void engine_changed(const protocol::ServerState& state);

  // Connections that speak MCP are led there.
  void lead_to(McpDoor& mcp) { mcp_ = &mcp; }

  // ---- for connections
  Reply<> not_stopping(const std::string& method) const;  // or it changes nothing
  asio::awaitable<Reply<std::shared_ptr<Session>>> open(std::string method, std::string id);
  asio::awaitable<Reply<protocol::Json>> call(Connection& from, const std::string& method,
                                              const protocol::Json& params);
  protocol::InitializeResult greeting() const;
  protocol::ServerState state() const;
  std::string health() const;  // JSON
  void joined(const std::shared_ptr<Connection>& connection) { connections_.insert(connection); }
  void left(const std::shared_ptr<Connection>& connection);
  asio::any_io_executor io() const { return io_; }
  const Log& log() const { return log_; }
  McpDoor* mcp() const { return mcp_; }

 private:
  asio::awaitable<void> tell_apart(std::shared_ptr<Listener::Protocol::socket> socket);
  void serve_client(const std::shared_ptr<Connection>& connection);
  void refuse(Listener::Protocol::socket& socket);  // it is one too many
  asio::awaitable<protocol::ServerStatusResult> status();
  asio::awaitable<Reply<protocol::Json>> about_session(Connection& from, std::string method,
                                                       protocol::Json params);  // about_session.cc
  asio::awaitable<Reply<protocol::Json>> about_rules(std::string method,
                                                     protocol::Json params);  // rules.cc
  asio::awaitable<Reply<protocol::Json>> about_transfer(std::shared_ptr<Connection> from,
                                                        std::string method,
                                                        protocol::Json params);  // transfer.cc
  asio::awaitable<Reply<protocol::Json>> about_worktrees(std::string method,
                                                         protocol::Json params);  // worktrees.cc
  asio::awaitable<Reply<protocol::Json>> change_worktree(std::string method, protocol::Json params,
                                                         WorktreeRecord record);

  asio::any_io_executor io_;
  asio::thread_pool& disk_;
  EngineHost& host_;
  Residents& residents_;
  Sessions& sessions_;
  Worktrees& worktrees_;
  McpDoor* mcp_ = nullptr;
  HttpServer& http_;
  const Log& log_;
  ServerOptions options_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::set<std::shared_ptr<Connection>> connections_;
  std::size_t n_arriving_ = 0;  // that have said nothing yet
  bool crowded_ = false;        // and the log says so
  Listener::Protocol::acceptor* acceptor_ = nullptr;
  asio::steady_timer last_words_;
  enum class Stopping { no, when_idle, now } stopping_ = Stopping::no;
  bool ended_ = false;  // all has been said to everybody
  // A request that makes, changes or removes a worktree: half of it would stay on the disk.
  struct AtWorktrees {
    explicit AtWorktrees(Server& s) : server(s) {
      ++server.n_at_worktrees_;
      server.no_worktrees_.close();
    }
    ~AtWorktrees() {
      if (--server.n_at_worktrees_ == 0) server.no_worktrees_.open();
    }
    AtWorktrees(const AtWorktrees&) = delete;
    Server& server;
  };
  int n_at_worktrees_ = 0;
  Gate no_worktrees_;  // is at one
};

}  // namespace lares::daemon
