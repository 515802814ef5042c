// The second backend: the same refusals, fewer of them. Not as root, and not where /usr/bin/bwrap
// is absent.
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "sandbox/fd.h"
#include "sandbox/sensitive_paths.h"
#include "tests/sandbox/run.h"

namespace lares::sandbox::test {
namespace {

std::string unusable() {
  if (::access("/usr/bin/bwrap", X_OK) != 0) return "bubblewrap is not installed";
  if (::geteuid() == 0) return "bubblewrap is refused to root";
  const Scratch scratch;
  const auto ran = run({"true"}, in(scratch, Backend::bubblewrap));
  return ran.ok() ? "" : "bubblewrap does not work here: " + ran.error + ran.output;
}

TEST(Bubblewrap, IsRefusedToRoot) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const Scratch scratch;
  EXPECT_NE(
      run({"true"}, in(scratch, Backend::bubblewrap)).error.find("bubblewrap is not used as root"),
      std::string::npos);
}

TEST(Bubblewrap, DeniesAndAllows) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  scratch.write(".env", "SECRET");
  auto options = in(scratch, Backend::bubblewrap);
  options.policy.hidden = {".env"};
  const auto ran = shell("cat .env; touch .git/x || echo git; mv .git moved || echo pinned; ls " +
                             scratch.outside.native() +
                             " || echo outside; echo x > f; test $(id -u) = 1000 && grep -q "
                             "'Seccomp:.2' /proc/self/status && echo filtered; "
                             "getent hosts $(uname -n) >/dev/null && echo named; "
                             "grep -c : /proc/net/dev; unshare -U true || echo nested",
                         options);
  for (const char* line :
       {"git\n", "pinned\n", "outside\n", "filtered\n", "named\n", "\n1\n", "nested\n"})
    EXPECT_NE(ran.output.find(line), std::string::npos) << line << " is missing in:\n"
                                                        << ran.error << ran.output;
  EXPECT_EQ(ran.output.find("SECRET"), std::string::npos);
  EXPECT_EQ(scratch.read("f"), "x\n");
}

TEST(Bubblewrap, MakesNothingOnTheHostThroughALink) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  std::filesystem::create_directory(scratch.outside / "there");
  std::filesystem::create_directory_symlink(scratch.outside, scratch.wt / "link");
  std::filesystem::create_directory_symlink("/oldroot" + scratch.outside.native(),
                                            scratch.wt / "old");
  auto options = in(scratch, Backend::bubblewrap);
  options.policy.hidden = {"link/there", "link/none", "old/none"};
  options.policy.readonly = {"old/none/x"};
  EXPECT_TRUE(run({"true"}, options).ok());
  EXPECT_TRUE(std::filesystem::is_empty(scratch.outside / "there"));
  EXPECT_FALSE(std::filesystem::exists(scratch.outside / "none"));
}

TEST(Bubblewrap, KeepsWhatProgramsOutsideObeyHoweverDeep) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  const std::vector<std::string> kept = {".claude/settings.json", ".cursor/mcp.json",
                                         ".devcontainer/devcontainer.json", "lib/sub/.git/config"};
  std::string script;
  for (const auto& name : kept) {
    scratch.write(name, "theirs\n");
    const auto top = name.substr(0, name.find('/'));
    script += "(echo x > " + name + ") 2>/dev/null; rm -f " + name + " 2>/dev/null; mv " + top +
              " moved 2>/dev/null && mkdir -p " + top + "; ";
  }
  scratch.write("app/web/.env", "SECRET\n");
  std::filesystem::create_directory_symlink("app", scratch.wt / "short");
  auto options = in(scratch, Backend::bubblewrap);
  const auto sensitive = find_sensitive(scratch.wt).value();
  options.policy.readonly = sensitive.readonly;
  options.policy.hidden = sensitive.hidden;
  options.policy.hidden.push_back("short/web/.env");
  const auto ran = shell(script +
                             "cat app/web/.env short/web/.env; rm app/web/.env 2>/dev/null; "
                             "echo x > .claude/other && cat .claude/other; "
                             "umount -l app/web/.env 2>/dev/null; cat app/web/.env",
                         options);
  EXPECT_EQ(ran.output, "x\n") << ran.error;
  for (const auto& name : kept) EXPECT_EQ(scratch.read(name), "theirs\n") << name;
  EXPECT_EQ(scratch.read("app/web/.env"), "SECRET\n");
}

// bubblewrap's own processes are in the view before it is covered.
TEST(Bubblewrap, NoWorkingDirectoryIsBelowACover) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  scratch.write("app/web/.env", "SECRET\n");
  auto options = in(scratch, Backend::bubblewrap);
  options.policy.hidden = {"app/web/.env"};
  options.cwd = scratch.wt / "app";
  const auto ran = shell(
      "pwd; cat web/.env; for p in /proc/[0-9]*; do cat $p/cwd/web/.env $p/cwd/app/web/.env "
      "$p/root" +
          options.cwd + "/web/.env $p/fd/*/web/.env; done 2>/dev/null; echo end",
      options);
  EXPECT_EQ(ran.output, options.cwd + "\nend\n") << ran.error;
  options.cwd = scratch.wt / "missing";
  EXPECT_NE(run({"true"}, options).error.find("missing: No such file or directory"),
            std::string::npos);
}

TEST(Bubblewrap, ShowsGitsConfigurationWithoutCredentials) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  const std::string config =
      "[remote \"origin\"]\n\turl = https://user:SECRET@git.example/a/b.git\n";
  scratch.write(".git/config", config);
  scratch.write("lib/sub/.git/config", config);
  scratch.write("lib/sub/.git/HEAD", "ref: refs/heads/main\n");
  auto options = in(scratch, Backend::bubblewrap);
  options.policy.readonly = find_sensitive(scratch.wt).value().readonly;
  const auto ran = shell("cat .git/config lib/sub/.git/config; (echo x > .git/config) 2>/dev/null",
                         options);
  const std::string shown = "[remote \"origin\"]\n\turl = https://git.example/a/b.git\n";
  EXPECT_EQ(ran.output, shown + shown) << ran.error;
  EXPECT_EQ(scratch.read(".git/config"), config);
}

// Made where no rights but a file's keep anybody from connecting.
TEST(Bubblewrap, ReachesNoSocketOfTheHosts) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  if (::system("command -v python3 >/dev/null 2>&1") != 0)
    GTEST_SKIP() << "python3 is not installed";
  const Scratch scratch;
  std::filesystem::create_directory(scratch.wt / "run");
  const auto path = (scratch.wt / "run/server.sock").native();
  sockaddr_un address{AF_UNIX, {}};
  ASSERT_LT(path.size(), sizeof address.sun_path);
  std::copy(path.begin(), path.end(), address.sun_path);
  const Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  const auto ran = run({"python3", "-c", R"py(
import os, socket
for path in ('run/server.sock', os.path.realpath('run/server.sock')):
    try: socket.socket(socket.AF_UNIX).connect(path); print('connected')
    except OSError as e: print('refused')
own = socket.socket(socket.AF_UNIX); own.bind('run/own'); own.listen()
socket.socket(socket.AF_UNIX).connect('run/own'); print('own')
)py"},
                       in(scratch, Backend::bubblewrap));
  EXPECT_EQ(ran.output, "refused\nrefused\nown\n") << ran.error;
}

TEST(Bubblewrap, HidesLater) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  scratch.write("a/.env", "SECRET\n");
  auto options = in(scratch, Backend::bubblewrap);
  options.hide = {scratch.wt / "a/.env", scratch.wt / "gone"};
  options.input = "cat a/.env; rm a/.env 2>/dev/null || echo kept\n";
  const auto ran = run({"/bin/sh"}, options);
  EXPECT_EQ(ran.output, "kept\n") << ran.error;
  EXPECT_EQ(scratch.read("a/.env"), "SECRET\n");
}

// The shell that waits for the covers leaves nothing behind.
TEST(Bubblewrap, TheCommandIsAsItWasGiven) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  auto options = in(scratch, Backend::bubblewrap);
  const auto ran = run({"/bin/ls", "/proc/self/fd/", "a b; echo c", "$HOME"}, options);
  EXPECT_NE(ran.output.find("'a b; echo c'"), std::string::npos) << ran.error << ran.output;
  EXPECT_NE(ran.output.find("/proc/self/fd/:\n0\n1\n2\n3\n"), std::string::npos) << ran.output;
  EXPECT_EQ(ran.output.find("\n4\n"), std::string::npos) << ran.output;
  const auto none = run({"no-such-program"}, options);
  EXPECT_EQ(none.exit.code, 127);
  EXPECT_NE(none.output.find("no-such-program"), std::string::npos) << none.output;
}

TEST(Bubblewrap, ProcessesStopAtTheirBound) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  auto options = in(scratch, Backend::bubblewrap);
  options.policy.limits.n_processes = 20;
  const auto ran = run({"python3", "-c", R"py(
import os, time
n = 0
try:
    for n in range(100):
        if os.fork() == 0: time.sleep(60); os._exit(0)
    print('all')
except BlockingIOError: print('stopped', 10 < n < 21)
)py"},
                       options);
  EXPECT_EQ(ran.output, "stopped True\n") << ran.error;
}

TEST(Bubblewrap, TheHomeDirectorysProgramsAreShown) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  const auto home = scratch.outside / "home";
  const std::string before = ::getenv("HOME") ? ::getenv("HOME") : "";
  for (const char* name : {".cargo/bin/tool", ".m2/repository/a.jar", ".agents/skills/a/run",
                           ".ssh/id", "elsewhere/x"}) {
    std::filesystem::create_directories((home / name).parent_path());
    std::ofstream(home / name) << name << "\n";
  }
  std::filesystem::create_directory_symlink(home / "elsewhere", home / ".pyenv");
  ::setenv("HOME", home.c_str(), 1);
  const auto ran = shell(
      "cd; find . -type f | sort; (echo x > .cargo/bin/tool) 2>/dev/null || "
      "echo kept; touch new && echo new",
      in(scratch, Backend::bubblewrap));
  ::setenv("HOME", before.c_str(), 1);
  EXPECT_EQ(ran.output,
            "./.agents/skills/a/run\n./.cargo/bin/tool\n./.m2/repository/a.jar\nkept\nnew\n")
      << ran.error;
}

TEST(Bubblewrap, KillTakesAll) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  auto options = in(scratch, Backend::bubblewrap);
  options.timeout = std::chrono::milliseconds(500);
  const auto before = std::chrono::steady_clock::now();
  const auto ran = shell("trap '' TERM; setsid sleep 60 & sleep 60", options);
  EXPECT_EQ(ran.exit.signal, SIGKILL);
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(30));
}

TEST(Bubblewrap, GrowthAndCpuTimeStopAtTheirBounds) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  auto options = in(scratch, Backend::bubblewrap);
  options.policy.limits.growth_bytes = 32 << 20;
  const auto grown = shell(
      "i=0; while [ $i -lt 4000 ]; do head -c 1048576 /dev/zero > f$i; i=$((i+1)); done", options);
  EXPECT_FALSE(grown.timed_out);
  EXPECT_EQ(grown.exit.signal, SIGKILL);
  EXPECT_NE(grown.output.find("have taken more than 32 MiB of the worktree's file system"),
            std::string::npos)
      << grown.output;
  options.policy.limits = Limits();  // a busy machine grows, too
  options.policy.limits.cpu_seconds = 1;
  const auto busy = shell("while :; do :; done", options);
  EXPECT_FALSE(busy.timed_out);
  EXPECT_EQ(busy.exit.exited ? busy.exit.code : 128 + busy.exit.signal, 128 + SIGXCPU);
}

TEST(Bubblewrap, MemoryOfTheWholeTreeIsBounded) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  for (const char* eat :
       {"b = bytearray(64 << 20)", "os.write(os.memfd_create('x'), bytes(64 << 20))",
        "c = ctypes.CDLL(None); c.shmat.restype = ctypes.c_void_p; "
        "a = c.shmat(c.shmget(0, 64 << 20, 0o600), None, 0); ctypes.memset(a, 1, 64 << 20); "
        "c.shmdt(ctypes.c_void_p(a))"}) {
    const Scratch scratch;
    auto options = in(scratch, Backend::bubblewrap);
    options.policy.limits.memory_bytes = 128 << 20;
    // Three processes of 64 MiB: none is over the limit alone.
    const auto ran = run({"python3", "-c",
                          "import ctypes, os, time\nfor i in range(3):\n  if os.fork() == 0: " +
                              std::string(eat) + "; time.sleep(3600)\ntime.sleep(3600)\n"},
                         options);
    EXPECT_FALSE(ran.timed_out) << eat;
    EXPECT_EQ(ran.exit.signal, SIGKILL) << eat << ran.error;
    EXPECT_NE(ran.output.find("use more than 128 MiB"), std::string::npos) << eat << ran.output;
  }
}

TEST(Bubblewrap, FilesInMemoryAreBounded) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  const auto ran = shell(
      "for d in / /dev /mnt /srv /root /home /usr; do touch $d/x 2>/dev/null && echo $d; done; "
      "dd if=/dev/zero of=/run/fill bs=65536 count=100 2>&1; df -k --output=size /tmp /var/tmp "
      "/dev/shm $HOME | tail -n +2",
      in(scratch, Backend::bubblewrap));
  EXPECT_NE(ran.output.find("No space left"), std::string::npos) << ran.error << ran.output;
  EXPECT_EQ(ran.output.rfind("dd: ", 0), 0u) << "one of these can be written\n" << ran.output;
  constexpr std::uint64_t kPage = 4096;
  const auto kilobytes = [](std::uint64_t bytes) { return (bytes + kPage - 1) / kPage * 4; };
  const auto sizes = fmt::format("{}\n{}\n{}\n{}\n", kilobytes(memory_bytes_max() / 4), 64 << 10,
                                 256 << 10, kilobytes(memory_bytes_max() / 8));
  std::string told;
  for (const char c : ran.output.substr(ran.output.rfind('s') + 1))
    if (c != ' ') told += c;
  EXPECT_NE(told.find(sizes), std::string::npos) << ran.output << sizes;
}

TEST(Bubblewrap, TellsWhetherTheCommandIsAlone) {
  if (const auto why = unusable(); !why.empty()) GTEST_SKIP() << why;
  const Scratch scratch;
  EXPECT_EQ(alone_after({"true", "sleep 60 & job=$!", "kill $job; wait $job",
                         "(setsid sleep 60 >/dev/null 2>&1 &)"},
                        in(scratch, Backend::bubblewrap)),
            (std::vector<bool>{true, false, true, false}));
}

}  // namespace
}  // namespace lares::sandbox::test
