// lares doctor: what this host gives a coding agent, what that means, and what to do about what is
// missing.
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/commands/doctor_start.h"
#include "daemon/cli/commands/doctor_work.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/options.h"
#include "daemon/cli/report.h"
#include "daemon/cli/terminal/output.h"
#include "daemon/cli/terminal/screen.h"
#include "daemon/cli/terminal/wrap.h"
#include "daemon/client/link.h"
#include "daemon/protocol/listen_address.h"
#include "daemon/protocol/nano_directory.h"
#include "daemon/protocol/socket_path.h"
#include "daemon/protocol/wire.h"
#include "daemon/settings.h"
#include "daemon/shown/text.h"
#include "daemon/state_dir.h"
#include "engine/gpus.h"
#include "sandbox/sandbox.h"

namespace lares::cli {

namespace asio = boost::asio;
namespace fs = std::filesystem;
namespace protocol = daemon::protocol;

namespace {

constexpr std::uint64_t kDiskFreeMin = 5ull << 30;  // for sessions, snapshots and kept prefixes

// What each layer of the sandbox is for, and what a host without it means. All six are needed:
// without one, commands are off.
struct Layer {
  std::string_view name, meaning, without;
};
constexpr std::array<Layer, 6> kLayers{{
    {"user namespace", "commands are nobody on the host, and root's powers are not there to be had",
     "commands would have your own rights to everything of yours"},
    {"PID namespace", "commands see no other process, and all of theirs end with them",
     "commands could watch and stop your processes, and outlive their call"},
    {"mounts", "the repository is writable but for .git; home, secrets and the rest are not there",
     "commands could read your keys and write to your home directory"},
    {"proc", "the kernel's settings cannot be written",
     "commands could see the host's processes and their environments"},
    {"network", "no network, not even to this machine",
     "commands could send what they read anywhere, and reach this machine's own services"},
    {"seccomp", "calls that have broken out of sandboxes before are refused",
     "commands could try every fault the kernel may have"},
}};
constexpr std::string_view kLandlock = "Landlock";

sandbox::Probe probed() {
  std::error_code ec;
  const std::string launcher =
      (fs::read_symlink("/proc/self/exe", ec).parent_path() / "lares-sandbox").string();
  asio::io_context io;
  sandbox::Probe probe;
  const auto look = [&]() -> asio::awaitable<void> { probe = co_await sandbox::probe(launcher); };
  asio::co_spawn(io, look, [&](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const std::exception& e) {
      probe.why = fmt::format("look at the sandbox: {}", e.what());
    }
  });
  io.run();
  return probe;
}

// Commands run, whatever of these two there is: they stand behind the layers above.
void look_at_second_line(const sandbox::Probe& probe, int daemon_pid, std::vector<Finding>& out) {
  using Kind = Finding::Kind;
  const auto landlock = std::ranges::find_if(
      probe.layers, [](const std::string& layer) { return layer.starts_with(kLandlock); });
  if (landlock != probe.layers.end()) {
    out.push_back({Kind::good, "Landlock",
                   fmt::format("{}: the same files again, by rules that hold if a mount were wrong",
                               landlock->substr(kLandlock.size() + 1))});
  } else {
    out.push_back({Kind::note, "Landlock",
                   "not there: one guard fewer, the mounts alone keep commands from the rest; "
                   "Linux 5.13 or newer has it, with landlock in the "
                   "kernel's lsm= list"});
  }
  const sandbox::Containment limits = sandbox::containment(daemon_pid);
  out.push_back({limits.by_cgroup ? Kind::good : Kind::note, "cgroup", limits.text});
  const sandbox::Limits of_each;
  const auto gb = [](std::uint64_t bytes) { return bytes_text(static_cast<double>(bytes)); };
  out.push_back(
      {Kind::good, "limits",
       fmt::format(
           "a shell and all that it runs may have {} processes and threads and {} of memory; a "
           "command is stopped when it has taken {} or {} files of the worktree's file system, or "
           "has left less than {}; each of its processes after {} hours of CPU time, and no file "
           "gets larger than {}",
           grouped(of_each.n_processes), gb(of_each.memory_bytes), gb(of_each.growth_bytes),
           grouped(static_cast<long long>(of_each.growth_inodes)), gb(of_each.free_bytes),
           of_each.cpu_seconds / 3600, gb(of_each.file_bytes))});
}

void look_at_sandbox(int daemon_pid, std::vector<Finding>& out) {
  using Kind = Finding::Kind;
  const sandbox::Probe probe = probed();
  if (probe.works) {
    out.push_back({Kind::good, "sandbox",
                   probe.backend == sandbox::Backend::bubblewrap
                       ? "commands run confined, by bubblewrap"
                       : "commands run confined"});
  } else {
    out.push_back({Kind::bad, "sandbox", "commands and tests of the model are off: " + probe.why});
  }
  for (const Layer& layer : kLayers) {
    const std::string name(layer.name);
    if (std::ranges::find(probe.layers, layer.name) != probe.layers.end())
      out.push_back({Kind::good, name, std::string(layer.meaning)});
    else if (probe.missing == layer.name)
      out.push_back(
          {Kind::bad, name, fmt::format("missing: {}; what to do is said above", layer.without)});
    else if (!probe.works)
      out.push_back({Kind::note, name,
                     fmt::format("not known, for the sandbox does not get so far; without it {}",
                                 layer.without)});
  }
  if (probe.works) look_at_second_line(probe, daemon_pid, out);
  for (const auto& note : probe.notes) out.push_back({Kind::note, "sandbox", note});
}

void look_at_places(const DaemonOptions& daemon, std::vector<Finding>& out) {
  using Kind = Finding::Kind;
  if (daemon.state_dir.empty()) {
    const auto found = daemon::state_dir("");
    out.push_back({Kind::bad, "state",
                   fmt::format("{}; until then no daemon starts", found ? "" : found.error())});
    return;
  }
  struct stat st {};
  const bool there = ::stat(daemon.state_dir.c_str(), &st) == 0;
  std::string above = daemon.state_dir;
  for (struct stat other{}; above.size() > 1 && ::stat(above.c_str(), &other) != 0;)
    above = fs::path(above).parent_path().string();
  if (::access(above.c_str(), W_OK | X_OK) != 0) {
    const std::string what = there ? "write into " + above
                                   : fmt::format("make {} in {}", daemon.state_dir, above);
    out.push_back({Kind::bad, "state",
                   fmt::format("{}: {}, so no daemon starts; {}", what, std::strerror(errno),
                               daemon::kAnotherStateDir)});
  } else if (!there) {
    out.push_back({Kind::note, "state", daemon.state_dir + " is made with the first session"});
  } else if (st.st_uid != ::geteuid() || (st.st_mode & 077) != 0) {
    out.push_back(
        {Kind::bad, "state",
         daemon.state_dir +
             " is not private to you; chmod 700 it, or name another with LARES_STATE_DIR"});
  } else {
    out.push_back({Kind::good, "state", daemon.state_dir + ", private"});
  }
  std::string place = daemon.state_dir;
  struct statvfs space {};
  while (place.size() > 1 && ::statvfs(place.c_str(), &space) != 0)
    place = fs::path(place).parent_path().string();
  const std::uint64_t free = static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize;
  out.push_back({free < kDiskFreeMin ? Kind::note : Kind::good, "disk",
                 fmt::format("{} free for sessions, snapshots and kept prefixes{}",
                             bytes_text(static_cast<double>(free)),
                             free < kDiskFreeMin ? "; that is little" : "")});
}

// None is no fault. One that the machine shows and its driver does not give is worth a look.
void look_at_gpus(std::vector<Finding>& out) {
  const engine::GpuReport report = engine::find_gpus();
  const auto kind = report.unused.empty() || !report.expected ? Finding::Kind::good
                                                              : Finding::Kind::note;
  for (std::string& line : engine::gpu_lines(report)) out.push_back({kind, "GPU", std::move(line)});
}

// Where HTTP is served over TCP, or whether it could be; `http`: where a daemon that runs serves
// it.
void look_at_listen(const std::string& http, std::vector<Finding>& out) {
  using Kind = Finding::Kind;
  using boost::asio::ip::tcp;
  if (!http.empty()) out.push_back({Kind::good, "HTTP", "served at http://" + http});
  const auto settings = daemon::Settings::load_sound();
  const auto wanted = settings.text("listen").value_or("");
  const auto address = daemon::parse_listen_address(wanted);
  if (!address || wanted == http) return;
  boost::system::error_code ec;
  const asio::ip::address host = address->v6 ? asio::ip::address(asio::ip::address_v6::loopback())
                                             : asio::ip::address(asio::ip::address_v4::loopback());
  asio::io_context io;
  tcp::acceptor acceptor(io);
  acceptor.open(address->v6 ? tcp::v6() : tcp::v4(), ec);
  if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor.bind({host, address->port}, ec);
  if (!ec) acceptor.listen(1, ec);
  if (ec)
    out.push_back({Kind::bad, "HTTP",
                   fmt::format("listen on {}: {}, so no daemon starts; `lares config set listen` "
                               "names another port, `lares config unset listen` serves none",
                               wanted, ec.message())});
  else if (http.empty())
    out.push_back({Kind::note, "HTTP",
                   fmt::format("will be served at http://{} from the next start "
                               "of the daemon",
                               wanted)});
}

// Its process, 0 when none runs.
int look_at_daemon(const DaemonOptions& daemon, std::vector<Finding>& out) {
  using Kind = Finding::Kind;
  Link link;
  if (const auto connected = link.connect(daemon.socket); !connected) {
    if (connected.error().kind == Error::Kind::absent)
      look_at_start(daemon, out);
    else
      out.push_back({Kind::bad, "daemon", connected.error().message});
    look_at_model_directory(out);
    look_at_listen("", out);
    return 0;
  }
  const auto status = link.call<protocol::ServerStatusResult>(protocol::ServerStatus{});
  if (!status) {
    out.push_back({Kind::bad, "daemon", status.error().message});
    return 0;
  }
  out.push_back(
      {Kind::good, "daemon",
       fmt::format("{} runs on {}, process {}", status->version, status->socket, status->pid)});
  if (status->engine.state == "failed")
    out.push_back({Kind::bad, "model", status->engine.message});
  else
    out.push_back(
        {Kind::good, "model",
         fmt::format("{}, {}{}{}", status->model.directory, status->engine.state,
                     status->engine.message.empty() ? "" : ": ", status->engine.message)});
  look_at_listen(status->http, out);
  if (!status->shell.empty()) out.push_back({Kind::bad, "daemon", status->shell});
  return static_cast<int>(status->pid);
}

}  // namespace

int doctor_command(int argc, const char* const* argv) {
  CLI::App app(
      "Says what this host gives: the layers of the sandbox and what each is for, the places Lares "
      "uses, what does not work in the repository that one is in, MCP servers and hooks, GPUs, the "
      "daemon and its model.",
      "lares doctor");
  DaemonOptions daemon;
  daemon.add_to(app, /*starts_daemon=*/false);
  app.footer("Exit status: 0 nothing is in the way, 1 something is, 2 wrong command line.");
  if (const auto over = parse(app, argc, argv)) return *over;
  if (auto usable = daemon.resolve_what_is_sound(); !usable)
    return fail(usable.error(), daemon.json);
  std::vector<Finding> found, of_daemon;
  const int pid = look_at_daemon(daemon, of_daemon);  // first, for its commands' limits are what
                                                      // counts
  look_at_sandbox(pid, found);
  for (const auto& fault : daemon.faults) found.push_back({Finding::Kind::bad, "settings", fault});
  look_at_places(daemon, found);
  look_at_repository(found);
  look_at_servers_and_hooks(found);
  look_at_gpus(found);
  found.insert(found.end(), of_daemon.begin(), of_daemon.end());
  const bool bad = std::ranges::any_of(
      found, [](const Finding& f) { return f.kind == Finding::Kind::bad; });
  const auto word = [](Finding::Kind kind) {
    return kind == Finding::Kind::good ? "ok" : kind == Finding::Kind::note ? "note" : "bad";
  };
  if (daemon.json) {
    Json lines = Json::array();
    for (const Finding& f : found)
      lines.push_back({{"kind", word(f.kind)}, {"about", f.about}, {"text", f.text}});
    const Json all = {{"ok", !bad}, {"findings", lines}};
    print_line(protocol::dump(all));
  } else {
    for (const Finding& f : found)
      print_line(hanging(fmt::format("{:<5} {:<15} {}", word(f.kind), f.about, printable(f.text)),
                         Terminal::detect(STDOUT_FILENO).width));
  }
  return bad ? kExitError : kExitFinished;
}

}  // namespace lares::cli
