#include "tools/testing/test_tool.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <system_error>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "sandbox/control_paths.h"
#include "tools/clip.h"
#include "tools/off_thread.h"
#include "tools/shell/explain.h"
#include "tools/spill.h"
#include "tools/testing/report.h"
#include "tools/testing/run.h"
#include "tools/testing/runner.h"
#include "tools/testing/runner_output.h"
#include "tools/text.h"
#include "tools/workspace/rooted_fs.h"

namespace lares::tools {
namespace {

constexpr auto kLivenessEvery = std::chrono::milliseconds(250),
               kDrain = std::chrono::milliseconds(200);
constexpr std::size_t kTimeoutLines = 20;
constexpr std::string_view kAllowsNoLonger =
    "; the user's setting command_timeout allows no longer";
constexpr int kPatience = 20;  // times as long as they took before

constexpr const char* kDescription =
    "Run the repository's tests and get a short summary: what failed, where, and the message. "
    "Finds the runner itself (unittest, "
    "pytest, node, npm, cargo, go, ctest, make, or the script .lares/test).";
constexpr const char* kSchema =
    R"({"type":"object","properties":{)"
    R"("path":{"type":"string","description":"Only the tests in this file or directory."},)"
    R"("filter":{"type":"string","description":"Only tests whose name contains this."}}})";

std::string last_lines(std::string_view text, std::size_t n) {
  const auto lines = split_lines(text);
  std::string out;
  for (std::size_t i = lines.size() - std::min(lines.size(), n); i < lines.size(); ++i)
    out += "\n  " + bounded_line(lines[i]);
  return out;
}

// Where what the report leaves out can be read, prints of the tests among it.
std::string kept_in_file(const RunnerOutput& output, const std::string& state_dir) {
  SpillFile file = SpillFile::make(state_dir, "test");
  if (file.path().empty()) return "";
  file.append(output.text());
  return fmt::format("\n[the {} is in {}, which `str_replace_editor view` can read]",
                     output.left_out() > 0
                         ? fmt::format("output, without {} bytes in its middle,", output.left_out())
                         : "full output",
                     file.path());
}

// What of a failure is the sandbox's doing, as a line to add; "" for none.
std::string line_of_sandbox(std::string_view output, const BuiltinOptions& options,
                            const sandbox::Sensitive& kept) {
  if (options.no_sandbox) return "";
  const std::string why = explained(output, options.root, kept, Ran::alone);
  return why.empty() ? "" : "\n" + why;
}

// A command that compiles first may take any time; what is only run, and was quick, hangs when it
// is not.
bool only_runs(RunnerKind kind) {
  return kind == RunnerKind::unittest || kind == RunnerKind::pytest || kind == RunnerKind::node;
}

std::string seconds(std::chrono::milliseconds t) {
  return t.count() < 9950 ? fmt::format("{:.1f}", static_cast<double>(t.count()) / 1000)
                          : fmt::format("{}", (t.count() + 500) / 1000);
}

// Where one who asks again and again remembers how long it took.
struct Patience {
  std::chrono::milliseconds least;
  std::chrono::milliseconds& took;  // zero: not known
};

// A directory of this run alone: whoever has read its name in the command's arguments finds it
// made. In the sandbox /tmp goes by itself.
class ScratchDirectory {
 public:
  ScratchDirectory() = default;
  ScratchDirectory(const ScratchDirectory&) = delete;
  ~ScratchDirectory() { remove(); }
  std::error_code make(const std::string& path) {
    if (::mkdir(path.c_str(), 0700) != 0) return {errno, std::generic_category()};
    path_ = path;
    return {};
  }
  bool is_there() const { return !path_.empty(); }
  // Before the end, on a thread for what blocks.
  void remove() {
    std::error_code ignored;
    if (is_there()) std::filesystem::remove_all(path_, ignored);
    path_.clear();
  }

 private:
  std::string path_;
};

struct Found {
  tl::expected<Runner, std::string> runner;
};
// Looking reads directories and files, thousands where a path that is not there is looked for.
asio::awaitable<Result<Found>> find_off_thread(asio::thread_pool* given, std::string root,
                                               std::string path, std::string filter) {
  WorkThreads threads(given);
  auto look = [root = std::move(root), path = std::move(path), filter = std::move(filter)](
                  const Cancelled&) { return Found{find_runner(root, path, filter)}; };
  auto found = co_await off_thread<Found>(threads.get(), std::move(look));
  if (!found) found.error().message = "test: " + found.error().message;
  co_return found;
}

asio::awaitable<Result<TestRun>> run_runner(BuiltinOptions options, Runner runner,
                                            OnOutput on_output, std::optional<Patience> before) {
  const auto files = RootedFs::open(options.root);
  if (!files) co_return TestRun{.text = files.error()};
  if (co_await is_cancelled()) co_return tl::unexpected(Error{Errc::cancelled, "test: cancelled"});
  ScratchDirectory scratch;
  if (options.no_sandbox && !runner.scratch.empty()) {
    if (const auto failed = scratch.make(runner.scratch))
      co_return TestRun{.text = fmt::format("the tests were not run: {} cannot be made: {}",
                                            runner.scratch, failed.message())};
  }
  std::optional<sandbox::ControlPaths::Inside> inside;
  if (!options.no_sandbox) inside.emplace(sandbox::ControlPaths::of(options.root)), inside->begin();
  sandbox::Sensitive sensitive;
  std::string refused;
  if (!options.no_sandbox) {
    WorkThreads threads(options.threads);
    const auto search = [root = options.root](const Cancelled& stop) {
      return sandbox::find_sensitive(root, {}, stop);
    };
    auto found = co_await look_for_secrets<sandbox::Sensitive>(threads, search);
    if (found)
      sensitive = std::move(*found);
    else
      refused = std::move(found.error());
  }
  tl::expected<std::unique_ptr<sandbox::Process>, std::string> started =
      tl::unexpected(std::move(refused));
  if (started.error().empty())
    started = co_await start_command(options, runner.argv, runner.cwd, sensitive);
  if (!started && inside) (void)inside->end(true);
  if (!started && co_await is_cancelled())
    co_return tl::unexpected(Error{Errc::cancelled, "test: cancelled"});
  if (!started) co_return TestRun{.text = started.error()};
  const std::unique_ptr<sandbox::Process> process = std::move(*started);
  boost::system::error_code ignored;
  process->in().close(ignored);

  const auto began = Clock::now();
  auto patience = std::chrono::milliseconds(options.command_timeout_ms);
  const bool known = before && before->took.count() > 0 && only_runs(runner.kind);
  if (known) patience = std::min(patience, std::max(before->least, kPatience * before->took));
  auto give_up = began + patience;
  OutputCleaner cleaner;
  RunnerOutput output(runner.kind);
  Throttle throttle(std::move(on_output));
  bool draining = false, timed_out = false, cancelled = false;
  for (std::string raw;;) {
    raw.clear();
    const auto until = std::min({give_up, Clock::now() + kLivenessEvery, throttle.due()});
    const ReadEnd end = co_await read_before(process->out(), raw, until);
    if (end == ReadEnd::data) {
      const std::string text = cleaner.feed(raw);
      output.add(text);
      throttle.add(text);
    }
    throttle.flush_if_due();
    if (end == ReadEnd::closed) break;
    cancelled = end == ReadEnd::cancelled;
    if (cancelled) break;
    if (Clock::now() >= give_up) {
      timed_out = !draining;
      break;
    }
    // What the tests left in the background may keep the pipe open.
    if (end == ReadEnd::deadline && !draining && has_ended(process->pid()))
      draining = true, give_up = Clock::now() + kDrain;
  }
  output.add(cleaner.finish());
  throttle.flush();
  if (timed_out || cancelled) process->kill();
  const sandbox::Exit exit = co_await process->wait();
  WorkThreads threads(options.threads);
  if (cancelled && scratch.is_there()) {
    const auto remove = [&](const Cancelled&) {
      scratch.remove();
      return true;
    };
    (void)co_await off_thread<bool>(threads.get(), remove);
  }
  if (cancelled) co_return tl::unexpected(Error{Errc::cancelled, "test: cancelled"});
  const std::string moved = inside ? sandbox::told_of(inside->end(true)) : "";
  // What is told reads source files, and all of what may be megabytes of output.
  if (timed_out) {
    std::string text = fmt::format("tests timed out after {} seconds ({}",
                                   std::max<std::int64_t>(1, patience.count() / 1000),
                                   runner.shown);
    text += known
                ? fmt::format("; they took {} seconds before: is there a loop that does not end?)",
                              seconds(before->took))
                : ")";
    if (patience.count() == options.command_timeout_ms) text += kAllowsNoLonger;
    const auto tell_end = [&](const Cancelled&) {
      scratch.remove();
      const std::string said = output.text();
      TestReport out{last_lines(said, kTimeoutLines) + line_of_sandbox(said, options, sensitive)};
      if (said.size() > kOutputKnownBytes) out.text += kept_in_file(output, options.state_dir);
      return out;
    };
    const auto end = co_await off_thread<TestReport>(threads.get(), tell_end);
    if (!end) co_return tl::unexpected(Error{end.error().code, "test: " + end.error().message});
    text += end->text;
    if (!moved.empty()) text += "\n" + moved;
    // Who is right may need longer than before; the next run is given the time there is.
    if (known) before->took = std::chrono::milliseconds::zero();
    TestRun late{.ran = true, .timed_out = true, .text = std::move(text)};
    co_return late;
  }
  const std::string status = !exit.exited     ? fmt::format("killed by signal {}", exit.signal)
                             : exit.code != 0 ? fmt::format("exit status {}", exit.code)
                                              : "";
  const auto tell = [&](const Cancelled&) {
    scratch.remove();
    TestReport out = report(runner, output, status, *files);
    if (!out.ok) out.text += line_of_sandbox(output.text(), options, sensitive);
    if (!out.ok && !out.whole) out.text += kept_in_file(output, options.state_dir);
    return out;
  };
  auto told = co_await off_thread<TestReport>(threads.get(), tell);
  if (!told) co_return tl::unexpected(Error{told.error().code, "test: " + told.error().message});
  TestReport done = std::move(*told);
  // What failed may have done so at once: in its imports, for one.
  if (before && done.ok)
    before->took = std::max(
        {before->took, std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began),
         std::chrono::milliseconds(1)});
  if (!moved.empty()) done.text += "\n" + moved;
  const TestCounts& n = done.counts;
  TestRun run{.ran = true,
              .passed = done.ok,
              .counted = n.known,
              .total = n.total,
              .failed = n.failed,
              .skipped = n.skipped,
              .text = std::move(done.text)};
  co_return run;
}

}  // namespace

TestTool::TestTool(const BuiltinOptions& options, std::chrono::milliseconds patience)
    : options_(options), patience_(patience), spec_{"test", kDescription, kSchema} {}

asio::awaitable<Result<Outcome>> TestTool::run(nlohmann::json args, OnOutput on_output) {
  const bool throwing = co_await enter_cancellation();
  std::string path, filter, wrong;
  Result<Outcome> out = tl::unexpected(Error{Errc::cancelled, "test: cancelled"});
  if (args.is_object()) {
    for (const char* key : {"path", "filter"}) {
      const auto it = args.find(key);
      if (it == args.end() || it->is_null()) continue;
      if (!it->is_string())
        wrong = fmt::format("Parameter `{}` must be a string.", key);
      else
        (*key == 'p' ? path : filter) = it->get<std::string>();
    }
  } else if (!args.is_null()) {
    wrong = "The arguments must be an object with `path` and `filter`, both optional.";
  }
  if (!wrong.empty()) {
    out = Outcome{wrong, false, {}};
  } else {
    std::string failed;
    try {
      out = co_await execute(std::move(path), std::move(filter), std::move(on_output));
    } catch (const std::exception& e) {
      failed = e.what();
    }
    if (!failed.empty()) out = tl::unexpected(Error{Errc::broken, "test: " + failed});
  }
  co_await leave_cancellation(throwing);
  co_return out;
}

asio::awaitable<Result<Outcome>> TestTool::execute(std::string path, std::string filter,
                                                   OnOutput on_output) {
  auto looking = find_off_thread(options_.threads, options_.root, std::move(path),
                                 std::move(filter));
  const auto found = co_await std::move(looking);
  if (!found) co_return tl::unexpected(found.error());
  const auto& runner = found->runner;
  if (!runner) co_return Outcome{runner.error(), false, {}};
  const Patience patience{patience_, took_[runner->shown]};
  auto running = run_runner(options_, *runner, std::move(on_output), patience);
  auto ran = co_await std::move(running);
  if (!ran) co_return tl::unexpected(std::move(ran.error()));
  co_return Outcome{std::move(ran->text), ran->passed, {}};
}

asio::awaitable<Result<TestRun>> run_tests(BuiltinOptions options, std::string command) {
  const bool throwing = co_await enter_cancellation();
  Result<Found> found = Found{Runner{
      RunnerKind::generic, command, {"sh", "-c", command}, options.root, "", false, false, ""}};
  if (command.empty()) {
    auto looking = find_off_thread(options.threads, options.root, "", "");
    found = co_await std::move(looking);
  }
  Result<TestRun> out;
  if (!found) {
    out = tl::unexpected(std::move(found.error()));
  } else if (found->runner) {
    auto running = run_runner(std::move(options), *found->runner, nullptr, std::nullopt);
    out = co_await std::move(running);
  } else {
    out->text = found->runner.error();
  }
  co_await leave_cancellation(throwing);
  co_return out;
}

}  // namespace lares::tools
