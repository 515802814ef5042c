#include "sandbox/launcher/later.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/spec.h"

namespace lares::sandbox::launcher {
namespace {

constexpr std::size_t kHeadMax = 32;

void answer(std::string_view line) {
  (void)!::send(kControlFd, line.data(), line.size(), MSG_NOSIGNAL);
}

bool below(const std::string& path, const std::string& top) {
  return path.size() > top.size() && path.starts_with(top) && path[top.size()] == '/';
}

bool is_socket(const View& view, const std::string& path) {
  const Fd found = view.at(path, 0);
  struct stat status;
  return found && ::fstat(found.get(), &status) == 0 && S_ISSOCK(status.st_mode);
}

bool receive(char* to, std::size_t n) {
  while (n > 0) {
    const auto got = ::recv(kControlFd, to, n, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got, n -= static_cast<std::size_t>(got);
  }
  return true;
}

}  // namespace

Later Later::of(pid_t pid, const Spec& spec) {
  Later out;
  out.spec_ = &spec;
  out.mounts_ = Fd(::open(fmt::format("/proc/{}/ns/mnt", pid).c_str(), O_RDONLY | O_CLOEXEC));
  // The one that has rights over those mounts: bubblewrap's command is in another below it.
  if (out.mounts_) out.user_ = Fd(::ioctl(out.mounts_.get(), NS_GET_USERNS));
  return out;
}

bool Later::inside(const std::function<void(View&)>& what) const {
  const pid_t pid = ::fork();
  if (pid == 0) {
    // Nothing can be traced or signalled from inside that is not in the sandbox's PID namespace.
    Fd descriptors(::open(kOwnDescriptors, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!user_ || ::setns(user_.get(), CLONE_NEWUSER) != 0)
      fail_errno("user namespace", "enter the sandbox's");
    if (::setns(mounts_.get(), CLONE_NEWNS) != 0) fail_errno("mounts", "enter the sandbox's");
    View view = View::of_sandbox(std::move(descriptors));
    what(view);
    ::_exit(0);
  }
  int status = 0;
  pid_t ended = pid;
  while (pid > 0 && (ended = ::waitpid(pid, &status, 0)) < 0 && errno == EINTR) {
  }
  const bool exited = pid > 0 && ended == pid && WIFEXITED(status);
  if (exited && WEXITSTATUS(status) == 0) return true;
  if (!exited)  // else it has answered itself
    answer(
        fmt::format("{}internal\tthe process that hides files did not end well\n", kReplyFailed));
  return false;
}

bool Later::serve() const {
  std::string head;
  for (char c; head.size() < kHeadMax; head += c) {
    if (!receive(&c, 1)) return false;
    if (c == '\n') break;
  }
  const bool hides = head.starts_with(kCover), keeps = head.starts_with(kKeep);
  const auto n = static_cast<std::size_t>(hides || keeps ? ::strtoull(head.c_str() + 1, nullptr, 10)
                                                         : 0);
  if (n == 0 || n > kSpecBytesMax) return false;
  std::string paths(n, '\0');
  if (!receive(paths.data(), n)) return false;
  if (!user_ || !mounts_) {
    answer(fmt::format("{}mounts\tnothing can be hidden in this sandbox any more\n", kReplyFailed));
    return true;
  }
  const bool done = inside([&](View& view) {
    std::vector<std::string> kept;
    for (std::size_t at = 0; at < paths.size();) {
      const std::string asked(paths.c_str() + at);
      // Outside of the worktree it is a socket, of somebody who may see another file system, and
      // links are the system's own.
      const bool ours = below(asked, spec_->root);
      const std::string path = ours ? asked : view.resolve(asked);
      // No pins: a directory that becomes a mount point is another one to whoever is in it already,
      // and what is mounted in the new one is not in theirs. What hides moves with its file.
      if (hides && (ours ? !view.is_empty_cover(path) : is_socket(view, path)))
        view.cover_empty(path);
      if (keeps && ours) {
        if (!view.is_read_only(path)) view.cover_read_only(path);
        kept.push_back(path);
      }
      at += asked.size() + 1;
    }
    if (keeps) view.cover_new_credentials(*spec_, kept);
  });
  if (done) answer(fmt::format("{}\n", head[0]));
  return true;
}

}  // namespace lares::sandbox::launcher
