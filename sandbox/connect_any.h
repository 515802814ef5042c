// A connection to a host of several addresses, of which some may be silent: a name that has an IPv6
// address as well, where no route leads to it.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/system/error_code.hpp>
#include <chrono>
#include <cstddef>
#include <vector>

namespace lares::sandbox {

// RFC 8305, section 5: a Connection Attempt Delay of 250 ms is recommended
inline constexpr std::chrono::milliseconds kNextAddressAfter{250};
inline constexpr std::size_t kAddressesMax = 16;  // each may take a socket at the same time

class AnyConnection {
 public:
  explicit AnyConnection(const boost::asio::any_io_executor& io) : wake_(io) {}

  // Connects `socket`, whose executor is one thread's, to the first of `addresses` that answers;
  // those beyond kAddressesMax are not tried. They are begun with in their order, each as soon as
  // another has failed or kNextAddressAfter after the one before, which is not given up for that.
  // `timeout` is of all together: where there are many they begin sooner, all in its first half.
  // The error is the last that one of them gave; timed_out: all were silent; operation_aborted:
  // cancel() was called.
  boost::asio::awaitable<boost::system::error_code> connect(
      boost::asio::ip::tcp::socket& socket, std::vector<boost::asio::ip::tcp::endpoint> addresses,
      std::chrono::milliseconds timeout);
  void cancel();

 private:
  boost::asio::steady_timer wake_;
  bool cancelled_ = false;
};

}  // namespace lares::sandbox
