// The editor at the other end of stdin and stdout: lines in, lines out, and the requests that it is
// asked to answer.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "daemon/bridges/acp/lines.h"
#include "daemon/bridges/acp/message.h"

namespace lares::cli::acp {

namespace asio = boost::asio;

inline constexpr std::size_t kUnwrittenBytesMax = 8u << 20;  // to it; from here on drained() waits
inline constexpr int kAskedMax = 64;                         // requests that it has not answered

// Two threads read and write, for files, pipes and terminals alike, and nothing of the user's shell
// is made non-blocking.
class Editor {
 public:
  struct Events {  // called on the executor
    std::function<void(Line line)> line;
    std::function<void()> end;  // it hung up, or takes nothing more
  };
  Editor(asio::any_io_executor io, int in, int out);
  ~Editor();
  Editor(const Editor&) = delete;
  Editor& operator=(const Editor&) = delete;
  void start(Events events);
  void finish();  // writes what is unwritten, if the editor reads it; nothing comes and goes any
                  // more

  void notify(std::string_view method, const Json& params);
  void answer(const Json& id, const Reply<Json>& reply);
  // While more than kUnwrittenBytesMax is unwritten.
  asio::awaitable<void> drained();

  // Asks the editor; 0: too much is asked already. Every id is to be waited for.
  std::int64_t ask(std::string_view method, const Json& params);
  asio::awaitable<Reply<Json>> answered(std::int64_t id);
  // Takes the question back: whoever waits gets kCancelled.
  void withdraw(std::int64_t id);
  void heard(const Message& response);

 private:
  struct Pipes;
  struct Asked;
  asio::any_io_executor io_;
  std::shared_ptr<Pipes> pipes_;
  std::map<std::int64_t, std::shared_ptr<Asked>> asked_;
  // The first is 0, as its own are: nothing may depend on the two differing
  std::int64_t last_id_ = -1;
};

}  // namespace lares::cli::acp
