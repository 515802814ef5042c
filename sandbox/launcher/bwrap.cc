#include "sandbox/launcher/bwrap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/launcher/covers.h"
#include "sandbox/launcher/group.h"
#include "sandbox/launcher/growth.h"
#include "sandbox/launcher/lockdown.h"
#include "sandbox/launcher/sources.h"
#include "sandbox/launcher/supervise.h"
#include "sandbox/launcher/sys.h"

namespace lares::sandbox::launcher {
namespace {

constexpr const char* kProgram = "/usr/bin/bwrap";  // the path AppArmor's profile names; never one
                                                    // found in PATH
constexpr const char* kInside = "1000";

bool exists(const std::string& path, mode_t* mode = nullptr) {
  struct stat status;
  if (::lstat(path.c_str(), &status) != 0) return false;
  if (mode) *mode = status.st_mode;
  return true;
}

// bubblewrap makes mount points by path, as its set-up sees it, and follows a link on the way
// (CVE-2026-87766). So we only ever name covers that exist as plain files or directories directly
// below the worktree, which cannot have a link on the way.
void cover(std::vector<std::string>& out, const Spec& spec, const std::string& path, bool hide) {
  mode_t mode;
  if (!exists(path, &mode)) return;
  const bool plain = S_ISREG(mode) || S_ISDIR(mode);
  if (path.find('/', spec.root.size() + 1) != path.npos || !plain)
    fail("bubblewrap",
         "{} cannot be covered safely: bubblewrap follows links to what is not directly in the "
         "worktree",
         path);
  if (!hide)
    out.insert(out.end(), {"--ro-bind", path, path});
  else if (S_ISDIR(mode))
    out.insert(out.end(), {"--perms", "0555", "--tmpfs", path, "--remount-ro", path});
  else
    out.insert(out.end(), {"--ro-bind", "/dev/null", path});
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
                                  "sandbox",
                                  "--ro-bind",
                                  "/",
                                  "/",
                                  "--dev",
                                  "/dev",
                                  "--tmpfs",
                                  "/dev/shm",
                                  "--proc",
                                  "/proc"};
  for (const char* dir : {"/tmp", "/var/tmp", "/run", "/root", "/home", "/mnt", "/media", "/srv",
                          "/boot", "/var/spool", "/var/backups"})
    if (mode_t mode; exists(dir, &mode) && S_ISDIR(mode)) out.insert(out.end(), {"--tmpfs", dir});
  for (const auto& path : spec.emptied)
    if (mode_t mode; exists(path, &mode) && S_ISDIR(mode)) out.insert(out.end(), {"--tmpfs", path});
  out.insert(out.end(), {"--dir", home, "--tmpfs", home});
  for (const auto& path : linked_git_dirs(spec.root))
    out.insert(out.end(), {"--ro-bind", path, path});
  out.insert(out.end(), {spec.worktree_readonly ? "--ro-bind" : "--bind", spec.root, spec.root});
  for (const std::string_view name : kObeyedOutside)
    if (name.find('/') == name.npos) cover(out, spec, fmt::format("{}/{}", spec.root, name), false);
  for (const auto& path : spec.readonly) cover(out, spec, path, false);
  for (const auto& path : spec.hidden) cover(out, spec, path, true);
  for (const auto& path :
       {"/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/sysrq-trigger"})
    if (exists(path)) out.insert(out.end(), {"--ro-bind", path, path});
  out.insert(out.end(), {"--chdir", spec.cwd, "--seccomp", std::to_string(filter), "--"});
  out.insert(out.end(), spec.argv.begin(), spec.argv.end());
  return out;
}

void limit(__rlimit_resource what, rlim_t value) {
  rlimit now;
  if (::getrlimit(what, &now) != 0) fail_errno("limits", "read a limit");
  now.rlim_cur = now.rlim_max = std::min(value, now.rlim_max);
  if (::setrlimit(what, &now) != 0) fail_errno("limits", "set a limit");
}

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> out;
  for (const auto& word : words) out.push_back(const_cast<char*>(word.c_str()));
  out.push_back(nullptr);
  return out;
}

}  // namespace

void run_bubblewrap(const Spec& spec) {
  // As root it would keep host root's number and reach all that is root's; the native backend has
  // answers, this one has none.
  if (::geteuid() == 0) fail("identity", "bubblewrap is not used as root");
  if (::access(kProgram, X_OK) != 0) fail_errno("bubblewrap", "{}", kProgram);
  auto group = CommandGroup::open(spec);
  const int filter = export_filter();
  const auto words = arguments(spec, filter);
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
    ::execve(kProgram, pointers(words).data(), pointers(spec.env).data());
    fail_errno("bubblewrap", "run {}", kProgram);
  }
  ::close(filter);
  const auto line = fmt::format("{}bubblewrap\n", kReplyStarted);
  (void)!::send(kControlFd, line.data(), line.size(), MSG_NOSIGNAL);
  Growth growth(spec, ::getpid());
  supervise(pid, Fd(raw), -1, Later(), &growth);
}

}  // namespace lares::sandbox::launcher
