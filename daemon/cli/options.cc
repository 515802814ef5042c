#include "daemon/cli/options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <limits>
#include <system_error>

#include "daemon/cli/exit_status.h"
#include "daemon/cli/number_checks.h"
#include "daemon/cli/screen.h"
#include "daemon/cli/text.h"
#include "daemon/socket_path.h"
#include "daemon/wire.h"

namespace lares::cli {
namespace {

constexpr std::uint64_t kStepsMost = 1'000'000;  // of a turn

const std::function<void(const CLI::App&)>* describing = nullptr;  // see describe_options()

}  // namespace

namespace fs = std::filesystem;

const char* const kExitStatusHelp =
    "Exit status: 0 finished, 1 error, 2 wrong command line, 3 stopped by a limit, 130 "
    "interrupted.";

void DaemonOptions::add_to(CLI::App& app, bool starts_daemon, bool prints_json) {
  if (prints_json) app.add_flag("--json", json, "print JSON");
  app.add_option("--socket", socket,
                 "the daemon's socket (default: $LARES_SOCKET, else the user's own)");
  app.add_option("--state-dir", state_dir, "where the daemon keeps sessions and its log")
      ->group("");
  if (starts_daemon) {
    app.add_option("--model", model, "checkpoint directory for a daemon that has to be started");
  }
}

Result<> DaemonOptions::resolve() {
  auto path = daemon::socket_path(socket);
  if (!path) return tl::unexpected(Error{path.error()});
  auto state = daemon::state_dir(state_dir);
  if (!state) return tl::unexpected(Error{state.error()});
  // The daemon starts in another directory, so what it is told is absolute.
  std::error_code ec;
  for (std::string* p : {&*path, &*state}) {
    const fs::path absolute = fs::absolute(*p, ec);
    if (ec)
      return tl::unexpected(Error{fmt::format("find the current directory: {}", ec.message())});
    *p = absolute.lexically_normal().string();
  }
  socket = *path, state_dir = *state;
  if (model.empty()) return {};
  const fs::path given = fs::canonical(model, ec);
  if (ec)
    return tl::unexpected(
        Error{fmt::format("open the model directory {}: {}", model, ec.message())});
  model = given.string();
  return {};
}

void TurnOptions::add_to(CLI::App& app) {
  app.add_option("--session", session,
                 "continue this session (see lares sessions) instead of beginning one");
  app.add_option("--delivery", delivery,
                 "when the session is busy: start refuses, queue waits, steer tells the running "
                 "turn, interrupt replaces it")
      ->check(CLI::IsMember({"start", "queue", "steer", "interrupt"}));
  app.add_option("--policy", policy,
                 "what may change something unasked: auto, all but what loses work; edits, edits alone; "
                 "ask, nothing; plan and read-only: nothing is changed")
      ->check(CLI::IsMember({"auto", "edits", "ask", "plan", "read-only"}));
  app.add_flag("--dangerously-no-sandbox", no_sandbox,
               "let the model's commands run with all your rights, unconfined: network, home "
               "directory, everything");
  add_sampling_to(app);
}

void TurnOptions::add_sampling_to(CLI::App& app) {
  app.add_option("--root", root,
                 "the repository (default: the git worktree around the current directory, else "
                 "that directory)");
  app.add_flag("--greedy", greedy, "always the likeliest token; the same as --temperature 0");
  app.add_option("--temperature", temperature, "sampling temperature")
      ->check(number_in(0, 10));
  app.add_option("--seed", seed, "make sampling repeatable")
      ->check(whole_number_in(0, std::numeric_limits<std::uint64_t>::max()));
  app.add_option("--steps", steps_max, "stop after so many answers of the model")
      ->check(whole_number_in(1, kStepsMost));
  app.add_flag("--hide-thinking", hide_thinking, "show calls and the answer only");
}

Result<> TurnOptions::resolve() {
  const bool sampling = greedy || temperature || seed || steps_max || policy != "auto";
  if (!session.empty() && (sampling || no_sandbox || !root.empty())) {
    return tl::unexpected(
        Error{"--session continues a session as it was created: leave out --root, --policy, --greedy, "
              "--temperature, --seed, "
              "--steps and --dangerously-no-sandbox"});
  }
  if (greedy && temperature && *temperature != 0) {
    return tl::unexpected(
        Error{"--greedy and --temperature contradict each other: give one of them"});
  }
  if (greedy) temperature = 0.0;
  if (!session.empty()) return {};
  auto top = repository_root(root);
  if (!top) return tl::unexpected(std::move(top.error()));
  root = *top;
  return {};
}

Result<std::string> repository_root(const std::string& directory) {
  std::error_code ec;
  const fs::path start = fs::canonical(directory.empty() ? fs::path(".") : fs::path(directory), ec);
  if (ec || !fs::is_directory(start, ec)) {
    return tl::unexpected(
        Error{fmt::format("open the repository {}: {}", directory.empty() ? "." : directory,
                          ec ? ec.message() : "it is no directory")});
  }
  // A worktree's .git is a directory, or in linked worktrees and submodules a file.
  for (fs::path at = start;; at = at.parent_path()) {
    if (fs::exists(at / ".git", ec)) return at.string();
    if (at == at.root_path()) return start.string();
  }
}

void describe_options(int (*command)(int, const char* const*), const char* name,
                      const std::function<void(const CLI::App&)>& describe) {
  describing = &describe;
  command(1, &name);
  describing = nullptr;
}

std::optional<int> parse(CLI::App& app, int argc, const char* const* argv) {
  if (describing) {
    (*describing)(app);
    return kExitFinished;
  }
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return kExitFinished;
  } catch (const CLI::ParseError& e) {
    fmt::print(stderr, "{}: {}\nRun {} --help for what it takes.\n", app.get_name(), e.what(),
               app.get_name());
    return kExitUsage;
  }
}

int fail(const Error& error, bool json) {
  const int status = error.kind == Error::Kind::interrupted ? kExitInterrupted : kExitError;
  if (json) {
    const daemon::protocol::Json object = {
        {"type", "error"}, {"message", error.message}, {"code", error.code}};
    fmt::print("{}\n", daemon::protocol::dump(object));
    return status;
  }
  const Terminal terminal = Terminal::detect(STDERR_FILENO);
  fmt::print(stderr, "{} {}\n", terminal.paint(Style::red, "lares:"), printable(error.message));
  return status;
}

}  // namespace lares::cli
