// A connection to a host of several addresses, of which some may be silent: a name that has an IPv6
// address as well, where no route leads to it.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/system/error_code.hpp>
#include <chrono>
#include <vector>

namespace lares::mcp {

// Connects `socket` to the first of `addresses` that answers, in their order. All have `timeout`
// together; one behind which others stand has at most `address_timeout`, and its share of what is
// left. The error is the last address's; timed_out: it was silent.
boost::asio::awaitable<boost::system::error_code> connect_any(
    boost::asio::ip::tcp::socket& socket, std::vector<boost::asio::ip::tcp::endpoint> addresses,
    std::chrono::milliseconds timeout, std::chrono::milliseconds address_timeout);

}  // namespace lares::mcp
