// One attempt to break out, by name: exits 0 when it worked, else prints the errno's name and
// exits 1. Run by escape_test.cc inside a sandbox, and outside as the control that shows it can
// work at all.
//   attempts NAME WORKTREE OUTSIDE HOST_PID TCP_PORT
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/openat2.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <string>

namespace {

std::string wt, outside;
int host_pid, port;

// 0 when `result` is no error.
int outcome(long result) { return result < 0 ? errno : 0; }

int append(const std::string& path, int flags = 0) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | flags, 0644);
  if (fd < 0) return errno;
  return ::write(fd, "x", 1) == 1 ? 0 : errno;
}

// The kernel does not say which bits it has dropped, so the file is looked at.
int new_file(long fd) {
  struct stat made;
  if (fd < 0) return errno;
  if (::fstat(static_cast<int>(fd), &made) != 0) return errno;
  return (made.st_mode & (S_ISUID | S_ISGID)) != 0 ? 0 : ENODATA;
}
std::string fresh() { return wt + "/set-id-program"; }
template <class Change>
int with_victim(Change change) {
  const std::string path = fresh();
  const int fd = ::open(path.c_str(), O_CREAT | O_RDWR, 0755);
  if (fd < 0) return errno;
  return change(path.c_str(), fd) < 0 ? errno : new_file(fd);
}

int readable(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY);
  char byte;
  if (fd < 0) return errno;
  const auto n = ::read(fd, &byte, 1);
  return n == 1 ? 0 : n == 0 ? ENODATA : errno;  // ENODATA: there, but empty
}

int connect_to(const std::string& name, bool abstract) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) return errno;
  sockaddr_un address{AF_UNIX, {}};
  name.copy(address.sun_path + (abstract ? 1 : 0), sizeof address.sun_path - 2);
  const auto size = offsetof(sockaddr_un, sun_path) + name.size() + 1;
  return outcome(
      ::connect(fd, reinterpret_cast<sockaddr*>(&address), static_cast<socklen_t>(size)));
}

int inet(int type, const char* host, int to_port) {
  const int fd = ::socket(AF_INET, type, 0);
  if (fd < 0) return errno;
  sockaddr_in address{AF_INET, htons(static_cast<uint16_t>(to_port)), {inet_addr(host)}, {}};
  return outcome(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address));
}

int new_user_namespace_by_clone3() {
  clone_args args{};
  args.flags = CLONE_NEWUSER;
  args.exit_signal = SIGCHLD;
  const long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) ::_exit(0);
  return outcome(pid);
}

int new_user_namespace_by_clone() {
  const long pid = ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr,
                             nullptr);
  if (pid == 0) ::_exit(0);
  return outcome(pid);
}

// What ends the child that runs `what`: SIGSYS counts as ENOSYS.
int in_child(const std::function<int()>& what) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(what());
  int status;
  ::waitpid(pid, &status, 0);
  if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGSYS ? ENOSYS : EFAULT;
  return WEXITSTATUS(status);
}

int any_writable(std::initializer_list<const char*> paths) {
  int last = 0;
  for (const char* path : paths) {
    if (::open(path, O_WRONLY) >= 0) return 0;
    if (errno != ENOENT || last == 0) last = errno;
  }
  return last;
}

int other_descriptors() {
  DIR* dir = ::opendir("/proc/self/fd");
  while (const dirent* entry = ::readdir(dir))
    if (::atoi(entry->d_name) > 2 && ::atoi(entry->d_name) != ::dirfd(dir)) return 0;
  return EBADF;
}

int read_memory_of_host() {
  char here[8];
  iovec local{here, sizeof here}, remote{here, sizeof here};
  const auto n = ::process_vm_readv(host_pid, &local, 1, &remote, 1, 0);
  // EFAULT: reached it, there is only nothing at this address
  return n < 0 && errno != EFAULT ? errno : 0;
}

int has_secret_environment() {
  for (const char* name :
       {"SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS", "AWS_SECRET_ACCESS_KEY", "LARES_TEST_TOKEN",
        "LD_LIBRARY_PATH", "LD_AUDIT", "PYTHONPATH", "NODE_OPTIONS", "GIT_SSH_COMMAND", "BASH_ENV"})
    if (::getenv(name)) return 0;
  return ENOENT;
}

int write_memory_of_host() {
  char here[8] = {};
  iovec local{here, sizeof here}, remote{here, sizeof here};
  const auto n = ::process_vm_writev(host_pid, &local, 1, &remote, 1, 0);
  return n < 0 && errno != EFAULT ? errno : 0;
}

// More than init, the shell around us and we.
int other_processes() {
  int n = 0;
  DIR* dir = ::opendir("/proc");
  while (const dirent* entry = ::readdir(dir))
    n += entry->d_name[0] >= '1' && entry->d_name[0] <= '9';
  return n > 3 ? 0 : ESRCH;
}

int steal_from_host() {
  const long fd = ::syscall(SYS_pidfd_open, host_pid, 0);
  return fd < 0 ? errno : outcome(::syscall(SYS_pidfd_getfd, fd, 0, 0));
}

// A program without a file is confined as any other: it attempts what append-outside attempts.
int run_from_memory() {
  const int program = ::open("/proc/self/exe", O_RDONLY), memory = ::memfd_create("attempts", 0);
  if (program < 0 || memory < 0) return EINVAL;
  char buffer[65536];
  for (ssize_t n; (n = ::read(program, buffer, sizeof buffer)) > 0;)
    if (::write(memory, buffer, static_cast<size_t>(n)) != n) return EINVAL;
  const auto pid = std::to_string(host_pid), to = std::to_string(port);
  const char* const argv[] = {"attempts",  "append-outside", wt.c_str(), outside.c_str(),
                              pid.c_str(), to.c_str(),       nullptr};
  ::fexecve(memory, const_cast<char* const*>(argv), environ);
  return errno;
}

// Neither a file nor a handler of the host's gets a dump of what a command crashed: a limit of 1
// stops both.
int dump_core() {
  rlimit now{};
  ::getrlimit(RLIMIT_CORE, &now);
  if (now.rlim_max > 1) return 0;
  if (::chdir(wt.c_str()) != 0) return EINVAL;
  const pid_t pid = ::fork();
  if (pid == 0) ::abort();
  int status;
  ::waitpid(pid, &status, 0);
  return WCOREDUMP(status) || ::access("core", F_OK) == 0 ? 0 : EPERM;
}

int set_file_capability() {
  const auto path = wt + "/attempts";
  // VFS_CAP_REVISION_2, effective, CAP_SYS_ADMIN
  const unsigned capability[] = {0x02000001, 1u << 21, 0, 0, 0};
  return outcome(::setxattr(path.c_str(), "security.capability", capability, sizeof capability, 0));
}

int run_at_real_time() {
  const sched_param first{1};
  return outcome(::sched_setscheduler(0, SCHED_FIFO, &first));
}

int inet6_out() {
  const int fd = ::socket(AF_INET6, SOCK_DGRAM, 0);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(53);
  ::inet_pton(AF_INET6, "2001:db8::1", &address.sin6_addr);
  return fd < 0 ? errno
                : outcome(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address));
}

int first_of(std::initializer_list<std::string> sockets) {
  int last = ENOENT;
  for (const auto& path : sockets)
    if (const int error = connect_to(path, false); error == 0 || error != ENOENT) last = error;
  return last;
}

int kernel_addresses() {
  FILE* file = ::fopen("/proc/kallsyms", "r");
  unsigned long long address = 0;
  if (!file) return errno;
  return ::fscanf(file, "%llx", &address) == 1 && address != 0 ? 0 : ENODATA;
}

int raise_capabilities() {
  struct {
    unsigned version;
    int pid;
  } header{0x20080522, 0};
  struct {
    unsigned effective, permitted, inheritable;
  } data[2] = {{1u << 21, 1u << 21, 0}, {0, 0, 0}};
  return outcome(::syscall(SYS_capset, &header, data));
}

int perf() {
  perf_event_attr attr{};
  attr.size = sizeof attr;
  attr.type = PERF_TYPE_SOFTWARE;
  return outcome(::syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}

int handle_of(const char* path) {
  struct {
    file_handle head;
    char space[128];
  } handle{};
  handle.head.handle_bytes = 128;
  int mount_id;
  return outcome(::name_to_handle_at(AT_FDCWD, path, &handle.head, &mount_id, 0));
}

#if defined(__x86_64__)
int i386_getpid() {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");
  return result > 0 ? 0 : static_cast<int>(-result);
}
#endif

const std::map<std::string, std::function<int()>>& attempts() {
  static const std::map<std::string, std::function<int()>> all = {
    {"append-outside", [] { return append(outside + "/victim"); }},
    {"create-in-etc", [] { return append("/etc/lares-attempt", O_CREAT); }},
    {"create-in-usr", [] { return append("/usr/lares-attempt", O_CREAT); }},
    {"append-bashrc", [] { return append(outside + "/home/.bashrc"); }},
    {"read-ssh-key", [] { return readable(outside + "/home/.ssh/id_rsa"); }},
    {"read-cloud-key", [] { return readable(outside + "/home/.aws/credentials"); }},
    {"read-dotenv", [] { return readable(wt + "/.env"); }},
    {"write-dotenv", [] { return append(wt + "/.env"); }},
    {"read-hidden-dir", [] { return readable(wt + "/private/token"); }},
    {"add-hook", [] { return append(wt + "/.git/hooks/pre-commit", O_CREAT); }},
    {"link-to-hook",
     [] {
       const auto hook = wt + "/.git/hooks/post-checkout";
       return outcome(::symlink(hook.c_str(), (wt + "/hook").c_str()))
                  ? EINVAL
                  : append(wt + "/hook", O_CREAT);
     }},
    {"hardlink-dotenv",
     [] { return outcome(::link((wt + "/a/b/.env").c_str(), (wt + "/plain").c_str())); }},
    {"link-to-dotenv",
     [] {
       return outcome(::symlink(".env", (wt + "/plain").c_str())) ? EINVAL
                                                                  : readable(wt + "/plain");
     }},
    {"exchange-dotenv",
     [] {
       if (append(wt + "/plain", O_CREAT) != 0) return EINVAL;
       return outcome(::renameat2(AT_FDCWD, (wt + "/.env").c_str(), AT_FDCWD,
                                  (wt + "/plain").c_str(), RENAME_EXCHANGE));
     }},
    {"truncate-dotenv", [] { return outcome(::truncate((wt + "/.env").c_str(), 0)); }},
    {"append-git-config", [] { return append(wt + "/.git/config"); }},
    {"move-git", [] { return outcome(::rename((wt + "/.git").c_str(), (wt + "/git2").c_str())); }},
    {"exchange-git",
     [] {
       ::mkdir((wt + "/forged").c_str(), 0755);
       return outcome(::renameat2(AT_FDCWD, (wt + "/.git").c_str(), AT_FDCWD,
                                  (wt + "/forged").c_str(), RENAME_EXCHANGE));
     }},
    {"chmod-hooks", [] { return outcome(::chmod((wt + "/.git/hooks").c_str(), 0777)); }},
    {"set-uid-by-chmod",
     [] { return with_victim([](auto path, int) { return ::chmod(path, 04755); }); }},
    {"set-uid-by-fchmod",
     [] { return with_victim([](auto, int fd) { return ::fchmod(fd, 04755); }); }},
    {"set-uid-by-fchmodat",
     [] {
       return with_victim([](auto path, int) { return ::fchmodat(AT_FDCWD, path, 04755, 0); });
     }},
    {"set-uid-by-fchmodat2",
     [] {
       return with_victim([](auto path, int) { return ::syscall(452, AT_FDCWD, path, 04755, 0); });
     }},
    {"set-gid-by-chmod",
     [] { return with_victim([](auto path, int) { return ::chmod(path, 02755); }); }},
    {"set-uid-by-open", [] { return new_file(::open(fresh().c_str(), O_CREAT | O_RDWR, 04755)); }},
    {"set-gid-by-open", [] { return new_file(::open(fresh().c_str(), O_CREAT | O_RDWR, 02755)); }},
    {"set-uid-by-openat",
     [] {
       return new_file(::syscall(SYS_openat, AT_FDCWD, fresh().c_str(), O_CREAT | O_RDWR, 04755));
     }},
    {"set-uid-by-openat2",
     [] {
       open_how how{};
       how.flags = O_CREAT | O_RDWR;
       how.mode = 04755;
       return new_file(::syscall(SYS_openat2, AT_FDCWD, fresh().c_str(), &how, sizeof how));
     }},
    {"set-uid-without-a-name",
     [] { return new_file(::open(wt.c_str(), O_TMPFILE | O_RDWR, 04755)); }},
    {"set-uid-by-creat", [] { return new_file(::creat(fresh().c_str(), 04755)); }},
    {"set-uid-by-mknod", [] { return outcome(::mknod(fresh().c_str(), S_IFREG | 04755, 0)); }},
    {"set-gid-by-mknodat",
     [] { return outcome(::mknodat(AT_FDCWD, fresh().c_str(), S_IFREG | 02755, 0)); }},
    {"link-etc",
     [] {
       return outcome(::symlink("/etc", (wt + "/l").c_str()))
                  ? EINVAL
                  : append(wt + "/l/lares-attempt", O_CREAT);
     }},
    {"link-outside",
     [] {
       return outcome(::symlink(outside.c_str(), (wt + "/o").c_str())) ? EINVAL
                                                                       : append(wt + "/o/victim");
     }},
    {"hardlink-passwd", [] { return outcome(::link("/etc/passwd", (wt + "/hl").c_str())); }},
    {"hardlink-git-config",
     [] { return outcome(::link((wt + "/.git/config").c_str(), (wt + "/cfg").c_str())); }},
    {"remount-root",
     [] { return outcome(::mount("none", "/", nullptr, MS_REMOUNT | MS_BIND, nullptr)); }},
    {"unmount-git", [] { return outcome(::umount2((wt + "/.git").c_str(), MNT_DETACH)); }},
    {"bind-mount", [] { return outcome(::mount("/tmp", "/tmp", nullptr, MS_BIND, nullptr)); }},
    {"unshare-user", [] { return outcome(::unshare(CLONE_NEWUSER | CLONE_NEWNS)); }},
    {"unshare-net", [] { return outcome(::unshare(CLONE_NEWNET)); }},
    {"clone3-user", new_user_namespace_by_clone3},
    {"clone-user", new_user_namespace_by_clone},
    {"gain-by-setuid-program",
     [] { return ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? EPERM : 0; }},
    {"become-root", [] { return outcome(::setresuid(0, 0, 0)); }},
    {"be-root", [] { return ::getuid() == 0 ? 0 : EPERM; }},
    {"raise-capabilities", raise_capabilities},
    {"trace-host", [] { return outcome(::ptrace(PTRACE_SEIZE, host_pid, 0, 0)); }},
    {"trace-init", [] { return outcome(::ptrace(PTRACE_SEIZE, 1, 0, 0)); }},
    {"read-host-memory", read_memory_of_host},
    {"signal-host", [] { return outcome(::kill(host_pid, 0)); }},
    {"see-host-process",
     [] { return outcome(::access(("/proc/" + std::to_string(host_pid)).c_str(), F_OK)); }},
    {"read-host-environ",
     [] { return readable("/proc/" + std::to_string(host_pid) + "/environ"); }},
    {"write-host-memory", write_memory_of_host},
    {"other-processes", other_processes},
    {"init-memory", [] { return outcome(::open("/proc/1/mem", O_RDWR)); }},
    {"init-descriptors",  // older kernels tell root their numbers
     [] {
       ::DIR* const all = ::opendir("/proc/1/fd");
       if (!all) return errno;
       while (const dirent* one = ::readdir(all)) {
         if (one->d_name[0] == '.') continue;
         if (::openat(::dirfd(all), one->d_name, O_RDONLY | O_NONBLOCK) >= 0) return 0;
         if (errno != EACCES) return errno;
       }
       return EACCES;
     }},
    {"init-environ", [] { return readable("/proc/1/environ"); }},
    {"init-root", [] { return readable("/proc/1/root" + outside + "/victim"); }},
    {"self-root", [] { return readable("/proc/self/root/.." + outside + "/victim"); }},
    {"host-socket", [] { return connect_to(outside + "/s", false); }},
    {"agent-socket", [] { return connect_to(outside + "/agent.sock", false); }},
    {"daemon-socket", [] { return connect_to(outside + "/run/lares.sock", false); }},
    {"container-sockets",
     [] {
       return first_of({"/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock",
                        "/run/containerd/containerd.sock", "/run/dbus/system_bus_socket",
                        "/run/systemd/private"});
     }},
    {"run-socket",
     [] { return connect_to("/run/lares-attempts-" + std::to_string(host_pid), false); }},
    {"system-socket",
     [] { return connect_to("/var/lib/lares-attempts-" + std::to_string(host_pid), false); }},
    {"worktree-socket", [] { return connect_to(wt + "/s", false); }},
    {"abstract-socket",
     [] { return connect_to("lares-attempts-" + std::to_string(host_pid), true); }},
    {"environment", has_secret_environment},
    {"host-tcp", [] { return inet(SOCK_STREAM, "127.0.0.1", port); }},
    {"udp-out", [] { return inet(SOCK_DGRAM, "192.0.2.1", 53); }},
    {"udp6-out", inet6_out},
    {"ping",
     [] {
       return outcome(::socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP))
                  ? errno
                  : inet(SOCK_DGRAM, "192.0.2.1", 7);
     }},
    {"packet-socket", [] { return outcome(::socket(AF_PACKET, SOCK_RAW, 0)); }},
    {"raw-socket", [] { return outcome(::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)); }},
    {"vsock", [] { return outcome(::socket(AF_VSOCK, SOCK_STREAM, 0)); }},
    {"vsock-high-bits",
     [] { return outcome(::syscall(SYS_socket, (1ul << 40) | AF_VSOCK, SOCK_STREAM, 0)); }},
    {"alg-socket", [] { return outcome(::socket(AF_ALG, SOCK_SEQPACKET, 0)); }},
    {"pair-of-a-family",
     [] {
       int pair[2];
       return outcome(::socketpair(AF_INET, SOCK_STREAM, 0, pair));
     }},
    {"bluetooth-socket", [] { return outcome(::socket(AF_BLUETOOTH, SOCK_RAW, 0)); }},
    {"key-socket", [] { return outcome(::socket(AF_KEY, SOCK_RAW, 2)); }},
    {"audit-netlink", [] { return outcome(::socket(AF_NETLINK, SOCK_RAW, 9)); }},
    {"io-uring",
     [] {
       char params[120] = {};
       return outcome(::syscall(SYS_io_uring_setup, 1, params));
     }},
    {"bpf",
     [] {
       bpf_attr attr{};
       return outcome(::syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
     }},
    {"perf", perf},
    {"userfaultfd", [] { return outcome(::syscall(SYS_userfaultfd, O_CLOEXEC | 1)); }},
    {"add-key", [] { return outcome(::syscall(SYS_add_key, "user", "lares", "x", 1, -3)); }},
    {"keyctl", [] { return outcome(::syscall(SYS_keyctl, 0, -3, 1)); }},
    {"request-key",
     [] { return outcome(::syscall(SYS_request_key, "user", "lares", nullptr, -3)); }},
    {"terminal", [] { return outcome(::open("/dev/tty", O_RDWR)); }},
    {"push-to-terminal", [] { return outcome(::syscall(SYS_ioctl, 0, TIOCSTI, "x")); }},
    {"push-to-terminal-high-bits",
     [] { return outcome(::syscall(SYS_ioctl, 0, (1ul << 32) | TIOCSTI, "x")); }},
    {"console-paste", [] { return outcome(::syscall(SYS_ioctl, 0, TIOCLINUX, "\3")); }},
    {"make-device",
     [] { return outcome(::mknod((wt + "/disk").c_str(), S_IFBLK | 0600, makedev(254, 0))); }},
    {"open-disk",
     [] {
       return any_writable({"/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/mem", "/dev/kvm",
                            "/dev/fuse", "/dev/nvidia0"});
     }},
    {"inherited-descriptor", other_descriptors},
    {"open-by-handle",
     [] {
       char handle[16] = {8};
       return outcome(::syscall(SYS_open_by_handle_at, 0, handle, 0));
     }},
    {"name-to-handle", [] { return handle_of("/etc"); }},
    {"kernel-switches",
     [] {
       return any_writable({"/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger",
                            "/proc/sys/vm/drop_caches", "/sys/kernel/uevent_helper",
                            "/sys/fs/cgroup/cgroup.procs"});
     }},
    {"setuid-file",
     [] {
       struct statvfs fs;
       return ::statvfs(wt.c_str(), &fs) == 0 && (fs.f_flag & ST_NOSUID) ? EPERM : 0;
     }},
    {"newest-system-calls", [] { return outcome(::syscall(467, AT_FDCWD, "/", 0, nullptr, 0)); }},
#if defined(__x86_64__)
    {"x32", [] { return in_child([] { return outcome(::syscall(0x40000000 | 39)); }); }},
    {"i386", [] { return in_child(i386_getpid); }},
#endif
    {"setns",
     [] {
       const int fd = ::open("/proc/1/ns/net", O_RDONLY);
       return fd < 0 ? errno : outcome(::setns(fd, 0));
     }},
    {"steal-descriptor",
     [] {
       return outcome(::syscall(SYS_pidfd_getfd, ::syscall(SYS_pidfd_open, ::getpid(), 0), 0, 0));
     }},
    {"steal-descriptor-of-host", steal_from_host},
    {"join-host-by-pidfd",
     [] {
       return outcome(::setns(static_cast<int>(::syscall(SYS_pidfd_open, 1, 0)), CLONE_NEWNS));
     }},
    {"run-from-memory", run_from_memory},
    {"host-shared-memory",
     [] { return readable("/dev/shm/lares-attempts-" + std::to_string(host_pid)); }},
    {"host-shared-segment", [] { return outcome(::shmget(host_pid, 0, 0)); }},
    {"dump-core", dump_core},
    {"preload-for-all", [] { return append("/etc/ld.so.preload", O_CREAT); }},
    {"mount-tmpfs", [] { return outcome(::mount("tmpfs", wt.c_str(), "tmpfs", 0, nullptr)); }},
    {"mount-setattr",
     [] {
       mount_attr attr{};
       attr.attr_clr = MOUNT_ATTR_RDONLY;
       return outcome(::mount_setattr(AT_FDCWD, "/", 0, &attr, sizeof attr));
     }},
    {"move-mount", [] { return outcome(::move_mount(AT_FDCWD, "/tmp", AT_FDCWD, "/var/tmp", 0)); }},
    {"make-cgroup", [] { return outcome(::mkdir("/sys/fs/cgroup/lares-attempt", 0755)); }},
    {"fsopen", [] { return outcome(::fsopen("tmpfs", 0)); }},
    {"open-tree", [] { return outcome(::open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE)); }},
    {"chroot", [] { return outcome(::chroot("/tmp")); }},
    {"pivot-root", [] { return outcome(::syscall(SYS_pivot_root, ".", ".")); }},
    {"read-shadow", [] { return readable("/etc/shadow"); }},
    {"kernel-log", [] { return outcome(::syscall(SYS_syslog, 10, nullptr, 0)); }},
    {"kernel-addresses", kernel_addresses},
    {"kernel-memory", [] { return readable("/proc/kcore"); }},
    {"move-ancestor-of-secret",
     [] { return outcome(::rename((wt + "/a").c_str(), (wt + "/a2").c_str())); }},
    {"move-parent-of-secret",
     [] { return outcome(::rename((wt + "/a/b").c_str(), (wt + "/a/b2").c_str())); }},
    {"remove-secret", [] { return outcome(::unlink((wt + "/a/b/.env").c_str())); }},
    {"edit-editor-tasks", [] { return append(wt + "/.vscode/tasks.json"); }},
    {"host-name", [] { return outcome(::sethostname("x", 1)); }},
    {"set-clock",
     [] {
       timeval now{};
       ::gettimeofday(&now, nullptr);
       return outcome(::syscall(SYS_settimeofday, &now, nullptr));
     }},
    {"load-module", [] { return outcome(::syscall(SYS_finit_module, 0, "", 0)); }},
    {"kexec", [] { return outcome(::syscall(SYS_kexec_load, 0, 0, nullptr, 0)); }},
    {"kexec-file", [] { return outcome(::syscall(SYS_kexec_file_load, -1, -1, 0, nullptr, 0)); }},
    {"swap", [] { return outcome(::syscall(SYS_swapoff, "/nonexistent")); }},
    // Wrong magic: harmless where allowed
    {"reboot", [] { return outcome(::syscall(SYS_reboot, 0, 0, 0, nullptr)); }},
    {"chown-to-root", [] { return outcome(::chown((wt + "/attempts").c_str(), 0, 0)); }},
    {"file-capability", set_file_capability},
    {"fanotify", [] { return outcome(::syscall(SYS_fanotify_init, 0, O_RDONLY)); }},
    {"raise-priority", [] { return outcome(::setpriority(PRIO_PROCESS, 0, -20)); }},
    {"real-time", run_at_real_time},
    {"spare-me-when-memory-is-short",
     [] {
       const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY);
       return fd < 0 ? errno : ::write(fd, "-1000", 5) == 5 ? 0 : errno;
     }},
    {"raise-limits",
     [] {
       const rlimit more{1 << 20, 1 << 20};
       return outcome(::setrlimit(RLIMIT_NPROC, &more));
     }},
    {"raise-cpu-time",
     [] {
       const rlimit more{RLIM_INFINITY, RLIM_INFINITY};
       return outcome(::setrlimit(RLIMIT_CPU, &more));
     }},
  };
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6 || !attempts().contains(argv[1])) return 2;
  wt = argv[2], outside = argv[3], host_pid = ::atoi(argv[4]), port = ::atoi(argv[5]);
  const int error = attempts().at(argv[1])();
  std::printf("%s\n", error == 0 ? "ALLOWED" : ::strerrorname_np(error));
  return error == 0 ? 0 : 1;
}
