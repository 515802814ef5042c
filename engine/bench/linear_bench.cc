#include <fmt/format.h>

#include <algorithm>

#include "engine/bench/fill.h"
#include "engine/bench/runner.h"
#include "engine/model/memory/buffer.h"

namespace lares::engine::bench {
namespace {

using kernels::Format;

constexpr int kTokens[] = {1, 2, 4, 8, 96, 512};
constexpr int kStoredTokens[] = {1, 96};  // of the kernel that reads weights as stored
constexpr int kSlabMin = 64;              // rows the engine hands to a thread
constexpr int kHeadRows = 4096;           // of the head, which alone would fill the arena

struct Case {
  const char* name;
  Format format;
  int n_out, n_in;
};

// Of the speed of a plain loop over the same bytes, or of as many dot products.
double asked(Format format, int n) {
  if (format == Format::f32) return 0;
  if (n == 1) return format == Format::fp4 ? 0.85 : format == Format::fp8 ? 0.93 : 0.95;
  return n <= 8 ? 0.75 : n <= 96 ? 0.90 : 0.95;
}

std::vector<Case> cases(const Config& c) {
  return {{"fp4 expert w1", Format::fp4, c.moe_intermediate_size, c.hidden_size},
          {"fp4 expert w2", Format::fp4, c.hidden_size, c.moe_intermediate_size},
          {"fp8 wq_b", Format::fp8, c.num_attention_heads * c.head_dim, c.q_lora_rank},
          {"fp8 wo_b", Format::fp8, c.hidden_size, c.o_groups * c.o_lora_rank},
          {"bf16 head slice", Format::bf16, std::min(kHeadRows, c.vocab_size), c.hidden_size},
          {"f32 hc_fn", Format::f32, (2 + c.hc_mult) * c.hc_mult, c.hc_mult * c.hidden_size}};
}

// Matrices one after the other through the arena, as tiles where `tiled`, else as the checkpoint
// stores them.
struct Matrices {
  std::vector<kernels::Matrix> stored;
  std::vector<kernels::Tiles> tiles;
};
Matrices fill(Runner& r, const Case& c, bool tiled) {
  Matrices out;
  const std::size_t bytes = tiled ? laid_bytes(c.format, c.n_out, c.n_in)
                                  : stored_bytes(c.format, c.n_out, c.n_in),
                    apart = (bytes + 4095) / 4096 * 4096, count = r.arena.size() / apart;
  const auto at = [&](std::size_t i) { return r.arena.data() + i * apart; };
  if (tiled) {
    r.filled = -1;
    r.team.run([&](int thread) {
      for (auto i = static_cast<std::size_t>(thread); i < count;
           i += static_cast<std::size_t>(r.threads()))
        fill_tiles(c.format, c.n_in, i, at(i),
                   static_cast<std::size_t>(kernels::tiles_bytes(c.format, c.n_out, c.n_in)));
    });
  } else {
    r.fill(c.format, c.n_in);
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (tiled)
      out.tiles.push_back(lay_out_tiles(c.format, c.n_out, c.n_in, at(i)));
    else
      out.stored.push_back(lay_out(c.format, c.n_out, c.n_in, at(i)));
  }
  return out;
}

// Every thread takes slabs of rows of its own, one after the other through its share of the arena's
// matrices. The floor is that of the bytes as stored, also over tiles.
BenchRow linear_row(Runner& r, const Case& c, int n, bool tiled, const Matrices& matrices) {
  const auto count = static_cast<std::int64_t>(tiled ? matrices.tiles.size()
                                                     : matrices.stored.size());
  const Work whole = linear_work(c.format, c.n_out, c.n_in, n);
  // A thread's time for one matrix at the ceilings, which all threads share.
  const double whole_s = floor_s(whole, r.ceilings) * r.threads();
  const auto wanted = static_cast<int>(c.n_out * std::min(1.0, kTurnSeconds / whole_s)) / kSlabMin *
                      kSlabMin;
  const int slab = std::min(c.n_out, std::max(kSlabMin, wanted));
  const std::int64_t slabs = c.n_out / slab,
                     reps = std::max<std::int64_t>(
                         1, static_cast<std::int64_t>(kTurnSeconds / whole_s));
  const std::int64_t share = std::max<std::int64_t>(1, count * slabs / r.threads());

  Buffer x(static_cast<std::size_t>(n) * c.n_in),
      packed(static_cast<std::size_t>(n) * static_cast<std::size_t>(kernels::packed_width(c.n_in))),
      y(static_cast<std::size_t>(r.threads()) * n * slab);
  fill_activations(1, x.data(), x.size());
  if (tiled)  // the engine does it once for all the threads' slabs
    r.kernels.pack({.format = c.format,
                    .x = x.data(),
                    .to = packed.data(),
                    .x_stride = c.n_in,
                    .n_in = c.n_in,
                    .n_tokens = n});
  const Turn turn = [&](int thread, std::int64_t t) {
    for (std::int64_t i = 0; i < reps; ++i) {
      const std::int64_t at = (thread * share + (t * reps + i) % share) % (count * slabs);
      const int row = static_cast<int>(at % slabs) * slab;
      const auto which = static_cast<std::size_t>(at / slabs);
      float* const to = y.data() + static_cast<std::size_t>(thread) * n * slab;
      if (tiled) {
        r.kernels.linear_tiles({.w = &matrices.tiles[which],
                                .x = packed.data(),
                                .y = to,
                                .y_stride = slab,
                                .n_tokens = n,
                                .row_begin = row,
                                .row_end = row + slab,
                                .y_row = row,
                                .round_bf16 = true});
      } else {
        r.kernels.linear({.w = &matrices.stored[which],
                          .x = x.data(),
                          .y = to,
                          .x_stride = c.n_in,
                          .y_stride = slab,
                          .n_tokens = n,
                          .row_begin = row,
                          .row_end = row + slab,
                          .y_row = row,
                          .round_bf16 = true});
      }
    }
  };
  // Of a matrix, on each thread
  const double part = static_cast<double>(slab) / c.n_out * static_cast<double>(reps);
  BenchRow row = r.time(
      "kernels", tiled || c.format == Format::f32 ? c.name : fmt::format("{}, as stored", c.name),
      fmt::format("[{}, {}] M={}", c.n_out, c.n_in, n),
      {whole.bytes * part, whole.flops * part, whole.unit}, part * r.threads(), turn);
  if (tiled && !r.small()) row.asked = asked(c.format, n);
  return row;
}

}  // namespace

std::vector<Step> linear_steps(const Config& config) {
  std::vector<Step> steps;
  for (const Case& c : cases(config)) {
    steps.push_back({c.name, [c](Runner& r) {
                       std::vector<BenchRow> rows;
                       const bool tiled = c.format != Format::f32;
                       const Matrices matrices = fill(r, c, tiled);
                       for (const int n : kTokens)
                         rows.push_back(linear_row(r, c, n, tiled, matrices));
                       return rows;
                     }});
    if (c.format == Format::f32) continue;
    steps.push_back({fmt::format("{}, as stored", c.name), [c](Runner& r) {
                       std::vector<BenchRow> rows;
                       const Matrices matrices = fill(r, c, false);
                       for (const int n : kStoredTokens)
                         rows.push_back(linear_row(r, c, n, false, matrices));
                       return rows;
                     }});
  }
  return steps;
}

}  // namespace lares::engine::bench
