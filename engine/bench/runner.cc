#include "engine/bench/runner.h"

#include <algorithm>

#include "engine/bench/fill.h"

namespace lares::engine::bench {

std::uint8_t* Runner::place(int thread, int sharers, std::int64_t turn, std::size_t bytes,
                            bool away) const {
  if (bytes >= share(sharers)) return arena.data();
  const std::size_t places = share(sharers) / bytes;
  const std::size_t at = (static_cast<std::size_t>(turn) + (away ? places / 2 : 0)) % places;
  return arena.data() + static_cast<std::size_t>(thread) * share(sharers) + at * bytes;
}

void Runner::fill(kernels::Format format, int n_in) {
  if (format == kernels::Format::fp8 || format == kernels::Format::fp4)
    n_in = 1;  // the scales carry it
  const int wanted = static_cast<int>(format) | n_in << 8;
  if (filled == wanted) return;
  filled = wanted;
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  const std::size_t pieces = arena.size() / kPiece;
  team.run([&](int thread) {
    for (auto i = static_cast<std::size_t>(thread); i < pieces;
         i += static_cast<std::size_t>(threads()))
      fill_codes(format, n_in, i, arena.data() + i * kPiece, kPiece);
  });
}

void rate_row(BenchRow& row, const Work& work, const Ceilings& c) {
  const bool bytes = bytes_s(work, c) >= flops_s(work, c);
  row.unit = bytes ? "GB/s" : work.unit == Unit::int8 ? "GOP/s" : "GF/s";
  row.rate = row.median_s > 0 ? (bytes ? work.bytes : work.flops) / row.median_s * 1e-9 : 0;
  row.percent = row.median_s > 0 ? 100 * row.floor_s / row.median_s : 0;
}

BenchRow Runner::time(const char* section, std::string name, std::string shape_of, const Work& work,
                      double units, const Turn& turn) {
  const Work all{work.bytes * threads(), work.flops * threads(), work.unit};
  const bool bytes = bytes_s(all, ceilings) >= flops_s(all, ceilings);
  const auto n = std::max<std::size_t>(256, static_cast<std::size_t>(work.bytes) / 256 * 256);
  const PeakLoop& peak = loop(work.unit);
  const auto passes = std::max<std::int64_t>(1, static_cast<std::int64_t>(work.flops / peak.flops));
  const Turn reference = bytes ? Turn([&, n](int thread, std::int64_t t) {
    sink = read_bytes(place(thread, threads(), t, n, true), n);
  })
                               : Turn([&, passes](int, std::int64_t) {
                                   sink = static_cast<std::uint64_t>(peak.run(passes));
                                 });
  const Measured m = measure(team, seconds, turn, reference);
  BenchRow row{.section = section, .name = std::move(name), .shape = std::move(shape_of)};
  row.median_s = m.work.median_s / units;
  row.floor_s = floor_s(all, ceilings) / units;
  row.paired = m.paired;
  row.paired_with = bytes ? "read" : "peak";
  row.samples = m.work.samples;
  row.dropped = m.work.dropped;
  row.disturbed = m.work.disturbed;
  rate_row(row, {all.bytes / units, all.flops / units, work.unit}, ceilings);
  return row;
}

}  // namespace lares::engine::bench
