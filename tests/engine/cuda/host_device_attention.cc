// HostDevice's launches from a sub-layer's input to what attention gives: queries, cells,
// compressed ones, the indexer.
#include "kernels/indexer.h"
#include "tests/engine/cuda/host_rows.h"

namespace lares::engine::test {

void HostDevice::rope_table(const kc::RopeTableArgs& a) {
  run("rope_table", [=] {
    std::vector<double> cos(static_cast<std::size_t>(a.dim / 2)), sin(cos.size());
    for (int t = 0; t < a.n; ++t) {
      kernels::rope_angles(a.frequencies, a.dim, a.position[t], cos.data(), sin.data());
      for (std::size_t i = 0; i < cos.size(); ++i) {
        a.table[at(t, a.dim) + 2 * i] = cos[i];
        a.table[at(t, a.dim) + 2 * i + 1] = sin[i];
      }
    }
  });
}

void HostDevice::queries(const kc::QueryArgs& a) {
  run("queries", [=, this] {
    for (int t = 0; t < a.n_tokens; ++t) {
      const int C = a.head_dim, H = a.n_heads;
      bf16* const row = a.q + at(t, H * C);
      Floats q = row_of(row, H * C);
      const Angles angles(a.rope + at(t, a.rope_dim), a.rope_dim / 2);
      k_.head_norm({.x = q.data(), .n_rows = H, .dim = C, .eps = a.eps, .released = true});
      k_.rope({.x = q.data() + C - a.rope_dim,
               .stride = C,
               .n_rows = H,
               .dim = a.rope_dim,
               .cos = angles.cos.data(),
               .sin = angles.sin.data(),
               .inverse = false,
               .round_bf16 = true});
      k_.drop_small(q.data(), static_cast<std::int64_t>(H) * C);
      put(q, row);
    }
  });
}

void HostDevice::attention_inputs(const kc::AttentionInputsArgs& a) {
  EXPECT_LE(a.queries.n_tokens, kc::kTokensFew);
  queries(a.queries);
  put_window(a.window);
  for (int i = 0; i < a.n_compress; ++i) {
    compress(a.compress[i]);
    put_raw(a.compress[i]);
  }
  if (a.index_queries.n_tokens > 0) index_queries(a.index_queries);
}

void HostDevice::put_window(const kc::WindowArgs& a) {
  run("put_window", [=, this] {
    const int C = a.head_dim, R = a.rope_dim;
    for (int t = 0; t < a.places.n_tokens; ++t) {
      Floats kv = row_of(a.kv + at(t, C), C);
      const Angles angles(a.rope + at(t, R), R / 2);
      k_.rms_norm({.x = kv.data(),
                   .w = a.norm,
                   .y = kv.data(),
                   .x_stride = C,
                   .y_stride = C,
                   .n_rows = 1,
                   .dim = C,
                   .eps = a.eps,
                   .round_bf16 = true});
      k_.rope({.x = kv.data() + C - R,
               .stride = C,
               .n_rows = 1,
               .dim = R,
               .cos = angles.cos.data(),
               .sin = angles.sin.data(),
               .inverse = false,
               .round_bf16 = true});
      k_.quantise({.x = kv.data(), .stride = C, .n_rows = 1, .n = C - R, .block = 64});
      k_.drop_small(kv.data(), C);
      EXPECT_LE(part_of(a.places, t).n, a.window_capacity);
      kernels::pack_cell(
          kv.data(), C, R,
          part_of(a.places, t).window + at(a.places.position[t] % a.window_capacity,
                                           static_cast<std::int64_t>(kernels::cell_bytes(C, R))));
    }
  });
}

void HostDevice::compress(const kc::CompressArgs& a) {
  run("compress", [=, this] {
    const int d = a.dim, R = a.rope_dim, r = a.ratio, width = r == 4 ? 2 * d : d;
    const std::size_t bytes = a.index ? kernels::index_key_bytes(d) : kernels::cell_bytes(d, R);
    for (int t = 0; t < a.places.n_tokens; ++t) {
      const kc::Part& part = part_of(a.places, t);
      const std::int64_t p = a.places.position[t], j = p / r;
      EXPECT_EQ(p, part.position + t - part.begin);
      if (p % r != r - 1) continue;
      std::vector<Floats> values, gates;
      const auto add = [&](std::int64_t q, int half) {
        Floats v(static_cast<std::size_t>(d)), g(v.size());
        if (q < part.position) {
          const float* const row = (a.index ? part.raw_index : part.raw) +
                                   at(q % a.raw_capacity, 2 * width) + at(half, d);
          std::copy_n(row, d, v.begin());
          std::copy_n(row + width, d, g.begin());
        } else {
          const std::size_t own = at(part.begin + (q - part.position), width) + at(half, d);
          std::copy_n(a.values + own, d, v.begin());
          for (int i = 0; i < d; ++i)
            g[static_cast<std::size_t>(i)] =
                a.gates[own + static_cast<std::size_t>(i)] +
                a.ape[at(q % r, width) + at(half, d) + static_cast<std::size_t>(i)];
        }
        values.push_back(std::move(v));
        gates.push_back(std::move(g));
      };
      if (r == 4 && j > 0)
        for (std::int64_t q = 4 * (j - 1); q < 4 * j; ++q) add(q, 0);
      for (std::int64_t q = r * j; q < r * (j + 1); ++q) add(q, r == 4 ? 1 : 0);
      std::vector<const float*> v, g;
      for (std::size_t i = 0; i < values.size(); ++i) {
        v.push_back(values[i].data());
        g.push_back(gates[i].data());
      }
      Floats e(static_cast<std::size_t>(d));
      std::vector<double> cos(static_cast<std::size_t>(R / 2)), sin(cos.size());
      k_.pool({.values = v.data(),
               .gates = g.data(),
               .out = e.data(),
               .n_rows = static_cast<int>(v.size()),
               .dim = d,
               .round_bf16 = true});
      k_.rms_norm({.x = e.data(),
                   .w = a.norm,
                   .y = e.data(),
                   .x_stride = d,
                   .y_stride = d,
                   .n_rows = 1,
                   .dim = d,
                   .eps = a.eps,
                   .round_bf16 = true});
      kernels::rope_angles(a.frequencies, R, j * r, cos.data(), sin.data());
      k_.rope({.x = e.data() + d - R,
               .stride = d,
               .n_rows = 1,
               .dim = R,
               .cos = cos.data(),
               .sin = sin.data(),
               .inverse = false,
               .round_bf16 = true});
      auto* const cell = const_cast<std::uint8_t*>(cell_of(part, a.cells, bytes, j));
      if (a.index) {
        k_.hadamard({.x = e.data(), .n_rows = 1, .dim = d, .round_bf16 = true});
        k_.quantise({.x = e.data(), .stride = d, .n_rows = 1, .n = d, .block = 32, .fp4 = true});
        kernels::pack_index_key(e.data(), d, cell);
      } else {
        k_.quantise({.x = e.data(), .stride = d, .n_rows = 1, .n = d - R, .block = 64});
        k_.drop_small(e.data(), d);
        kernels::pack_cell(e.data(), d, R, cell);
      }
    }
  });
}

void HostDevice::put_raw(const kc::CompressArgs& a) {
  run("put_raw", [=] {
    const int width = a.ratio == 4 ? 2 * a.dim : a.dim;
    for (int t = 0; t < a.places.n_tokens; ++t) {
      const kc::Part& part = part_of(a.places, t);
      if (t - part.begin < part.n - a.raw_capacity) continue;
      float* const row = (a.index ? part.raw_index : part.raw) +
                         at(a.places.position[t] % a.raw_capacity, 2 * width);
      std::copy_n(a.values + at(t, width), width, row);
      for (int i = 0; i < width; ++i)
        row[width + i] =
            a.gates[at(t, width) + static_cast<std::size_t>(i)] +
            a.ape[at(a.places.position[t] % a.ratio, width) + static_cast<std::size_t>(i)];
    }
  });
}

void HostDevice::index_queries(const kc::IndexQueryArgs& a) {
  run("index_queries", [=, this] {
    const int Hi = a.n_heads, Ci = kc::kIndexDim, R = a.rope_dim;
    for (int t = 0; t < a.n_tokens; ++t) {
      Floats q = row_of(a.q + at(t, Hi * Ci), Hi * Ci), w = row_of(a.w + at(t, Hi), Hi);
      const Angles angles(a.rope + at(t, R), R / 2);
      k_.rope({.x = q.data() + Ci - R,
               .stride = Ci,
               .n_rows = Hi,
               .dim = R,
               .cos = angles.cos.data(),
               .sin = angles.sin.data(),
               .inverse = false,
               .round_bf16 = true});
      k_.hadamard({.x = q.data(), .n_rows = Hi, .dim = Ci, .round_bf16 = true});
      k_.quantise({.x = q.data(), .stride = Ci, .n_rows = Hi, .n = Ci, .block = 32, .fp4 = true});
      for (float& v : w) v *= a.weight_scale;
      k_.round_bf16(w.data(), Hi);
      std::copy(w.begin(), w.end(), a.weight + at(t, Hi));
      for (int h = 0; h < Hi; ++h)
        for (int g = 0; g < 4; ++g) {
          const float* const x = q.data() + at(h, Ci) + 32 * g;
          float most = 0;
          for (int i = 0; i < 32; ++i) most = std::max(most, std::fabs(x[i]));
          // The largest is 4 or 6 of it, and its code twice that.
          const float scale = most == 0 ? 1 : std::exp2(std::floor(std::log2(most)) - 3);
          a.scale[at(t, Hi * 4) + static_cast<std::size_t>(h * 4 + g)] = scale;
          for (int i = 0; i < 32; ++i)
            a.codes[at(t, Hi * Ci) + at(h, Ci) + static_cast<std::size_t>(32 * g + i)] =
                std::bit_cast<std::uint16_t>(static_cast<_Float16>(x[i] / scale));
        }
    }
  });
}

void HostDevice::index_scores(const kc::IndexScoreArgs& a) {
  run("index_scores", [=, this] {
    const int Hi = a.n_heads, Ci = kc::kIndexDim;
    Floats scratch(kernels::index_scratch(Hi, Ci));
    for (int t = 0; t < a.places.n_tokens; ++t) {
      const int n_keys = static_cast<int>((a.places.position[t] + 1) / 4);
      EXPECT_LE(n_keys, a.n_keys_max);
      if (n_keys == 0) continue;
      Floats q(at(Hi, Ci));
      for (int h = 0; h < Hi; ++h)
        for (int i = 0; i < Ci; ++i)
          q[at(h, Ci) + static_cast<std::size_t>(i)] =
              static_cast<float>(std::bit_cast<_Float16>(
                  a.codes[at(t, Hi * Ci) + at(h, Ci) + static_cast<std::size_t>(i)])) *
              a.scale[at(t, Hi * 4) + static_cast<std::size_t>(h * 4 + i / 32)];
      k_.index_scores({.q = q.data(),
                       .w = a.weight + at(t, Hi),
                       .keys = part_of(a.places, t).pages,
                       .cell = kernels::Format::fp4,
                       .score = a.score + at(t, a.score_stride),
                       .scratch = scratch.data(),
                       .n_keys = n_keys,
                       .n_heads = Hi,
                       .dim = Ci,
                       .run = a.keys.per_page,
                       .first = 0,
                       .offset = a.keys.offset});
    }
  });
}

std::size_t HostDevice::top_k_scratch(int n_tokens, int n_max) {
  return static_cast<std::size_t>(n_tokens) + static_cast<std::size_t>(n_max);
}

void HostDevice::top_k(const kc::TopKArgs& a) {
  run("top_k", [=] {
    for (int t = 0; t < a.places.n_tokens; ++t) {
      const int n = static_cast<int>((a.places.position[t] + 1) / a.ratio);
      EXPECT_LE(n, a.n_max);
      EXPECT_TRUE(std::all_of(a.bins + at(t, kc::kTopKBins), a.bins + at(t + 1, kc::kTopKBins),
                              [](std::uint32_t b) { return b == 0; }));
      if (n > 0)
        kernels::top_k(a.score + at(t, a.score_stride), n, a.k, a.scratch, a.chosen + at(t, a.k));
    }
  });
}

void HostDevice::attention(const kc::AttentionArgs& given) {
  kc::AttentionArgs a = given;
  if (given.raw_q) {
    queries({.q = given.raw_q,
             .rope = given.rope,
             .n_tokens = given.places.n_tokens,
             .n_heads = given.n_heads,
             .head_dim = given.head_dim,
             .rope_dim = given.rope_dim,
             .eps = given.query_eps});
    a.q = given.raw_q;
  }
  run("attention", [=, this] {
    const int C = a.head_dim, R = a.rope_dim, H = a.n_heads;
    const std::size_t bytes = kernels::cell_bytes(C, R);
    for (int t = 0; t < a.places.n_tokens; ++t) {
      const kc::Part& part = part_of(a.places, t);
      const std::int64_t p = a.places.position[t];
      const int visible = a.ratio == 0 ? 0 : static_cast<int>((p + 1) / a.ratio);
      const bool chooses = a.chosen && visible > a.k;
      const int entries = chooses ? a.k : visible;
      EXPECT_LE(entries, a.n_entries_max);
      std::vector<const void*> cells;
      for (auto q = std::max<std::int64_t>(0, p + 1 - a.window); q <= p; ++q)
        cells.push_back(part.window + at(q % a.window_capacity, static_cast<std::int64_t>(bytes)));
      for (int j = 0; j < entries; ++j)
        cells.push_back(cell_of(part, a.entries, bytes,
                                chooses ? a.chosen[at(t, a.k) + static_cast<std::size_t>(j)] : j));
      const int n_rows = static_cast<int>(cells.size());
      std::vector<std::uint16_t> rows(at(n_rows, C));
      k_.unpack_cells(
          {.cells = cells.data(), .rows = rows.data(), .n = n_rows, .head_dim = C, .rope_dim = R});
      std::vector<const void*> pointers;
      for (int i = 0; i < n_rows; ++i) pointers.push_back(rows.data() + at(i, C));
      const Floats q = row_of(a.q + at(t, H * C), H * C);
      Floats out(q.size()),
          scratch(kernels::attention_scratch(n_rows, H, C, kernels::Format::bf16));
      kernels::attention(k_, {.q = q.data(),
                              .rows = pointers.data(),
                              .cell = kernels::Format::bf16,
                              .sink = a.sink,
                              .out = out.data(),
                              .scratch = scratch.data(),
                              .n_rows = n_rows,
                              .n_heads = H,
                              .head_dim = C,
                              .scale = a.scale,
                              .released = true});
      const Angles angles(a.rope + at(t, R), R / 2);
      k_.rope({.x = out.data() + C - R,
               .stride = C,
               .n_rows = H,
               .dim = R,
               .cos = angles.cos.data(),
               .sin = angles.sin.data(),
               .inverse = true,
               .round_bf16 = true});
      put(out, a.out + at(t, H * C));
    }
  });
}

}  // namespace lares::engine::test
