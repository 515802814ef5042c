// One client: its messages taken apart, its legacy session, the requests that run for it, what it
// listens to.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "mcp/server.h"
#include "mcp/server/client.h"

namespace lares::mcp::server {

class PeerOf final : public Peer {
 public:
  PeerOf(Endpoint& endpoint, std::shared_ptr<std::set<Peer*>> all, const std::string& key,
         std::string root);
  ~PeerOf() override;

  bool receive(JsonRef message, std::shared_ptr<Outlet> out) override;
  bool receive_batch(IncomingRef batch, std::shared_ptr<Outlet> out) override;
  void aside(std::shared_ptr<Outlet> out) override { aside_ = std::move(out); }
  void give_up(const Json& id) override { end(id, /*cancelled=*/true); }
  void left() override;
  void falls_silent() override { questions_.close_all(); }
  void set_root(std::string root) override { root_ = std::move(root); }
  bool initialized() const override { return !version_.empty(); }
  const std::string& version() const override { return version_; }
  std::size_t n_running() const override { return running_.size(); }

  // list: "tools", "prompts", "resources".
  void list_changed(std::string_view list);
  void resource_updated(const std::string& uri);

 private:
  struct Listening {
    Json id;
    std::shared_ptr<Outlet> out;
    std::set<std::string> lists, uris;
  };
  void request(JsonRef message, std::shared_ptr<Outlet> out);
  void notification(const Json& message);
  void end(const Json& id, bool cancelled);
  Answer<> initialize(const Json& params);
  // Of a legacy session, answered at once
  std::optional<Answer<>> session_method(const std::string& method, const Json& params);
  void listen(const Json& message, std::shared_ptr<Outlet> out);
  asio::awaitable<void> run(std::shared_ptr<Request> request);
  asio::awaitable<std::optional<Refusal>> open(std::shared_ptr<Request> request);
  asio::awaitable<std::string> digest(std::shared_ptr<Request> request);
  asio::awaitable<Answer<>> answer(std::shared_ptr<Request> request);

  Endpoint& endpoint_;
  const std::shared_ptr<std::set<Peer*>> all_;
  const std::string key_;
  std::string root_, version_;
  ClientSays client_;  // of the legacy session
  Questions questions_;
  std::shared_ptr<Outlet> aside_;
  std::map<std::string, std::shared_ptr<Request>> running_;  // by their ids as JSON
  std::map<std::string, Listening> listening_;
  std::set<std::string> watched_;  // legacy
};

// ---- methods.cc

// The asked one, or the newest before it that is spoken here.
std::string_view agreed_version(std::string_view asked);
Json server_info(const Info& info);
Json capabilities(Provider& provider);
Answer<> discover(Provider& provider);
// A page of a list as a result: {"tools": [...], "nextCursor"?}. `slice` gives at most `n` of its
// items, from the `from`-th on.
using Slice = std::function<Json(std::size_t from, std::size_t n)>;
Answer<> page(std::string_view what, const Slice& slice, const Json& params);
Slice slice_of(Json all);
Answer<> complete(Provider& provider, const Json& params);
void add_cache_hints(std::string_view method, Json& result);  // modern
Refusal unknown_method(const std::string& method);

}  // namespace lares::mcp::server
