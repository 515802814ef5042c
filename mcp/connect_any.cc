#include "mcp/connect_any.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "mcp/deadline.h"

namespace lares::mcp {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::milliseconds;

asio::awaitable<error_code> connect_any(asio::ip::tcp::socket& socket,
                                        std::vector<asio::ip::tcp::endpoint> addresses,
                                        milliseconds timeout, milliseconds address_timeout) {
  constexpr auto kIo = asio::as_tuple(asio::use_awaitable);
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + timeout;
  const auto close = [&socket] {
    error_code unheard;
    socket.close(unheard);
  };
  error_code failed = asio::error::host_not_found;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const auto n_left = static_cast<int>(addresses.size() - i);
    auto share = std::chrono::duration_cast<milliseconds>(until - Clock::now()) / n_left;
    if (n_left > 1) share = std::min(share, address_timeout);
    if (i > 0 && share <= milliseconds::zero()) break;  // all the time is over
    close();                                            // the one before has failed
    Deadline deadline(socket.get_executor(),
                      static_cast<int>(std::max(share, milliseconds{1}).count()), close);
    const auto [ec] = co_await socket.async_connect(addresses[i], kIo);
    failed = deadline.late() ? error_code(asio::error::timed_out) : ec;
    if (!failed || failed == asio::error::operation_aborted) break;  // whoever waits has left
  }
  co_return failed;
}

}  // namespace lares::mcp
