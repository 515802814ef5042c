// lares status, sessions and shutdown: one question to the daemon, one answer.
#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/option_checks.h"
#include "daemon/cli/options.h"
#include "daemon/cli/reach.h"
#include "daemon/cli/report.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/cli/terminal/progress.h"
#include "daemon/cli/terminal/screen.h"
#include "daemon/cli/terminal/wrap.h"
#include "daemon/client/link.h"
#include "daemon/shown/text.h"
#include "tools/fd.h"

namespace lares::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kStopWithin{60};  // "idle" waits for a turn instead, without a bound

// The daemon's process; none where it has ended, or its number is of another PID namespace.
tools::Fd process_of(std::int64_t pid) {
  // glibc 2.36 declares pidfd_open, for C alone.
  tools::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
  std::string name;
  std::getline(std::ifstream(fmt::format("/proc/{}/comm", pid)), name);
  return name.starts_with("lares") ? std::move(process) : tools::Fd();
}

// Waits for it a moment; a number that names no process is one that has ended.
bool ended(const tools::Fd& process, std::chrono::milliseconds moment) {
  pollfd waited{process.get(), POLLIN, 0};
  return !process || ::poll(&waited, 1, static_cast<int>(moment.count())) > 0;
}

void tell_faults(const DaemonOptions& options) {
  for (const auto& fault : options.faults) print_err("lares: {}\n", printable(fault));
}

void print_json(const Json& json) { print_out("{}\n", protocol::dump(json)); }

}  // namespace

int status_command(int argc, const char* const* argv) {
  CLI::App app(
      "Says what the daemon does. Starts none: without one it says so, with exit status 1.",
      "lares status");
  DaemonOptions options;
  options.add_to(app, /*starts_daemon=*/false);
  app.footer(kShortExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  if (auto usable = options.resolve_what_is_sound(); !usable)
    return fail(usable.error(), options.json);
  tell_faults(options);
  Link link;
  const auto there = link.connect(options.socket);
  if (!there && there.error().kind == Error::Kind::absent) {
    if (options.json) {
      print_json({{"running", false}, {"socket", options.socket}});
    } else {
      print_out("no daemon runs on {}; `lares run` and `lares ask` start one\n", options.socket);
    }
    return kExitError;
  }
  if (!there) return fail(there.error(), options.json);
  const auto status = link.call<protocol::ServerStatusResult>(protocol::ServerStatus{});
  if (!status) return fail(status.error(), options.json);
  if (options.json) {
    Json json = {{"running", true}};
    json.update(protocol::to_json(*status));
    print_json(json);
  } else {
    print_out("{}", hanging_lines(status_text(*status), Terminal::detect(STDOUT_FILENO).width));
  }
  return kExitFinished;
}

int sessions_command(int argc, const char* const* argv) {
  CLI::App app("Lists sessions, newest first.", "lares sessions");
  DaemonOptions options;
  std::string root;
  bool all = false, closed = false;
  app.add_option("--root", root, "the repository (default: the one you are in)")
      ->type_name("DIR")
      ->check(directory_name());
  app.add_flag("--all", all, "sessions about every repository");
  app.add_flag("--closed", closed, "closed ones too");
  options.add_to(app, /*starts_daemon=*/true);
  app.footer(kShortExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  if (auto usable = options.resolve(); !usable) return fail(usable.error(), options.json);
  protocol::SessionList list;
  list.closed = closed;
  if (!all) {
    const auto top = repository_root(root);
    if (!top) return fail(top.error(), options.json);
    list.root = *top;
    list.worktrees = true;
  }
  Link link;
  const auto there = reach(link, options);
  if (!there) return fail(there.error(), options.json);
  auto sessions = link.call<protocol::SessionListResult>(list);
  if (!sessions) return fail(sessions.error(), options.json);
  // One that never got a prompt, because the command that made it failed, is nothing to go on with.
  std::erase_if(sessions->sessions, [](const auto& s) { return s.last_seq <= 1; });
  if (options.json) {
    print_json(protocol::to_json(*sessions));
  } else {
    print_out("{}", sessions_text(sessions->sessions, list.root, Terminal::detect(STDOUT_FILENO)));
  }
  return kExitFinished;
}

int shutdown_command(int argc, const char* const* argv) {
  CLI::App app("Ends the daemon. Sessions stay on disk and continue when it runs again.",
               "lares shutdown");
  DaemonOptions options;
  bool idle = false;
  app.add_flag("--idle", idle, "wait until no turn runs instead of interrupting those that do");
  options.add_to(app, /*starts_daemon=*/false);
  app.footer(kShortExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  if (auto usable = options.resolve_what_is_sound(); !usable)
    return fail(usable.error(), options.json);
  tell_faults(options);
  Link link;
  const auto there = link.connect(options.socket);
  if (!there && there.error().kind == Error::Kind::absent) {
    if (options.json) {
      print_json({{"running", false}, {"stopped", false}, {"socket", options.socket}});
    } else {
      print_out("no daemon runs on {}\n", options.socket);
    }
    return kExitFinished;
  }
  if (!there) return fail(there.error(), options.json);
  const tools::Fd process = process_of(there->pid);
  protocol::ServerShutdown request;
  request.when = idle ? "idle" : "now";
  const auto asked = link.call<protocol::Nothing>(request);
  if (!asked && asked.error().kind != Error::Kind::disconnected)
    return fail(asked.error(), options.json);
  // It hangs up first, and then gives back what it holds: memory, the lock of its state.
  constexpr std::chrono::milliseconds kMoment{100};
  Screen screen(STDERR_FILENO, Terminal::detect(STDERR_FILENO));
  Progress progress;
  const auto deadline = Clock::now() + kStopWithin;
  while (link.connected() || !ended(process, std::chrono::milliseconds(0))) {
    if (!idle && Clock::now() > deadline) {
      screen.status("");
      return fail(
          Error{fmt::format("stop the daemon: process {} still runs after {} s; see its log in {}",
                            there->pid, kStopWithin.count(), there->state_dir)},
          options.json);
    }
    progress.begin(idle ? "waiting for the running turns" : "stopping the daemon", Clock::now());
    screen.status(progress.text(Clock::now(), screen.terminal().utf8));
    if (!link.connected()) (void)ended(process, kMoment);
    const Happening h = link.next(Clock::now() + (link.connected() ? kMoment : kMoment * 0));
    if (h.kind == Happening::Kind::interrupt || h.kind == Happening::Kind::terminate ||
        h.kind == Happening::Kind::hangup) {
      screen.status("");
      return fail(
          Error{"stop the daemon: interrupted; it was asked to and will", Error::Kind::interrupted},
          options.json);
    }
  }
  screen.status("");
  if (options.json) {
    print_json(
        {{"running", false}, {"stopped", true}, {"pid", there->pid}, {"socket", options.socket}});
  } else {
    print_out("stopped the daemon (process {})\n", there->pid);
  }
  return kExitFinished;
}

}  // namespace lares::cli
