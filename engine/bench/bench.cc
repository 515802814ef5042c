#include "engine/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <thread>

#include "engine/bench/layer_bench.h"
#include "engine/bench/prefix_bench.h"
#include "engine/bench/runner.h"
#include "engine/bench/shapes.h"
#include "engine/model/timeline.h"
#include "kernels/thread_pool.h"

namespace lares::engine {
namespace {

std::string machine_name() {
  std::string name = "unknown CPU";
  if (std::FILE* f = std::fopen("/proc/cpuinfo", "re")) {
    char line[256];
    while (std::fgets(line, sizeof line, f))
      if (std::strncmp(line, "model name", 10) == 0) {
        if (const char* at = std::strchr(line, ':'))
          name.assign(at + 2, std::strcspn(at + 2, "\n"));
        break;
      }
    std::fclose(f);
  }
  return fmt::format("{}, {} CPUs", name, std::thread::hardware_concurrency());
}

std::string command_of(const BenchRequest& q, const char* part, int threads) {
  std::string line = fmt::format("lares bench {} --shape {} --threads {} --seconds {:g}", part,
                                 q.shape, threads, q.seconds);
  if (!q.impl.empty()) line += " --impl " + q.impl;
  if (!q.match.empty() && std::strcmp(part, "kernels") == 0)
    line += fmt::format(" --match \"{}\"", q.match);
  if (std::strcmp(part, "decode") == 0 || std::strcmp(part, "prefill") == 0)
    line += fmt::format(" --memory {:g}", q.memory_gb);
  if (std::strcmp(part, "prefill") == 0) line += fmt::format(" --tokens {}", q.tokens);
  return line;
}

tl::unexpected<Error> refused(Errc code, std::string message) {
  return tl::unexpected(Error{code, std::move(message)});
}

}  // namespace

Result<BenchReport> run_bench(const BenchRequest& q, const BenchProgress& progress) {
  auto config = bench::shape_named(q.shape);
  if (!config)
    return refused(Errc::bad_argument,
                   fmt::format("bench: no shape is called {}; flash, pro and nano are", q.shape));
  const kernels::Kernels* row = q.impl.empty() ? &kernels::best() : kernels::find(q.impl);
  if (!row)
    return refused(
        Errc::bad_argument,
        fmt::format("bench: no kernels are called {}, or this machine does not run them", q.impl));
  const int threads = q.threads > 0 ? q.threads : kernels::usable_cpus();
  bench::LayerPlan plan;
  if (q.decode || q.prefill) {  // now, not after minutes of kernels
    const std::int64_t context = q.decode ? *std::max_element(std::begin(bench::kContexts),
                                                              std::end(bench::kContexts))
                                          : q.tokens;
    auto planned = bench::plan_layers(*config, q.memory_gb, context,
                                      q.prefill ? std::min(kChunk, q.tokens) : 1, threads);
    if (!planned) return tl::unexpected(planned.error());
    plan = std::move(*planned);
  }
  auto arena = bench::Region::map(bench::kArenaBytes, "the weights to stream through");
  if (!arena) return tl::unexpected(arena.error());

  BenchReport report{
      .machine = machine_name(), .kernels = row->name, .threads = threads, .rows = {}};
  bench::Runner runner{.config = *config,
                       .shape = q.shape,
                       .kernels = *row,
                       .seconds = q.seconds,
                       .team = bench::Team(threads),
                       .arena = std::move(*arena)};
  std::vector<bench::Step> steps = bench::ceiling_steps();
  const auto append = [&](std::vector<bench::Step> more) {
    std::move(more.begin(), more.end(), std::back_inserter(steps));
  };
  if (q.kernels) {
    std::vector<bench::Step> kernels = bench::linear_steps(*config);
    for (bench::Step& step : bench::operation_steps()) kernels.push_back(std::move(step));
    std::erase_if(kernels, [&](const bench::Step& step) {
      return step.name.find(q.match) == std::string::npos;
    });
    if (kernels.empty())
      return refused(Errc::bad_argument,
                     fmt::format("bench: no kernel's name holds \"{}\"; fp4, fp8, bf16, f32, "
                                 "indexer, attention and others do",
                                 q.match));
    append(std::move(kernels));
  }
  if (q.decode || q.prefill) append(bench::layer_steps(plan, q.decode, q.prefill ? q.tokens : 0));
  if (q.prefix) append(bench::prefix_steps());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (progress) progress(static_cast<int>(i), static_cast<int>(steps.size()), steps[i].name);
    if (q.stop.stop_requested()) break;
    auto rows = steps[i].run(runner);
    if (!rows) return tl::unexpected(rows.error());
    std::move(rows->begin(), rows->end(), std::back_inserter(report.rows));
  }
  for (BenchRow& r : report.rows) r.command = command_of(q, r.section.c_str(), threads);
  return report;
}

}  // namespace lares::engine
