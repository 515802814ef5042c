// What must work: the other half of the escape suite.
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <map>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "sandbox/fd.h"
#include "sandbox/sensitive_paths.h"
#include "tests/sandbox/run.h"

namespace lares::sandbox::test {
namespace {

bool have(const std::string& program) {
  return ::system(("command -v " + program + " >/dev/null 2>&1").c_str()) == 0;
}

#define NEEDS(program)                               \
  if (!why_not().empty()) GTEST_SKIP() << why_not(); \
  if (!have(program)) GTEST_SKIP() << program << " is not installed"

void expect_works(const Ran& ran) {
  EXPECT_TRUE(ran.ok()) << ran.error << "exit " << ran.exit.code << " signal " << ran.exit.signal
                        << "\n"
                        << ran.output;
}

// A home directory beside the worktree, for as long as this lives.
class Home {
 public:
  explicit Home(const Scratch& scratch) : path(scratch.outside / "home") {
    std::filesystem::create_directory(path);
    if (const char* value = ::getenv("HOME")) before_ = value;
    ::setenv("HOME", path.c_str(), 1);
  }
  ~Home() { ::setenv("HOME", before_.c_str(), 1); }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream(path / name) << text;
  }
  std::string read(const std::string& name) const {
    std::ifstream file(path / name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  const std::filesystem::path path;

 private:
  std::string before_;
};

TEST(Work, CompilesAndRuns) {
  NEEDS("g++");
  const Scratch scratch;
  scratch.write("main.cc", "#include <cstdio>\nint main() { std::puts(\"hello\"); }\n");
  const auto ran = shell("g++ -O1 -o main main.cc && ./main", in(scratch));
  expect_works(ran);
  EXPECT_EQ(ran.output, "hello\n");
}

TEST(Work, MakesInParallel) {
  NEEDS("make");
  const Scratch scratch;
  scratch.write("Makefile", "all: a b c d\na b c d:\n\tsleep 0.05; echo $@ > $@\n");
  expect_works(shell("make -j4 && test -s a -a -s b -a -s c -a -s d", in(scratch)));
}

TEST(Work, RunsPythonTests) {
  NEEDS("python3");
  const Scratch scratch;
  scratch.write("tests/test_it.py",
                "import unittest\nclass T(unittest.TestCase):\n  def test_it(self): "
                "self.assertEqual(1, 1)\n");
  const auto ran = shell("python3 -m unittest discover -s tests", in(scratch));
  expect_works(ran);
  EXPECT_NE(ran.output.find("Ran 1 test"), std::string::npos) << ran.output;
}

TEST(Work, RunsPythonProcessesSocketsAndTerminals) {
  NEEDS("python3");
  const Scratch scratch;
  expect_works(run({"python3", "-c", R"py(
import asyncio, multiprocessing, os, pty, socket, tempfile
def double(x): return 2 * x
if __name__ == '__main__':
    with multiprocessing.Manager() as m: m.dict()['a'] = 1
    with multiprocessing.Pool(2) as p: assert p.map(double, [1, 2]) == [2, 4]
    s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); s.accept()
    assert socket.gethostbyname(socket.gethostname()) == '127.0.0.1'
    s6 = socket.create_server(('::1', 0), family=socket.AF_INET6)
    async def main(): assert await (await asyncio.create_subprocess_exec('true')).wait() == 0
    asyncio.run(main())
    a, b = pty.openpty(); assert os.isatty(b)
    tempfile.NamedTemporaryFile().write(b'x'); open('/dev/shm/x', 'w').write('x'); open(os.path.expanduser('~/.cached'), 'w')
)py"},
                   in(scratch)));
}

TEST(Work, RunsNodeTests) {
  NEEDS("node");
  const Scratch scratch;
  scratch.write("test/a.test.js",
                "const test = require('node:test'), assert = require('node:assert'), net = "
                "require('node:net');\n"
                "test('fork', () => assert.equal(require('node:child_process').execSync('echo 1') "
                "+ '', '1\\n'));\n"
                "test('listen', (t, done) => { const s = net.createServer().listen('/tmp/s.sock', "
                "() => s.close(done)); });\n");
  auto options = in(scratch);
  options.timeout = std::chrono::seconds(60);
  expect_works(shell("node --test", options));
}

TEST(Work, ShowsGitWithoutLettingItWrite) {
  NEEDS("git");
  const Scratch scratch;
  std::filesystem::remove_all(scratch.wt / ".git");
  const auto wt = scratch.wt.native();
  scratch.write("f", "one\n");
  ASSERT_EQ(
      ::system(
          ("cd " + wt +
           " && git init -q && git add f && git -c user.name=a -c user.email=a@b commit -qm first")
              .c_str()),
      0);
  scratch.write("f", "two\n");
  const auto ran = shell("git status --short && git log --oneline --format=%s && git diff --stat",
                         in(scratch));
  expect_works(ran);
  EXPECT_NE(ran.output.find(" M f\nfirst\n"), std::string::npos) << ran.output;
  EXPECT_FALSE(shell("git -c user.name=a -c user.email=a@b commit -qam second", in(scratch)).ok());
}

TEST(Work, ShowsALinkedWorktree) {
  NEEDS("git");
  const Scratch scratch;
  const auto repo = scratch.outside.native();
  const auto linked = (scratch.dir / "linked").native();
  ASSERT_EQ(::system(("cd " + repo +
                      " && git init -q && git -c user.name=a -c user.email=a@b commit -qm first "
                      "--allow-empty && git worktree add -q " +
                      linked + " 2>/dev/null")
                         .c_str()),
            0);
  auto options = in(scratch);
  options.policy.root = linked;
  const auto ran = shell("git log --format=%s && echo x > new && git status --short", options);
  expect_works(ran);
  EXPECT_EQ(ran.output, "first\n?? new\n");
  EXPECT_FALSE(shell("touch " + repo + "/.git/config.lock", options).ok());
}

TEST(Work, UsesTemporaryFilesAndSharedMemory) {
  NEEDS("mktemp");
  const Scratch scratch;
  expect_works(
      shell("f=$(mktemp) && echo x > $f && test -s $f && d=$(mktemp -d) && echo x > /dev/shm/x && "
            "echo x > /var/tmp/x && echo x > /dev/null",
            in(scratch)));
  EXPECT_FALSE(std::filesystem::exists("/dev/shm/x"));
}

TEST(Work, UsesMessageQueues) {
  NEEDS("python3");
  const Scratch scratch;
  const auto ran = run({"python3", "-c", R"py(
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
q = c.mq_open(b'/queue', os.O_RDWR | os.O_CREAT, 0o600, None)
print(q >= 0 or os.strerror(ctypes.get_errno()), c.mq_send(q, b'hi', 2, 0), os.listdir('/dev/mqueue'))
)py"},
                       in(scratch));
  EXPECT_EQ(ran.output, "True 0 ['queue']\n") << ran.error;
}

TEST(Work, FollowsLinksInsideTheWorktree) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  scratch.write("real/f", "x");
  std::filesystem::create_directory_symlink("real", scratch.wt / "link");
  auto options = in(scratch);
  options.policy.hidden = {"link/secret"};  // not there: nothing to hide
  const auto ran = shell("cat link/f && mv link/f link/g && ln -s real other && ls other", options);
  expect_works(ran);
  EXPECT_EQ(ran.output, "xg\n");
}

TEST(Work, KeepsModesThatAreNobodysRights) {
  NEEDS("tar");
  const Scratch scratch;
  const auto ran = shell(
      "umask 022; echo x > a; chmod 0751 a; cp -p a b; mkdir d; chmod 1777 d; "
      "tar cf t.tar a d; mkdir out; tar xpf t.tar -C out; install -m 0640 a c; stat "
      "-c '%a' a b c d out/a out/d; chmod 4755 a; echo $?; chmod g+s d; echo $?; stat -c '%a' a d",
      in(scratch));
  expect_works(ran);
  EXPECT_EQ(ran.output,
            "751\n751\n640\n1777\n751\n1777\nchmod: changing permissions of 'a': Operation not "
            "permitted\n1\nchmod: changing permissions of 'd': Operation not "
            "permitted\n1\n751\n1777\n");
}

// Where directories are set-group-ID what copies one with its mode must not fail.
TEST(Work, KeepsASharedWorktreesModes) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  ASSERT_EQ(::chmod(scratch.wt.c_str(), 02755), 0);
  const auto ran = shell(
      "umask 022; mkdir d; cp -a d e; chmod -R g+w d; stat -c '%a' d e; touch a; chmod 4755 a; "
      "echo $?; stat -c '%a' a",
      in(scratch));
  expect_works(ran);
  EXPECT_EQ(ran.output,
            "2775\n2755\nchmod: changing permissions of 'a': Operation not permitted\n1\n644\n");
}

TEST(Work, RunsInASubdirectory) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  scratch.write("sub/f", "x");
  auto options = in(scratch);
  options.cwd = scratch.wt / "sub";
  EXPECT_EQ(shell("pwd && cat f", options).output, options.cwd + "\nx");
  options.cwd = scratch.wt / "missing";
  EXPECT_NE(run({"true"}, options).error.find("missing: No such file or directory"),
            std::string::npos);
}

TEST(Work, HidesWithoutBreakingItsNeighbours) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  scratch.write("conf/.env", "SECRET");
  scratch.write("conf/settings", "plain");
  scratch.write("docs/readme", "doc");
  auto options = in(scratch);
  options.policy.hidden = find_sensitive(scratch.wt).value().hidden;
  options.policy.readonly = {"docs"};
  const auto ran = shell(
      "cat conf/.env conf/settings; echo new > conf/new; (echo y > docs/readme) 2>/dev/null || "
      "echo kept",
      options);
  EXPECT_EQ(ran.output, "plainkept\n");
  EXPECT_EQ(scratch.read("conf/new"), "new\n");
}

// A server of the user's comes and goes while its socket is hidden.
TEST(Work, BeginsThoughWhatItHidesIsGone) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  const std::string path = scratch.wt / "s";
  sockaddr_un address{AF_UNIX, {}};
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const std::jthread server([&](std::stop_token stop) {
    while (!stop.stop_requested()) {
      const Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      (void)::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
      (void)::listen(listener.get(), 1);
      ::unlink(path.c_str());
    }
  });
  for (int i = 0; i < 100; ++i) {
    const Ran ran = run({"true"}, in(scratch));
    ASSERT_TRUE(ran.ok()) << ran.error << ran.output;
  }
}

TEST(Work, FindsAddressAndLeakBugs) {
  NEEDS("g++");
  const Scratch scratch;
  scratch.write("leak.cc",
                "int main() { static int* p = new int[9]; p = nullptr; return p != nullptr; }\n");
  auto options = in(scratch);
  options.timeout = std::chrono::seconds(60);
  if (!have("true") ||
      ::system("echo 'int main(){}' | g++ -x c++ -fsanitize=address -o /dev/null - 2>/dev/null") !=
          0)
    GTEST_SKIP() << "no AddressSanitizer for this compiler";
  const auto ran = shell("g++ -fsanitize=address -g -o leak leak.cc && ./leak", options);
  // Which needs ptrace among its own
  EXPECT_NE(ran.output.find("detected memory leaks"), std::string::npos) << ran.output;
}

TEST(Work, GoesOnWithoutAskingANetworkThatIsNotThere) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  auto options = in(scratch);
  const auto asks = [&] { return run({"env"}, options).output; };
  EXPECT_NE(asks().find("npm_config_prefer_offline=true\n"), std::string::npos);
  EXPECT_NE(asks().find("PIP_RETRIES=1\n"), std::string::npos);
  options.policy.network_allow = {"registry.example"};
  EXPECT_EQ(asks().find("npm_config_prefer_offline"), std::string::npos);
  options.policy.network_allow = {};
  options.env = {"PIP_RETRIES=7"};
  EXPECT_NE(asks().find("PIP_RETRIES=7\n"), std::string::npos);
}

TEST(Work, EnvironmentIsScrubbed) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  ::setenv("AWS_SECRET_ACCESS_KEY", "SECRET", 1);
  auto options = in(scratch);
  options.env = {"EXTRA=1"};
  const auto ran = run({"env"}, options);
  EXPECT_EQ(ran.output.find("SECRET"), std::string::npos) << ran.output;
  EXPECT_NE(ran.output.find("TMPDIR=/tmp\n"), std::string::npos);
  EXPECT_NE(ran.output.find("HUSKY=0\n"), std::string::npos);
  EXPECT_NE(ran.output.find("EXTRA=1\n"), std::string::npos);
}

// What people have, each as they use it.
struct Tool {
  const char* name;     // of the test
  const char* program;  // skipped without it
  std::string script;
  std::string output;  // how it ends
};
void PrintTo(const Tool& tool, std::ostream* out) { *out << tool.name; }

class WorkWith : public testing::TestWithParam<Tool> {};

TEST_P(WorkWith, Works) {
  NEEDS(GetParam().program);
  const Scratch scratch;
  std::filesystem::remove_all(scratch.wt / ".git");
  auto options = in(scratch);
  options.timeout = std::chrono::seconds(180);
  options.env = {"GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b",
                 "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b"};
  const auto ran = run({"bash", "-c", "set -e -o pipefail\n" + GetParam().script}, options);
  expect_works(ran);
  EXPECT_TRUE(ran.output.ends_with(GetParam().output)) << ran.output;
}

INSTANTIATE_TEST_SUITE_P(
    , WorkWith,
    testing::Values(
        Tool{"Git", "git",
             "git init -q -b main; echo 1 > f; git add f; git commit -qm one; git switch -qc side; "
             "echo 2 > g; git add g; git commit -qm two; git switch -q main; echo 3 >> f; git "
             "commit -qam three; git rebase -q main side 2>&1; git worktree add -q trees/w main "
             "2>&1; git -C trees/w log --format=%s -1; git log --format=%s",
             "three\ntwo\nthree\none\n"},
        Tool{"Gdb", "gdb",
             "printf 'int main() {\\n int found = 42;\\n return found; }\\n' > a.c; cc -g a.c -o "
             "a; gdb "
             "-batch -ex 'break main' -ex run -ex next -ex 'print found' ./a 2>&1 | grep '^\\$1'; "
             "sleep 60 & gdb -batch -p $! -ex 'print 1' 2>&1 | grep -o '^\\$1 = 1'; kill $!",
             "$1 = 42\n$1 = 1\n"},
        Tool{"Strace", "strace",
             "echo x > f; strace -f -e trace=openat -o log cat f; grep -c '\"f\"' log", "x\n1\n"},
        Tool{"Tmux", "tmux",
             "tmux new-session -d -s s 'echo hi > seen; sleep 60'; while ! [ -s seen ]; do sleep "
             "0.1; done; tmux list-sessions -F '#S'; tmux kill-server; cat seen",
             "s\nhi\n"},
        Tool{"AServerInTheBackground", "curl",
             "echo here > f; setsid nohup python3 -m http.server 8000 >/dev/null 2>&1 & curl -sS "
             "--retry 50 --retry-delay 0 --retry-connrefused http://localhost:8000/f 2>/dev/null",
             "here\n"},
        Tool{"CmakeWithCcache", "ccache",
             "printf 'cmake_minimum_required(VERSION 3.20)\\nproject(x C)\\nadd_executable(x "
             "x.c)\\n' "
             "> CMakeLists.txt; echo 'int main() { return 0; }' > x.c; cmake -S . -B b "
             "-DCMAKE_C_COMPILER_LAUNCHER=ccache >/dev/null; cmake --build b -j2 >/dev/null; b/x; "
             "ccache -s | grep -c Cacheable",
             "1\n"},
        Tool{"PythonEnvironment", "python3",
             "python3 -m venv --without-pip v && . v/bin/activate && python -c 'import sys; "
             "print(sys.prefix != sys.base_prefix)'",
             "True\n"},
        Tool{"Cargo", "cargo", "cargo init -q --vcs none --name made . && cargo run -q --offline",
             "Hello, world!\n"},
        Tool{
            "Go", "go",
            "go mod init made 2>/dev/null; printf 'package main\\nfunc main() { print(\"hi\\\\n\") "
            "}\\n' > main.go; go build && ./made 2>&1",
            "hi\n"},
        Tool{"Java", "javac",
             "printf 'class A { public static void main(String[] a) { System.out.println("
             "System.getProperty(\"user.home\").equals(System.getenv(\"HOME\"))); } }' > A.java; "
             "javac A.java && java A",
             "true\n"},
        Tool{"DockerIsRefused", "docker",
             "(docker ps 2>&1 || true) | grep -o 'Cannot connect\\|failed to connect'",
             "connect\n"}),
    [](const auto& tested) { return tested.param.name; });

// npm asks a registry that it cannot reach for 75 s before it looks into its cache.
TEST(Work, InstallsFromNpmsCacheWithoutANetwork) {
  NEEDS("npm");
  NEEDS("node");
  const Scratch scratch;
  const Home home(scratch);
  scratch.write("lib/package.json", R"({"name":"lib-a","version":"1.0.0","main":"i.js"})");
  scratch.write("lib/i.js", "module.exports = 42");
  scratch.write("app/package.json", R"({"name":"app","version":"1.0.0"})");
  // A registry for as long as the cache is filled.
  scratch.write("registry.js", R"js(
const http = require('http'), fs = require('fs'), { execSync } = require('child_process');
const hash = require('crypto').createHash('sha512');
execSync('npm pack --silent', { cwd: 'lib' });
const tarball = fs.readFileSync('lib/lib-a-1.0.0.tgz');
const integrity = 'sha512-' + hash.update(tarball).digest('base64');
const server = http.createServer((request, reply) => {
  if (request.url.endsWith('.tgz')) return reply.end(tarball);
  reply.setHeader('content-type', 'application/json');
  reply.end(JSON.stringify({ name: 'lib-a', 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': {
    name: 'lib-a', version: '1.0.0', dist: { integrity, tarball: here + '/lib-a/-/lib-a-1.0.0.tgz' } } } }));
});
let here;
server.listen(0, '127.0.0.1', () => {
  here = 'http://127.0.0.1:' + server.address().port;
  fs.writeFileSync('app/.npmrc', 'registry=' + here);
  require('child_process').exec('npm install --no-audit --no-fund lib-a', { cwd: 'app' }, (error) => {
    if (error) console.log(String(error));
    process.exit(error ? 1 : 0);
  });
});
)js");
  ASSERT_EQ(::system(("cd " + scratch.wt.native() +
                      " && node registry.js && cd app && rm -r node_modules package-lock.json && "
                      "echo '{\"name\":\"app\",\"version\":\"1.0.0\"}' > package.json")
                         .c_str()),
            0);
  auto options = in(scratch);
  options.cwd = scratch.wt / "app";
  options.timeout = std::chrono::seconds(60);
  const auto ran = shell(
      "npm install --no-audit --no-fund lib-a && npm ci && node -p "
      "'require(\"lib-a\")'; npm install lib-b 2>&1 | grep 'error code'",
      options);
  EXPECT_FALSE(ran.timed_out) << ran.output;
  EXPECT_NE(ran.output.find("\n42\nnpm error code ECONNREFUSED"), std::string::npos)
      << ran.error << ran.output;
}

// Whatever the host has for that number; Java and others go by it.
TEST(Work, TheUserDatabaseNamesTheHomeDirectory) {
  NEEDS("python3");
  const Scratch scratch;
  const auto ran = run({"python3", "-c", R"py(
import os, pwd
mine = [p for p in pwd.getpwall() if p.pw_uid == os.getuid()]
print(len(mine), mine[0].pw_dir == os.environ['HOME'])
)py"},
                       in(scratch));
  EXPECT_EQ(ran.output, "1 True\n") << ran.error;
}

// Package managers write in their caches whatever they only read; what they write goes with the
// sandbox.
TEST(Work, CachesCanBeWrittenAndStayAsTheyAre) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  const Home home(scratch);
  for (const char* name : {".npm/_cacache/index/a", ".cargo/registry/cache/a", ".cache/ccache/0/a",
                           ".m2/repository/a", ".gradle/caches/a", "go/pkg/mod/a", ".cargo/bin/a"})
    home.write(name, "old\n");
  auto options = in(scratch);
  options.input =
      "cd; for d in .npm/_cacache/index .cargo/registry/cache .cache/ccache/0 .m2/repository "
      ".gradle/caches go/pkg/mod; do cat $d/a; mkdir $d/tmp && echo new > $d/tmp/b && "
      "mv $d/tmp $d/kept && echo more >> $d/a && cat $d/a $d/kept/b; done\n"
      "rm -r .npm/_cacache/index && ls -A .npm/_cacache; ls -AR /run\n"
      "(echo x >> .cargo/bin/a) 2>/dev/null || echo kept\n";
  const auto ran = run({"/bin/sh"}, options);
  std::string wanted;
  for (int i = 0; i < 6; ++i) wanted += "old\nold\nmore\nnew\n";
  EXPECT_TRUE(ran.output.starts_with(wanted)) << ran.error << ran.output;
  EXPECT_TRUE(ran.output.ends_with("\nkept\n")) << ran.output;
  EXPECT_EQ(ran.output.find("upper"), ran.output.npos) << ran.output;
  for (const char* name : {".npm/_cacache/index/a", ".cargo/registry/cache/a", ".cargo/bin/a"})
    EXPECT_EQ(home.read(name), "old\n") << name;
  EXPECT_FALSE(std::filesystem::exists(home.path / ".m2/repository/kept"));
}

// Whoever writes skills has them in a repository.
TEST(Work, AWorktreeAmongWhatIsShownReadOnlyIsWritten) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  for (const char* top : {".agents/skills", ".agents", ".agents/skills/a"}) {
    const Scratch scratch;
    const Home home(scratch);
    home.write(".agents/skills/a/SKILL.md", "old\n");
    auto options = in(scratch);
    options.policy.root = home.path / top;
    const auto ran = shell("for f in $(find . -name SKILL.md); do echo new > $f; done", options);
    EXPECT_TRUE(ran.ok()) << top << ran.error << ran.output;
    EXPECT_EQ(home.read(".agents/skills/a/SKILL.md"), "new\n") << top;
  }
}

TEST(Work, EnvironmentsThatVariablesNameAreShown) {
  if (!why_not().empty()) GTEST_SKIP() << why_not();
  const Scratch scratch;
  const Home home(scratch);
  for (const char* name : {"envs/a/bin/python",
                           "conda/envs/b/bin/python",
                           "code/bin/tool",
                           "code/src/other.go",
                           ".cargo2/credentials.toml",
                           ".cargo2/bin/tool",
                           "miniconda3/bin/conda",
                           ".ssh/id",
                           ".gradle/wrapper/dists/g",
                           ".cache/pypoetry/virtualenvs/c/bin/python",
                           ".local/share/pipx/venvs/d/bin/d",
                           ".cache/ms-playwright/chromium/chrome",
                           ".config/x",
                           ".foundry/bin/forge",
                           ".foundry/keystores/k",
                           "tools/x",
                           ".ssh/bin/y",
                           ".local/share/fnm/node/bin/node",
                           ".cache/node/corepack/yarn",
                           ".cache/huggingface/hub/m",
                           ".cache/huggingface/token"})
    home.write(name, "here\n");
  const std::map<std::string, std::string> variables = {
      {"VIRTUAL_ENV", "envs/a"}, {"CONDA_PREFIX", "conda/envs/b"}, {"GOPATH", "code"},
      {"CARGO_HOME", ".cargo2"}, {"PYENV_ROOT", ".ssh"},           {"NVM_DIR", ".config"},
      {"JAVA_HOME", ""}};
  auto options = in(scratch);
  for (const auto& [name, path] : variables)
    options.env.push_back(name + "=" + (home.path / path).native());
  // fnm's directory of links is where no command sees it.
  std::filesystem::create_directory_symlink(home.path / ".local/share/fnm/node/bin",
                                            scratch.dir / "multishell");
  const std::string before = ::getenv("PATH");
  ::setenv("PATH",
           fmt::format("{0}/.foundry/bin:{0}/tools:{0}/.ssh/bin:{1}/multishell:{2}",
                       home.path.native(), scratch.dir.native(), before)
               .c_str(),
           1);
  const auto ran = shell(
      "cd; find . -type f | sort; touch envs/a/x 2>/dev/null || echo kept; echo $PATH | cut -d: "
      "-f4",
      options);
  ::setenv("PATH", before.c_str(), 1);
  EXPECT_EQ(ran.output,
            "./.cache/huggingface/hub/m\n./.cache/ms-playwright/chromium/chrome\n./.cache/node/"
            "corepack/yarn\n./.cache/pypoetry/virtualenvs/c/bin/python\n"
            "./.cargo2/bin/tool\n./.foundry/bin/forge\n./.gradle/wrapper/dists/g\n"
            "./.local/share/fnm/node/bin/node\n./.local/share/pipx/venvs/d/bin/d\n"
            "./code/bin/tool\n./conda/envs/b/bin/python\n./envs/a/bin/python\n"
            "./miniconda3/bin/conda\nkept\n" +
                (home.path / ".local/share/fnm/node/bin").native() + "\n")
      << ran.error;
}

}  // namespace
}  // namespace lares::sandbox::test
