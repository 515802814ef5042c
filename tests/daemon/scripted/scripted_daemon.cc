// laresd with a scripted model: scripted_daemon SOCKET STATE_DIR SCRIPT. SCRIPT is a JSON array of
// answers:
//   {"text": "...", "openEnded": false, "failAt": -1, "gate": "FIFO", "step": 0, "us": 0, "others":
//   [[AT, "...", LOGPROB]]}
// gate: the answer begins when somebody opens the FIFO for writing; step: of a session, from 1,
// whichever comes to it next; 0: any step; us: before each token it waits so long; others: at token
// AT it could have said that, too, or
// {"fail": "why"} alone: the model cannot be loaded; or "prompts" instead of all that: the prompts
// say what is answered to them, or "files": it writes the file that is asked for with whatever tool
// a client has; {"files": {"us": 0, "broken": 0}}: with these mishaps
// (tests/clients/client_director.h). In the environment: $LARES_TEST_CONFIG, the folder of the
// user's own configuration; $LARES_TEST_HOME, where the user's own skills are;
// $LARES_TEST_CONTEXT, tokens of the model's context; $LARES_TEST_WORDS:
// another model's words; $LARES_TEST_CHUNK:
// it evaluates prompts so many tokens at a time, each in $LARES_TEST_CHUNK_MS, and has prefixes;
// $LARES_TEST_CLIENTS, $LARES_TEST_FIRST_BYTE_MS: client_limits.h's;
// $LARES_TEST_HTTP=quick: HTTP's patience is a second where it was a minute; $LARES_TEST_LISTEN: as
// --listen; $LARES_TEST_CLOSED="N BYTES": of closed sessions; $LARES_TEST_IDLE_MS: until an idle
// one is put away; $LARES_TEST_COMMAND_MS: until a command is ended; $LARES_TEST_WAKE=never: no
// session goes on by itself; $LARES_TEST_PEEK=throws: there is no memory wherever it looks at what
// a client says first. It also answers what http_routes.h says.
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <new>
#include <string_view>
#include <thread>

#include <nlohmann/json.hpp>

#include "daemon/daemon.h"
#include "tests/clients/client_director.h"
#include "tests/daemon/http/http_routes.h"
#include "tests/daemon/scripted/scripted_engine.h"

namespace {

lares::daemon::Mishaps mishaps_of(const nlohmann::json& files) {
  return {.pause = std::chrono::microseconds(files.value("us", 0)),
          .n_broken = files.value("broken", 0)};
}

}  // namespace

// In the place of the C library's.
extern "C" ssize_t recv(int fd, void* buffer, size_t n, int flags) {
  if (flags & MSG_PEEK && std::getenv("LARES_TEST_PEEK")) throw std::bad_alloc();
  return ::recvfrom(fd, buffer, n, flags, nullptr, nullptr);
}

int main(int argc, char** argv) {
  using namespace lares;
  if (argc != 4) return 2;
  std::ifstream file(argv[3]);
  const auto script = nlohmann::json::parse(file);
  daemon::DaemonOptions options;
  options.socket = argv[1], options.state_dir = argv[2], options.model_directory = "scripted";
  options.sandbox_launcher =
      (std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "bin" /
       "lares-sandbox")
          .string();
  const char* const context = std::getenv("LARES_TEST_CONTEXT");
  if (const char* config = std::getenv("LARES_TEST_CONFIG"))
    options.config_dir = config, options.mcp_config = options.config_dir + "/mcp.json";
  if (const char* home = std::getenv("LARES_TEST_HOME")) options.home = home;
  options.more_routes = daemon::add_test_routes;
  if (const char* http = std::getenv("LARES_TEST_HTTP");
      http && std::string_view(http) == "quick") {
    using std::chrono::milliseconds;
    auto& limits = options.http_limits;
    limits.header_time = limits.body_silence = milliseconds(600),
    limits.idle = limits.slow_reader = milliseconds(1500);
    limits.keep_alive_every = limits.status_known = milliseconds(100),
    limits.linger = milliseconds(300);
  }
  if (const char* clients = std::getenv("LARES_TEST_CLIENTS"))
    options.client_limits.clients = static_cast<std::size_t>(std::atoll(clients));
  if (const char* ms = std::getenv("LARES_TEST_FIRST_BYTE_MS"))
    options.client_limits.first_byte = std::chrono::milliseconds(std::atoll(ms));
  if (const char* closed = std::getenv("LARES_TEST_CLOSED")) {
    char* rest = nullptr;
    options.kept_limits.closed_sessions = std::strtoll(closed, &rest, 10);
    if (*rest == ' ') options.kept_limits.closed_bytes = std::strtoull(rest, nullptr, 10);
  }
  if (const char* ms = std::getenv("LARES_TEST_IDLE_MS"))
    options.kept_limits.idle = std::chrono::milliseconds(std::atoll(ms));
  if (const char* ms = std::getenv("LARES_TEST_COMMAND_MS"))
    options.command_timeout_ms = std::atoi(ms);
  if (const char* listen = std::getenv("LARES_TEST_LISTEN")) options.listen = listen;
  if (const char* wake = std::getenv("LARES_TEST_WAKE"); wake && std::string_view(wake) == "never")
    options.wake = daemon::Wake::never;
  options.listen_without_token = std::getenv("LARES_TEST_WITHOUT_TOKEN") != nullptr;
  options.load =
      [&](const daemon::EngineHost::Loading&) -> engine::Result<std::unique_ptr<engine::Engine>> {
    const auto as_asked = [&](std::unique_ptr<daemon::ScriptedEngine> engine) {
      if (std::getenv("LARES_TEST_WORDS")) engine->use_another_vocabulary();
      const char* const ms = std::getenv("LARES_TEST_CHUNK_MS");
      std::function<void(std::int64_t)> wait;
      if (ms)
        wait = [takes = std::chrono::milliseconds(std::atoll(ms))](std::int64_t) {
          std::this_thread::sleep_for(takes);
        };
      if (const char* chunk = std::getenv("LARES_TEST_CHUNK"))
        engine->evaluate_in_chunks(std::atoll(chunk), wait);
      return engine;
    };
    const std::int64_t n_context = context ? std::atoll(context) : 1 << 20;
    if (script == "prompts")
      return as_asked(std::make_unique<daemon::ScriptedEngine>(daemon::said_by_prompt, n_context));
    if (script == "files")
      return as_asked(std::make_unique<daemon::ScriptedEngine>(daemon::writes_file, n_context));
    if (script.is_object())
      return as_asked(std::make_unique<daemon::ScriptedEngine>(
          daemon::writes_file_with(mishaps_of(script.at("files"))), n_context));
    std::deque<daemon::Play> plays;
    for (const auto& answer : script) {
      if (answer.contains("fail"))
        return tl::unexpected(engine::Error{engine::Errc::malformed, answer["fail"]});
      daemon::Play play{.text = answer.at("text"),
                        .open_ended = answer.value("openEnded", false),
                        .step = answer.value("step", 0),
                        .fail_at = answer.value("failAt", -1)};
      if (const std::string gate = answer.value("gate", ""); !gate.empty()) {
        play.at_sync = [gate] { std::ifstream(gate).get(); };
      }
      if (const std::chrono::microseconds pause(answer.value("us", 0)); pause.count() > 0)
        play.before_token = [pause](std::int64_t) { std::this_thread::sleep_for(pause); };
      for (const auto& other : answer.value("others", nlohmann::json::array()))
        play.others[other.at(0)] = {other.at(1), other.at(2)};
      plays.push_back(std::move(play));
    }
    return as_asked(std::make_unique<daemon::ScriptedEngine>(std::move(plays), n_context));
  };
  return daemon::run_daemon(options, daemon::Log(STDERR_FILENO));
}
