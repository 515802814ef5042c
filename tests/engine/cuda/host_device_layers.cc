// HostDevice's launches around attention: streams, products, norms, experts.
#include <numeric>

#include "kernels/moe.h"
#include "tests/engine/cuda/host_rows.h"

namespace lares::engine::test {

void HostDevice::embed(const kc::EmbedArgs& a) {
  run("embed", [=] {
    for (int t = 0; t < a.n_tokens; ++t)
      for (int s = 0; s < a.n_streams; ++s)
        std::copy_n(a.table + at(a.tokens[t], a.dim), a.dim, a.x + at(t * a.n_streams + s, a.dim));
  });
}

void HostDevice::draft_rows(const kc::DraftRowsArgs& a) {
  run("draft_rows", [=, this] {
    const int S = a.n_streams, D = a.dim;
    for (int t = 0; t < a.n_tokens; ++t) {
      bf16 *const x = a.x + at(t, S * D), *const row = a.row[t];
      if (!row) continue;
      if (a.what == kc::DraftRows::keep) std::copy_n(x, S * D, row + a.offset);
      if (a.what == kc::DraftRows::recall) std::copy_n(row + a.offset, S * D, x);
      if (a.what != kc::DraftRows::keep_means) continue;
      const Floats in = row_of(x, S * D);
      Floats means(in.begin(), in.begin() + D);
      for (int s = 1; s < S; ++s)
        for (int d = 0; d < D; ++d)
          means[static_cast<std::size_t>(d)] += in[at(s, D) + static_cast<std::size_t>(d)];
      for (float& m : means) m /= static_cast<float>(S);
      k_.round_bf16(means.data(), D);
      put(means, row + a.offset);
    }
  });
}

void HostDevice::add_to_streams(const kc::AddToStreamsArgs& a) {
  run("add_to_streams", [=, this] {
    for (int t = 0; t < a.n_tokens; ++t)
      for (int s = 0; s < a.n_streams; ++s) {
        bf16* const to = a.x + at(t * a.n_streams + s, a.dim);
        const Floats y = row_of(a.y + at(t, a.dim), a.dim);
        Floats x = row_of(to, a.dim);
        for (std::size_t d = 0; d < x.size(); ++d) x[d] = y[d] + x[d];
        k_.round_bf16(x.data(), a.dim);
        put(x, to);
      }
  });
}

void HostDevice::hyper(const kc::HyperArgs& a) {
  run("hyper", [=, this] {
    const int S = kc::kHyperStreams, D = a.dim;
    for (int t = 0; t < a.n_tokens; ++t) {
      Floats x = row_of(a.x + at(t, S * D), S * D);
      if (a.y || a.experts.out) {
        const Floats y = a.y ? row_of(a.y + at(t, D), D)
                             : sum_of_experts(k_, a.experts, a.experts.first + t, D);
        k_.hyper_leave({.x = x.data(),
                        .y = y.data(),
                        .post = a.post + at(t, S),
                        .comb = a.comb + at(t, S * S),
                        .n_tokens = 1,
                        .n_streams = S,
                        .dim = D,
                        .round_bf16 = true});
        put(x, a.x + at(t, S * D));
      }
      if (!a.fn) continue;
      const int rows = a.head ? S : kc::kHyperRows;
      const kernels::Matrix fn{
          .format = kernels::Format::f32, .data = a.fn, .n_out = rows, .n_in = S * D};
      Floats dots(static_cast<std::size_t>(rows)), pre(static_cast<std::size_t>(S)),
          entered(static_cast<std::size_t>(D)), normed(entered.size());
      k_.linear({.w = &fn,
                 .x = x.data(),
                 .y = dots.data(),
                 .x_stride = S * D,
                 .y_stride = rows,
                 .n_tokens = 1,
                 .row_begin = 0,
                 .row_end = rows});
      k_.hyper_split({.dots = dots.data(),
                      .x = x.data(),
                      .scale = a.scale,
                      .base = a.base,
                      .pre = pre.data(),
                      .post = a.head ? nullptr : a.post + at(t, S),
                      .comb = a.head ? nullptr : a.comb + at(t, S * S),
                      .n_tokens = 1,
                      .n_streams = S,
                      .dim = D,
                      .iters = a.iters,
                      .eps = a.eps,
                      .norm_eps = a.norm_eps});
      k_.hyper_enter({.x = x.data(),
                      .pre = pre.data(),
                      .y = entered.data(),
                      .n_tokens = 1,
                      .n_streams = S,
                      .dim = D,
                      .round_bf16 = true});
      if (a.entered) put(entered, a.entered + at(t, D));
      k_.rms_norm({.x = entered.data(),
                   .w = a.norm,
                   .y = normed.data(),
                   .x_stride = D,
                   .y_stride = D,
                   .n_rows = 1,
                   .dim = D,
                   .eps = a.rms_eps,
                   .round_bf16 = true});
      put(normed, a.normed + at(t, D));
      if (a.codes) encode(k_, normed, a.codes + at(t, D), a.code_scale + at(t, (D + 127) / 128));
    }
  });
}

void HostDevice::linear(std::span<const kc::LinearArgs> together, const kc::HyperMixes&) {
  EXPECT_LE(together.size(), static_cast<std::size_t>(kc::kLinearTogether));
  run("linear", [all = std::vector<kc::LinearArgs>(together.begin(), together.end()), this] {
    for (const kc::LinearArgs& a : all) {
      const kernels::Matrix m = matrix(a.w.tiles);
      const int groups = a.rows_per_group ? m.n_out / a.rows_per_group : 1,
                rows = a.rows_per_group ? a.rows_per_group : m.n_out;
      for (int t = 0; t < a.n_tokens; ++t)
        for (int g = 0; g < groups; ++g) {
          Floats x = a.codes ? decode(a.codes + at(t, a.x_stride),
                                      a.code_scale + at(t, a.code_scale_stride), m.n_in)
                             : row_of(a.x + at(t, a.x_stride) + at(g, m.n_in), m.n_in);
          if (a.norm) {
            EXPECT_LE(a.n_tokens, kc::kTokensFew);
            const Floats in = x;
            k_.rms_norm({.x = in.data(),
                         .w = a.norm,
                         .y = x.data(),
                         .x_stride = m.n_in,
                         .y_stride = m.n_in,
                         .n_rows = 1,
                         .dim = m.n_in,
                         .eps = a.norm_eps,
                         .round_bf16 = true});
          }
          if (a.quantise) {
            EXPECT_TRUE(a.n_tokens <= kc::kTokensFew || (a.quantised && a.quantised_scale));
            k_.quantise({.x = x.data(), .stride = m.n_in, .n_rows = 1, .n = m.n_in, .block = 128});
          }
          Floats y(static_cast<std::size_t>(rows));
          k_.linear({.w = &m,
                     .x = x.data(),
                     .y = y.data(),
                     .x_stride = m.n_in,
                     .y_stride = rows,
                     .n_tokens = 1,
                     .row_begin = g * rows,
                     .row_end = (g + 1) * rows,
                     .y_row = g * rows,
                     .round_bf16 = !a.y_f32});
          if (a.y_f32)
            std::copy(y.begin(), y.end(),
                      static_cast<float*>(a.y) + at(t, a.y_stride) + at(g, rows));
          else
            put(y, static_cast<bf16*>(a.y) + at(t, a.y_stride) + at(g, rows));
        }
    }
  });
}

void HostDevice::rms_norm(const kc::RmsNormArgs& a) {
  run("rms_norm", [=, this] {
    for (int r = 0; r < a.n_rows; ++r) {
      const Floats x = row_of(a.x + at(r, a.x_stride), a.dim);
      Floats y(x.size());
      k_.rms_norm({.x = x.data(),
                   .w = a.w,
                   .y = y.data(),
                   .x_stride = a.dim,
                   .y_stride = a.dim,
                   .n_rows = 1,
                   .dim = a.dim,
                   .eps = a.eps,
                   .round_bf16 = true});
      if (a.y) put(y, a.y + at(r, a.y_stride));
      if (a.codes)
        encode(k_, y, a.codes + at(r, a.codes_stride), a.code_scale + at(r, a.code_scale_stride));
    }
  });
}

void HostDevice::quantise(const kc::QuantiseArgs& a) {
  run("quantise", [=, this] {
    for (int r = 0; r < a.n_rows; ++r)
      encode(k_, row_of(a.x + at(r, a.x_stride), a.n), a.codes + at(r, a.codes_stride),
             a.scale + at(r, a.scale_stride));
  });
}

void HostDevice::route(const kc::RouteArgs& a) {
  run("route", [=] {
    Floats scratch(static_cast<std::size_t>(a.n_experts));
    for (int t = 0; t < a.n_tokens; ++t)
      kernels::route({.u = a.u + at(t, a.n_experts),
                      .bias = a.bias,
                      .given = a.given ? a.given + at(a.tokens[t], a.k) : nullptr,
                      .expert = a.expert + at(t, a.k),
                      .weight = a.weight + at(t, a.k),
                      .scratch = scratch.data(),
                      .n_experts = a.n_experts,
                      .k = a.k,
                      .factor = a.factor});
  });
}

void HostDevice::route_and_group(const kc::RouteArgs& a, const kc::GroupArgs& b) {
  EXPECT_LE(a.n_tokens, kc::kTokensFew);
  route(a);
  group(b);
}

void HostDevice::group(const kc::GroupArgs& a) {
  run("group", [=] {
    std::fill_n(a.begin, a.n_experts + 1, 0);
    for (int i = 0; i < a.n_tokens * a.k; ++i) ++a.begin[a.expert[i] + 1];
    std::partial_sum(a.begin, a.begin + a.n_experts + 1, a.begin);
    std::vector<std::int32_t> next(a.begin, a.begin + a.n_experts);
    for (int t = 0; t < a.n_tokens; ++t) {
      for (int i = 0; i < a.k; ++i) {
        const int slot = a.slot_of[t * a.k + i] =
            next[static_cast<std::size_t>(a.expert[t * a.k + i])]++;
        a.token_of[slot] = t;
        a.factor[slot] = a.weight[t * a.k + i];
      }
      a.token_of[a.n_tokens * a.k + t] = t;
      a.factor[a.n_tokens * a.k + t] = 1;
    }
    int job = 0;
    for (int e = 0; e < a.n_experts; ++e)
      for (int s = a.begin[e]; s < a.begin[e + 1]; s += kc::kExpertRun, ++job) {
        a.jobs[3 * job] = e;
        a.jobs[3 * job + 1] = s;
        a.jobs[3 * job + 2] = std::min(kc::kExpertRun, a.begin[e + 1] - s);
      }
    const int jobs = kc::expert_jobs(a.n_tokens, a.n_experts, a.k);
    EXPECT_LE(job, jobs);
    for (; job < jobs; ++job) a.jobs[3 * job + 2] = 0;
  });
}

void HostDevice::experts_linear(const kc::ExpertLinearArgs& a) {
  run("experts_linear", [=, this] {
    const auto multiply = [&](const kernels::Matrix& m, void* y, int slot) {
      if (!m.data) return;
      const int row = a.row_of ? a.row_of[slot] : slot;
      Floats x = a.codes ? decode(a.codes + at(row, a.x_stride),
                                  a.code_scale + at(row, a.code_scale_stride), a.n_in)
                         : row_of(a.x + at(row, a.x_stride), a.n_in);
      if (a.up) {
        EXPECT_TRUE(a.n_tokens <= kc::kTokensFew || (a.quantised && a.quantised_scale));
        const Floats up = row_of(a.up + at(row, a.x_stride), a.n_in);
        k_.swiglu({.gate = x.data(),
                   .up = up.data(),
                   .h = x.data(),
                   .weight = a.factor + row,
                   .stride = a.n_in,
                   .n_rows = 1,
                   .n = a.n_in,
                   .limit = a.limit,
                   .round_bf16 = true});
      }
      if (a.quantise && !a.codes) {
        std::vector<std::uint8_t> codes(x.size());
        Floats scale((x.size() + 127) / 128);
        encode(k_, x, codes.data(), scale.data());
        x = decode(codes.data(), scale.data(), a.n_in);
      }
      Floats out(static_cast<std::size_t>(a.n_out));
      k_.linear({.w = &m,
                 .x = x.data(),
                 .y = out.data(),
                 .x_stride = a.n_in,
                 .y_stride = a.n_out,
                 .n_tokens = 1,
                 .row_begin = 0,
                 .row_end = a.n_out,
                 .round_bf16 = true});
      put(out, static_cast<bf16*>(y) + at(slot, a.y_stride));
    };
    for (int i = 0; i < a.n_matrices; ++i) {
      const kc::ExpertMatrix& of = a.matrix[i];
      for (int job = 0; job < kc::expert_jobs(a.n_tokens, a.n_experts, a.k); ++job)
        for (int s = 0; s < a.jobs[3 * job + 2]; ++s)
          if (of.tiles[a.jobs[3 * job]])
            multiply(matrix(of.tiles[a.jobs[3 * job]]), of.y, a.jobs[3 * job + 1] + s);
      for (int t = 0; of.shared.tiles && t < a.n_tokens; ++t)
        multiply(matrix(of.shared.tiles), of.y, a.n_tokens * a.k + t);
    }
  });
}

void HostDevice::swiglu(const kc::SwigluArgs& a) {
  run("swiglu", [=, this] {
    for (int r = 0; r < a.n_rows; ++r) {
      Floats gate = row_of(a.gate + at(r, a.stride), a.n);
      const Floats up = row_of(a.up + at(r, a.stride), a.n);
      const auto finite = [](const Floats& row) {
        return std::ranges::all_of(row, [](float v) { return std::isfinite(v); });
      };
      if (!finite(gate) || !finite(up))
        continue;  // a slot of an expert that is elsewhere holds anything
      k_.swiglu({.gate = gate.data(),
                 .up = up.data(),
                 .h = gate.data(),
                 .weight = a.factor + r,
                 .stride = a.n,
                 .n_rows = 1,
                 .n = a.n,
                 .limit = a.limit,
                 .round_bf16 = true});
      if (a.h) put(gate, a.h + at(r, a.stride));
      if (a.codes)
        encode(k_, gate, a.codes + at(r, a.stride), a.code_scale + at(r, a.scale_stride));
    }
  });
}

void HostDevice::combine(const kc::CombineArgs& a) {
  run("combine", [=, this] {
    const kc::ExpertOutputs experts{.out = a.out,
                                    .slot_of = a.slot_of,
                                    .stride = a.stride,
                                    .n_tokens = a.n_tokens,
                                    .k = a.k,
                                    .first = 0};
    for (int t = 0; t < a.n_tokens; ++t)
      put(sum_of_experts(k_, experts, t, a.dim), a.y + at(t, a.dim));
  });
}

}  // namespace lares::engine::test
