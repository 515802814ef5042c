#include "daemon/mcp/door.h"

#include <chrono>
#include <map>
#include <utility>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "daemon/mcp/http.h"
#include "daemon/mcp/provider.h"
#include "daemon/protocol/mcp_wire.h"
#include "daemon/shared_aside.h"
#include "daemon/repository.h"

namespace lares::daemon {

namespace rpc = mcp::server;

namespace {

constexpr std::chrono::milliseconds kSettleWithin{300}, kSettleStep{5};

class LineOutlet final : public rpc::Outlet {
 public:
  LineOutlet(std::function<void(std::string)> send, std::function<void()> answered)
      : send_(std::move(send)), answered_(std::move(answered)) {}
  void send(std::string message) override { send_(std::move(message) + "\n"); }
  void finish(std::string message, int) override {
    if (!message.empty()) send(std::move(message));
    if (--n_open_ == 0) answered_();
  }
  void begin() { ++n_open_; }    // something that finish() is said of
  void nothing() { --n_open_; }  // it is not, after all
  bool waits() const { return n_open_ > 0; }

 private:
  const std::function<void(std::string)> send_;
  const std::function<void()> answered_;
  std::size_t n_open_ = 0;
};

// The top of the worktree that a client says it is in; what is none is told when something is asked
// about it.
std::string resolved(std::string root) {
  const auto found = root.empty() ? tl::unexpected(std::string()) : repository_root(root);
  return found ? found->root : root;
}

class Stream final : public McpStream {
 public:
  Stream(std::shared_ptr<rpc::Peer> peer, asio::thread_pool& aside,
         std::function<void(std::string)> send, std::function<void()> answered)
      : peer_(std::move(peer)),
        aside_(aside),
        out_(std::make_shared<LineOutlet>(std::move(send), std::move(answered))) {
    peer_->aside(out_);
  }

  std::function<void()> read(std::string_view line) override {
    const rpc::IncomingRef incoming = shared_aside(aside_, line.size(), rpc::parse_all(line));
    return [this, incoming] { take(incoming); };
  }
  bool waits() const override { return out_->waits(); }
  void falls_silent() override { peer_->falls_silent(); }
  void left() override { peer_->left(); }

 private:
  void take(const rpc::IncomingRef& incoming) {
    const auto& message = incoming->messages.front();
    if (!incoming->batch && !message) return out_->send(rpc::error_text(nullptr, message.error()));
    if (!incoming->batch && message->contains("method") &&
        (*message)["method"] == protocol::kMcpRootNotification) {
      if (message->contains("params") && (*message)["params"].contains("root") &&
          (*message)["params"]["root"].is_string())
        peer_->set_root(resolved((*message)["params"]["root"].get<std::string>()));
      return;
    }
    out_->begin();
    const bool answers = incoming->batch ? peer_->receive_batch(incoming, out_)
                                         : peer_->receive(rpc::message_of(incoming, 0), out_);
    if (!answers) out_->nothing();
  }

  const std::shared_ptr<rpc::Peer> peer_;
  asio::thread_pool& aside_;
  const std::shared_ptr<LineOutlet> out_;
};

}  // namespace

struct McpDoor::Parts {
  Parts(asio::any_io_executor io, Sessions& all, asio::thread_pool& disk)
      : sessions(all),
        aside(disk),
        provider(all, disk),
        endpoint(io, provider, &disk),
        http(endpoint, disk) {}

  Sessions& sessions;
  asio::thread_pool& aside;
  McpProvider provider;
  rpc::Endpoint endpoint;
  McpHttp http;
  std::map<std::string, std::int64_t> n_turns_ended;  // of each session, as was told last
};

bool is_mcp(std::string_view line) {
  const auto message = rpc::parse(line);
  if (!message || !message->contains("method")) return false;
  if ((*message)["method"] == protocol::kMcpRootNotification ||
      !rpc::modern_version(*message).empty())
    return true;
  // The native protocol counts its versions; MCP dates them.
  return message->contains("params") && (*message)["params"].contains("protocolVersion") &&
         (*message)["params"]["protocolVersion"].is_string();
}

McpDoor::McpDoor(asio::any_io_executor io, Sessions& sessions, asio::thread_pool& disk)
    : parts_(std::make_unique<Parts>(io, sessions, disk)) {}
McpDoor::~McpDoor() = default;

std::unique_ptr<McpStream> McpDoor::stream(std::function<void(std::string)> send,
                                           std::function<void()> answered) {
  return std::make_unique<Stream>(parts_->endpoint.peer(""), parts_->aside, std::move(send),
                                  std::move(answered));
}

asio::awaitable<void> McpDoor::http(Exchange& exchange) { return parts_->http.handle(exchange); }

std::string McpDoor::refusal_body(std::string_view message) {
  return rpc::error_text(nullptr, {rpc::kInvalidRequest, std::string(message)});
}

void McpDoor::sessions_changed() {
  if (!parts_->endpoint.has_peers()) return;
  bool list_changed = false;
  parts_->sessions.for_each([&](const protocol::SessionInfo& info) {
    const std::int64_t ended = info.n_turns - (info.turn_id != 0 ? 1 : 0);
    const auto [at, fresh] = parts_->n_turns_ended.try_emplace(info.session_id, ended);
    list_changed = list_changed || fresh;
    if (at->second == ended) return;
    at->second = ended;
    parts_->endpoint.resource_updated("lares://sessions/" + info.session_id);
    parts_->endpoint.resource_updated("lares://sessions/" + info.session_id + "/diff");
  });
  if (list_changed) parts_->endpoint.resources_changed();
}

asio::awaitable<void> McpDoor::settled() {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  const auto until = std::chrono::steady_clock::now() + kSettleWithin;
  while (parts_->endpoint.n_running() > 0 && std::chrono::steady_clock::now() < until) {
    timer.expires_after(kSettleStep);
    co_await timer.async_wait(asio::use_awaitable);
  }
}

}  // namespace lares::daemon
