// What a command pays for its sandbox: lares_sandbox_bench LAUNCHER [ROUNDS]
// `true`, run plainly and in a new sandbox, in turn; the bash tool's calls in a shell that is there
// already and its first one, with and without sandbox; and the search for secrets that a new
// sandbox begins with, in a worktree of 10,000 files. Medians; exit status 1 where a sandbox adds
// more than 15 ms to a command.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sandbox/sandbox.h"
#include "sandbox/sensitive_paths.h"
#include "tests/temporary_directory.h"
#include "tools/builtin.h"

namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
namespace sandbox = lares::sandbox;
namespace tools = lares::tools;
using Clock = std::chrono::steady_clock;

constexpr double kBoundMs = 15;
constexpr int kFiles = 10'000, kPerDirectory = 20, kSecrets = 5;
constexpr auto kIo = asio::as_tuple(asio::use_awaitable);

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(2);
}

struct Worktree {
  const lares::TemporaryDirectory made;
  const std::string root = made.path();
  Worktree() {
    fs::create_directories(wt() + "/.git/hooks");
    fs::create_directories(state());
    for (int i = 0; i < kFiles; ++i)
      write(fmt::format("d{}/s{}/f{}.cc", i / kPerDirectory / 25, i / kPerDirectory % 25,
                        i % kPerDirectory));
    for (int i = 0; i < kSecrets; ++i) write(fmt::format("d{}/.env", i));
  }
  std::string wt() const { return root + "/wt"; }
  std::string state() const { return root + "/state"; }

 private:
  void write(const std::string& name) const {
    fs::create_directories(fs::path(wt() + "/" + name).parent_path());
    std::ofstream(wt() + "/" + name) << "int main() {}\n";
  }
};

template <class T>
T finish(asio::io_context& io, asio::awaitable<T> work) {
  auto done = asio::co_spawn(io, std::move(work), asio::use_future);
  io.restart();
  while (done.wait_for(std::chrono::seconds(0)) != std::future_status::ready && io.run_one() > 0) {
  }
  return done.get();
}

double ms_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

asio::awaitable<void> once(std::string launcher, sandbox::Backend backend, sandbox::Policy policy) {
  sandbox::Command command;
  command.argv.emplace_back("true");
  command.cwd = policy.root;
  auto process = co_await sandbox::spawn(launcher, backend, policy, command);
  if (!process) fail(process.error().message);
  char byte;
  auto [ended, n] = co_await (*process)->out().async_read_some(asio::buffer(&byte, 1), kIo);
  const sandbox::Exit exit = co_await (*process)->wait();
  if (!ended || n != 0 || exit.code != 0) fail("true: failed in the sandbox");
}

asio::awaitable<void> call(tools::Tool& bash) {
  nlohmann::json args;
  args["command"] = "true";
  const auto outcome = co_await bash.run(args, nullptr);
  if (!outcome || !outcome->ok)
    fail("bash: " + (outcome ? outcome->text : outcome.error().message));
}

struct Times {
  std::vector<double> all;
  double median() {
    std::ranges::sort(all);
    return all[all.size() / 2];
  }
};

bool report(const char* what, Times& plain, Times& confined) {
  const double added = confined.median() - plain.median();
  std::printf("%-34s %8.2f %10.2f %8.2f  (bound %.0f)%s\n", what, plain.median(), confined.median(),
              added, kBoundMs, added > kBoundMs ? "  TOO SLOW" : "");
  return added > kBoundMs;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) fail("usage: lares_sandbox_bench LAUNCHER [ROUNDS]");
  ::signal(SIGPIPE, SIG_IGN);
  const std::string launcher = argv[1];
  const int rounds = argc > 2 ? std::max(3, std::atoi(argv[2])) : 101;
  asio::io_context io;
  const auto probe = finish(io, sandbox::probe(launcher));
  if (!probe.works) fail(probe.why);
  const Worktree tree;
  sandbox::Policy policy;
  policy.root = tree.wt();

  Times searched;
  for (int i = 0; i < std::min(rounds, 15); ++i) {
    const auto begin = Clock::now();
    policy.hidden = sandbox::find_sensitive(policy.root).value().hidden;
    searched.all.push_back(ms_since(begin));
  }
  if (policy.hidden.size() != kSecrets) fail("the secrets were not found");
  auto with_hosts = policy;
  with_hosts.network_allow = {"example.com"};

  Times plain, confined, online;
  for (int i = 0; i < rounds; ++i) {  // in turn, so that all meet the same noise
    const auto time = [&](sandbox::Backend backend, const sandbox::Policy& under, Times& into) {
      const auto begin = Clock::now();
      auto run = asio::co_spawn(io, once(launcher, backend, under), asio::use_future);
      io.restart();
      io.run();
      run.get();
      into.all.push_back(ms_since(begin));
    };
    time(sandbox::Backend::none, policy, plain);
    time(probe.backend, policy, confined);
    time(probe.backend, with_hosts, online);
  }

  Times first[2], next[2];
  for (const bool bare : {true, false}) {
    for (int session = 0; session < 5; ++session) {
      tools::BuiltinOptions options;
      options.root = tree.wt();
      options.state_dir = tree.state();
      options.sandbox_launcher = launcher;
      options.no_sandbox = bare;
      const auto all = tools::make_builtin_tools(io.get_executor(), options);
      for (int i = 0; i < std::max(2, rounds / 3); ++i) {
        const auto begin = Clock::now();
        auto run = asio::co_spawn(io, call(*all.front()), asio::use_future);
        io.restart();
        while (run.wait_for(std::chrono::seconds(0)) != std::future_status::ready &&
               io.run_one() > 0) {
        }
        run.get();
        // The first session probes the launcher
        if (session > 0) (i == 0 ? first : next)[bare ? 0 : 1].all.push_back(ms_since(begin));
      }
    }
  }

  std::printf("milliseconds, medians of %d; backend %s\n", rounds,
              probe.backend == sandbox::Backend::native ? "native" : "bubblewrap");
  std::printf("%-34s %8s %10s %8s\n", "", "plain", "sandboxed", "added");
  bool slow = report("true, a sandbox of its own", plain, confined);
  slow |= report("true, with allowed hosts", plain, online);
  slow |= report("bash tool, in its shell", next[0], next[1]);
  std::printf("%-34s %8.2f %10.2f %8.2f  once a session, with the search below\n",
              "bash tool, first call", first[0].median(), first[1].median(),
              first[1].median() - first[0].median());
  std::printf("%-34s %8s %10.2f           once a sandbox\n",
              fmt::format("secrets among {} files", kFiles).c_str(), "", searched.median());
  return slow ? 1 : 0;
}
