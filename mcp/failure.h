// What a server may cost, and how asking it something can fail.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <tl/expected.hpp>

namespace boost::asio {
class thread_pool;
}

namespace lares::mcp {

struct Limits {
  std::size_t line_bytes = 16 << 20;    // of one message from the server
  std::size_t outbox_bytes = 32 << 20;  // written for a server that does not read
  int n_garbage_lines = 100;            // tolerated between two messages
  int start_timeout_ms = 30'000;        // from the process to the answer to `initialize`
  // For the answer to server/discover, which a legacy server may leave unanswered
  int probe_timeout_ms = 10'000;
  int list_timeout_ms = 30'000;
  // That a search waits for the last servers, once one has answered
  int search_patience_ms = 8'000;
  int call_timeout_ms = 300'000;  // without an answer or progress
  // However much progress it reports, and however long a person thinks
  int call_timeout_max_ms = 3'600'000;
  int backoff_ms = 1'000;  // after the second death in a row; doubles with each
  int backoff_max_ms = 60'000;
  int eof_grace_ms = 1'000;   // from the closed stdin to SIGTERM
  int term_grace_ms = 1'000;  // from SIGTERM to SIGKILL
  // Long messages cost their time there; null: on the io thread
  boost::asio::thread_pool* threads = nullptr;
};

struct Failure {
  // expired: the server forgot the session, so nothing was done and a new one may ask again.
  enum Kind { timed_out, died, refused, cancelled, expired } kind;
  std::string why;  // follows the server's name: "did not answer within 30 s", "died: exit status
                    // 1"
  int code = 0;     // of a JSON-RPC error
  int http_status = 0;
  nlohmann::json data;  // of a JSON-RPC error
};
template <class T = void>
using Reply = tl::expected<T, Failure>;

}  // namespace lares::mcp
