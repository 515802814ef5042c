#include "sandbox/launcher/lockdown.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "sandbox/launcher/sys.h"

namespace lares::sandbox::launcher {
namespace {

constexpr rlim_t kCpuGraceSeconds = 2;

void limit(__rlimit_resource what, rlim_t value, const char* name) {
  rlimit now;
  if (::getrlimit(what, &now) != 0) fail_errno("limits", "read the limit of {}", name);
  const rlim_t wanted = std::min(value, now.rlim_max);
  const rlimit next{wanted, wanted};
  if (::setrlimit(what, &next) != 0) fail_errno("limits", "limit {} to {}", name, wanted);
}

// Landlock as of ABI 7; Debian 12's header ends at 2. The structs grew at their end, and the size
// says which one is meant.
struct Ruleset {
  uint64_t fs, net, scoped;
};
constexpr uint64_t kRefer = 1ull << 13, kTruncate = 1ull << 14, kIoctlDev = 1ull << 15;
constexpr uint64_t kScopeAbstractUnix = 1, kScopeSignal = 2;
constexpr uint64_t kRead = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |
                           LANDLOCK_ACCESS_FS_READ_DIR;

void allow(int ruleset, const std::string& path, uint64_t access, bool must) {
  const Fd place(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!place && !must) return;
  landlock_path_beneath_attr rule{};
  rule.allowed_access = access;
  rule.parent_fd = place.get();
  if (!place ||
      ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
    fail_errno("landlock", "allow {}", path);
}

}  // namespace

void limit_resources(const Spec& spec) {
  // Only here, in the user namespace, does NPROC count the sandbox alone rather than all of the
  // user's processes.
  limit(RLIMIT_NPROC, spec.n_processes, "processes");
  limit(RLIMIT_FSIZE, spec.file_bytes, "file size");
  limit(RLIMIT_NOFILE, spec.n_open_files, "open files");
  // 0 would still hand a crash to a handler of the host's, which runs as root on what a command
  // made; of 1 the kernel thinks that the handler itself has crashed.
  limit(RLIMIT_CORE, 1, "core dumps");
  limit(RLIMIT_MEMLOCK, 8 << 20, "locked memory");
  limit(RLIMIT_MSGQUEUE, 1 << 20, "message queues");
}

bool limit_cpu(const Spec& spec) {
  rlimit now;
  if (::getrlimit(RLIMIT_CPU, &now) != 0) return false;
  // SIGXCPU first, which says what it was; who ignores that is killed.
  const rlimit next{std::min<rlim_t>(spec.cpu_seconds, now.rlim_max),
                    std::min<rlim_t>(spec.cpu_seconds + kCpuGraceSeconds, now.rlim_max)};
  return ::setrlimit(RLIMIT_CPU, &next) == 0;
}

void step_back() {
  (void)!::setpriority(PRIO_PROCESS, 0, 10);
  const sched_param none{};
  (void)!::sched_setscheduler(0, SCHED_BATCH, &none);
}

void drop_capabilities() {
  for (int capability = 0; capability < 64; ++capability)
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
      if (errno == EINVAL) break;  // past the last one the kernel knows
      fail_errno("capabilities", "drop capability {} from the bounding set", capability);
    }
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
    fail_errno("capabilities", "clear the ambient set");
  if (::prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                                     SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                                     SECBIT_NO_CAP_AMBIENT_RAISE |
                                     SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED) != 0)
    fail_errno("capabilities", "lock the secure bits");
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (::syscall(SYS_capset, &header, data) != 0)
    fail_errno("capabilities", "drop all capabilities");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail_errno("capabilities", "set no_new_privs");
}

std::string landlock(const Spec& spec) {
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0,
                             LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 1) return "no Landlock";
  Ruleset wanted{};
  wanted.fs = (1ull << 13) - 1;
  if (abi >= 2) wanted.fs |= kRefer;
  if (abi >= 3) wanted.fs |= kTruncate;
  if (abi >= 5) wanted.fs |= kIoctlDev;
  if (abi >= 6) wanted.scoped = kScopeAbstractUnix | kScopeSignal;
  const std::size_t size = abi >= 6   ? sizeof wanted
                           : abi >= 4 ? 2 * sizeof(uint64_t)
                                      : sizeof(uint64_t);
  const Fd ruleset(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &wanted, size, 0)));
  if (!ruleset) fail_errno("landlock", "create a ruleset for ABI {}", abi);
  allow(ruleset.get(), "/", kRead, true);
  allow(ruleset.get(), spec.root, wanted.fs, true);
  for (const auto& path : {std::string("/tmp"), std::string("/var/tmp"), std::string("/dev"),
                           std::string("/dev/mqueue"), std::string("/run"), std::string("/proc"),
                           spec.home.empty() ? std::string("/tmp/home") : spec.home})
    allow(ruleset.get(), path, wanted.fs, false);
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0)
    fail_errno("landlock", "restrict");
  return fmt::format("Landlock ABI {}", abi);
}

}  // namespace lares::sandbox::launcher
