// The only way out of a sandbox with allowed hosts: an HTTP proxy (CONNECT, and requests with an
// absolute http: target).
//
// The command stays in a network namespace of its own that holds nothing but loopback. The launcher
// listens there, on 127.0.0.1:kProxyPort, and hands the listening socket out; connections to it are
// answered here, on the host, where names are resolved once and only to addresses that the list
// lets through. What this cannot know: inside a CONNECT tunnel TLS is the command's own, so
// whatever a listed host serves under other names (a CDN's other customers) can be reached too, and
// a listed host that stores what it is sent is a way out for all the command can read. List few
// hosts. Programs do not ask a proxy for 127.0.0.1, which is the sandbox's own: this machine's, if
// listed, is reached by naming the proxy (curl --noproxy '').
#pragma once

#include <chrono>
#include <memory>

#include <boost/asio/any_io_executor.hpp>

#include "sandbox/network.h"
#include "sandbox/start.h"

namespace lares::sandbox {

inline constexpr int kConnectionsMax = 64;  // at a time; more wait in the listener's queue
inline constexpr std::size_t kRequestHeaderMax = 16 << 10;
inline constexpr std::uint64_t kConnectionBytesMax = 8ull << 30;  // both ways together
inline constexpr std::chrono::seconds kHeaderTime{20}, kConnectTime{20}, kIdleTime{300};

class Proxy {
 public:
  // `listener` belongs to the sandbox's namespace. Runs on `io`, which one thread serves, until
  // stop() or destruction.
  static std::unique_ptr<Proxy> start(asio::any_io_executor io, Fd listener, AllowList allow,
                                      OnNetwork on_network);
  virtual ~Proxy() = default;
  virtual void stop() = 0;
};

}  // namespace lares::sandbox
