// lares-sandbox: runs one command in namespaces of its own and dies with whoever started it.
// Started by the daemon only, with the descriptors of spec.h. Three processes: this one on the
// host, PID 1 of the sandbox, and the command. Without a sandbox two. With
// --tree it confines nothing; see tree.h.
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/launcher/bwrap.h"
#include "sandbox/launcher/group.h"
#include "sandbox/launcher/identity.h"
#include "sandbox/launcher/init.h"
#include "sandbox/launcher/later.h"
#include "sandbox/launcher/lockdown.h"
#include "sandbox/launcher/network.h"
#include "sandbox/launcher/plain.h"
#include "sandbox/launcher/sources.h"
#include "sandbox/launcher/supervise.h"
#include "sandbox/launcher/sys.h"
#include "sandbox/launcher/tree.h"
#include "sandbox/launcher/view.h"
#include "sandbox/spec.h"
#include "sandbox/tree.h"

namespace lares::sandbox::launcher {
namespace {

Spec read_spec() {
  const auto text = read_file(kSpecFd, kSpecBytesMax + 1);
  if (text.empty() || text.size() > kSpecBytesMax)
    fail("internal", "no specification on descriptor {}; this program is started by laresd",
         kSpecFd);
  auto spec = decode(text);
  if (!spec) fail("internal", "specification: {}", spec.error());
  ::close(kSpecFd);
  return std::move(*spec);
}

void map_ids(const Identity& identity) {
  // An unprivileged process may map one uid, its own; and one gid once it has given up setgroups().
  if (!write_file("/proc/self/setgroups", "deny")) fail_errno("user namespace", "forbid setgroups");
  if (!write_file("/proc/self/uid_map",
                  fmt::format("{} {} 1\n", identity.inside_uid, identity.uid)))
    fail_errno("user namespace", "map uid {} to {}", identity.uid, identity.inside_uid);
  if (!write_file("/proc/self/gid_map",
                  fmt::format("{} {} 1\n", identity.inside_gid, identity.gid)))
    fail_errno("user namespace", "map gid {} to {}", identity.gid, identity.inside_gid);
  if (::getuid() == 0 || ::geteuid() == 0) fail("identity", "would be uid 0 inside");
}

[[noreturn]] void inside(const Spec& spec, Identity identity,
                         const std::vector<std::string>& sockets, const Fd& outside,
                         CommandGroup group, const Fd& looked, int status) {
  // From here on the death of the process outside kills this one, and the whole namespace with it.
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail_errno("internal", "PR_SET_PDEATHSIG");
  pollfd gone{outside.get(), POLLIN, 0};
  if (::poll(&gone, 1, 0) != 0) ::_exit(kExitSetupFailed);
  map_ids(identity);
  enter_view(spec, identity, sockets);
  const auto facts = identity.fact;
  identity = Identity();
  loopback_up();
  if (spec.network) hand_out_listener();
  if (::sethostname(kHostName, ::strlen(kHostName)) != 0) fail_errno("internal", "sethostname");
  ::setsid();
  limit_resources(spec);
  drop_capabilities();
  if (::chdir(spec.cwd.c_str()) != 0) fail_errno("policy", "enter {}", spec.cwd);
  const auto lock = landlock(spec);
  filter_system_calls(spec);
  // Our namespaces are found through /proc, where what we become cannot be looked at. Long done.
  char none;
  while (::read(looked.get(), &none, 1) < 0 && errno == EINTR) {
  }
  run_as_init(spec, facts + "," + lock, std::move(group), status);
}

[[noreturn]] void run_native(const Spec& spec) {
  const auto sockets = host_socket_paths();
  auto group = CommandGroup::open(spec);  // with the rights we have now
  Identity identity = take_identity(spec);
  // The first to go when memory is short must not be the model.
  write_file("/proc/self/oom_score_adj", "1000");
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail_errno("internal", "pipe");
  const Fd status_read(ends[0]);
  Fd status_write(ends[1]);
  if (::pipe2(ends, O_CLOEXEC) != 0) fail_errno("internal", "pipe");
  Fd looked_read(ends[0]), looked_write(ends[1]);
  const Fd self(pidfd_open(::getpid()));
  if (!self) fail_errno("internal", "pidfd_open");
  int raw = -1;
  const pid_t pid = clone_with(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC |
                                   CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP,
                               &raw);
  if (pid < 0) fail_errno("user namespace", "create the namespaces");
  if (pid == 0) {
    looked_write = Fd();
    inside(spec, std::move(identity), sockets, self, std::move(group), looked_read,
           status_write.get());
  }
  status_write = Fd();
  const Later later = Later::of(pid, spec);
  // Before the command may begin: our children are counted to know when it is alone.
  while (identity.ended != 0 && ::waitpid(identity.ended, nullptr, 0) < 0 && errno == EINTR) {
  }
  looked_write = Fd();
  identity = Identity();
  supervise(pid, Fd(raw), status_read.get(), later);
}

}  // namespace
}  // namespace lares::sandbox::launcher

int main(int argc, char** argv) {
  using namespace lares::sandbox;
  using namespace lares::sandbox::launcher;
  if (argc > 1 && argv[1] == kTreeOption) run_tree(argv + 2);
  ::close_range(kControlFd + 1, ~0u, 0);
  ::setsid();  // a terminal's Ctrl-C is for the daemon
  const mode_t mask = ::umask(022);
  const Spec spec = read_spec();
  if (::fcntl(kControlFd, F_SETFD, FD_CLOEXEC) != 0)
    fail_errno("internal", "no control socket on descriptor {}", kControlFd);
  if (spec.backend == "bubblewrap") run_bubblewrap(spec);
  if (spec.backend == "none") run_plain(spec, mask);
  if (spec.backend != "native") fail("internal", "unknown backend '{}'", spec.backend);
  run_native(spec);
}
