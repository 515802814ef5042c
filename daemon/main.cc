// laresd: the daemon. Reads the command line and the environment, and hands everything to daemon.h.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "daemon/daemon.h"
#include "daemon/protocol/listen_address.h"
#include "daemon/protocol/nano_directory.h"
#include "daemon/protocol/socket_path.h"
#include "daemon/remote/remote.h"
#include "daemon/settings.h"
#include "daemon/skills/skills.h"
#include "daemon/turn/generation_config.h"
#include "daemon/version.h"
#include "engine/engine.h"
#include "engine/gpus.h"

namespace {

namespace fs = std::filesystem;
using namespace lares;

static_assert(daemon::kStepsMax == 200 && daemon::kIdleMax == std::chrono::days(90) &&
                  daemon::kClosedBytesMax == 4'000'000'000,
              "the table in settings.cc says so to people");

int failed(const std::string& why) {
  fmt::print(stderr, "laresd: {}\n", why);
  return 1;
}

std::string beside_this_executable(const char* name) {
  std::error_code ec;
  return (fs::read_symlink("/proc/self/exe", ec).parent_path() / name).string();
}

// What the user says for all repositories: mcp.json, hooks.json, AGENTS.md. A repository's own
// servers and hooks would be run on the word of whoever wrote it.
std::string config_dir() {
  const auto settings = daemon::settings_path();
  return settings ? fs::path(*settings).parent_path().string() : "";
}

int run(int argc, char** argv) {
  CLI::App app{"The Lares daemon: hosts the model, keeps sessions, serves a Unix socket.",
               "laresd"};
  std::string socket, state_dir, model, listen;
  bool without_token = false;
  std::int64_t threads = 0, context = 0, resident = 0;
  double memory = 0;
  app.add_option("--socket", socket, "where to listen (default: the user's own)");
  app.add_option("--listen", listen,
                 "serve HTTP on 127.0.0.1:PORT or [::1]:PORT too; clients need the token in "
                 "STATE_DIR/api-token (default: only on the socket)");
  app.add_flag("--listen-without-token", without_token,
               "clients over TCP need no token: every user of this machine can use the model, and "
               "sessions through it");
  app.add_option("--state-dir", state_dir, "where sessions are kept (default: the user's own)");
  app.add_option("--model", model, "checkpoint directory (default: nano, which comes with Lares)");
  auto* const threads_given = app.add_option(
                                     "--threads", threads,
                                     "threads of the engine; 0: the CPUs this process may use")
                                  ->check(CLI::Range(0, 1024));
  auto* const context_given = app.add_option("--context", context,
                                             "tokens a session may hold; 0: what the model can")
                                  ->check(CLI::NonNegativeNumber);
  auto* const resident_given = app.add_option("--resident", resident,
                                              "tokens of a repository that stand before its "
                                              "sessions; 0: 262144, or half of a shorter context")
                                   ->check(CLI::NonNegativeNumber);
  auto* const memory_given =
      app.add_option("--memory", memory,
                     "GB for weights, work space and all sessions; 0: what is free. With less than "
                     "they take, experts are read when they are asked for")
          ->check(CLI::Range(0.0, 1e6));
  app.footer(
      "What is not given here is taken from LARES_MODEL, LARES_MEMORY and so on, else from the "
      "file that `lares config` shows.");
  app.set_version_flag("--version", std::string("laresd ") + daemon::kVersion);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    return failed(e.what()), 2;
  }
  const auto settings = daemon::Settings::load();
  if (!settings) return failed(settings.error());
  for (const auto& warning : settings->warnings()) fmt::print(stderr, "laresd: {}\n", warning);
  if (socket.empty()) socket = settings->text("socket").value_or("");
  if (state_dir.empty()) state_dir = settings->text("state_dir").value_or("");
  if (model.empty()) model = settings->text("model").value_or(daemon::nano_directory());
  if (!*threads_given) threads = settings->whole("threads").value_or(0);
  if (!*context_given) context = settings->whole("context").value_or(0);
  if (!*resident_given) resident = settings->whole("resident").value_or(0);
  if (!*memory_given) memory = settings->number("memory").value_or(0);
  std::string listen_hint = "give --listen another port";
  if (const auto* set = settings->find("listen"); set && listen.empty()) {
    listen = set->text;
    listen_hint =
        set->from_environment
            ? "set LARES_LISTEN to another port"
            : "`lares config set listen 127.0.0.1:PORT` names another port, `lares config "
              "unset listen` serves no HTTP over TCP";
  }
  if (!without_token) without_token = settings->flag("listen_without_token").value_or(false);
  if (!listen.empty() && !daemon::parse_listen_address(listen))
    return failed(fmt::format("listen on {}: it must be {}", listen, daemon::kListenAddressForm)),
           2;
  std::error_code ec;
  if (const fs::path real = fs::canonical(model, ec); !ec)
    model = real.string();  // else the loader says what is missing
  daemon::DaemonOptions options;
  for (auto [given, resolved, into] :
       {std::tuple{&socket, daemon::socket_path(socket), &options.socket},
        std::tuple{&state_dir, daemon::state_dir(state_dir), &options.state_dir}}) {
    if (!resolved) return failed(resolved.error());
    *into = fs::absolute(*resolved, ec).lexically_normal().string();
  }
  auto defaults = daemon::generation_defaults(model);
  if (!defaults) return failed(defaults.error());
  options.defaults = *defaults;
  options.resident_tokens = resident;
  options.model_directory = model;
  options.sandbox_launcher = beside_this_executable("lares-sandbox");
  options.network_allow = settings->list("network_allow");
  if (const auto seconds = settings->whole("command_timeout"))
    options.command_timeout_ms = static_cast<int>(*seconds * 1000);
  options.config_dir = config_dir();
  options.mcp_config = options.config_dir.empty() ? "" : options.config_dir + "/mcp.json";
  options.home = daemon::skills_home();
  options.effort = settings->text("effort").value_or("");
  if (const auto wake = settings->text("wake"); wake == "always")
    options.wake = daemon::Wake::always;
  else if (wake == "never")
    options.wake = daemon::Wake::never;
  options.listen = listen, options.listen_hint = listen_hint;
  options.listen_without_token = without_token;
  const engine::DeviceChoice device{
      settings->text("device").value_or("auto"),
      static_cast<std::uint64_t>(settings->number("gpu_memory").value_or(0) * 1e9),
      daemon::tiles_dir()};
  const std::string remote = settings->text("remote").value_or("");
  options.load = [&](const daemon::EngineHost::Loading& loading) {
    if (!remote.empty())
      return daemon::load_remote(
          {.url = remote,
           .key_file = options.config_dir.empty() ? "" : options.config_dir + "/remote-key",
           .directory = model,
           .n_context = context,
           .stop = loading.stop,
           .waits = loading.waits});
    auto loaded = engine::load_on(device,
                                  {.directory = model,
                                   .n_threads = static_cast<int>(threads),
                                   .n_context = context,
                                   .memory = static_cast<std::uint64_t>(memory * 1e9),
                                   .heat_directory = options.state_dir},
                                  loading.progress);
    if (!loaded && loaded.error().code == engine::Errc::no_memory && memory > 0)
      loaded.error().message += fmt::format(
          "; the limit is {} GB, by --memory, LARES_MEMORY or `lares config set memory`", memory);
    return loaded;
  };
  if (const auto days = settings->whole("idle_days"))
    options.kept_limits.idle = std::chrono::days(*days);
  if (const auto gb = settings->number("closed_disk"))
    options.kept_limits.closed_bytes = static_cast<std::uint64_t>(*gb * 1e9);
  daemon::Log log(STDERR_FILENO);
  log.rotate(options.state_dir + "/laresd.log");
  return daemon::run_daemon(options, log);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    return failed(e.what());
  }
}
