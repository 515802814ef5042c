#include "daemon/daemon.h"

#include <signal.h>

#include <chrono>
#include <cstdio>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "daemon/completions/generator.h"
#include "daemon/contexts.h"
#include "daemon/dialects/dialects.h"
#include "daemon/ended.h"
#include "daemon/http/api_token.h"
#include "daemon/http/router.h"
#include "daemon/http/server.h"
#include "daemon/mcp/door.h"
#include "daemon/on_disk_pool.h"
#include "daemon/protocol/listen_address.h"
#include "daemon/protocol/nano_directory.h"
#include "daemon/resident/unused_stores.h"
#include "daemon/server/listener.h"
#include "daemon/server/server.h"
#include "daemon/service_manager.h"
#include "daemon/session/wired_sessions.h"
#include "daemon/state_dir.h"
#include "daemon/turn/prompt.h"
#include "daemon/version.h"
#include "sandbox/open_files.h"
#include "tools/snapshots/stop.h"
#include "tools/workspace/own_files.h"

namespace lares::daemon {
namespace {

// Of journals: they must not wait for a repository that is rendered or read back
constexpr unsigned kDiskThreads = 2;
constexpr unsigned kTreeThreads = 3;
constexpr unsigned kToolThreads = 4;  // of all sessions: edits, outline, git, syntax checks
constexpr std::size_t kBootIdLength = 16;
constexpr std::chrono::hours kCleanEvery{24};

int failed(const std::string& why) {
  fmt::print(stderr, "laresd: {}\n", why);
  return 1;
}

// Gives the address, with its port.
tl::expected<std::string, std::string> listen(HttpServer& http, const DaemonOptions& options) {
  const auto address = parse_listen_address(options.listen);
  if (!address)
    return tl::unexpected(
        fmt::format("listen on {}: it must be {}", options.listen, kListenAddressForm));
  std::string token;
  if (!options.listen_without_token) {
    auto made = api_token(options.state_dir);
    if (!made) return tl::unexpected(std::move(made.error()));
    token = std::move(*made);
  }
  const asio::ip::address host = address->v6 ? asio::ip::address(asio::ip::address_v6::loopback())
                                             : asio::ip::address(asio::ip::address_v4::loopback());
  const auto bound = http.listen({host, address->port}, std::move(token));
  if (!bound)
    return tl::unexpected(options.listen_hint.empty()
                              ? bound.error()
                              : fmt::format("{}; {}", bound.error(), options.listen_hint));
  return fmt::format(fmt::runtime(address->v6 ? "[{}]:{}" : "{}:{}"), bound->address().to_string(),
                     bound->port());
}

}  // namespace

int run_daemon(const DaemonOptions& options, const Log& log) {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  sandbox::raise_open_files();
  IoLoop io(1);
  const ServiceManager manager;
  const auto handed = handed_over();
  if (!handed) return failed(handed.error());
  const std::string socket = *handed ? (*handed)->path : options.socket;
  auto state = StateDir::open(options.state_dir, socket);
  if (!state) return failed(state.error());
  // From when it can be reached: one that comes before it serves is heard as soon as it does.
  asio::signal_set signals(io, SIGTERM, SIGINT);
  auto listener = *handed ? Listener::take(io.get_executor(), **handed)
                          : Listener::open(io.get_executor(), socket);
  if (!listener) return failed(listener.error());
  if (!options.config_dir.empty()) tools::mark_as_own(options.config_dir);  // where there is one
  Router router;
  HttpServer http(io.get_executor(), router, log, options.http_limits);
  std::string http_at;
  if (!options.listen.empty()) {
    auto listens = listen(http, options);
    if (!listens) return failed(listens.error());
    http_at = std::move(*listens);
  }
  log.event("start", {{"version", kVersion},
                      {"socket", socket},
                      {"state_dir", options.state_dir},
                      {"model", options.model_directory}});

  DiskPool disk(kDiskThreads), trees(kTreeThreads), tool_threads(kToolThreads);
  EngineHost host(io.get_executor());
  McpDoor* told = nullptr;
  WiredSessions wired({.io = io.get_executor(),
                       .disk = &disk,
                       .tool_threads = &tool_threads,
                       .host = &host,
                       .log = &log,
                       .state_dir = options.state_dir,
                       .sandbox_launcher = options.sandbox_launcher,
                       .mcp_config = options.mcp_config,
                       .config_dir = options.config_dir,
                       .home = options.home,
                       .network_allow = options.network_allow,
                       .defaults = options.defaults,
                       .wake = options.wake,
                       .command_timeout_ms = options.command_timeout_ms,
                       .changed =
                           [&] {
                             if (told) told->sessions_changed();
                           }},
                      trees,
                      options.resident_tokens > 0 ? options.resident_tokens : kResidentTokens,
                      options.kept_limits);
  Sessions& sessions = wired.sessions;
  sessions.load();
  Generator generator(io.get_executor(), host, log,
                      {.model = name_of_model(options.model_directory),
                       .words = {std::string(kGeneration),
                                 options.effort.empty() ? std::string(kEffort) : options.effort},
                       .sampling = options.defaults.sampling,
                       .think_tokens_max = options.defaults.think_tokens_max});
  McpDoor mcp(io.get_executor(), sessions, trees);
  told = &mcp;
  Server server(io.get_executor(), disk, host, wired.residents, sessions, wired.worktrees, http,
                log,
                {.socket = socket,
                 .state_dir = options.state_dir,
                 .model_directory = options.model_directory,
                 .version = kVersion,
                 .http = http_at,
                 .daemon_id = state->id(),
                 .boot_id = random_hex(kBootIdLength),
                 .shell = {.root = options.state_dir,
                           .state_dir = options.state_dir,
                           .sandbox_launcher = options.sandbox_launcher},
                 .limits = options.client_limits,
                 .ending = [&] {
                   generator.end();
                   host.stop_background();
                 }});
  const HttpHandler health = [&](Exchange& exchange) -> asio::awaitable<void> {
    HttpReply reply{.body = server.health()};
    co_await exchange.reply(std::move(reply));
  };
  router.add("GET", "/health", health);
  add_dialects(router, generator);
  for (const char* method : {"POST", "GET", "DELETE"})
    router.add(method, "/mcp", [&](Exchange& exchange) { return mcp.http(exchange); });
  router.shape_errors(
      "/mcp", [](unsigned, std::string_view message) { return McpDoor::refusal_body(message); });
  server.lead_to(mcp);
  if (options.more_routes) options.more_routes(router);
  host.start(options.load, [&](const protocol::ServerState& s) { server.engine_changed(s); });
  sessions.resume();
  manager.tell("READY=1");  // it listens, and answers; the model may still be loading

  const auto on_signal = [&]() -> asio::awaitable<void> {
    auto [ec, number] = co_await signals.async_wait(asio::as_tuple(asio::use_awaitable));
    if (ec) co_return;
    log.event("signal", {{"number", number}});
    co_await server.stop(/*now=*/true);
  };
  const auto serve = [&]() -> asio::awaitable<void> {
    co_await server.serve(*listener);
    manager.tell("STOPPING=1");
    host.stop_background();
    boost::system::error_code ignored;
    signals.cancel(ignored);
    io.stop();
  };
  // The repository that was worked on last is there again before anybody asks.
  const auto prepare = [&]() -> asio::awaitable<void> {
    co_await host.settled();
    const auto all = sessions.list({}, /*closed=*/true);
    if (!host.engine() || all.empty()) co_return;
    const auto worktree = wired.records.find(all.front().root);
    const std::string root = worktree ? worktree->worktree_of : all.front().root;
    std::string why;
    try {
      const auto begun = co_await wired.residents.of(root)->begin();
      if (!begun) why = begun.error();
    } catch (const std::exception& e) {
      why = e.what();
    }
    if (!why.empty()) log.event("not_prepared", {{"root", root}, {"why", why}});
  };
  const auto clean = [&]() -> asio::awaitable<void> {
    const auto remove = [&] { return remove_unused_stores(wired.stores, {}); };
    for (asio::steady_timer timer(io);;) {
      timer.expires_after(kCleanEvery);
      try {
        for (const std::string& line : co_await on_disk_pool(trees, remove))
          log.event("unused_store", {{"what", line}});
      } catch (const std::exception& e) {
        log.event("unused_store", {{"what", e.what()}});
      }
      co_await timer.async_wait(asio::use_awaitable);
    }
  };
  asio::co_spawn(io, sessions.take_back_unfinished(wired.records.all()),
                 logged(log, "taking worktrees back"));
  // Without either nobody is served, or nothing ends the daemon.
  int status = 0;
  const auto or_end = [&](const char* what) {
    return logged(log, what, [&, what](const std::string& why) {
      if (why.empty()) return;
      status = failed(fmt::format("{}: {}; start the daemon again", what, why));
      host.stop_background();
      io.stop();
    });
  };
  asio::co_spawn(io, prepare, logged(log, "preparing a repository"));
  asio::co_spawn(io, clean, logged(log, "removing unused stores"));
  asio::co_spawn(io, on_signal, or_end("end on a signal"));
  asio::co_spawn(io, serve, or_end("serve clients"));
  io.run();
  sessions.leave();
  // What still runs elsewhere ends, and what waits is unwound, while all that they work with is
  // there.
  tools::stop_snapshots();
  host.end();
  generator.abandon();
  for (DiskPool* pool : {&trees, &disk, &tool_threads}) pool->abandon();
  io.abandon();
  log.event("end");
  return status;
}

}  // namespace lares::daemon
