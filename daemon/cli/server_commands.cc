// lares status, sessions and shutdown: one question to the daemon, one answer.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

#include "daemon/cli/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/link.h"
#include "daemon/cli/options.h"
#include "daemon/cli/progress.h"
#include "daemon/cli/screen.h"
#include "daemon/cli/start.h"
#include "daemon/cli/text.h"

namespace lares::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kStopWithin{60};  // "idle" waits for a turn instead, without a bound

void print_json(const Json& json) { fmt::print("{}\n", protocol::dump(json)); }

std::string bytes_text(double n) {
  if (n < 1e6) return fmt::format("{:.0f} kB", n / 1e3);
  if (n < 1e9) return fmt::format("{:.1f} MB", n / 1e6);
  return fmt::format("{:.1f} GB", n / 1e9);
}

std::string count_text(double n) {
  if (n < 1e6) return fmt::format("{:.0f} thousand", n / 1e3);
  if (n < 1e9) return fmt::format("{:.1f} million", n / 1e6);
  return fmt::format("{:.1f} billion", n / 1e9);
}

std::string engine_text(const protocol::ServerState& engine) {
  if (engine.state == "loading" && engine.total > 0)
    return fmt::format("loading, {}%", engine.done * 100 / engine.total);
  return engine.message.empty() ? engine.state : engine.state + ": " + engine.message;
}

void print_status(const protocol::ServerStatusResult& s) {
  const auto row = [](const char* name, const std::string& value) {
    fmt::print("{:<9} {}\n", name, printable(value));
  };
  row("daemon", fmt::format("{}, process {}, up {}", s.version, s.pid,
                            duration(static_cast<double>(s.uptime_ms) / 1000)));
  row("socket", s.socket);
  row("state", s.state_dir);
  row("engine", engine_text(s.engine));
  row("model", s.model.directory.empty() ? "none" : s.model.directory);
  if (s.model.n_parameters > 0) {
    row("", fmt::format("{}, {} layers, {} parameters, {} of weights, context of {} tokens",
                        s.model.model_type, s.model.n_layers,
                        count_text(static_cast<double>(s.model.n_parameters)),
                        bytes_text(static_cast<double>(s.model.weight_bytes)),
                        grouped(s.model.n_context_max)));
  }
  if (s.experts.bytes_max > 0) {
    const auto bytes = [](std::int64_t n) { return bytes_text(static_cast<double>(n)); };
    const double uses = std::max(1.0, static_cast<double>(s.experts.found + s.experts.missed));
    row("experts", fmt::format("{} of {} in memory, {} at most; {:.0f}% of {} uses found theirs there, {} read", bytes(s.experts.resident),
                               bytes(s.experts.bytes), bytes(s.experts.bytes_max), 100 * static_cast<double>(s.experts.found) / uses,
                               grouped(s.experts.found + s.experts.missed), bytes(s.experts.read)));
  }
  row("work", fmt::format("turns running {}, steps waiting {}, sessions {}, clients {}",
                          s.n_running, s.n_queued, s.n_sessions, s.n_clients));
  for (const auto& p : s.prefixes) {
    if (p.epoch == 0) continue;
    std::string text = fmt::format("{}: {} tokens", p.root, grouped(p.base_tokens));
    if (p.evaluated < p.base_tokens) text += fmt::format(", {:.0f}% evaluated", 100.0 * static_cast<double>(p.evaluated) / static_cast<double>(p.base_tokens));
    if (p.overlay_tokens > 0) text += fmt::format(", {} of changes", grouped(p.overlay_tokens));
    if (p.next_tokens > 0) text += fmt::format(", rebase {:.0f}%", 100.0 * static_cast<double>(p.next_evaluated) / static_cast<double>(p.next_tokens));
    row("prefix", text + fmt::format("; {} in memory, {} on disk", bytes_text(static_cast<double>(p.page_bytes)), bytes_text(static_cast<double>(p.disk_bytes))));
  }
  row("shell", s.shell.empty() ? "commands run in the sandbox" : s.shell);
}

std::string age(std::int64_t ms) {
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  const std::int64_t s = std::max<std::int64_t>(0, (now - ms) / 1000);
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m", s / 60);
  if (s < 86400) return fmt::format("{}h", s / 3600);
  return fmt::format("{}d", s / 86400);
}

// Cut and filled to exactly `width` columns.
std::string cell(const std::string& text, int width) {
  std::string cut = clip(one_line(text), width, "~");
  cut.append(static_cast<std::size_t>(std::max(0, width - columns(cut))), ' ');
  return cut;
}

void print_sessions(const std::vector<protocol::SessionInfo>& sessions, bool all) {
  if (sessions.empty()) {
    fmt::print("no sessions{}\n",
               all ? "" : " about this repository; --all lists every repository's");
    return;
  }
  const Terminal t = Terminal::detect(STDOUT_FILENO);
  std::size_t id_width = 7;
  for (const auto& s : sessions) id_width = std::max(id_width, s.session_id.size());
  const auto head =
      fmt::format("{} {:<8} {:>4} {:>5} {:>8} ", cell("session", static_cast<int>(id_width)),
                  "state", "age", "turns", "context");
  fmt::print("{}\n", t.paint(Style::bold,
                             t.width > 0 ? clip(head + "title", t.width, "") : head + "title"));
  for (const auto& s : sessions) {
    std::string row =
        fmt::format("{} {} {:>4} {:>5} {:>8} ", cell(s.session_id, static_cast<int>(id_width)),
                    cell(s.closed ? "closed" : s.state, 8), age(s.updated_ms), s.n_turns,
                    grouped(s.context_tokens));
    row += one_line(s.title);
    if (all) row += "  " + one_line(s.root);
    fmt::print("{}\n", t.width > 0 ? clip(row, t.width, t.utf8 ? "…" : "~") : row);
  }
}

}  // namespace

int status_command(int argc, const char* const* argv) {
  CLI::App app(
      "Says what the daemon does. Starts none: without one it says so, with exit status 1.",
      "lares status");
  DaemonOptions options;
  options.add_to(app, /*starts_daemon=*/false);
  app.footer(kExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  if (auto usable = options.resolve(); !usable) return fail(usable.error(), options.json);
  Link link;
  const auto there = link.connect(options.socket);
  if (!there && there.error().kind == Error::Kind::absent) {
    if (options.json) {
      print_json({{"running", false}, {"socket", options.socket}});
    } else {
      fmt::print("no daemon runs on {}; `lares run` and `lares ask` start one\n", options.socket);
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
    print_status(*status);
  }
  return kExitFinished;
}

int sessions_command(int argc, const char* const* argv) {
  CLI::App app("Lists sessions, newest first.", "lares sessions");
  DaemonOptions options;
  std::string root;
  bool all = false, closed = false;
  app.add_option("--root", root, "sessions about this repository (default: the current one)");
  app.add_flag("--all", all, "sessions about every repository");
  app.add_flag("--closed", closed, "closed ones too");
  options.add_to(app, /*starts_daemon=*/true);
  app.footer(kExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  if (auto usable = options.resolve(); !usable) return fail(usable.error(), options.json);
  protocol::SessionList list;
  list.closed = closed;
  if (!all) {
    const auto top = repository_root(root);
    if (!top) return fail(top.error(), options.json);
    list.root = *top;
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
    print_sessions(sessions->sessions, all);
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
  app.footer(kExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  if (auto usable = options.resolve(); !usable) return fail(usable.error(), options.json);
  Link link;
  const auto there = link.connect(options.socket);
  if (!there && there.error().kind == Error::Kind::absent) {
    if (options.json) {
      print_json({{"running", false}, {"stopped", false}, {"socket", options.socket}});
    } else {
      fmt::print("no daemon runs on {}\n", options.socket);
    }
    return kExitFinished;
  }
  if (!there) return fail(there.error(), options.json);
  protocol::ServerShutdown request;
  request.when = idle ? "idle" : "now";
  const auto asked = link.call<protocol::Nothing>(request);
  if (!asked && asked.error().kind != Error::Kind::disconnected)
    return fail(asked.error(), options.json);
  // The end of the connection is the end of the process: it holds no other promise.
  Screen screen(STDERR_FILENO, Terminal::detect(STDERR_FILENO));
  Progress progress;
  const auto deadline = Clock::now() + kStopWithin;
  while (link.connected()) {
    if (!idle && Clock::now() > deadline) {
      screen.status("");
      return fail(
          Error{fmt::format("stop the daemon: process {} still runs after {} s; see its log in {}",
                            there->pid, kStopWithin.count(), there->state_dir)},
          options.json);
    }
    progress.begin(idle ? "waiting for the running turns" : "stopping the daemon", Clock::now());
    screen.status(progress.text(Clock::now(), screen.terminal().utf8));
    const Happening h = link.next(Clock::now() + std::chrono::milliseconds(100));
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
    fmt::print("stopped the daemon (process {})\n", there->pid);
  }
  return kExitFinished;
}

}  // namespace lares::cli
