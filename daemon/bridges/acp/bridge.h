// ACP's agent, with the daemon behind it: the editor's requests, answered out of the daemon's
// sessions.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "daemon/bridges/acp/daemon_link.h"
#include "daemon/bridges/acp/editor.h"
#include "daemon/bridges/acp/session.h"

namespace lares::cli::acp {

inline constexpr int kProtocolVersion = 1;
inline constexpr std::size_t kSessionsMax = 256;  // open at once
inline constexpr std::size_t kRequestsMax = 256;  // of the editor, unanswered; prompts aside
inline constexpr std::size_t kListedMax = 50;     // sessions on a page of session/list

struct BridgeOptions {
  DaemonAddress daemon;
  std::string policy;  // of new sessions
};

class Bridge {
 public:
  // `options` outlives it
  Bridge(asio::any_io_executor io, const BridgeOptions& options, int in, int out);
  Bridge(const Bridge&) = delete;
  Bridge& operator=(const Bridge&) = delete;

  // Calls `end` when the editor has hung up.
  void start(std::function<void()> end);
  void finish() { editor_.finish(); }
  bool starting_daemon() const { return daemon_.starting(); }

 private:
  struct Request {
    Json id;
    bool closed = false;
  };
  using RequestRef = std::shared_ptr<Request>;
  using SessionRef = std::shared_ptr<Session>;

  void heard(const Line& line);
  void request(const Json& id, const std::string& method, Json params);
  void notification(const std::string& method, const Json& params);
  Reply<Json> initialize(const Json& params);
  asio::awaitable<void> serve(RequestRef request, std::string method, Json params);
  asio::awaitable<Reply<Json>> answer(std::string method, Json params);
  asio::awaitable<Reply<Json>> create(Json params);
  asio::awaitable<Reply<Json>> open(Json params, bool replays);
  asio::awaitable<Reply<Json>> list(Json params);
  asio::awaitable<Reply<Json>> close(Json params);
  asio::awaitable<Reply<Json>> remove(Json params);
  asio::awaitable<Reply<Json>> set_mode(Json params);
  asio::awaitable<Reply<Json>> set_option(Json params);
  // Of the repository that a session is about
  asio::awaitable<Reply<std::string>> root_of(std::string cwd, std::string what);
  asio::awaitable<Reply<SessionRef>> adopt(protocol::SessionInfo info, std::string cwd,
                                           Json servers,
                                           bool replays);  // servers: of MCP
  asio::awaitable<void> forget(SessionRef session);
  SessionRef find(const Json& params) const;
  Json opened(const Session& session) const;
  asio::awaitable<void> up();

  asio::any_io_executor io_;
  const BridgeOptions& options_;
  Editor editor_;
  DaemonLink daemon_;
  Agreement agreement_;
  World world_;
  bool initialized_ = false;
  std::map<std::string, SessionRef> sessions_;
  std::map<std::string, RequestRef> requests_;  // by their id, as JSON
};

}  // namespace lares::cli::acp
