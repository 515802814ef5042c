// One life of one server, in whichever era it speaks: the handshake, requests with what the server
// asks meanwhile, and what it says unasked. Runs on the io thread.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "mcp/mcp.h"
#include "mcp/transport.h"

namespace lares::mcp {

inline constexpr const char* kModernVersion = "2026-07-28";
inline constexpr const char* kLegacyVersion = "2025-11-25";  // asked for; older ones are understood
inline constexpr int kRoundsMax = 16;  // a server asks for more input that often within one request

// How to find out the era. `pinned`: modern, without asking.
enum class Opening { negotiate, legacy, pinned };

// What the server may want to know of us.
struct Host {
  std::string name;  // of the server, for questions to a person
  std::string root;  // told as the only root; empty: none
  Elicit elicit;
};

struct Asking {
  int timeout_ms = 0;      // without an answer or progress; 0: for ever
  int timeout_max_ms = 0;  // however much progress; 0: as timeout_ms
  std::function<void(const nlohmann::json& params)> on_progress;
  Headers headers;
};

enum class Listed { tools, resources, prompts };

class Conversation : public std::enable_shared_from_this<Conversation> {
 public:
  Conversation(asio::any_io_executor io, std::shared_ptr<Transport> transport, Host host,
               const Limits& limits);
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;
  ~Conversation();

  void start();
  asio::awaitable<Reply<>> open(Opening how);
  asio::awaitable<Reply<nlohmann::json>> request(std::string method, nlohmann::json params,
                                                 Asking asking);
  void close(const std::string& why);

  bool alive() const { return transport_->alive(); }
  const std::string& why_ended() const { return transport_->why_ended(); }
  Era era() const { return era_; }
  bool repeats_arguments() const {
    return era_ == Era::modern && transport_->has_headers();
  }  // as HTTP headers
  bool can(const char* capability) const { return capabilities_.contains(capability); }
  // True once after the server said that this list changed.
  bool take_changed(Listed list) { return changed_.erase(list) > 0; }

 private:
  class AtAPerson;
  struct Pending {
    explicit Pending(const asio::any_io_executor& io) : wake(io) {}
    asio::steady_timer wake;
    std::optional<Reply<nlohmann::json>> reply;
    std::function<void(const nlohmann::json&)> on_progress;
    std::chrono::steady_clock::time_point heard;  // of its start, its latest progress, or a
                                                  // person's latest answer
    double progress = -1;
    bool listens = false;
  };

  asio::awaitable<Reply<nlohmann::json>> ask_once(std::string method, nlohmann::json params,
                                                  Asking asking);
  asio::awaitable<Reply<>> discover(std::string version);
  asio::awaitable<Reply<>> initialize();
  asio::awaitable<Reply<nlohmann::json>> fulfil(nlohmann::json wanted);
  asio::awaitable<std::optional<nlohmann::json>> answer(std::string method, nlohmann::json params);
  void answer_request(const nlohmann::json& id, std::string method, nlohmann::json params);
  void cancel(std::shared_ptr<asio::cancellation_signal> stop);
  void forget_asked();
  asio::awaitable<void> listen_loop();
  nlohmann::json our_capabilities() const;
  nlohmann::json with_meta(nlohmann::json params) const;
  Headers headers_of(const std::string& method, const nlohmann::json& params,
                     Headers headers) const;
  void withdraw(std::int64_t id, const std::string& method, const char* reason);
  void receive(Message message);
  void hear(const std::string& method, const nlohmann::json& params);
  void settle(std::int64_t id, Reply<nlohmann::json> reply);
  void send(std::string line, bool first = false);

  asio::any_io_executor io_;
  std::shared_ptr<Transport> transport_;
  Host host_;
  Limits limits_;
  Era era_ = Era::modern;
  std::string version_;
  nlohmann::json capabilities_ = nlohmann::json::object();
  std::map<std::int64_t, std::shared_ptr<Pending>> pending_;
  std::int64_t next_id_ = 1;
  // The server's requests that we still work on, by their ids as JSON.
  std::map<std::string, std::shared_ptr<asio::cancellation_signal>> asked_;
  // Its latest error without an id: whose it is cannot be told, so it fails nothing by itself
  std::string complaint_;
  std::chrono::steady_clock::time_point complained_{};
  int n_asking_ = 0;  // questions before a person: the time that they take is not counted
  std::set<Listed> changed_;
};

}  // namespace lares::mcp
