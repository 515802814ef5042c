// One configured server: started at the first use, restarted after its death, asked for what it
// has, and called.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "mcp/conversation.h"
#include "mcp/param_headers.h"
#include "mcp/process.h"

namespace lares::mcp {

// What mcp_call can reach: a tool, or a resource or a prompt under the method that gets it.
struct RemoteTool {
  std::string name, title, description;
  nlohmann::json schema;  // of the arguments; of a resource or a prompt: the arguments themselves
  std::vector<ParamHeader> headers;
  bool only_reads = false;  // the server says that a call changes nothing (readOnlyHint)
};

inline constexpr const char* kReadResource = "resources/read";
inline constexpr const char* kGetPrompt = "prompts/get";

using OnProgress = std::function<void(const nlohmann::json& params)>;

class Client : public std::enable_shared_from_this<Client> {
 public:
  Client(asio::any_io_executor io, ServerConfig server, Place place, Elicit elicit,
         const Limits& limits);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client();

  const std::string& name() const { return server_.name; }
  // Tools by name, then resources and prompts. Asked anew after a restart, when the server said
  // that they changed, and when the time is over for which it said that they stay.
  asio::awaitable<Reply<std::vector<RemoteTool>>> offers();
  asio::awaitable<Reply<>> list_if_stale();
  // As it was listed last; null: it was not.
  const RemoteTool* listed(const std::string& name) const;
  asio::awaitable<Reply<nlohmann::json>> call(std::string tool, nlohmann::json arguments,
                                              OnProgress on_progress);
  // Of the latest lists that were longer than is read, a sentence each: "its tools go on after the
  // first 2000; ...".
  const std::vector<std::string>& cuts() const { return cuts_; }
  // For servers that do not know server/discover, and speak the modern era all the same.
  void pin_modern() { opening_ = Opening::pinned; }

 private:
  using ConversationPtr = std::shared_ptr<Conversation>;
  struct Listing {
    nlohmann::json all = nlohmann::json::array();
    bool goes_on = false;  // behind a bound of ours
  };

  asio::awaitable<Reply<ConversationPtr>> connected();
  asio::awaitable<Reply<ConversationPtr>> connect();
  Reply<std::shared_ptr<Transport>> make_transport();
  asio::awaitable<Reply<>> refresh(ConversationPtr conversation);
  asio::awaitable<Reply<Listing>> list(ConversationPtr conversation, std::string what,
                                       std::size_t n_max);
  asio::awaitable<Reply<nlohmann::json>> call_once(std::string tool, nlohmann::json arguments,
                                                   OnProgress on_progress);
  asio::awaitable<bool> opened(std::vector<nlohmann::json> urls);
  asio::awaitable<bool> met(Failure& failure, bool& asked);
  void note_end();
  void forget_expired();

  asio::any_io_executor io_;
  ServerConfig server_;
  Place place_;
  Elicit elicit_;
  Limits limits_;
  Opening opening_ = Opening::negotiate;
  ConversationPtr conversation_;
  bool starting_ = false;
  asio::steady_timer started_;  // never expires; cancelled when `starting_` becomes false
  std::vector<RemoteTool> offers_;
  std::map<std::string, std::string> unusable_;  // tools, and why
  std::vector<std::string> cuts_;
  bool listed_ = false;
  std::chrono::steady_clock::time_point fresh_until_{};
  int n_deaths_ = 0;  // in a row, without an answered call between them
  std::string last_death_;
  std::chrono::steady_clock::time_point not_before_{};
};

}  // namespace lares::mcp
