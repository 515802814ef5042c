#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "engine/bench.h"

namespace lares::engine {
namespace {

constexpr const char* kColumns[] = {"what",     "shape",    "median", "rate",   "floor",
                                    "of floor", "in pairs", "asked",  "samples"};
constexpr std::size_t kCount = std::size(kColumns);
using Cells = std::array<std::string, kCount>;

std::string time_text(double s) {
  if (s <= 0) return "-";
  if (s < 1e-6) return fmt::format("{:.0f} ns", s * 1e9);
  if (s < 1e-3) return fmt::format("{:.3g} us", s * 1e6);
  if (s < 1) return fmt::format("{:.3g} ms", s * 1e3);
  return s < 100 ? fmt::format("{:.3g} s", s) : fmt::format("{:.0f} s", s);
}

std::string rate_text(const BenchRow& r) {
  return r.rate >= 100 ? fmt::format("{:.0f} {}", r.rate, r.unit)
                       : fmt::format("{:.3g} {}", r.rate, r.unit);
}

Cells cells(const BenchRow& r) {
  const bool ceiling = r.section == "ceilings" || r.section == "prefix";  // no floor
  return {r.name,
          r.shape,
          time_text(r.median_s) + (r.disturbed ? " *" : ""),
          rate_text(r),
          ceiling ? "" : time_text(r.floor_s),
          ceiling ? "" : fmt::format("{:.0f} %", r.percent),
          r.paired > 0 ? fmt::format("{:.2f} of {}", r.paired, r.paired_with) : "",
          r.asked == 0 ? "" : fmt::format("{:.2f}{}", r.asked, falls_short(r) ? " short" : ""),
          r.samples == 0  ? ""
          : r.dropped > 0 ? fmt::format("{} - {}", r.samples, r.dropped)
                          : fmt::format("{}", r.samples)};
}

bool disturbed(const BenchReport& report) {
  return std::any_of(report.rows.begin(), report.rows.end(),
                     [](const BenchRow& r) { return r.disturbed; });
}

constexpr std::string_view kDisturbed =
    "* fewer than 3 samples had the CPU to themselves: something else ran here, and the figure is "
    "the median of the 3 least disturbed.\n";

std::string heading(const BenchReport& report) {
  return fmt::format("{}, {} thread{}, kernels {}", report.machine, report.threads,
                     report.threads == 1 ? "" : "s", report.kernels);
}

// Calls f(rows) for each section.
template <class F>
void each_section(const BenchReport& report, F f) {
  for (std::size_t at = 0; at < report.rows.size();) {
    std::size_t end = at;
    while (end < report.rows.size() && report.rows[end].section == report.rows[at].section) ++end;
    f(std::vector<BenchRow>(report.rows.begin() + static_cast<std::ptrdiff_t>(at),
                            report.rows.begin() + static_cast<std::ptrdiff_t>(end)));
    at = end;
  }
}

}  // namespace

bool falls_short(const BenchRow& row) {
  return !row.disturbed && (row.paired > 0 ? row.paired : row.percent / 100) < row.asked;
}

std::string bench_text(const BenchReport& report) {
  std::array<std::size_t, kCount> width{};
  for (std::size_t i = 0; i < kCount; ++i) width[i] = std::string_view(kColumns[i]).size();
  for (const auto& r : report.rows) {
    const Cells c = cells(r);
    for (std::size_t i = 0; i < kCount; ++i) width[i] = std::max(width[i], c[i].size());
  }
  const auto line = [&](const auto& c) {
    std::string out;
    for (std::size_t i = 0; i < kCount; ++i)
      out += i < 2 ? fmt::format("{:<{}}  ", c[i], width[i])
                   : fmt::format("{:>{}}  ", c[i], width[i]);
    out.erase(out.find_last_not_of(' ') + 1);
    return out + '\n';
  };
  std::string out = heading(report) + "\n\n" + line(kColumns);
  each_section(report, [&](const std::vector<BenchRow>& rows) {
    out += fmt::format("\n{}: {}\n", rows.front().section, rows.front().command);
    for (const auto& r : rows) out += line(cells(r));
  });
  if (disturbed(report)) out += fmt::format("\n{}", kDisturbed);
  return out;
}

std::string bench_markdown(const BenchReport& report) {
  std::string out = heading(report) + ".\n";
  each_section(report, [&](const std::vector<BenchRow>& rows) {
    out += fmt::format("\n`{}`\n\n|", rows.front().command);
    for (const char* column : kColumns) out += fmt::format(" {} |", column);
    out += "\n|---|---|";
    for (std::size_t i = 2; i < kCount; ++i) out += "---:|";
    for (const auto& r : rows) {
      out += "\n|";
      for (const auto& cell : cells(r)) out += fmt::format(" {} |", cell);
    }
    out += '\n';
  });
  if (disturbed(report)) out += fmt::format("\n\\{}", kDisturbed);
  return out;
}

std::string bench_json(const BenchReport& report) {
  auto rows = nlohmann::ordered_json::array();
  for (const BenchRow& r : report.rows) {
    nlohmann::ordered_json row = {
        {"section", r.section}, {"name", r.name}, {"shape", r.shape},     {"median_s", r.median_s},
        {"rate", r.rate},       {"unit", r.unit}, {"floor_s", r.floor_s}, {"percent", r.percent}};
    if (r.paired > 0) row["paired"] = r.paired, row["paired_with"] = r.paired_with;
    if (r.asked > 0) row["asked"] = r.asked, row["short"] = falls_short(r);
    row["samples"] = r.samples;
    row["dropped"] = r.dropped;
    row["disturbed"] = r.disturbed;
    row["threads"] = report.threads;
    row["kernels"] = report.kernels;
    row["machine"] = report.machine;
    row["command"] = r.command;
    rows.push_back(std::move(row));
  }
  return rows.dump(1);
}

}  // namespace lares::engine
