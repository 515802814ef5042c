#include "daemon/shown/git.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "sandbox/search_path.h"
#include "tools/fd.h"

extern char** environ;

namespace lares::shown {
namespace {

constexpr std::size_t kErrorBytesMax = 4096;

// The top of the repository around `directory`, whose programs are not the user's.
std::string top_of(const std::string& directory) {
  namespace fs = std::filesystem;
  std::error_code failed;
  const fs::path here = fs::weakly_canonical(directory, failed);
  for (fs::path at = here; at.has_relative_path(); at = at.parent_path())
    if (fs::exists(at / ".git", failed)) return at.native();
  return here.native();
}

struct Pipe {
  tools::Fd read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return tl::unexpected(fmt::format("run git: make a pipe: {}", std::strerror(errno)));
  return Pipe{tools::Fd(ends[0]), tools::Fd(ends[1])};
}

Result<pid_t> spawn(const std::string& directory, const std::vector<std::string>& arguments,
                    int out, int err) {
  const char* const set = std::getenv("PATH");
  const std::string top = top_of(directory), path = sandbox::path_outside(set ? set : "", top),
                    program = sandbox::program_outside("git", path, top);
  if (program.empty())
    return tl::unexpected(std::string("run git: there is no such program in PATH; install git"));
  std::vector<const char*> argv = {"git", "--no-pager", "-c", "core.quotePath=off"};
  for (const auto& argument : arguments) argv.push_back(argument.c_str());
  argv.push_back(nullptr);
  // Looking must not write the index anew while the user works with it.
  std::vector<char*> environment;
  for (char** e = environ; *e; ++e)
    if (const std::string_view is = *e;
        !is.starts_with("GIT_OPTIONAL_LOCKS=") && !is.starts_with("PATH="))
      environment.push_back(*e);
  std::string no_locks = "GIT_OPTIONAL_LOCKS=0", searched = "PATH=" + path;
  environment.push_back(no_locks.data());
  environment.push_back(searched.data());
  environment.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  ::posix_spawn_file_actions_addchdir_np(&actions, directory.c_str());
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, program.c_str(), &actions, nullptr,
                                   const_cast<char* const*>(argv.data()), environment.data());
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0)
    return tl::unexpected(fmt::format("run git in {}: {}", directory, std::strerror(failed)));
  return pid;
}

// What fits is kept; the rest is read all the same, or git would wait for ever. False: the end.
bool take(int fd, std::string& into, std::size_t bytes_max, bool& cut) {
  std::array<char, 65536> block;
  const ssize_t n = ::read(fd, block.data(), block.size());
  if (n < 0) return errno == EINTR;
  if (n == 0) return false;
  const std::size_t kept = std::min(static_cast<std::size_t>(n), bytes_max - into.size());
  into.append(block.data(), kept);
  cut = cut || kept < static_cast<std::size_t>(n);
  return true;
}

}  // namespace

Result<GitOutput> run_git(const std::string& directory, const std::vector<std::string>& arguments,
                          std::size_t bytes_max) {
  auto out = make_pipe();
  if (!out) return tl::unexpected(out.error());
  auto err = make_pipe();
  if (!err) return tl::unexpected(err.error());
  const auto pid = spawn(directory, arguments, out->write.get(), err->write.get());
  if (!pid) return tl::unexpected(pid.error());
  out->write = {}, err->write = {};
  GitOutput result;
  bool err_cut = false;
  std::array<pollfd, 2> open = {pollfd{out->read.get(), POLLIN, 0},
                                pollfd{err->read.get(), POLLIN, 0}};
  while (open[0].fd >= 0 || open[1].fd >= 0) {
    if (::poll(open.data(), open.size(), -1) < 0) {
      if (errno == EINTR) continue;
      break;
    }
    if (open[0].revents != 0 && !take(open[0].fd, result.out, bytes_max, result.cut))
      open[0].fd = -1;
    if (open[1].revents != 0 && !take(open[1].fd, result.err, kErrorBytesMax, err_cut))
      open[1].fd = -1;
  }
  int status = 0;
  while (::waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
  }
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace lares::shown
