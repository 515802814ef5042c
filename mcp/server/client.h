// What one client said of itself, and one request of its while it is worked on.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include <boost/asio/steady_timer.hpp>

#include "mcp/server.h"

namespace lares::mcp::server {

inline constexpr int kLogNothing = 99;
int log_level(std::string_view name);  // debug 0 ... emergency 7; -1: no such

struct ClientSays {
  bool can_elicit = false, can_sample = false, can_sample_with_tools = false, has_roots = false;
  int log_level = 0;  // and above are told

  void declare(const Json& capabilities);
};

// A question that waits for the client's answer.
struct Waiting {
  Waiting(const asio::any_io_executor& io, std::string name) : wake(io), key(std::move(name)) {}
  asio::steady_timer wake;
  const std::string key;  // among its request's questions
  bool over = false;
  Asked asked;
  void settle(Asked with) {
    if (over) return;
    over = true, asked = std::move(with);
    wake.cancel();
  }
};

// Where questions of the legacy era are registered until they are answered. Their ids are no other
// connection's: a client that outlives a daemon may answer the old one's late.
class Questions {
 public:
  Questions();
  std::shared_ptr<Waiting> open(const asio::any_io_executor& io, std::string key, std::string& id);
  void close(const std::string& id) { open_.erase(id); }
  void answer(const JsonRef& message);
  void close_all();  // nobody answers any more, and nobody is to be asked
  bool closed() const { return closed_; }

 private:
  const std::string prefix_;
  std::map<std::string, std::shared_ptr<Waiting>> open_;
  std::int64_t n_ = 0;
  bool closed_ = false;
};

class Request final : public Call {
 public:
  Request(asio::any_io_executor io, Questions& questions, JsonRef message, bool modern,
          ClientSays client, std::string root, std::shared_ptr<Outlet> out);

  // Call
  const std::string& root() const override { return root_; }
  bool can_be_asked(std::string_view capability) const override;
  void progress(double done, double total, const std::string& message) override;
  bool wants_progress() const override { return !token_.is_null(); }
  void log(std::string_view level, const Json& data) override;
  asio::awaitable<Asked> ask(std::string key, std::string method, Json params) override;
  void withdraw(const std::string& key) override;
  const Json& kept() const override { return kept_; }
  void keep(Json state) override { keep_ = std::move(state); }
  void let_go() override;
  std::stop_token ended() const override { return stop_.get_token(); }
  bool cancelled() const override { return cancelled_; }

  // ---- for the peer
  const Json& id() const { return id_; }
  const std::string& method() const { return method_; }
  const Json& params() const { return params_; }
  bool modern() const { return modern_; }
  const JsonRef& message() const { return message_; }
  bool carries_state() const { return params_.contains("requestState"); }
  bool keeps_state() const { return !pending_.empty() && !keep_.is_null(); }
  // What an earlier round kept, and the answers of this one; of a modern one. `digest`: its own
  // (sealed.h), where it carries a state.
  std::optional<Refusal> open_state(const std::string& key, const std::string& digest);
  // The result, or where questions are pending what asks them. `digest`: where it keeps a state.
  void finish(Answer<> answer, const std::string& key, const std::string& digest);
  void end(bool cancelled);    // nobody hears of it any more
  void say(std::string text);  // on the request's own stream

 private:
  void take_back(const std::string& id, Waiting& waiting, Asked::How how);

  asio::any_io_executor io_;
  Questions* questions_;
  const JsonRef message_;
  const Json id_;
  const std::string method_;
  const Json& params_;
  const bool modern_;
  const ClientSays client_;
  const std::string root_;
  std::shared_ptr<Outlet> out_;
  const Json token_;
  double progress_ = -1;
  std::map<std::string, std::shared_ptr<Waiting>> waiting_;
  Json kept_ = nullptr, keep_ = nullptr;
  const Json* responses_ = nullptr;  // of the message's; null: it has none
  Json pending_ = Json::object();
  std::stop_source stop_;
  bool cancelled_ = false;
};

}  // namespace lares::mcp::server
