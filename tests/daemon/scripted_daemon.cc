// laresd with a scripted model: scripted_daemon SOCKET STATE_DIR SCRIPT. SCRIPT is a JSON array of answers:
//   {"text": "...", "openEnded": false, "gate": "FIFO", "step": 0}
// gate: the answer begins when somebody opens the FIFO for writing; step: of a session, from 1, whichever comes to it next; 0: any step
// or {"fail": "why"} alone: the model cannot be loaded; or "prompts" instead of all that: the prompts say what is answered to them. The
// user's own configuration is in $LARES_TEST_CONFIG, the model's context in $LARES_TEST_CONTEXT.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "daemon/daemon.h"
#include "tests/daemon/scripted_engine.h"

int main(int argc, char** argv) {
  using namespace lares;
  if (argc != 4) return 2;
  std::ifstream file(argv[3]);
  const auto script = nlohmann::json::parse(file);
  daemon::DaemonOptions options;
  options.socket = argv[1], options.state_dir = argv[2], options.model_directory = "scripted";
  options.sandbox_launcher = (std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "bin" / "lares-sandbox").string();
  const char* const context = std::getenv("LARES_TEST_CONTEXT");
  if (const char* config = std::getenv("LARES_TEST_CONFIG")) options.config_dir = config, options.mcp_config = options.config_dir + "/mcp.json";
  options.load = [&](const engine::Progress&) -> engine::Result<std::unique_ptr<engine::Engine>> {
    if (script == "prompts") return std::make_unique<daemon::ScriptedEngine>(daemon::said_by_prompt);
    std::deque<daemon::Play> plays;
    for (const auto& answer : script) {
      if (answer.contains("fail")) return tl::unexpected(engine::Error{engine::Errc::malformed, answer["fail"]});
      daemon::Play play{.text = answer.at("text"), .open_ended = answer.value("openEnded", false), .step = answer.value("step", 0)};
      if (const std::string gate = answer.value("gate", ""); !gate.empty()) {
        play.at_sync = [gate] { std::ifstream(gate).get(); };
      }
      plays.push_back(std::move(play));
    }
    return std::make_unique<daemon::ScriptedEngine>(std::move(plays), context ? std::atoll(context) : 1 << 20);
  };
  return daemon::run_daemon(options, daemon::Log(STDERR_FILENO));
}
