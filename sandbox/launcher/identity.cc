#include "sandbox/launcher/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace lares::sandbox::launcher {
namespace {

constexpr uid_t kNobody = 65534;
constexpr uid_t kInside = 1000;  // where the host's number would be 0 or "nobody"

// A user namespace that only serves as an id map. All ids map to themselves but root and nobody,
// which change places; where we are in a namespace ourselves that lacks some ids, those two alone.
// `holder`: a process that made it, killed and not waited for; to wait here would be to wait for a
// turn of the processor.
Fd id_map_namespace(pid_t& holder) {
  for (const char* map :
       {"0 65534 1\n1 1 65533\n65534 0 1\n65535 65535 4294901760\n", "0 65534 1\n65534 0 1\n"}) {
    int raw = -1;
    const pid_t pid = clone_with(CLONE_NEWUSER, &raw);
    if (pid < 0) return Fd();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (;;) ::pause();
    }
    const Fd pidfd(raw);
    const auto proc = fmt::format("/proc/{}/", pid);
    Fd space;
    if (write_file((proc + "uid_map").c_str(), map) && write_file((proc + "gid_map").c_str(), map))
      space = Fd(::open((proc + "ns/user").c_str(), O_RDONLY | O_CLOEXEC));
    const int error = errno;
    pidfd_send_signal(pidfd.get(), SIGKILL);
    if (space) {
      holder = pid;
      return space;
    }
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    errno = error;
  }
  return Fd();
}

void become(const Identity& identity) {
  if (::setgroups(0, nullptr) != 0) fail_errno("identity", "drop root's groups");
  if (::setresgid(identity.gid, identity.gid, identity.gid) != 0)
    fail_errno("identity", "change to gid {}", identity.gid);
  if (::setresuid(identity.uid, identity.uid, identity.uid) != 0)
    fail_errno("identity", "change to uid {}", identity.uid);
  // Changing uid makes /proc/self root's, and the id maps of the new namespace are written through
  // it.
  if (::prctl(PR_SET_DUMPABLE, 1) != 0) fail_errno("identity", "stay dumpable");
}

}  // namespace

Identity take_identity(const Spec& spec) {
  Identity identity;
  identity.uid = identity.inside_uid = ::geteuid();
  identity.gid = identity.inside_gid = ::getegid();
  if (identity.uid != 0) {
    if (::getuid() != identity.uid || ::getgid() != identity.gid)
      fail("identity", "real and effective ids differ; do not make this program setuid");
    if (identity.gid == 0) identity.inside_gid = kInside;
    identity.fact = fmt::format("uid {}", identity.uid);
    return identity;
  }
  const Fd root(openat2(AT_FDCWD, spec.root.c_str(), O_PATH | O_DIRECTORY,
                        RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS));
  if (!root) fail_errno("policy", "open the worktree {}", spec.root);
  struct stat status;
  if (::fstat(root.get(), &status) != 0) fail_errno("policy", "stat the worktree {}", spec.root);
  if (status.st_uid != 0) {
    identity.uid = identity.inside_uid = status.st_uid;
    identity.gid = identity.inside_gid = status.st_gid;
    if (identity.gid == 0) identity.gid = kNobody, identity.inside_gid = kInside;
    identity.sources = collect_sources(spec, Fd());
    identity.fact = fmt::format("uid {}, the worktree's owner", identity.uid);
    become(identity);
    return identity;
  }
  identity.inside_uid = kInside;
  identity.inside_gid = kInside;
  if (const Fd idmap = id_map_namespace(identity.ended))
    identity.sources = collect_sources(spec, idmap);
  if (!identity.sources.empty()) {
    identity.uid = kNobody;
    identity.gid = kNobody;
    identity.fact = "uid 65534, root's worktree through an id-mapped mount";
    become(identity);
  } else {
    identity.roots_files = true;
    identity.fact = "root's files without root's capabilities; no id-mapped mount here";
    if (::setgroups(0, nullptr) != 0 && errno != EPERM)
      fail_errno("identity", "drop root's groups");
  }
  return identity;
}

}  // namespace lares::sandbox::launcher
