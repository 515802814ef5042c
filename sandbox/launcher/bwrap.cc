#include "sandbox/launcher/bwrap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "sandbox/launcher/covers.h"
#include "sandbox/launcher/group.h"
#include "sandbox/launcher/growth.h"
#include "sandbox/launcher/identity.h"
#include "sandbox/launcher/later.h"
#include "sandbox/launcher/lockdown.h"
#include "sandbox/launcher/network.h"
#include "sandbox/launcher/private_places.h"
#include "sandbox/launcher/sources.h"
#include "sandbox/launcher/supervise.h"
#include "sandbox/launcher/sys.h"
#include "sandbox/launcher/toolchains.h"
#include "sandbox/launcher/watch.h"

namespace lares::sandbox::launcher {
namespace {

// The path AppArmor's profile names; never one found in PATH
constexpr const char* kProgram = "/usr/bin/bwrap";
constexpr const char* kInside = "1000";
constexpr unsigned kInsideId = 1000;  // the same as a number
// What it runs first: says that all is set up, and becomes the command when all is covered. Only
// then does anybody enter the worktree: whoever is in a directory already does not see what is
// mounted on it. What bubblewrap has to say of itself goes elsewhere until then.
constexpr int kTurnFd = 8;
constexpr const char* kWaits =
    "echo >&8; read -r go <&8 || exit 125; exec 2>&1 8>&-; cd \"$0\" || exit 125; exec \"$@\"";
constexpr std::size_t kComplaintBytesMax = 2048;

bool is_dir(const std::string& path) {
  struct stat status;
  return ::lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// The home directory's programs and packages. Nothing in it can be written by a command, so that no
// link appears on the way while bubblewrap goes it.
void show_toolchains(std::vector<std::string>& out, const Spec& spec) {
  const Fd home(spec.home.empty() ? -1
                                  : openat2(AT_FDCWD, spec.home.c_str(), O_PATH | O_DIRECTORY,
                                            RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS));
  for (const auto& one : home ? toolchains(spec) : std::vector<Toolchain>()) {
    const auto path = spec.home + "/" + one.path;
    if (one.kind != Toolchain::Kind::cache &&
        Fd(openat2(home.get(), one.path.c_str(), O_PATH | O_DIRECTORY,
                   RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH)))
      out.insert(out.end(), {"--ro-bind", path, path});
  }
}

std::vector<std::string> arguments(const Spec& spec, int filter) {
  const auto home = spec.home.empty() ? std::string("/tmp/home") : spec.home;
  std::vector<std::string> out = {"bwrap",
                                  "--unshare-all",
                                  "--unshare-user",
                                  "--disable-userns",
                                  "--new-session",
                                  "--die-with-parent",
                                  "--cap-drop",
                                  "ALL",
                                  "--uid",
                                  kInside,
                                  "--gid",
                                  kInside,
                                  "--hostname",
                                  kHostName,
                                  "--ro-bind",
                                  "/",
                                  "/",
                                  "--dev",
                                  "/dev",
                                  "--proc",
                                  "/proc"};
  const auto in_memory = [&](const std::string& path, std::uint64_t bytes) {
    out.insert(out.end(), {"--size", std::to_string(bytes), "--tmpfs", path});
  };
  in_memory(kSharedMemory.path, bytes_of(kSharedMemory, spec));
  for (const auto& place : kPrivate)
    if (is_dir(place.path)) in_memory(place.path, bytes_of(place, spec));
  std::vector<std::string> emptied(kEmptied.begin(), kEmptied.end());
  emptied.insert(emptied.end(), spec.emptied.begin(), spec.emptied.end());
  std::erase_if(emptied, [](const auto& path) { return !is_dir(path); });
  for (const auto& path : emptied) in_memory(path, kEmptiedBytes);
  out.insert(out.end(), {"--dir", home});
  in_memory(home, bytes_of(kHome, spec));
  show_toolchains(out, spec);
  for (const auto& path : linked_git_dirs(spec.root))
    out.insert(out.end(), {"--ro-bind", path, path});
  out.insert(out.end(), {spec.worktree_readonly ? "--ro-bind" : "--bind", spec.root, spec.root});
  for (const char* path :
       {"/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/sysrq-trigger"})
    if (::access(path, F_OK) == 0) out.insert(out.end(), {"--ro-bind", path, path});
  // Only now, for what is shown in them had to be made. /dev has nothing that may be written but
  // what is mounted in it.
  out.insert(out.end(), {"--remount-ro", "/dev"});
  for (const auto& path : emptied)
    if (path != home && path != spec.root) out.insert(out.end(), {"--remount-ro", path});
  out.insert(out.end(), {"--chdir", "/", "--seccomp", std::to_string(filter), "--", "/bin/sh", "-c",
                         kWaits, spec.cwd});
  out.insert(out.end(), spec.argv.begin(), spec.argv.end());
  return out;
}

void limit(__rlimit_resource what, rlim_t value) {
  rlimit now;
  if (::getrlimit(what, &now) != 0) fail_errno("limits", "read a limit");
  now.rlim_cur = now.rlim_max = std::min(value, now.rlim_max);
  if (::setrlimit(what, &now) != 0) fail_errno("limits", "set a limit");
}

// Out of the way of kTurnFd.
Fd above_all(int fd, int how) {
  const Fd closed(fd);
  return Fd(::fcntl(fd, how, kTurnFd + 1));
}

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> out;
  for (const auto& word : words) out.push_back(const_cast<char*>(word.c_str()));
  out.push_back(nullptr);
  return out;
}

// Waits for it to say that all is set up, and returns its number on the host.
pid_t wait_for_setup(int turn, int complaints) {
  pollfd wait[2] = {{turn, POLLIN, 0}, {kControlFd, 0, 0}};
  while (::poll(wait, 2, -1) < 0)
    if (errno != EINTR) fail_errno("internal", "poll");
  if (wait[1].revents != 0) ::_exit(kExitSetupFailed);  // the daemon is gone
  char byte;
  iovec bytes{&byte, 1};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(ucred))];
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof space;
  if (::recvmsg(turn, &message, MSG_CMSG_CLOEXEC) != 1) {
    auto text = read_file(complaints, kComplaintBytesMax);
    text.resize(std::min(text.find('\n'), text.size()));
    fail("bubblewrap set-up", "{}", text.empty() ? "ended without saying why" : text);
  }
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_type != SCM_CREDENTIALS)
    fail("internal", "no credentials with the command's turn");
  ucred who;
  ::memcpy(&who, CMSG_DATA(header), sizeof who);
  return who.pid;
}

// By descriptors from within, and not by bubblewrap's options: it follows links to its mount points
// in a tree that another command may write (CVE-2026-87766), and makes those that are not there.
void cover(const Later& later, const Spec& spec, const std::vector<std::string>& sockets) {
  Identity identity;
  identity.inside_uid = identity.inside_gid = kInsideId;
  for (auto& path : linked_git_dirs(spec.root)) identity.sources.push_back({std::move(path), Fd()});
  const bool covered = later.inside([&](View& view) {
    view.make_masks(identity, spec);
    cover_worktree(view, spec, sockets);
    view.cover_credentials();
    if (!view.at_system(spec.cwd, O_DIRECTORY)) fail_errno("policy", "enter {}", spec.cwd);
  });
  if (!covered) ::_exit(kExitSetupFailed);
}

}  // namespace

void run_bubblewrap(const Spec& spec) {
  // As root it would keep host root's number and reach all that is root's; the native backend has
  // answers, this one has none.
  if (::geteuid() == 0) fail("identity", "bubblewrap is not used as root");
  if (::access(kProgram, X_OK) != 0) fail_errno("bubblewrap", "{}", kProgram);
  const auto sockets = host_socket_paths();
  auto group = CommandGroup::open(spec);
  const Fd filter = above_all(export_filter(spec), F_DUPFD);
  const auto words = arguments(spec, filter.get());
  int pair[2], ends[2];
  const int on = 1;
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 ||
      ::setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
      ::pipe2(ends, O_CLOEXEC) != 0)
    fail_errno("internal", "socketpair");
  const Fd turn(pair[0]), complaints(ends[0]);
  Fd turn_theirs = above_all(pair[1], F_DUPFD_CLOEXEC), complaints_theirs(ends[1]);
  write_file("/proc/self/oom_score_adj", "1000");
  // Orphans of bwrap come to us, so that the namespace is seen to its end.
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) fail_errno("bubblewrap", "become a subreaper");
  const pid_t parent = ::getpid();
  int raw = -1;
  const pid_t pid = clone_with(0, &raw);
  if (pid < 0) fail_errno("bubblewrap", "fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(kExitSetupFailed);
    group.join();
    limit(RLIMIT_FSIZE, spec.file_bytes);
    limit(RLIMIT_NOFILE, spec.n_open_files);
    if (!limit_cpu(spec)) fail_errno("limits", "limit CPU time");
    limit(RLIMIT_CORE, 1);  // see limit_resources()
    step_back();
    if (::dup2(complaints_theirs.get(), 2) < 0 || ::dup2(turn_theirs.get(), kTurnFd) < 0)
      fail_errno("internal", "dup2");
    ::execve(kProgram, pointers(words).data(), pointers(spec.env).data());
    fail_errno("bubblewrap", "run {}", kProgram);
  }
  turn_theirs = Fd();
  complaints_theirs = Fd();
  const pid_t command = wait_for_setup(turn.get(), complaints.get());
  const Later later = Later::of(command, spec);
  cover(later, spec, sockets);
  const Watch watch = Watch::of_children(spec, command);
  // Of a process in the user namespace it counts those in it alone, see limit_resources().
  const rlimit tasks{spec.n_processes, spec.n_processes};
  if (::prlimit(command, RLIMIT_NPROC, &tasks, nullptr) != 0)
    fail_errno("limits", "limit processes to {}", spec.n_processes);
  const auto line = fmt::format("{}bubblewrap\n", kReplyStarted);
  (void)!::send(kControlFd, line.data(), line.size(), MSG_NOSIGNAL);
  (void)!::send(turn.get(), "\n", 1, MSG_NOSIGNAL);
  Growth growth(spec, ::getpid());
  supervise(pid, Fd(raw), -1, later, [&] {
    auto why = growth.over();
    return why.empty() && !spec.cgroup_limits ? watch.over_limit() : why;
  });
}

}  // namespace lares::sandbox::launcher
