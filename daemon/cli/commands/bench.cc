// lares bench: kernels and layers with generated weights, beside what the machine could do at most.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <string_view>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/commands/kernel_names.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/options.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/shown/text.h"
#include "engine/bench.h"

namespace lares::cli {
namespace {

using Clock = std::chrono::steady_clock;

volatile std::sig_atomic_t stop_asked = 0;

// The first Ctrl-C ends it behind the row that is being measured, the second at once.
void stop_when_interrupted() {
  struct sigaction action {};
  action.sa_handler = [](int) {
    stop_asked = 1;
    constexpr std::string_view kWord =
        "\nlares bench: interrupted; the rows so far follow when this one is done, or Ctrl-C "
        "again\n";
    [[maybe_unused]] const auto n = ::write(STDERR_FILENO, kWord.data(), kWord.size());
  };
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  ::sigaction(SIGINT, &action, nullptr);
}

// One line a row on stderr: a run takes minutes, and its table comes last.
engine::BenchProgress to_stderr(bool overwrite, std::stop_source& stop) {
  return [overwrite, &stop, began = Clock::now()](int done, int total, const std::string& name) {
    if (stop_asked) {
      stop.request_stop();
      return;
    }
    const double elapsed = std::chrono::duration<double>(Clock::now() - began).count();
    const std::string left =
        done > 0 ? fmt::format(", about {} left", duration(elapsed / done * (total - done))) : "";
    print_err("{}[{}/{}] {}{}{}", overwrite ? "\r\033[K" : "", done + 1, total, name, left,
              overwrite ? "" : "\n");
    std::fflush(stderr);
  };
}

}  // namespace

int bench_command(int argc, const char* const* argv) {
  CLI::App app(
      "Measures kernels and whole layers with generated weights, and what the machine could do at "
      "most.",
      "lares bench");
  engine::BenchRequest request;
  std::string part = "all";
  bool json = false, markdown = false, gates = false;
  app.add_option("part", part, "ceilings alone, or with kernels, decode, prefill, prefix, all")
      ->check(CLI::IsMember({"ceilings", "kernels", "decode", "prefill", "prefix", "all"}))
      ->capture_default_str();
  app.add_option("--shape", request.shape, "the model's shape: flash, pro or nano")
      ->check(CLI::IsMember({"flash", "pro", "nano"}))
      ->capture_default_str();
  app.add_option("--threads", request.threads, "threads; 0: the CPUs this process may use")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--seconds", request.seconds,
                 fmt::format("time for each row; a prefill may take {:g} times as long",
                             engine::kPrefillSeconds))
      ->check(CLI::Range(0.01, 600.0))
      ->capture_default_str();
  app.add_option("--impl", request.impl, "kernels by name, such as cpu or avx2 (default: the best)")
      ->check(kernel_name());
  app.add_option("--match", request.match,
                 "only the kernels whose name holds TEXT, such as fp4 or indexer");
  app.add_option("--memory", request.memory_gb,
                 "GB for generated layers: they get as many experts as fit")
      ->check(CLI::Range(0.1, 4096.0))
      ->capture_default_str();
  app.add_option("--tokens", request.tokens, "tokens of the prefill")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  auto* as_json = app.add_flag("--json", json, "print an array of rows as JSON");
  app.add_flag("--markdown", markdown, "print the table as a README takes it")->excludes(as_json);
  app.add_flag("--gates", gates,
               "exit 1 where a figure falls short of what is asked, or was disturbed");
  app.footer(kShortExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  request.kernels = part == "kernels" || part == "all";
  request.decode = part == "decode" || part == "all";
  request.prefill = part == "prefill" || part == "all";
  request.prefix = part == "prefix" || part == "all";

  const bool overwrite = ::isatty(STDERR_FILENO) == 1;
  std::stop_source stop;
  request.stop = stop.get_token();
  stop_when_interrupted();
  const auto report = engine::run_bench(request, to_stderr(overwrite, stop));
  if (overwrite) print_err("\r\033[K");
  if (!report) return fail(Error{report.error().message}, json);
  print_out("{}", json       ? engine::bench_json(*report) + "\n"
                  : markdown ? engine::bench_markdown(*report)
                             : engine::bench_text(*report));
  if (std::fflush(stdout) != 0) return kExitError;
  if (stop_asked) return kExitInterrupted;
  if (!gates) return kExitFinished;
  const auto count = [&](const auto& which) {
    return std::count_if(report->rows.begin(), report->rows.end(), which);
  };
  const auto asked = count([](const engine::BenchRow&r) { return r.asked > 0; }),
             fall_short = count(engine::falls_short);
  if (asked == 0)
    return fail(Error{"bench --gates: nothing is asked of these figures; measure kernels, decode "
                      "or prefill of the flash or the pro shape, or leave --gates out"},
                json);
  const auto disturbed =
      count([](const engine::BenchRow& r) { return r.asked > 0 && r.disturbed; });
  print_err("lares bench: {} of {} figures fall short of what is asked{}\n", fall_short, asked,
            disturbed == 0 ? ""
                           : fmt::format(", and {} were disturbed by something else that ran here",
                                         disturbed));
  return fall_short + disturbed > 0 ? kExitError : kExitFinished;
}

}  // namespace lares::cli
