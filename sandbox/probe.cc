// Does a backend hold here? Runs it on a scratch directory and looks from inside.
#include <linux/landlock.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "sandbox/fixes.h"
#include "sandbox/sandbox.h"

namespace lares::sandbox {
namespace {

inline constexpr auto kIo = asio::as_tuple(asio::use_awaitable);
inline constexpr auto kProbeTime = std::chrono::seconds(20);
inline constexpr std::size_t kOutputMax = 65536;

// What each assertion stands for, in the words of Probe::layers.
struct Check {
  const char* name;  // as the script prints it
  const char* layer;
};
constexpr std::array kChecks = {
    Check{"not-root", "user namespace"},     Check{"no-capabilities", "user namespace"},
    Check{"pid-namespace", "PID namespace"}, Check{"host-hidden", "mounts"},
    Check{"root-readonly", "mounts"},        Check{"worktree-writable", "mounts"},
    Check{"git-readonly", "mounts"},         Check{"git-pinned", "mounts"},
    Check{"secret-hidden", "mounts"},        Check{"temp-private", "mounts"},
    Check{"proc-covered", "proc"},           Check{"network-empty", "network"},
    Check{"no-new-privileges", "seccomp"},   Check{"filtered", "seccomp"},
    Check{"no-namespaces", "seccomp"},
};

// One line "name" per assertion that holds. $1: a file beside the worktree, on the host. Only what
// POSIX and Linux have.
constexpr const char* kScript = R"sh(
has() { grep -q "^$1:[[:space:]]*$2\$" /proc/self/status && echo "$3"; }
test "$(id -u)" != 0 && echo not-root
has CapEff 0000000000000000 no-capabilities
set -- "$1" /proc/[0-9]*; test $# -le 8 && echo pid-namespace
test -e "$1" || echo host-hidden
(: > /usr/lares-probe) 2>/dev/null || echo root-readonly
(: > written) 2>/dev/null && echo worktree-writable
(: > .git/lares-probe) 2>/dev/null || echo git-readonly
mv .git moved 2>/dev/null || echo git-pinned
test -e secret && test ! -s secret && echo secret-hidden
(: > /tmp/lares-probe.$$) 2>/dev/null && echo temp-private
(: > /proc/sys/kernel/core_pattern) 2>/dev/null || echo proc-covered
grep -v -e '|' -e '^ *lo:' /proc/net/dev > /dev/null || echo network-empty
has NoNewPrivs 1 no-new-privileges
has Seccomp 2 filtered
unshare -U true 2>/dev/null || echo no-namespaces
)sh";

struct Scratch {
  std::filesystem::path dir;
  Scratch() {
    std::error_code failed;
    auto name = (std::filesystem::temp_directory_path(failed) / "lares-probe.XXXXXX").native();
    if (::mkdtemp(name.data())) dir = std::filesystem::canonical(name, failed);
    if (dir.empty()) return;
    std::filesystem::create_directories(dir / "worktree" / ".git", failed);
    std::ofstream(dir / "worktree" / "secret") << "secret";
    std::ofstream(dir / "beside") << "host";
  }
  ~Scratch() {
    std::error_code ignored;
    if (!dir.empty()) std::filesystem::remove_all(dir, ignored);
  }
};

// "" when all holds, else why not.
asio::awaitable<std::string> try_backend(std::string launcher, Backend backend, Probe& out) {
  const auto io = co_await asio::this_coro::executor;
  const Scratch scratch;
  if (scratch.dir.empty()) co_return "cannot make a scratch directory; check TMPDIR";
  Policy policy;
  policy.root = scratch.dir / "worktree";
  policy.hidden = {"secret"};
  const Command command{
      {"/bin/sh", "-c", kScript, "probe", scratch.dir / "beside"}, policy.root, {}};
  auto spawned = co_await spawn(launcher, backend, policy, command);
  if (!spawned) co_return spawned.error().message;
  const auto process = std::move(*spawned);
  asio::steady_timer deadline(io, kProbeTime);
  deadline.async_wait([&](boost::system::error_code cancelled) {
    if (!cancelled) process->kill();
  });
  std::string output(kOutputMax, '\0');
  std::size_t size = 0;
  while (size < output.size()) {
    auto [failed, n] = co_await process->out().async_read_some(
        asio::buffer(output.data() + size, output.size() - size), kIo);
    size += n;
    if (failed) break;
  }
  output.resize(size);
  co_await process->wait();
  deadline.cancel();

  std::vector<std::string> layers, bad;
  for (const auto& check : kChecks) {
    if (("\n" + output).find(fmt::format("\n{}\n", check.name)) == std::string::npos) {
      bad.push_back(check.name);
    } else if (std::find(layers.begin(), layers.end(), check.layer) == layers.end()) {
      layers.push_back(check.layer);
    }
  }
  struct stat written, dir;
  if (::stat((policy.root + "/written").c_str(), &written) != 0 ||
      ::stat(policy.root.c_str(), &dir) != 0 || written.st_uid != dir.st_uid)
    bad.push_back("files belong to the worktree's owner");
  out.layers = std::move(layers);
  if (!bad.empty())
    co_return fmt::format(
        "started, but does not hold: {}; this is a fault of the sandbox, please report it",
        fmt::join(bad, ", "));
  co_return std::string();
}

// In the launcher's words, "sandbox: <layer>: ...".
std::string layer_in(const std::string& error) {
  for (const auto& check : kChecks)
    if (error.starts_with(fmt::format("sandbox: {}: ", check.layer))) return check.layer;
  return {};
}

void note_landlock(Probe& out) {
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0,
                             LANDLOCK_CREATE_RULESET_VERSION);
  if (abi > 0) out.layers.push_back(fmt::format("Landlock ABI {}", abi));
}

}  // namespace

asio::awaitable<Probe> probe(std::string launcher) {
  Probe out;
  const std::string native = co_await try_backend(launcher, Backend::native, out);
  if (native.empty()) {
    out.works = true;
    out.backend = Backend::native;
    note_landlock(out);
    if (::geteuid() == 0)
      out.notes.push_back(
          "running as root: commands run as the worktree's owner, or as uid 65534 when that is "
          "root");
    co_return out;
  }
  out.missing = layer_in(native);
  const std::string bubblewrap = co_await try_backend(launcher, Backend::bubblewrap, out);
  if (bubblewrap.empty()) {
    out.works = true;
    out.backend = Backend::bubblewrap;
    out.notes.push_back("second backend in use: " + native);
    co_return out;
  }
  out.why = native == bubblewrap ? native : native + "; " + bubblewrap;  // a launcher that is not
                                                                         // there fails both alike
  co_return out;
}

}  // namespace lares::sandbox
