#include "sandbox/connect_any.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <functional>
#include <list>
#include <optional>

namespace lares::sandbox {
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
  Tcp::acceptor& acceptor() { return acceptor_; }

 private:
  Tcp::acceptor acceptor_;
  std::list<Tcp::socket> queued_;
};

struct ConnectAny : testing::Test {
  error_code connect(std::vector<Tcp::endpoint> addresses, milliseconds timeout) {
    std::optional<error_code> result;
    asio::co_spawn(io, any.connect(socket, std::move(addresses), timeout),
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
  AnyConnection any{io.get_executor()};
  Silent silent{io};
  Tcp::acceptor listens{io, {asio::ip::address_v4::loopback(), 0}};
  const Tcp::endpoint nobody{asio::ip::address_v4::loopback(), 1};
};

TEST_F(ConnectAny, ASilentAddressHidesNoneThatAnswers) {
  const auto there = listens.local_endpoint();
  EXPECT_EQ(connect({silent.where(), silent.where(), there}, seconds(30)), error_code());
  EXPECT_EQ(socket.remote_endpoint(), there);
}

// Nor is one that takes its time given up for those behind it.
TEST_F(ConnectAny, ASlowAddressStillCountsWhenOthersHaveFailed) {
  Silent slow(io);
  asio::steady_timer later(io, kNextAddressAfter * 3);
  std::list<Tcp::socket> taken;
  std::function<void()> take = [&] {  // its queue has room again: what was dropped comes again
    slow.acceptor().async_accept([&](error_code ec, Tcp::socket from) {
      if (!ec) taken.push_back(std::move(from)), take();
    });
  };
  later.async_wait([&](error_code) { take(); });
  EXPECT_EQ(connect({slow.where(), nobody, nobody}, seconds(60)), error_code());
  EXPECT_EQ(socket.remote_endpoint(), slow.where());
}

TEST_F(ConnectAny, OfMoreAddressesThanThereIsTimeEachHasAShare) {
  std::vector<Tcp::endpoint> addresses(kAddressesMax - 1, silent.where());
  addresses.push_back(listens.local_endpoint());
  EXPECT_EQ(connect(addresses, kNextAddressAfter * 20), error_code());
}

TEST_F(ConnectAny, OfTooManyAddressesTheFirstAreTried) {
  std::vector<Tcp::endpoint> addresses(kAddressesMax, nobody);
  addresses.push_back(listens.local_endpoint());
  EXPECT_EQ(connect(addresses, seconds(60)), asio::error::connection_refused);
}

TEST_F(ConnectAny, WhatOneSaysIsTold) {
  EXPECT_EQ(connect({silent.where(), nobody}, kNextAddressAfter * 2),
            asio::error::connection_refused);
  EXPECT_EQ(connect({nobody, nobody}, seconds(60)), asio::error::connection_refused);
  EXPECT_EQ(connect({silent.where()}, milliseconds(100)), asio::error::timed_out);
  EXPECT_EQ(connect({}, seconds(1)), asio::error::host_not_found);
}

TEST_F(ConnectAny, WhoeverWaitsMayLeave) {
  asio::post(io, [&] { any.cancel(); });
  EXPECT_EQ(connect({silent.where(), silent.where()}, seconds(60)), asio::error::operation_aborted);
  EXPECT_FALSE(socket.is_open());
}

}  // namespace
}  // namespace lares::sandbox
