#include <fmt/format.h>

#include <algorithm>

#include "engine/bench/runner.h"

namespace lares::engine::bench {
namespace {

constexpr std::size_t kReadBytes = std::size_t{8} << 20;  // a turn's, on each thread

BenchRow ceiling_row(const Runner& r, std::string name, int threads, double work, const char* unit,
                     const Measured& m) {
  BenchRow row{.section = "ceilings",
               .name = std::move(name),
               .shape = fmt::format("{} thread{}", threads, threads == 1 ? "" : "s")};
  if (r.threads() == 1) row.shape = "1 thread";
  row.median_s = row.floor_s = m.work.median_s;
  row.rate = row.median_s > 0 ? work / row.median_s * 1e-9 : 0;
  row.unit = unit;
  row.percent = 100;
  row.samples = m.work.samples;
  row.dropped = m.work.dropped;
  row.disturbed = m.work.disturbed;
  return row;
}

std::vector<BenchRow> read_rows(Runner& r) {
  r.fill(kernels::Format::fp4);  // any bytes; pages that were never written are one page of zeros
  std::vector<BenchRow> rows;
  const auto over = [&](Team& team) {
    const Measured m = measure(team, r.seconds,
                               [&](int thread, std::int64_t turn) {
                                 sink = read_bytes(r.place(thread, team.size(), turn, kReadBytes),
                                                   kReadBytes);
                               },
                               {});
    const double bytes = static_cast<double>(kReadBytes) * team.size();
    rows.push_back(ceiling_row(r, "read", team.size(), bytes, "GB/s", m));
    r.ceilings.read = std::max(r.ceilings.read, bytes / m.work.median_s);
  };
  over(r.alone);
  if (r.threads() > 1) over(r.team);
  return rows;
}

std::vector<BenchRow> peak_rows(Runner& r, const PeakLoop& loop) {
  std::vector<BenchRow> rows;
  const char* const unit = loop.peak == Peak::int8 ? "GOP/s" : "GF/s";
  const std::string name = fmt::format("{} {}",
                                       loop.peak == Peak::fp32   ? "fp32 fma"
                                       : loop.peak == Peak::bf16 ? "bf16 dot"
                                                                 : "int8 dot",
                                       loop.name);
  std::int64_t passes = 1000;  // a millisecond's, found by doubling
  while (passes < std::int64_t{1} << 40 &&
         r.alone.run([&](int) { sink = static_cast<std::uint64_t>(loop.run(passes)); }).seconds <
             kTurnSeconds)
    passes *= 2;
  const auto over = [&](Team& team) {
    const Measured m = measure(
        team, r.seconds,
        [&](int, std::int64_t) { sink = static_cast<std::uint64_t>(loop.run(passes)); }, {});
    const double flops = loop.flops * static_cast<double>(passes) * team.size();
    rows.push_back(ceiling_row(r, name, team.size(), flops, unit, m));
    return flops / m.work.median_s;
  };
  double rate = over(r.alone);
  if (r.threads() > 1) rate = std::max(rate, over(r.team));
  const auto raise = [&](double& ceiling, const PeakLoop*& by) {
    if (rate > ceiling) ceiling = rate, by = &loop;
  };
  // Products of bf16 and of small integers are exact in float, so a faster float loop is a ceiling
  // for them as well.
  if (loop.peak == Peak::fp32) raise(r.ceilings.fp32, r.fp32);
  if (loop.peak != Peak::int8) raise(r.ceilings.dot, r.dot);
  raise(r.ceilings.int8, r.int8);
  return rows;
}

}  // namespace

std::vector<Step> ceiling_steps() {
  std::vector<Step> steps{{"read", read_rows}};
  bool vectors = false;
  for (const PeakLoop* loop : peak_loops()) {
    // The plain loop stands in where no other runs.
    if (!loop->available() || (vectors && std::string_view(loop->name) == "plain")) continue;
    vectors = true;
    steps.push_back({loop->name, [loop](Runner& r) { return peak_rows(r, *loop); }});
  }
  return steps;
}

}  // namespace lares::engine::bench
