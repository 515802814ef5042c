// One connection to the daemon, together with what else can wake the CLI (signals, typed lines, a
// clock), so that a subcommand is a plain loop over what happens next.
#pragma once

#include <chrono>
#include <concepts>
#include <memory>
#include <string>
#include <string_view>

#include "daemon/client/answer_bounds.h"
#include "daemon/client/error.h"
#include "daemon/protocol/protocol.h"
#include "daemon/protocol/wire.h"

namespace lares::cli {

namespace protocol = daemon::protocol;
using protocol::Json;

struct Happening {
  enum class Kind {
    notification,
    answer,     // to a request of send()
    closed,     // the daemon hung up; nothing more comes until connect()
    interrupt,  // Ctrl-C
    terminate,  // SIGTERM
    hangup,     // SIGHUP: the user's terminal is gone
    resized,
    typed,  // a line from the user's terminal, asked for with read_line()
    no_more_input,
    keys,     // bytes from the user's terminal, asked for with read_keys()
    suspend,  // Ctrl-Z; the process goes on running until it stops itself
    resume,   // SIGCONT
    tick,     // the deadline passed
  };
  Kind kind = Kind::tick;
  protocol::Message message;
  std::string line;  // notification, answer: as received, without the newline; typed, keys: what
                     // was typed
};

class Link {
 public:
  // From here on the signals above are Happenings and no longer end the process, and a closed pipe
  // is an error.
  Link();
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Connects and initialises. Error::absent: nobody listens there.
  Result<protocol::InitializeResult> connect(const std::string& socket_path);
  void disconnect();
  bool connected() const;

  // Sends a request; its answer comes as a Happening with this id. 0: the connection is gone.
  template <class Request>
  std::int64_t send(const Request& request) {
    return send_line(Request::kMethod, protocol::to_json(request));
  }
  // Sends and waits for the answer; what else happens meanwhile is kept for next(), in order. A
  // signal that arrives while waiting ends the wait with an error and is still there for next().
  template <class Answer, class Request>
  Result<Answer> call(const Request& request,
                      std::chrono::milliseconds timeout = answer_timeout(Request::kMethod)) {
    auto result = call_json(Request::kMethod, protocol::to_json(request), timeout);
    if (!result) return tl::unexpected(std::move(result.error()));
    auto answer = [&] {
      if constexpr (std::same_as<Answer, protocol::SessionHistoryResult>)
        return protocol::history_from_json(*result);
      else
        return protocol::from_json<Answer>(*result);
    }();
    if (!answer)
      return tl::unexpected(Error{std::string(Request::kMethod) +
                                  ": the daemon's answer makes no sense: " + answer.error()});
    return std::move(*answer);
  }

  Happening next(std::chrono::steady_clock::time_point deadline);
  // Waits for a signal that ends the CLI, and takes it; what else happens is kept. False: none
  // came.
  bool interrupted(std::chrono::steady_clock::time_point deadline);
  // The next line typed at the terminal comes as a Happening.
  void read_line();
  // The same for what is typed next, as it is typed.
  void read_keys();
  // From here on Ctrl-Z and SIGCONT are Happenings too.
  void watch_job_control();

 private:
  struct State;
  std::int64_t send_line(std::string_view method, const Json& params);
  Result<Json> call_json(std::string_view method, const Json& params,
                         std::chrono::milliseconds timeout);
  std::unique_ptr<State> state_;
};

}  // namespace lares::cli
