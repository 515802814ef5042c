// What several subcommands share on the command line.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "daemon/client/error.h"
#include "daemon/client/start.h"

namespace CLI {
class App;
}
namespace lares::daemon {
class Settings;
}

namespace lares::cli {

struct DaemonOptions : DaemonAddress {  // once resolve()d
  bool json = false;
  // Of the settings, where they are taken as far as they are sound
  std::vector<std::string> faults;

  void add_to(CLI::App& app, bool starts_daemon, bool prints_json = true);
  Result<> resolve();
  // For what starts no daemon: where the state directory cannot be found, it stays empty.
  Result<> resolve_to_reach();
  // The same for what mends, or is wanted whatever the settings say: what makes no sense in them is
  // left out, and in `faults`.
  Result<> resolve_what_is_sound();

 private:
  Result<> resolve(const daemon::Settings& settings, bool starts_daemon);
};

struct TurnOptions {
  std::string root;     // absolute once resolved
  std::string session;  // continue this one; empty: a new one
  bool newest = false;  // or the newest of the repository that one is in
  std::string delivery = "start";
  std::string policy;  // as the rest from here on: what is not given, the settings say
  bool greedy = false, no_sandbox = false, until_tests_pass = false;
  std::string schema_file, answer_schema;  // the latter, once resolved, what is in the file
  std::optional<bool> hide_thinking;
  std::optional<double> temperature;
  std::optional<std::uint64_t> seed;
  std::optional<std::int64_t> steps_max;

  void add_to(CLI::App& app);
  void add_sampling_to(CLI::App& app);  // of a new session: where it is about, and how it samples
  Result<> resolve();
};

// The user's settings; what they do not know was said by DaemonOptions::resolve().
Result<daemon::Settings> user_settings();

// The top of the git worktree around `directory` (empty: the current one), else the directory
// itself; absolute.
Result<std::string> repository_root(const std::string& directory);

// Parses; an exit status means the subcommand is over (--help was asked for, or the line was
// wrong).
std::optional<int> parse(CLI::App& app, int argc, const char* const* argv);

// Runs `command` no further than its parse(), which hands its options to `describe`: they exist
// nowhere else.
void describe_options(int (*command)(int, const char* const*), const char* name,
                      const std::function<void(const CLI::App&)>& describe);

// A line on stderr, with `json` an object on stdout; `status` again.
int say_why_not(const std::string& message, int status, bool json);

// Says that the words of `command`, such as "lares model plan", make no sense; the status to exit
// with.
int wrong_usage(const std::string& command, const std::string& why, bool json);

// One line on stderr, and the status to exit with. With `json` the same as an object on stdout.
int fail(const Error& error, bool json);

extern const char* const kExitStatusHelp;       // of what waits for a turn
extern const char* const kShortExitStatusHelp;  // of what does not

}  // namespace lares::cli
