// What passes between an MCP client and the daemon through `lares mcp`: which requests are open,
// and what becomes of them when the daemon is lost and another one found. Knows no descriptor:
// lines in, lines out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "mcp/server.h"

namespace lares::cli {

class McpTraffic {
 public:
  using Tell = std::function<void(std::string line)>;  // one line for the client, with its newline
  // `root`: the repository that every daemon is told.
  McpTraffic(std::string root, Tell tell);

  void from_client(std::string_view line);  // without its newline
  void from_daemon(std::string_view line);

  // What the daemon is to get next; empty: nothing. Whoever has written all of it says so.
  std::string_view next() const { return out_.empty() ? std::string_view() : out_.front().text; }
  void written();
  std::size_t bytes_unwritten() const { return bytes_; }

  // On a new connection, before anything is written: who the client is and what it listens to go
  // first.
  void connected();
  // The connection is gone. What was not sent waits; of the rest, what changes nothing is sent
  // again, and the client is told that what came of its calls is not known.
  void lost();
  // No daemon can be had: whatever waits for one is answered with this error.
  void give_up(const std::string& why);

  bool waits() const;    // for an answer: start a daemon where none runs
  bool listens() const;  // for changes: connect where one runs
  // Why the client's session cannot go on with this daemon; empty: it can.
  const std::string& broken() const { return broken_; }

 private:
  using Json = mcp::server::Json;
  struct Request {
    Json id;
    std::string method, line;                    // line: what is sent again
    std::string uri;                             // of a subscription
    std::shared_ptr<mcp::server::Outlet> batch;  // where its answer goes; null: to the client
    std::int64_t n = 0;  // they are sent again in the order in which they came
    bool sent = false, acknowledged = false;
  };
  struct Line {
    std::string text;
    std::string request;  // its id, as JSON; empty: none of the client's
  };
  using Outlet = std::shared_ptr<mcp::server::Outlet>;
  void take(const Json& message, std::string_view line, Outlet batch);
  void tell(const Request& request, std::string answer);
  void push(std::string line, std::string request = "");
  void ours(const char* method, Json params);
  void notified(const std::string& method, const Json& params, std::string_view line);
  bool answered(const Json& message);
  void fail(const Request& request, const std::string& why);
  void answer_ping(const Request& request);
  bool is_for_client(const Json& message);
  bool take_from_out(const std::string& request);

  const std::string root_;
  const Tell tell_;
  std::deque<Line> out_;
  std::size_t bytes_ = 0;
  std::map<std::string, Request> open_;  // the client's, by their ids as JSON
  std::set<std::string> asked_;          // the daemon's of the client, likewise
  std::set<std::string> watched_;        // resources
  Json initialize_ = nullptr;            // the client's request, once it was answered
  std::string version_;                  // that was agreed on
  bool initialized_ = false;             // the client said so
  bool connected_ = false;
  std::int64_t n_requests_ = 0, n_ours_ = 0;
  std::string broken_;
};

}  // namespace lares::cli
