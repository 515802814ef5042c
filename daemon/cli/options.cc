#include "daemon/cli/options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <span>
#include <string_view>
#include <system_error>
#include <vector>

#include "daemon/cli/exit_status.h"
#include "daemon/cli/help.h"
#include "daemon/cli/option_checks.h"
#include "daemon/cli/policy_option.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/cli/terminal/screen.h"
#include "daemon/cli/usage_fault.h"
#include "daemon/protocol/socket_path.h"
#include "daemon/protocol/wire.h"
#include "daemon/repository.h"
#include "daemon/settings.h"
#include "daemon/shown/text.h"
#include "daemon/turn/answer_schema.h"

namespace lares::cli {
namespace {

constexpr std::uint64_t kStepsMost = 1'000'000;  // of a turn

const std::function<void(const CLI::App&)>* describing = nullptr;  // see describe_options()

}  // namespace

namespace fs = std::filesystem;
namespace protocol = daemon::protocol;

const char* const kShortExitStatusHelp = "Exit: 0 done, 1 error, 2 wrong usage, 130 interrupted.";
const char* const kExitStatusHelp =
    "Exit: 0 finished, 1 error, 2 wrong usage, 3 stopped by a limit, 130 interrupted.";

void DaemonOptions::add_to(CLI::App& app, bool starts_daemon, bool prints_json) {
  if (prints_json) app.add_flag("--json", json, "print JSON");
  app.add_option("--socket", socket, "the daemon's socket (default: $LARES_SOCKET, or yours)");
  app.add_option("--state-dir", state_dir, "where the daemon keeps sessions and its log")
      ->group("");
  if (starts_daemon)
    app.add_option("--model", model, "checkpoint directory, where a daemon is started")
        ->type_name("DIR");
}

Result<daemon::Settings> user_settings() {
  auto settings = daemon::Settings::load();
  if (!settings) return tl::unexpected(Error{std::move(settings.error())});
  return std::move(*settings);
}

Result<> DaemonOptions::resolve() {
  const auto settings = user_settings();
  if (!settings) return tl::unexpected(settings.error());
  return resolve(*settings, /*starts_daemon=*/true);
}

Result<> DaemonOptions::resolve_to_reach() {
  const auto settings = user_settings();
  if (!settings) return tl::unexpected(settings.error());
  return resolve(*settings, /*starts_daemon=*/false);
}

Result<> DaemonOptions::resolve_what_is_sound() {
  const auto settings = daemon::Settings::load_sound();
  for (const auto& fault : settings.faults()) faults.push_back(fault.line);
  return resolve(settings, /*starts_daemon=*/false);
}

Result<> DaemonOptions::resolve(const daemon::Settings& settings, bool starts_daemon) {
  for (const auto& warning : settings.warnings()) print_err("lares: {}\n", printable(warning));
  if (socket.empty()) socket = settings.text("socket").value_or("");
  if (state_dir.empty()) state_dir = settings.text("state_dir").value_or("");
  auto path = daemon::socket_path(socket);
  if (!path) return tl::unexpected(Error{path.error()});
  auto state = daemon::state_dir(state_dir);
  if (!state && (starts_daemon || !state_dir.empty())) return tl::unexpected(Error{state.error()});
  if (!state) state.emplace();
  // The daemon starts in another directory, so what it is told is absolute.
  std::error_code ec;
  for (std::string* p : {&*path, &*state}) {
    if (p->empty()) continue;
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
        Error{fmt::format("open the model directory {}: {}; name the directory of a checkpoint, or "
                          "leave it out for nano",
                          model, ec.message())});
  model = given.string();
  return {};
}

namespace {

// What is wrong with it is said before anything begins.
Result<std::string> read_schema(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return tl::unexpected(Error{fmt::format("read --schema {}: {}", path, std::strerror(errno))});
  std::string text(daemon::kAnswerSchemaBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.empty())
    return tl::unexpected(Error{fmt::format(
        "read --schema {}: it is empty, or no file; {{}} is the schema of any document", path)});
  if (const auto schema = daemon::answer_schema(text); !schema)
    return tl::unexpected(Error{fmt::format("obey --schema {}: {}", path, schema.error())});
  return text;
}

}  // namespace

void TurnOptions::add_to(CLI::App& app) {
  auto* id = app.add_option("--session", session, "go on with this session (see lares sessions)")
                 ->type_name("ID")
                 ->check(session_id());
  app.add_flag("--continue", newest, "go on with the newest of this repository")->excludes(id);
  app.add_option("--delivery", delivery, "to a busy one: start, queue, steer or interrupt")
      ->check(CLI::IsMember({"start", "queue", "steer", "interrupt"}));
  add_policy(app, policy, "what needs no asking");
  app.add_flag("--dangerously-no-sandbox", no_sandbox,
               "commands run with all your rights, unconfined");
  add_sampling_to(app);
}

void TurnOptions::add_sampling_to(CLI::App& app) {
  app.add_option("--root", root, "the repository (default: the one you are in)")
      ->type_name("DIR")
      ->check(directory_name());
  app.add_flag("--greedy", greedy, "always the likeliest token: --temperature 0")->group(kSeldom);
  app.add_option("--temperature", temperature, "sampling temperature; 0 is greedy")
      ->group(kSeldom)
      ->check(number_in(0, 10));
  app.add_option("--seed", seed, "make sampling repeatable")
      ->check(whole_number_in(0, std::numeric_limits<std::uint64_t>::max()))
      ->group(kSeldom);
  app.add_option("--steps", steps_max, "stop after so many answers of the model")
      ->group(kSeldom)
      ->check(whole_number_in(1, kStepsMost));
  app.add_flag_function(
      "--hide-thinking", [this](std::int64_t n) { hide_thinking = n > 0; },
      "show calls and the answer only");  // =false: though the settings say it
}

Result<> TurnOptions::resolve() {
  const bool sampling = until_tests_pass || greedy || temperature || seed || steps_max ||
                        !policy.empty() || !schema_file.empty();
  const bool goes_on = newest || !session.empty();
  if (goes_on && (sampling || no_sandbox || !root.empty())) {
    return tl::unexpected(Error{fmt::format(
        "{} continues a session as it was created: leave out --root, --policy, --greedy, "
        "--temperature, --seed, --steps, --schema, --until-tests-pass and "
        "--dangerously-no-sandbox",
        newest ? "--continue" : "--session")});
  }
  if (greedy && temperature && *temperature != 0) {
    return tl::unexpected(
        Error{"--greedy and --temperature contradict each other: give one of them"});
  }
  if (greedy) temperature = 0.0;
  if (!schema_file.empty()) {
    auto schema = read_schema(schema_file);
    if (!schema) return tl::unexpected(std::move(schema.error()));
    answer_schema = std::move(*schema);
  }
  const auto settings = user_settings();
  if (!settings) return tl::unexpected(settings.error());
  if (!hide_thinking) hide_thinking = settings->flag("hide_thinking");
  if (goes_on) return {};
  if (policy.empty())
    policy = settings->text("policy").value_or(protocol::SessionSettings{}.policy);
  if (!temperature) temperature = settings->number("temperature");
  if (!steps_max) steps_max = settings->whole("steps");
  auto top = repository_root(root);
  if (!top) return tl::unexpected(std::move(top.error()));
  if (const auto why = daemon::why_no_session(*top); !why.empty())
    return tl::unexpected(Error{why});
  root = *top;
  return {};
}

Result<std::string> repository_root(const std::string& directory) {
  std::error_code ec;
  const fs::path start = fs::canonical(directory.empty() ? fs::path(".") : fs::path(directory), ec);
  if (ec || !fs::is_directory(start, ec)) {
    return tl::unexpected(Error{fmt::format(
        "open the repository {}: {}; name a directory that you may read",
        directory.empty() ? "." : directory, ec ? ec.message() : "it is no directory")});
  }
  // A worktree's .git is a directory, or in linked worktrees and submodules a file.
  for (fs::path at = start;; at = at.parent_path()) {
    if (fs::exists(at / ".git", ec)) return at.string();
    if (at != at.root_path()) continue;
    if (start == start.root_path())
      return tl::unexpected(
          Error{"open the repository /: that is the whole file system, devices and all; name a "
                "directory in it"});
    return start.string();
  }
}

void describe_options(int (*command)(int, const char* const*), const char* name,
                      const std::function<void(const CLI::App&)>& describe) {
  describing = &describe;
  command(1, &name);
  describing = nullptr;
}

namespace {

void print_error_json(const std::string& message, int code) {
  const protocol::Json object = {{"type", "error"}, {"message", message}, {"code", code}};
  print_out("{}\n", protocol::dump(object));
}

}  // namespace

std::optional<int> parse(CLI::App& app, int argc, const char* const* argv) {
  if (describing) {
    (*describing)(app);
    return kExitFinished;
  }
  const auto words = std::span(argv, static_cast<std::size_t>(argc)).subspan(argc > 0 ? 1 : 0);
  std::string why = empty_value(app, words);
  try {
    if (why.empty()) {
      app.parse(argc, argv);
      return std::nullopt;
    }
  } catch (const CLI::CallForHelp&) {
    print_out("{}", help_text(app, Terminal::detect(STDOUT_FILENO).width));
    return kExitFinished;
  } catch (const CLI::ParseError& e) {
    why = usage_fault(app, e, words);
  }
  const bool json = std::ranges::find(words, std::string_view("--json")) != words.end();
  return wrong_usage(path_of(subcommand_of(app)), why, json);
}

int wrong_usage(const std::string& command, const std::string& why, bool json) {
  return say_why_not(fmt::format("{0}: {1}; `{0} --help` says what it takes", command, why),
                     kExitUsage, json);
}

int say_why_not(const std::string& message, int status, bool json) {
  if (json)
    print_error_json(message, 0);
  else
    print_err("{}\n", message);
  return status;
}

int fail(const Error& error, bool json) {
  const int status = error.kind == Error::Kind::interrupted ? kExitInterrupted : kExitError;
  if (json) {
    print_error_json(error.message, error.code);
    return status;
  }
  const Terminal terminal = Terminal::detect(STDERR_FILENO);
  const char* const way_out =
      error.message.ends_with(std::strerror(ENOSPC))
          ? "; free some, or set LARES_STATE_DIR to a directory on another disk"
      : error.message.starts_with("load the model: ")
          ? "; `lares config` shows where its directory is set, `lares doctor` looks at it"
          : "";
  print_err("{} {}{}\n", terminal.paint(Style::red, "lares:"), printable(error.message), way_out);
  return status;
}

}  // namespace lares::cli
