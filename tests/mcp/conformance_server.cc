// The conformance suite's fixtures behind the daemon's own HTTP server: conformance_server PORT [0
// takes any, and it is said on stdout].
#include <cstdio>
#include <cstdlib>

#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/thread_pool.hpp>

#include "daemon/http/router.h"
#include "daemon/http/server.h"
#include "daemon/mcp/http.h"
#include "tests/mcp/conformance_provider.h"

int main(int argc, char** argv) {
  using namespace lares;
  namespace asio = boost::asio;
  if (argc != 2) return 2;
  asio::io_context io(1);
  mcp::server::test::ConformanceProvider provider(io.get_executor());
  mcp::server::Endpoint endpoint(io.get_executor(), provider);
  provider.tell(endpoint);
  asio::thread_pool aside(1);
  daemon::McpHttp http(endpoint, aside);
  daemon::Router router;
  for (const char* method : {"POST", "GET", "DELETE"}) {
    router.add(method, "/mcp", [&](daemon::Exchange& exchange) { return http.handle(exchange); });
  }
  const daemon::Log log(STDERR_FILENO);
  daemon::HttpServer server(io.get_executor(), router, log);
  const auto where = server.listen(
      {asio::ip::make_address("127.0.0.1"), static_cast<unsigned short>(std::atoi(argv[1]))}, "");
  if (!where) {
    std::fprintf(stderr, "%s\n", where.error().c_str());
    return 1;
  }
  std::printf("http://127.0.0.1:%d/mcp\n", where->port());
  std::fflush(stdout);
  asio::signal_set signals(io, SIGTERM, SIGINT);
  signals.async_wait([&](const boost::system::error_code&, int) { io.stop(); });
  io.run();
  return 0;
}
