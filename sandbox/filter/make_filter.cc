// At build time: prints the system call filter as rows of a sock_filter array, for
// launcher/seccomp.cc; with "shared" the one for a worktree whose directories are set-group-ID.
// libseccomp takes as long to compile it as all the mounts of a sandbox take, and the result is
// always the same. A deny-list, for developers' tools use nearly everything else; what is newer
// than this list gets ENOSYS, so that programs fall back.
#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kcmp.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <initializer_list>
#include <vector>

namespace {

// futex_requeue, Linux 6.7; the same number on all architectures since 424
constexpr uint32_t kNewestAllowed = 456;
constexpr uint32_t kNoCall = 0xffffffff;
#if defined(__x86_64__)
// x32 and up: killed, as other architectures are
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64, kOtherAbi = 0x40000000;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64, kOtherAbi = kNoCall;
#else
#error "the system call filter knows x86-64 and arm64"
#endif

// By name, since libseccomp 2.5.4 gives a negative number to what this architecture lacks.
constexpr std::array kForbidden = {
    // the view
    "mount", "umount2", "umount", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen",
    "fsconfig", "fsmount", "fspick", "mount_setattr", "unshare", "setns", "open_by_handle_at",
    "name_to_handle_at", "quotactl", "quotactl_fd", "fanotify_init",
    // the kernel's larger surfaces
    "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key", "init_module",
    "finit_module", "delete_module", "kexec_load", "kexec_file_load", "lookup_dcookie",
    "pidfd_getfd", "vhangup", "modify_ldt",
    // the machine
    "reboot", "swapon", "swapoff", "acct", "settimeofday", "stime", "clock_settime",
    "clock_adjtime", "adjtimex", "syslog", "iopl", "ioperm", "sethostname", "setdomainname"};
// Of openat2 nobody sees here which mode a new file gets, nor whether it makes one: both lie in the
// caller's memory, where another thread may change them after a supervisor (SECCOMP_RET_USER_NOTIF)
// has looked. One that opened the file in the caller's place would do so as another process: with
// its /proc/self, umask, limits and Landlock domain, and waiting at pipes. No mount option, umask
// or no_new_privs keeps the bits from being set; nosuid is the sandbox's own mount's. Few programs
// call it, and those do without, for neither older kernels nor gVisor have it.
constexpr std::array kAbsent = {"io_uring_setup", "io_uring_enter", "io_uring_register", "clone3",
                                "openat2"};
// A program that is set-user-ID or set-group-ID runs with its owner's rights whoever starts it, and
// the worktree is mounted nosuid for commands alone.
constexpr std::array<uint64_t, 2> kSetIds = {S_ISUID, S_ISGID};
struct ModeArgument {
  const char* name;
  unsigned argument;
};
constexpr std::array<ModeArgument, 3> kMakeFiles = {{{"creat", 1}, {"mknod", 1}, {"mknodat", 2}}};
constexpr std::array<ModeArgument, 2> kOpenFiles = {{{"open", 2}, {"openat", 3}}};
constexpr std::array<ModeArgument, 3> kChangeModes = {
    {{"chmod", 1}, {"fchmod", 1}, {"fchmodat", 2}}};
constexpr int kFchmodat2 = 452;  // which libseccomp 2.5.4 does not know; on all architectures

void check(int result, const char* what) {
  if (result == 0) return;
  fprintf(stderr, "make the system call filter: %s: %s\n", what, strerror(-result));
  exit(1);
}

void refuse(scmp_filter_ctx filter, const char* name, int error) {
  const int number = seccomp_syscall_resolve_name(name);
  if (number < 0) return;
  check(seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(static_cast<uint16_t>(error)), number, 0,
                               nullptr),
        name);
}

void refuse(scmp_filter_ctx filter, int number, const char* name, int error,
            std::initializer_list<scmp_arg_cmp> arguments) {
  check(seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(static_cast<uint16_t>(error)), number,
                               static_cast<unsigned>(arguments.size()), arguments.begin()),
        name);
}

// The kernel looks at the low 32 bits of these arguments, so must we.
scmp_arg_cmp low32(unsigned argument, uint64_t value) {
  return SCMP_CMP64(argument, SCMP_CMP_MASKED_EQ, 0xffffffffu, value);
}

scmp_arg_cmp has(unsigned argument, uint64_t bits) {
  return SCMP_CMP64(argument, SCMP_CMP_MASKED_EQ, bits, bits);
}

// EPERM, as a file system says that has no such bits: with a success that changed nothing the rest
// of the mode would be lost too. Directories have the group's for another reason, that what is made
// in them gets their group, and no program can tell by its arguments which one is meant. So where
// the worktree's do (`shared`), it may be given to what exists: copies of them, `install -d` and
// `chmod -R g+w` would fail there.
void refuse_set_ids(scmp_filter_ctx filter, bool shared) {
  constexpr uint64_t kTemporary = O_TMPFILE & ~O_DIRECTORY;
  for (const uint64_t bit : kSetIds) {
    for (const auto& [name, argument] : kMakeFiles)
      if (const int number = seccomp_syscall_resolve_name(name); number >= 0)
        refuse(filter, number, name, EPERM, {has(argument, bit)});
    for (const auto& [name, argument] : kOpenFiles)
      for (const uint64_t makes : {static_cast<uint64_t>(O_CREAT), kTemporary})
        if (const int number = seccomp_syscall_resolve_name(name); number >= 0)
          refuse(filter, number, name, EPERM, {has(argument - 1, makes), has(argument, bit)});
    if (shared && bit == S_ISGID) continue;
    for (const auto& [name, argument] : kChangeModes)
      if (const int number = seccomp_syscall_resolve_name(name); number >= 0)
        refuse(filter, number, name, EPERM, {has(argument, bit)});
    refuse(filter, kFchmodat2, "fchmodat2", EPERM, {has(2, bit)});
  }
}

void fill(scmp_filter_ctx filter, bool shared) {
  check(seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS),
        "set the action for other architectures");
  // Which the kernel walks for every number when it is installed
  check(seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2), "order it as a tree");
  for (const char* name : kForbidden) refuse(filter, name, EPERM);
  for (const char* name : kAbsent) refuse(filter, name, ENOSYS);
  for (const uint64_t flag : {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC,
                              CLONE_NEWUTS, CLONE_NEWCGROUP})
    refuse(filter, SCMP_SYS(clone), "clone", EPERM,
           {SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, flag, flag)});
  refuse_set_ids(filter, shared);
  // PID 1, which the filter holds too, asks which processes share memory and which descriptors.
  static_assert(KCMP_FILE == 0 && KCMP_VM == 1 && KCMP_FILES == 2);
  refuse(filter, SCMP_SYS(kcmp), "kcmp", EPERM, {low32(2, KCMP_FILE)});
  refuse(filter, SCMP_SYS(kcmp), "kcmp", EPERM, {SCMP_CMP64(2, SCMP_CMP_GT, KCMP_FILES)});
  for (const unsigned long request : {TIOCSTI, TIOCLINUX, TIOCSETD})
    refuse(filter, SCMP_SYS(ioctl), "ioctl", EPERM, {low32(1, request)});
  for (unsigned family = 0; family < 64; ++family)
    if (family != AF_UNIX && family != AF_INET && family != AF_INET6 && family != AF_NETLINK)
      refuse(filter, SCMP_SYS(socket), "socket", EAFNOSUPPORT, {low32(0, family)});
  // The kernel makes two of any family, for which it may load a module, before it says that they
  // come in no pairs.
  refuse(filter, SCMP_SYS(socketpair), "socketpair", EAFNOSUPPORT,
         {SCMP_CMP64(0, SCMP_CMP_NE, AF_UNIX)});
  // Of netlink only ROUTE (0), which getifaddrs needs.
  refuse(filter, SCMP_SYS(socket), "socket", EAFNOSUPPORT,
         {low32(0, AF_NETLINK), SCMP_CMP64(2, SCMP_CMP_NE, 0)});
}

std::vector<sock_filter> compiled(scmp_filter_ctx filter) {
  const int file = memfd_create("filter", MFD_CLOEXEC);
  check(file < 0 ? -errno : seccomp_export_bpf(filter, file), "compile it");
  std::vector<sock_filter> out(static_cast<size_t>(lseek(file, 0, SEEK_END)) / sizeof(sock_filter));
  const size_t bytes = out.size() * sizeof(sock_filter);
  check(pread(file, out.data(), bytes, 0) == static_cast<ssize_t>(bytes) ? 0 : -EIO, "read it");
  close(file);
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  check(filter ? 0 : -ENOMEM, "begin");
  fill(filter, argc > 1 && strcmp(argv[1], "shared") == 0);
  // libseccomp cannot compare the number itself.
  std::vector<sock_filter> program = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 0, 5),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, kNewestAllowed, 0, 3),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kOtherAbi, 0, 1),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kNoCall, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
  };
  const auto rest = compiled(filter);
  program.insert(program.end(), rest.begin(), rest.end());
  seccomp_release(filter);
  for (const auto& row : program)
    printf("{0x%04x, %u, %u, 0x%08xu},\n", row.code, row.jt, row.jf, row.k);
}
