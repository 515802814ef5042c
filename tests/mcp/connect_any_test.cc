#include "mcp/connect_any.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <list>
#include <optional>

namespace lares::mcp {
namespace {

namespace asio = boost::asio;
using Tcp = asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Somebody listens there whose queue is full: what comes then is dropped, as by a firewall.
class Silent {
 public:
  explicit Silent(asio::io_context& io) : acceptor_(io) {
    acceptor_.open(Tcp::v4());
    acceptor_.bind({asio::ip::address_v4::loopback(), 0});
    acceptor_.listen(0);
    for (int i = 0; i < 8; ++i) {  // the kernel takes one or two beyond the 0
      Tcp::socket& socket = queued_.emplace_back(io, Tcp::v4());
      socket.async_connect(acceptor_.local_endpoint(), [](error_code) {});
    }
  }
  Tcp::endpoint where() const { return acceptor_.local_endpoint(); }

 private:
  Tcp::acceptor acceptor_;
  std::list<Tcp::socket> queued_;
};

struct ConnectAny : testing::Test {
  error_code connect(std::vector<Tcp::endpoint> addresses, milliseconds timeout,
                     milliseconds address_timeout) {
    std::optional<error_code> result;
    asio::co_spawn(io, connect_any(socket, std::move(addresses), timeout, address_timeout),
                   [&](std::exception_ptr thrown, error_code ec) {
                     if (thrown) std::rethrow_exception(thrown);
                     result = ec;
                   });
    io.restart();
    while (!result && io.run_one() > 0) {
    }
    return result.value_or(error_code(asio::error::not_found));
  }

  asio::io_context io;
  Tcp::socket socket{io};
  Silent silent{io};
  Tcp::acceptor listens{io, {asio::ip::address_v4::loopback(), 0}};
};

TEST_F(ConnectAny, ASilentAddressHidesNoneThatAnswers) {
  const auto there = listens.local_endpoint();
  EXPECT_EQ(connect({silent.where(), silent.where(), there}, seconds(30), milliseconds(200)),
            error_code());
  EXPECT_EQ(socket.remote_endpoint(), there);
}

TEST_F(ConnectAny, OfMoreAddressesThanThereIsTimeEachHasAShare) {
  std::vector<Tcp::endpoint> addresses(4, silent.where());
  addresses.push_back(listens.local_endpoint());
  EXPECT_EQ(connect(addresses, seconds(5), seconds(3)), error_code());
}

TEST_F(ConnectAny, WhatTheLastOneSaysIsTold) {
  const Tcp::endpoint nobody(asio::ip::address_v4::loopback(), 1);
  EXPECT_EQ(connect({silent.where(), nobody}, seconds(30), milliseconds(100)),
            asio::error::connection_refused);
  EXPECT_EQ(connect({nobody, silent.where()}, milliseconds(300), milliseconds(100)),
            asio::error::timed_out);
  EXPECT_EQ(connect({}, seconds(1), seconds(1)), asio::error::host_not_found);
}

}  // namespace
}  // namespace lares::mcp
