// Bodies of the router's and the experts' launches.
#pragma once

#include "kernels/cuda/products/experts.h"
#include "kernels/cuda/hyper/hyper_mixes.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/products/linear_rows.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

LARES_DEVICE float route_score(float logit) {
  const double u = logit;
  return sqrtf(static_cast<float>(fmax(u, 0.0) + log1p(exp(-fabs(u)))));
}
// Larger value, larger number; what is none comes last, but before 0.
LARES_BOTH std::uint32_t candidate_rank(float v) {
  const std::uint32_t u = bits_of(v + 0.0f);
  return v != v ? 1 : u & 0x80000000u ? ~u : u | 0x80000000u;
}
// Of a warp's token, what does not depend on its scores: lane l has the bias of experts l, l + 32,
// ..., or the expert given for rank l.
inline constexpr int kLaneExperts = kExpertsMax / 32;
struct RouteWeights {
  float bias[kLaneExperts];
  int given;
};
LARES_DEVICE RouteWeights route_weights(const RouteArgs& a, int t) {
  const int lane = thread() % 32;
  RouteWeights w = {};
  if (a.given) {
    if (lane < a.k)
      w.given = static_cast<int>(a.given[static_cast<std::int64_t>(a.tokens[t]) * a.k + lane]);
    return w;
  }
  LARES_UNROLL for (int at = 0; at < kLaneExperts;
                    ++at) if (const int e = lane + 32 * at; e < a.n_experts) w.bias[at] = a.bias[e];
  return w;
}
// Lane i: of rank i.
struct Chosen {
  int expert;
  float weight;
};
// By a warp; all its token's scores are in shared memory. Of equal ones the lower expert is better.
LARES_DEVICE Chosen choose_experts(const RouteArgs& a, const float* score, const RouteWeights& w) {
  const int lane = thread() % 32;
  std::uint32_t rank[kLaneExperts];  // 0: no expert, or taken
  LARES_UNROLL for (int at = 0; at < kLaneExperts; ++at) {
    const int e = lane + 32 * at;
    rank[at] = !a.given && e < a.n_experts ? candidate_rank(score[e] + w.bias[at]) : 0;
  }
  float total = 0;
  Chosen mine = {};
  for (int i = 0; i < a.k; ++i) {
    int expert;
    if (a.given) {
      expert = static_cast<int>(shuffle(static_cast<std::uint32_t>(w.given), i));
    } else {
      std::uint32_t best = rank[0], best_of = static_cast<std::uint32_t>(lane);
      LARES_UNROLL for (int at = 1; at < kLaneExperts; ++at) if (rank[at] > best)
          best = rank[at],
          best_of = static_cast<std::uint32_t>(lane + 32 * at);
      const std::uint32_t top = most_of_warp(best);
      expert = static_cast<int>(least_of_warp(best == top ? best_of : 0xFFFFFFFFu));
      LARES_UNROLL for (int at = 0; at < kLaneExperts; ++at) if (lane + 32 * at == expert)
          rank[at] = 0;
    }
    const float own = score[expert];
    if (lane == i) mine = {expert, own};
    total += own;
  }
  mine.weight = mine.weight / total * a.factor;
  return mine;
}
LARES_DEVICE void put_chosen(const RouteArgs& a, int t, const Chosen& c) {
  const int lane = thread() % 32;
  if (lane >= a.k) return;
  a.expert[static_cast<std::int64_t>(t) * a.k + lane] = c.expert;
  a.weight[static_cast<std::int64_t>(t) * a.k + lane] = c.weight;
}

// A warp a token.
LARES_KERNEL(32, 16) route_kernel(const RouteArgs a) {
  const RouteWeights w = route_weights(a, block_x());
  wait_for_inputs();
  float* const score = shared<float>();
  for (int e = thread(); e < a.n_experts; e += 32)
    score[e] = route_score(a.u[static_cast<std::int64_t>(block_x()) * a.n_experts + e]);
  sync_warp();
  put_chosen(a, block_x(), choose_experts(a, score, w));
}

// Block e places expert e's slots; the last one the shared expert's and the jobs left over. Each
// counts all routes by itself, a warp a run of them, with as many loads on their way as there is
// room for: nothing but the counts of runs goes from warp to warp.
inline constexpr int kGroupThreads = 256;
inline constexpr int kGroupWarps = kGroupThreads / 32, kRouteVectors = 4, kRoutesAtOnce = 128;
// Four consecutive routes' experts a vector, from route i on; none beyond the last.
struct RouteVectors {
  std::int32_t expert[kRouteVectors][4];
};
LARES_DEVICE RouteVectors route_vectors(const GroupArgs& a, int i, int n) {
  RouteVectors r;
  LARES_UNROLL for (int v = 0; v < kRouteVectors; ++v) {
    const int at = i + v * kRoutesAtOnce;
    Vec16 four{{~0u, ~0u, ~0u, ~0u}};
    if (at + 4 <= n)
      four = *reinterpret_cast<const Vec16*>(a.expert + at);
    else
      LARES_UNROLL for (int c = 0; c < 4; ++c) if (at + c < n)
          four.w[c] = static_cast<std::uint32_t>(a.expert[at + c]);
    LARES_UNROLL for (int c = 0; c < 4; ++c) r.expert[v][c] = static_cast<std::int32_t>(four.w[c]);
  }
  return r;
}
constexpr int group_shared(int n_experts) { return (n_experts + kGroupWarps + 4) * 4; }

LARES_KERNEL(kGroupThreads, 2) group_kernel(const GroupArgs a) {
  wait_for_inputs();
  auto* const count = shared<std::uint32_t>();
  std::uint32_t* const of_warp = count + a.n_experts;
  std::uint32_t* const before = of_warp + kGroupWarps;  // slots, jobs
  const int e = block_x(), n = a.n_tokens * a.k, warp = thread() / 32, lane = thread() % 32;
  constexpr int kStep = kRouteVectors * kRoutesAtOnce;
  const int run = (n + kGroupWarps * kRoutesAtOnce - 1) / (kGroupWarps * kRoutesAtOnce) *
                  kRoutesAtOnce,
            run_begin = warp * run, run_end = smaller(n, run_begin + run);
  for (int i = thread(); i < a.n_experts; i += kGroupThreads) count[i] = 0;
  if (thread() < kGroupWarps) of_warp[thread()] = 0;
  if (thread() < 2) before[thread()] = 0;
  sync_block();
  std::uint32_t of_e = 0;
  for (int base = run_begin; base < run_end; base += kStep) {
    const RouteVectors r = route_vectors(a, base + 4 * lane, run_end);
    LARES_UNROLL for (int v = 0; v < kRouteVectors; ++v) LARES_UNROLL for (int c = 0; c < 4; ++c) {
      if (r.expert[v][c] < 0) continue;
      add_shared(&count[r.expert[v][c]], 1);
      of_e += r.expert[v][c] == e;
    }
  }
  if (of_e) add_shared(&of_warp[warp], of_e);
  sync_block();
  std::uint32_t slots = 0, runs = 0;
  for (int i = thread(); i < e; i += kGroupThreads) {
    slots += count[i];
    runs += (count[i] + kExpertRun - 1) / kExpertRun;
  }
  add_shared(&before[0], slots);
  add_shared(&before[1], runs);
  sync_block();
  const int first = static_cast<int>(before[0]), job = static_cast<int>(before[1]);
  if (thread() == 0) a.begin[e] = first;
  if (e == a.n_experts) {
    for (int t = thread(); t < a.n_tokens; t += kGroupThreads) {
      a.token_of[n + t] = t;
      a.factor[n + t] = 1.0f;
    }
    const int used = n < a.n_experts ? n : a.n_experts, jobs = used + n / kExpertRun;
    for (int i = job + thread(); i < jobs; i += kGroupThreads)
      a.jobs[3 * i] = a.jobs[3 * i + 1] = a.jobs[3 * i + 2] = 0;
    return;
  }
  const int own = static_cast<int>(count[e]);
  for (int i = thread(); i * kExpertRun < own; i += kGroupThreads) {
    a.jobs[3 * (job + i)] = e;
    a.jobs[3 * (job + i) + 1] = first + i * kExpertRun;
    a.jobs[3 * (job + i) + 2] = smaller(kExpertRun, own - i * kExpertRun);
  }
  // In order of tokens: behind the runs of the warps before, a lane's four behind the lanes'
  // before.
  if (of_warp[warp] == 0) return;
  int next = first;
  for (int w = 0; w < warp; ++w) next += static_cast<int>(of_warp[w]);
  for (int base = run_begin; base < run_end; base += kStep) {
    const RouteVectors r = route_vectors(a, base + 4 * lane, run_end);
    LARES_UNROLL for (int v = 0; v < kRouteVectors; ++v) {
      int at = next;
      LARES_UNROLL for (int c = 0; c < 4; ++c) {
        const std::uint32_t mask = ballot(r.expert[v][c] == e);
        at += count_bits(mask & ((1u << lane) - 1));
        next += count_bits(mask);
      }
      LARES_UNROLL for (int c = 0; c < 4; ++c) if (r.expert[v][c] == e) {
        const int i = base + v * kRoutesAtOnce + 4 * lane + c;
        a.slot_of[i] = at;
        a.token_of[at] = i / a.k;
        a.factor[at] = a.weight[i];
        ++at;
      }
    }
  }
}

// Few tokens: one block routes them all and groups them, a thread a route.
constexpr int route_and_group_shared(int n_tokens, int n_experts, int k) {
  return n_tokens * n_experts * 4 + 3 * n_tokens * k * 4;
}
LARES_KERNEL(kGroupThreads, 1) route_and_group_kernel(const RouteArgs a, const GroupArgs b) {
  static_assert(kGroupThreads / 32 >= kTokensFew && kGroupThreads >= kTokensFew * kExpertRanksMax);
  const int n = a.n_tokens * a.k, warp = thread() / 32, lane = thread() % 32;
  RouteWeights w = {};
  if (warp < a.n_tokens) w = route_weights(a, warp);
  wait_for_inputs();
  float* const score = shared<float>();
  float* const weight = score + a.n_tokens * a.n_experts;
  auto* const expert = reinterpret_cast<std::int32_t*>(weight + n);
  std::int32_t* const begins = expert + n;  // whether a route is its expert's first
  for (int i = thread(); i < a.n_tokens * a.n_experts; i += kGroupThreads)
    score[i] = route_score(a.u[i]);
  sync_block();
  if (warp < a.n_tokens) {
    const Chosen c = choose_experts(a, score + warp * a.n_experts, w);
    put_chosen(a, warp, c);
    if (lane < a.k) {
      expert[warp * a.k + lane] = c.expert;
      weight[warp * a.k + lane] = c.weight;
    }
  }
  sync_block();
  for (int of = thread(); of <= a.n_experts; of += kGroupThreads) {
    int before = 0;
    for (int j = 0; j < n; ++j) before += expert[j] < of;
    b.begin[of] = before;
  }
  const int i = thread(), e = i < n ? expert[i] : 0;
  int slot = 0, own = 0, earlier = 0;  // of this expert's routes, all and those before this one
  for (int j = 0; i < n && j < n; ++j) {
    own += expert[j] == e;
    earlier += expert[j] == e && j < i;
    slot += expert[j] < e || (expert[j] == e && j < i);
  }
  if (i < n) begins[i] = earlier == 0;
  sync_block();
  int job = 0, distinct = 0;
  for (int j = 0; j < n; ++j) {
    job += begins[j] && expert[j] < e;
    distinct += begins[j];
  }
  if (i < n) {
    b.slot_of[i] = slot;
    b.token_of[slot] = i / a.k;
    b.factor[slot] = weight[i];
    if (earlier == 0) {
      b.jobs[3 * job] = e;
      b.jobs[3 * job + 1] = slot;
      b.jobs[3 * job + 2] = own;
    }
  }
  // Jobs left over; and the shared expert's slots.
  const int jobs = (n < a.n_experts ? n : a.n_experts) + n / kExpertRun;
  for (int j = distinct + thread(); j < jobs; j += kGroupThreads)
    b.jobs[3 * j] = b.jobs[3 * j + 1] = b.jobs[3 * j + 2] = 0;
  if (thread() < a.n_tokens) {
    b.token_of[n + thread()] = thread();
    b.factor[n + thread()] = 1.0f;
  }
}

// One matrix of one run of slots, as a product.
struct ExpertRun {
  Product p;
  int first, n;  // slots
  bool nothing;
};
LARES_DEVICE ExpertRun expert_run(const ExpertLinearArgs& a, int matrix, int job, int n_jobs,
                                  int run) {
  ExpertRun r;
  const ExpertMatrix& m = a.matrix[matrix];
  const bool shared_one = job >= n_jobs;
  const std::int32_t* const j = a.jobs + 3 * job;
  r.first = shared_one ? a.n_tokens * a.k + (job - n_jobs) * run : j[1];
  r.n = shared_one ? smaller(run, a.n_tokens - (job - n_jobs) * run) : j[2];
  const int expert = shared_one || r.n == 0 ? 0 : j[0];
  r.p.format = shared_one ? m.shared.format : a.format;
  r.p.tiles = shared_one ? m.shared.tiles : m.tiles[expert];
  r.p.scale = shared_one ? m.shared.scale : m.scale ? m.scale[expert] : nullptr;
  r.nothing = r.n <= 0 || !r.p.tiles;
  r.p.up = a.up;
  r.p.factor = a.factor;
  r.p.limit = a.limit;
  r.p.codes_in = r.p.format != Format::bf16;
  r.p.quantise = a.quantise && !a.codes;
  r.p.x = a.x;
  r.p.codes = a.codes;
  r.p.code_scale = a.code_scale;
  r.p.y = m.y;
  r.p.x_stride = a.x_stride;
  r.p.code_scale_stride = a.code_scale_stride;
  r.p.y_stride = a.y_stride;
  r.p.n_out = a.n_out;
  r.p.n_in = a.n_in;
  r.p.rows_per_group = a.n_out;
  return r;
}

// Few tokens: block (x: tile of rows of a matrix, and behind them what a boundary left, y: job).
LARES_KERNEL(kLinearThreads, 2) experts_few_kernel(const ExpertLinearArgs a, int n_jobs) {
  wait_for_inputs();  // which experts there are
  const int tiles = (a.n_out + kTileRows - 1) / kTileRows;
  if (block_x() == tiles * a.n_matrices) {
    if (block_y() == 0 && thread() / 32 < a.mixes.n_tokens) put_left(a.mixes, thread() / 32);
    return;
  }
  const ExpertRun r = expert_run(a, block_x() / tiles, block_y(), n_jobs, kTokensFew);
  if (r.nothing) return;
  const std::int32_t* const rows = a.row_of ? a.row_of + r.first : nullptr;
  if (r.p.format == Format::fp4)
    few_rows<Format::fp4, true, true>(r.p, block_x() % tiles, rows, r.first, r.first, r.n);
  else
    few_rows<Format::fp8, true, true>(r.p, block_x() % tiles, rows, r.first, r.first, r.n);
}

// Many, by mma: block (x: 128 rows of a matrix, y: a part of a job).
inline constexpr int kExpertPart = 64;  // slots
LARES_KERNEL(kLinearThreads, 1) experts_many_kernel(const ExpertLinearArgs a, int n_jobs) {
  wait_for_inputs();
  constexpr int kParts = kExpertRun / kExpertPart;
  const int blocks = (a.n_out + kManyRows - 1) / kManyRows,
            before = block_y() % kParts * kExpertPart;
  const ExpertRun r = expert_run(a, block_x() / blocks, block_y() / kParts, n_jobs, kExpertRun);
  const int first = r.first + before, n = smaller(kExpertPart, r.n - before);
  if (r.nothing || n <= 0) return;
  const std::int32_t* const rows = a.row_of ? a.row_of + first : nullptr;
  const RowBlock b = row_block(r.p, block_x() % blocks);
  if (r.p.format == Format::fp4)
    many_rows<kExpertPart, Format::fp4, true>(r.p, b.begin, b.end, rows, first, first, n);
  else
    many_rows<kExpertPart, Format::fp8, true>(r.p, b.begin, b.end, rows, first, first, n);
}

struct ExpertPlan {
  int x, y, n_jobs, shared_bytes;
  bool few;
};
constexpr ExpertPlan expert_plan(const ExpertLinearArgs& a) {
  const bool few = a.n_tokens <= kTokensFew, shared_one = a.matrix[0].shared.tiles != nullptr;
  const int run = few ? kTokensFew : kExpertRun, n_jobs = expert_jobs(a.n_tokens, a.n_experts, a.k);
  const int rows = few ? kTileRows : kManyRows;
  const int runs = n_jobs + (shared_one ? (a.n_tokens + run - 1) / run : 0);
  return {(a.n_out + rows - 1) / rows * a.n_matrices,
          few ? runs : runs * (kExpertRun / kExpertPart), n_jobs,
          few ? few_shared(a.n_tokens, a.n_in).bytes : many_shared(kExpertPart), few};
}

// A warp a block of 128.
LARES_KERNEL(256, 4) swiglu_kernel(const SwigluArgs a) {
  wait_for_inputs();
  const int blocks = (a.n + 127) / 128, lane = thread() % 32;
  const std::int64_t i = static_cast<std::int64_t>(block_x()) * 8 + thread() / 32;
  if (i >= static_cast<std::int64_t>(a.n_rows) * blocks) return;
  const std::int64_t row = i / blocks;
  const int block = static_cast<int>(i % blocks), k = block * 128 + 4 * lane;
  const bool inside = k < a.n;
  float h[4] = {0, 0, 0, 0};
  if (inside) {
    const Vec8 gates = *reinterpret_cast<const Vec8*>(a.gate + row * a.stride + k),
               ups = *reinterpret_cast<const Vec8*>(a.up + row * a.stride + k);
    LARES_UNROLL for (int j = 0; j < 4; ++j) {
      h[j] = gated(bf16_value(gates.w[j / 2] >> j % 2 * 16 & 0xFFFFu),
                   bf16_value(ups.w[j / 2] >> j % 2 * 16 & 0xFFFFu), a.limit, a.factor[row]);
    }
    if (a.h)
      *reinterpret_cast<Vec8*>(a.h + row * a.stride + k) =
          Vec8{{pair(to_bf16(h[0]), to_bf16(h[1])), pair(to_bf16(h[2]), to_bf16(h[3]))}};
  }
  if (a.codes)
    quantise_block(h, inside, a.codes + row * a.stride + k,
                   a.code_scale + row * a.scale_stride + block);
}
constexpr int swiglu_blocks(int n_rows, int n) {
  return static_cast<int>((static_cast<std::int64_t>(n_rows) * ((n + 127) / 128) + 7) / 8);
}

// Four dims a thread.
LARES_KERNEL(256, 4) combine_kernel(const CombineArgs a) {
  wait_for_inputs();
  const int t = block_y(), d = 4 * (block_x() * 256 + thread());
  if (d >= a.dim) return;
  float sum[4];
  for (int i = 0; i <= a.k; ++i) {
    const std::int64_t slot = i < a.k ? a.slot_of[static_cast<std::int64_t>(t) * a.k + i]
                                      : static_cast<std::int64_t>(a.n_tokens) * a.k + t;
    const Vec8 in = *reinterpret_cast<const Vec8*>(a.out + slot * a.stride + d);
    LARES_UNROLL for (int j = 0; j < 4; ++j) {
      const float v = bf16_value(in.w[j / 2] >> j % 2 * 16 & 0xFFFFu);
      sum[j] = i == 0 ? v : sum[j] + v;
    }
  }
  *reinterpret_cast<Vec8*>(a.y + static_cast<std::int64_t>(t) * a.dim + d) =
      Vec8{{pair(to_bf16(sum[0]), to_bf16(sum[1])), pair(to_bf16(sum[2]), to_bf16(sum[3]))}};
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
