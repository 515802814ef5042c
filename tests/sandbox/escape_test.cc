// What must be denied: one command per attempt, its errno, the same attempt outside as a control,
// and the host afterwards. As root and as an ordinary user (main.cc).
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/sandbox/run.h"

namespace lares::sandbox::test {
namespace {

enum class Control { none, always, as_root };  // when the attempt works outside

struct Attempt {
  const char* name;
  const char* expected;  // errno names, separated by '|'
  Control control = Control::none;
};

// Rows of the list of attempts that other sandboxes fell to, and of what the kernel offers.
constexpr Attempt kAttempts[] = {
    {"append-outside", "ENOENT", Control::always},
    {"create-in-etc", "EROFS"},
    {"create-in-usr", "EROFS"},
    {"append-bashrc", "ENOENT", Control::always},
    {"read-ssh-key", "ENOENT", Control::always},
    {"read-cloud-key", "ENOENT", Control::always},
    {"read-dotenv", "ENODATA", Control::always},
    {"write-dotenv", "EROFS|EACCES", Control::always},
    {"truncate-dotenv", "EROFS|EACCES", Control::always},
    {"hardlink-dotenv", "EXDEV", Control::always},
    {"link-to-dotenv", "ENODATA", Control::always},
    {"exchange-dotenv", "EBUSY", Control::always},
    {"read-hidden-dir", "ENOENT", Control::always},
    {"add-hook", "EROFS", Control::always},
    {"link-to-hook", "EROFS", Control::always},
    {"append-git-config", "EROFS", Control::always},
    {"move-git", "EBUSY", Control::always},
    {"exchange-git", "EBUSY", Control::always},
    {"chmod-hooks", "EROFS", Control::always},
    {"set-uid-by-chmod", "EPERM", Control::always},
    {"set-uid-by-fchmod", "EPERM", Control::always},
    {"set-uid-by-fchmodat", "EPERM", Control::always},
    {"set-uid-by-fchmodat2", "EPERM|ENOSYS"},
    {"set-gid-by-chmod", "EPERM", Control::always},
    {"set-uid-by-open", "EPERM", Control::always},
    {"set-gid-by-open", "EPERM", Control::always},
    {"set-uid-by-openat", "EPERM", Control::always},
    {"set-uid-by-openat2", "ENOSYS", Control::always},
    {"set-uid-without-a-name", "EPERM", Control::always},
    {"set-uid-by-creat", "EPERM", Control::always},
    {"set-uid-by-mknod", "EPERM", Control::always},
    {"set-gid-by-mknodat", "EPERM", Control::always},
    {"link-etc", "EROFS"},
    {"link-outside", "ENOENT", Control::always},
    {"hardlink-passwd", "EXDEV"},
    {"hardlink-git-config", "EXDEV", Control::always},
    {"remount-root", "EPERM"},
    {"unmount-git", "EPERM"},
    {"bind-mount", "EPERM"},
    {"unshare-user", "EPERM", Control::always},
    {"unshare-net", "EPERM", Control::as_root},
    {"clone3-user", "ENOSYS", Control::always},
    {"clone-user", "EPERM", Control::always},
    {"gain-by-setuid-program", "EPERM", Control::always},
    {"become-root", "EINVAL|EPERM", Control::as_root},
    {"be-root", "EPERM", Control::as_root},
    {"raise-capabilities", "EPERM", Control::as_root},
    {"trace-host", "ESRCH", Control::always},
    {"trace-init", "EPERM"},
    {"read-host-memory", "ESRCH", Control::always},
    {"signal-host", "ESRCH", Control::always},
    {"see-host-process", "ENOENT", Control::always},
    {"read-host-environ", "ENOENT", Control::always},
    {"write-host-memory", "ESRCH", Control::always},
    {"other-processes", "ESRCH", Control::always},
    {"init-memory", "EACCES"},
    {"init-descriptors", "EACCES"},
    {"init-environ", "EACCES"},
    {"init-root", "EACCES|ENOENT"},
    {"self-root", "ENOENT", Control::always},
    {"host-socket", "ENOENT", Control::always},
    {"agent-socket", "ENOENT", Control::always},
    {"daemon-socket", "ENOENT", Control::always},
    {"container-sockets", "ENOENT"},
    {"run-socket", "ENOENT", Control::as_root},
    {"system-socket", "ECONNREFUSED|EACCES|ENOENT", Control::as_root},  // ENOENT: made by root only
    {"worktree-socket", "ECONNREFUSED|EACCES", Control::always},
    {"abstract-socket", "ECONNREFUSED|EPERM", Control::always},
    {"environment", "ENOENT"},
    {"host-tcp", "ECONNREFUSED", Control::always},
    {"udp-out", "ENETUNREACH"},
    {"udp6-out", "ENETUNREACH"},
    {"ping", "EACCES|EPERM|ENETUNREACH"},
    {"packet-socket", "EAFNOSUPPORT", Control::as_root},
    {"raw-socket", "EPERM|EACCES", Control::as_root},
    {"vsock", "EAFNOSUPPORT"},
    {"vsock-high-bits", "EAFNOSUPPORT"},
    {"alg-socket", "EAFNOSUPPORT"},
    {"pair-of-a-family", "EAFNOSUPPORT"},  // EOPNOTSUPP without: it was made
    {"bluetooth-socket", "EAFNOSUPPORT"},
    {"key-socket", "EAFNOSUPPORT"},
    {"audit-netlink", "EAFNOSUPPORT", Control::always},
    {"io-uring", "ENOSYS"},
    {"bpf", "EPERM"},
    {"perf", "EPERM"},
    {"userfaultfd", "EPERM"},
    {"add-key", "EPERM"},
    {"keyctl", "EPERM"},
    {"request-key", "EPERM"},
    {"terminal", "ENXIO"},
    {"push-to-terminal", "EPERM"},
    {"push-to-terminal-high-bits", "EPERM"},
    {"console-paste", "EPERM"},
    {"make-device", "EPERM", Control::as_root},
    {"open-disk", "ENOENT"},
    {"inherited-descriptor", "EBADF"},
    {"open-by-handle", "EPERM"},
    {"name-to-handle", "EPERM"},
    {"kernel-switches", "EROFS|EACCES", Control::as_root},
    {"setuid-file", "EPERM"},
    {"newest-system-calls", "ENOSYS"},
#if defined(__x86_64__)
    {"x32", "ENOSYS"},
    {"i386", "ENOSYS|EFAULT"},  // EFAULT: this kernel has no such entry, and whoever tries it dies
#endif
    {"setns", "EPERM|EACCES"},
    {"steal-descriptor", "EPERM", Control::always},
    {"steal-descriptor-of-host", "ESRCH", Control::always},
    {"join-host-by-pidfd", "EPERM"},
    {"run-from-memory", "ENOENT", Control::always},
    {"host-shared-memory", "ENOENT", Control::always},
    {"host-shared-segment", "ENOENT", Control::always},
    {"dump-core", "EPERM"},
    {"preload-for-all", "EROFS"},
    {"mount-tmpfs", "EPERM"},
    {"mount-setattr", "EPERM"},
    {"move-mount", "EPERM"},
    {"make-cgroup", "EROFS|ENOENT"},
    {"fsopen", "EPERM", Control::as_root},
    {"open-tree", "EPERM", Control::as_root},
    {"chroot", "EPERM", Control::as_root},
    {"pivot-root", "EPERM"},
    {"read-shadow", "EACCES|ENODATA", Control::as_root},
    {"kernel-log", "EPERM"},
    {"kernel-addresses", "ENODATA"},
    {"kernel-memory", "EACCES|ENODATA|ENOENT"},
    {"move-ancestor-of-secret", "EBUSY", Control::always},
    {"move-parent-of-secret", "EBUSY", Control::always},
    {"remove-secret", "EBUSY", Control::always},
    {"edit-editor-tasks", "EROFS", Control::always},
    {"host-name", "EPERM"},
    {"set-clock", "EPERM"},
    {"load-module", "EPERM"},
    {"kexec", "EPERM"},
    {"kexec-file", "EPERM"},
    {"swap", "EPERM"},
    {"reboot", "EPERM"},
    {"chown-to-root", "EPERM|EINVAL", Control::as_root},
    {"file-capability", "EPERM", Control::as_root},
    {"fanotify", "EPERM"},
    {"raise-priority", "EACCES|EPERM", Control::as_root},
    {"real-time", "EPERM", Control::as_root},
    {"spare-me-when-memory-is-short", "EACCES"},
    {"raise-limits", "EPERM"},
    {"raise-cpu-time", "EPERM", Control::always},
};

// What an attacker would like to reach, and the means to see whether he did.
class Host {
 public:
  Host() {
    write("victim", "v");
    for (const char* name : {"home/.bashrc", "home/.ssh/id_rsa", "home/.aws/credentials"})
      write(name, "SECRET");
    scratch.write(".env", "SECRET");
    scratch.write("a/b/.env", "SECRET");
    scratch.write("private/token", "SECRET");
    scratch.write(".vscode/tasks.json", "{}");
    std::filesystem::create_directories(scratch.outside / "run");
    std::filesystem::copy_file(attempts(), scratch.wt / "attempts");
    ::setenv("HOME", (scratch.outside / "home").c_str(), 1);
    ::setenv("LARES_TEST_TOKEN", "SECRET", 1);
    ::setenv("SSH_AUTH_SOCK", (scratch.outside / "agent.sock").c_str(), 1);
    for (const char* name :
         {"LD_LIBRARY_PATH", "PYTHONPATH", "NODE_OPTIONS", "GIT_SSH_COMMAND", "BASH_ENV"})
      ::setenv(name, "/nonexistent", 1);
    sleeper = ::fork();
    if (sleeper == 0)
      for (;;) ::pause();
    const auto mark = "lares-attempts-" + std::to_string(sleeper);
    if (::geteuid() == 0) made = {"/run/" + mark, "/var/lib/" + mark};
    std::vector<std::pair<std::string, bool>> sockets = {{mark, true}};
    for (const auto& path : made) sockets.emplace_back(path, false);
    for (const auto& path :
         {scratch.outside / "s", scratch.wt / "s", scratch.outside / "agent.sock",
          scratch.outside / "run" / "lares.sock"})
      sockets.emplace_back(path.native(), false);
    made.push_back("/dev/shm/" + mark);
    std::ofstream(made.back()) << "SECRET";
    segment = ::shmget(sleeper, 4096, IPC_CREAT | IPC_EXCL | 0600);
    for (const auto& [name, abstract] : sockets) {
      sockaddr_un address{AF_UNIX, {}};
      name.copy(address.sun_path + (abstract ? 1 : 0), sizeof address.sun_path - 2);
      listen_on(AF_UNIX, &address, offsetof(sockaddr_un, sun_path) + name.size() + 1);
    }
    sockaddr_in any{AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};
    const int fd = listen_on(AF_INET, &any, sizeof any);
    socklen_t size = sizeof any;
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&any), &size);
    port = ntohs(any.sin_port);
    leaked = ::open("/", O_RDONLY);  // without CLOEXEC, on purpose
  }
  ~Host() {
    ::kill(sleeper, SIGKILL);
    ::waitpid(sleeper, nullptr, 0);
    for (const int fd : listeners) ::close(fd);
    ::close(leaked);
    std::error_code ignored;
    for (const auto& path : made) std::filesystem::remove(path, ignored);
    ::shmctl(segment, IPC_RMID, nullptr);
  }
  std::vector<std::string> command(const char* attempt) const {
    return {scratch.wt / "attempts", attempt, scratch.wt, scratch.outside, std::to_string(sleeper),
            std::to_string(port)};
  }
  RunOptions options(Backend backend) const {
    auto out = in(scratch, backend);
    out.policy.hidden = {".env", "a/b/.env", "private"};
    return out;
  }
  // Everything outside, and what is protected inside, still as it was.
  void expect_untouched() const {
    for (const char* name : {"victim", "home/.bashrc"}) {
      std::ifstream file(scratch.outside / name);
      EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}),
                name == std::string("victim") ? "v" : "SECRET")
          << name;
    }
    EXPECT_EQ(scratch.read(".git/config"), "[core]\n\tbare = false\n");
    EXPECT_EQ(scratch.read(".env"), "SECRET");
    EXPECT_EQ(scratch.read("a/b/.env"), "SECRET");
    EXPECT_TRUE(std::filesystem::is_empty(scratch.wt / ".git" / "hooks"));
    EXPECT_FALSE(std::filesystem::exists("/etc/lares-attempt"));
    EXPECT_FALSE(std::filesystem::exists("/usr/lares-attempt"));
    EXPECT_EQ(::waitpid(sleeper, nullptr, WNOHANG), 0) << "the host's process is gone";
  }

  const Scratch scratch;
  pid_t sleeper = -1;
  int port = 0;

 private:
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((scratch.outside / name).parent_path());
    std::ofstream(scratch.outside / name) << text;
  }
  int listen_on(int family, const void* address, std::size_t size) {
    const int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::bind(fd, static_cast<const sockaddr*>(address), static_cast<socklen_t>(size)) != 0 ||
        ::listen(fd, 8) != 0)
      std::abort();
    listeners.push_back(fd);
    return fd;
  }
  // Beside the build, or where root put a copy for the user as whom it runs all again.
  static const char* attempts() {
    const char* given = ::getenv("LARES_ATTEMPTS");
    return given ? given : LARES_ATTEMPTS;
  }
  std::vector<int> listeners;
  std::vector<std::string> made;  // on the host, by root or in memory
  int leaked = -1, segment = -1;
};

class Escape : public testing::TestWithParam<Attempt> {};

TEST_P(Escape, IsDenied) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const auto& attempt = GetParam();
  const Host host;
  const auto ran = run(host.command(attempt.name), host.options(Backend::native));
  ASSERT_EQ(ran.error, "");
  EXPECT_EQ(ran.exit.code, 1) << ran.output;
  const auto error = ran.output.substr(0, ran.output.find('\n'));
  EXPECT_NE(fmt::format("|{}|", attempt.expected).find(fmt::format("|{}|", error)),
            std::string::npos)
      << "got " << error << ", expected " << attempt.expected;
  host.expect_untouched();
}

std::string name_of(const testing::TestParamInfo<Attempt>& tested) {
  std::string name = tested.param.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(, Escape, testing::ValuesIn(kAttempts), name_of);

// The second backend denies the same; with which error is bubblewrap's matter. Not as root, who has
// the first.
class EscapeFromBubblewrap : public testing::TestWithParam<Attempt> {};

TEST_P(EscapeFromBubblewrap, IsDenied) {
  if (::access("/usr/bin/bwrap", X_OK) != 0) GTEST_SKIP() << "bubblewrap is not installed";
  const Host host;
  const auto ran = run(host.command(GetParam().name), host.options(Backend::bubblewrap));
  ASSERT_EQ(ran.error, "");
  EXPECT_EQ(ran.exit.code, 1) << ran.output;
  host.expect_untouched();
}
std::vector<Attempt> denied_by_bubblewrap() {
  // Its first process is as good as the command's own.
  constexpr std::string_view kNot[] = {"trace-init", "init-memory", "init-descriptors",
                                       "init-environ"};
  std::vector<Attempt> out;
  if (::geteuid() == 0) return out;
  for (const auto& attempt : kAttempts)
    if (std::ranges::find(kNot, attempt.name) == std::end(kNot)) out.push_back(attempt);
  return out;
}
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(EscapeFromBubblewrap);
INSTANTIATE_TEST_SUITE_P(, EscapeFromBubblewrap, testing::ValuesIn(denied_by_bubblewrap()),
                         name_of);

// What is denied inside works outside, or the denial would prove nothing. Others depend on the
// kernel, or would harm the host.
class Outside : public testing::TestWithParam<Attempt> {};

TEST_P(Outside, ItWorks) {
  const Host host;
  const auto ran = run(host.command(GetParam().name), host.options(Backend::none));
  EXPECT_EQ(ran.output, "ALLOWED\n");
}

std::vector<Attempt> controls() {
  std::vector<Attempt> out;
  for (const auto& attempt : kAttempts)
    if (attempt.control == Control::always ||
        (attempt.control == Control::as_root && ::geteuid() == 0))
      out.push_back(attempt);
  return out;
}
INSTANTIATE_TEST_SUITE_P(, Outside, testing::ValuesIn(controls()), name_of);

TEST(EscapeByPolicy, KillingEveryProcessStaysInside) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Host host;
  shell("kill -9 -1; echo $?", host.options(Backend::native));
  host.expect_untouched();
}

TEST(EscapeByPolicy, AWorktreeThatIsALinkIsRefused) {
  const Scratch scratch;
  std::filesystem::create_directory_symlink(scratch.wt, scratch.dir / "link");
  auto options = in(scratch);
  options.policy.root = scratch.dir / "link";
  EXPECT_EQ(run({"true"}, options).error.substr(0, 8), "refused:");
}

TEST(EscapeByPolicy, AGitLinkToTheWorktreesParentIsRefused) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  std::filesystem::remove_all(scratch.wt / ".git");
  std::filesystem::create_directory_symlink("..", scratch.wt / ".git");
  EXPECT_NE(run({"true"}, in(scratch)).error.find("holds the worktree"), std::string::npos);
}

TEST(EscapeByPolicy, AGitFileOpensUpNothingThatDoesNotPointBack) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  std::filesystem::remove_all(scratch.wt / ".git");
  for (const char* name : {"objects", "refs"})
    std::filesystem::create_directories(scratch.outside / name);
  std::ofstream(scratch.outside / "HEAD") << "secret";
  scratch.write(".git", "gitdir: " + scratch.outside.native() + "\n");
  const auto ran = shell("cat " + (scratch.outside / "HEAD").native() + "; echo $?", in(scratch));
  EXPECT_NE(ran.output.find("No such file"), std::string::npos) << ran.output;
}

TEST(EscapeByPolicy, ASecretThatBecameALinkOutIsNotFollowed) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  scratch.write("conf/x", "1");
  // Nothing there inside
  std::filesystem::create_symlink("/oldroot/etc/passwd", scratch.wt / ".env");
  std::filesystem::create_directory_symlink(scratch.outside, scratch.wt / "sub");
  auto options = in(scratch);
  options.policy.hidden = {".env", "sub/.masked"};
  const auto ran = run({"true"}, options);
  EXPECT_TRUE(ran.ok()) << ran.error << ran.output;
  EXPECT_TRUE(std::filesystem::is_empty(scratch.outside)) << "a mount point was made on the host";
}

TEST(EscapeByPolicy, AReadOnlyWorktreeStaysAsItIs) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  auto options = in(scratch);
  options.policy.worktree_readonly = true;
  EXPECT_FALSE(shell("echo x > f", options).ok());
  EXPECT_EQ(scratch.read("f"), "<absent>");
}

TEST(EscapeByPolicy, FilesTheCommandMakesBelongToTheWorktreesOwner) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  EXPECT_TRUE(shell("echo x > f && test $(id -u) != 0", in(scratch)).ok());
  EXPECT_EQ(scratch.read("f"), "x\n");
  struct stat file, dir;
  ASSERT_EQ(::stat((scratch.wt / "f").c_str(), &file), 0);
  ASSERT_EQ(::stat(scratch.wt.c_str(), &dir), 0);
  EXPECT_EQ(file.st_uid, dir.st_uid);
  EXPECT_EQ(file.st_gid, dir.st_gid);
}

}  // namespace
}  // namespace lares::sandbox::test
