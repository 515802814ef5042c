#include "tests/engine/host_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <iterator>
#include <numeric>

#include "kernels/cells.h"
#include "kernels/indexer.h"
#include "kernels/moe.h"

namespace lares::engine::test {
namespace {

using kc::bf16;
using Floats = std::vector<float>;

float of(bf16 v) { return std::bit_cast<float>(static_cast<std::uint32_t>(v) << 16); }
bf16 to_bf16(float v) {  // of one on its grid: anything else is a rounding that was forgotten
  const auto bits = std::bit_cast<std::uint32_t>(v);
  EXPECT_TRUE((bits & 0xFFFF) == 0 || std::isnan(v)) << v;
  return static_cast<bf16>(bits >> 16);
}
Floats row_of(const bf16* from, int n) {
  Floats out(static_cast<std::size_t>(n));
  std::transform(from, from + n, out.begin(), of);
  return out;
}
void put(const Floats& from, bf16* to) { std::transform(from.begin(), from.end(), to, to_bf16); }
std::size_t at(std::int64_t row, std::int64_t stride) {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(stride);
}

// A row of Q8_128 as codes and scales, and back.
void encode(const kernels::Kernels& k, Floats row, std::uint8_t* codes, float* scale) {
  const Floats before = row;
  const int n = static_cast<int>(row.size());
  k.quantise({.x = row.data(), .stride = n, .n_rows = 1, .n = n, .block = 128});
  for (int b = 0; b < n; b += 128) {
    float most = 1e-4f;
    for (int i = b; i < b + 128; ++i)
      most = std::max(most, std::fabs(before[static_cast<std::size_t>(i)]));
    const auto bits = std::bit_cast<std::uint32_t>(most * (1.0f / 448));
    const float s = std::bit_cast<float>((bits & 0x007FFFFFu ? bits + 0x00800000u : bits) &
                                         0x7F800000u);
    scale[b / 128] = s;
    for (int i = b; i < b + 128; ++i) {
      const float v = row[static_cast<std::size_t>(i)] / s;
      int code = 0;
      for (int step = 64; step > 0; step /= 2)
        if (code + step <= 126 &&
            kernels::e4m3_value(static_cast<std::uint8_t>(code + step)) <= std::fabs(v))
          code += step;
      EXPECT_EQ(kernels::e4m3_value(static_cast<std::uint8_t>(code)), std::fabs(v));
      codes[i] = static_cast<std::uint8_t>(code | (std::signbit(v) ? 0x80 : 0));
    }
  }
}
Floats sum_of_experts(const kernels::Kernels& k, const kc::ExpertOutputs& a, int t, int dim) {
  Floats y = row_of(a.out + at(a.slot_of[at(t, a.k)], a.stride), dim);
  for (int i = 1; i <= a.k; ++i) {
    const Floats more = row_of(
        a.out +
            at(i < a.k ? a.slot_of[at(t, a.k) + static_cast<std::size_t>(i)] : a.n_tokens * a.k + t,
               a.stride),
        dim);
    for (std::size_t c = 0; c < y.size(); ++c) y[c] += more[c];
  }
  k.round_bf16(y.data(), dim);
  return y;
}
Floats decode(const std::uint8_t* codes, const float* scale, int n) {
  Floats out(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i)
    out[static_cast<std::size_t>(i)] = kernels::e4m3_value(codes[i]) * scale[i / 128];
  return out;
}

struct Angles {
  std::vector<double> cos, sin;
  Angles(const double* table, int pairs) {
    for (int i = 0; i < pairs; ++i) {
      cos.push_back(table[2 * i]);
      sin.push_back(table[2 * i + 1]);
    }
  }
};

// What a token sees of its sequence.
const kc::Part& part_of(const kc::Places& p, int t) { return p.parts[p.part[t]]; }
const std::uint8_t* cell_of(const kc::Part& part, const kc::PageCells& cells, std::size_t bytes,
                            std::int64_t j) {
  return part.pages[j / cells.per_page] + cells.offset +
         static_cast<std::size_t>(j % cells.per_page) * bytes;
}

// In place of tiles: which matrix they are of, at both ends, so that a copy which is not there, or
// not whole, is seen.
struct Label {
  std::uint64_t magic = 0;
  kernels::Matrix matrix;
};
constexpr std::uint64_t kMagic = 0x6c61726573746c73;
std::uint8_t* end_label(std::uint8_t* tiles, const kernels::Matrix& m) {
  return tiles + kc::tiles_bytes(m.format, m.n_out, m.n_in) - sizeof(Label);
}

}  // namespace

struct HostDevice::Recorded : Recording {
  std::vector<std::pair<const char*, std::function<void()>>> steps;
};

HostDevice::HostDevice(std::size_t bytes_max, std::string name)
    : bytes_max_(bytes_max), free_(bytes_max), name_(std::move(name)) {}

HostDevice::~HostDevice() {
  EXPECT_TRUE(sizes_.empty()) << sizes_.size() << " allocations were not given back";
  EXPECT_TRUE(pinned_.empty()) << pinned_.size() << " pinned allocations were not given back";
}

struct HostDevice::Mark : Event {
  std::shared_ptr<std::int64_t> reached = std::make_shared<std::int64_t>(0);
  std::int64_t count = 0;
};

bool HostDevice::step(Queue queue) {
  auto& entries = queues_[static_cast<int>(queue)];
  if (entries.empty() ||
      (entries.front().waits && *entries.front().reached < entries.front().count))
    return false;
  const Entry entry = std::move(entries.front());
  entries.pop_front();
  if (entry.run) {
    launches.emplace_back(entry.name);
    entry.run();
  } else if (!entry.waits) {
    *entry.reached = entry.count;
  }
  return true;
}

void HostDevice::finish(Queue queue) {
  const Queue other = queue == Queue::work ? Queue::copies : Queue::work;
  while (!queues_[static_cast<int>(queue)].empty())
    if (!step(queue) && !step(other)) {
      ADD_FAILURE() << "both queues wait for each other";
      std::abort();
    }
}
void HostDevice::finish_all() {
  finish(Queue::work);
  finish(Queue::copies);
}

void HostDevice::add(Queue queue, Entry entry) {
  queues_[static_cast<int>(queue)].push_back(std::move(entry));
  finish(ahead == Ahead::work ? Queue::work : Queue::copies);
}

void HostDevice::run(const char* name, std::function<void()> f) {
  if (recording_) {
    recording_->steps.emplace_back(name, std::move(f));
    return;
  }
  add(Queue::work, {.name = name, .run = std::move(f), .reached = {}});
}

std::unique_ptr<cuda::Device::Event> HostDevice::event() { return std::make_unique<Mark>(); }
void HostDevice::mark(Queue queue, Event& event) {
  EXPECT_FALSE(recording_) << "a mark within a recording";
  auto& of = static_cast<Mark&>(event);
  add(queue, {.run = {}, .reached = of.reached, .count = ++of.count});
}
void HostDevice::wait(Queue queue, Event& event) {
  EXPECT_FALSE(recording_) << "a wait within a recording";
  const auto& of = static_cast<Mark&>(event);
  add(queue, {.run = {}, .reached = of.reached, .count = of.count, .waits = true});
}
void HostDevice::copy_beside(void* to, const void* from, std::size_t bytes) {
  add(Queue::copies,
      {.name = "copy_beside", .run = [=] { std::memcpy(to, from, bytes); }, .reached = {}});
}

void* HostDevice::allocate(std::size_t bytes) {
  EXPECT_FALSE(recording_) << "memory was asked for within a recording";
  if (bytes > free_) return nullptr;
  void* const memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256 + 256);
  std::memset(memory, 0xFF, bytes);
  sizes_[memory] = bytes;
  free_ -= bytes;
  return memory;
}
void HostDevice::release(void* memory) {
  finish_all();
  free_ += sizes_.at(memory);
  sizes_.erase(memory);
  std::free(memory);
}
void* HostDevice::allocate_pinned(std::size_t bytes) {
  if (n_pinned_++ == pinned_refused) return nullptr;
  void* const memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256 + 256);
  std::memset(memory, 0xFF, bytes);
  pinned_.insert(memory);
  return memory;
}
void HostDevice::release_pinned(void* memory) {
  finish_all();
  EXPECT_EQ(pinned_.erase(memory), 1u);
  std::free(memory);
}

std::size_t HostDevice::PinnedRanges::bytes() {
  const std::lock_guard lock(mutex);
  std::size_t n = 0;
  for (const auto& [at, size] : ranges) n += size;
  return n;
}
bool HostDevice::PinnedRanges::has(const void* at, std::size_t bytes) {
  const std::lock_guard lock(mutex);
  const auto after = ranges.upper_bound(at);
  if (after == ranges.begin()) return false;
  const auto& [begin, size] = *std::prev(after);
  return static_cast<const char*>(at) + bytes <= static_cast<const char*>(begin) + size;
}
std::unique_ptr<Pins> HostDevice::pins() {
  class Noted : public Pins {
   public:
    explicit Noted(std::shared_ptr<PinnedRanges> all) : all_(std::move(all)) {}
    bool pin(void* at, std::size_t bytes) override {
      const std::lock_guard lock(all_->mutex);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at) % 4096, 0u);
      return all_->ranges.emplace(at, bytes).second;
    }
    void unpin(void* at) override {
      const std::lock_guard lock(all_->mutex);
      EXPECT_EQ(all_->ranges.erase(at), 1u);
    }

   private:
    const std::shared_ptr<PinnedRanges> all_;
  };
  return std::make_unique<Noted>(others);
}

void HostDevice::pack_rows(const kernels::Matrix& m, int row_begin, int row_end,
                           std::uint8_t* tiles, float*) const {
  const Label label{kMagic, m};
  if (row_begin == 0) std::memcpy(tiles, &label, sizeof label);
  if (row_end == m.n_out)
    std::memcpy(tiles + kc::tiles_bytes(m.format, row_end - row_begin, m.n_in) - sizeof label,
                &label, sizeof label);
}
kernels::Matrix HostDevice::matrix(const std::uint8_t* tiles) const {
  Label first, last;
  const auto after = sizes_.upper_bound(const_cast<std::uint8_t*>(tiles));
  const bool here = after != sizes_.begin() &&
                    tiles < static_cast<std::uint8_t*>(std::prev(after)->first) +
                                std::prev(after)->second;
  if (here) std::memcpy(&first, tiles, sizeof first);
  if (first.magic == kMagic)
    std::memcpy(&last, end_label(const_cast<std::uint8_t*>(tiles), first.matrix), sizeof last);
  if (last.magic != kMagic || last.matrix.data != first.matrix.data) {
    ADD_FAILURE() << "tiles are multiplied that are not there";
    return {};
  }
  return first.matrix;
}

void HostDevice::to_device(void* to, const void* from, std::size_t bytes) {
  run("to_device", [=] { std::memcpy(to, from, bytes); });
}
void HostDevice::to_host(void* to, const void* from, std::size_t bytes) {
  run("to_host", [=] { std::memcpy(to, from, bytes); });
}
void HostDevice::on_device(void* to, const void* from, std::size_t bytes) {
  run("on_device", [=] { std::memcpy(to, from, bytes); });
}
void HostDevice::clear(void* to, std::size_t bytes) {
  run("clear", [=] { std::memset(to, 0, bytes); });
}
void HostDevice::synchronise() {
  EXPECT_FALSE(recording_) << "a wait within a recording";
  finish(Queue::work);
}
void HostDevice::record() {
  EXPECT_FALSE(recording_);
  recording_ = std::make_unique<Recorded>();
}
std::unique_ptr<cuda::Device::Recording> HostDevice::end_recording() {
  return std::move(recording_);
}
void HostDevice::replay(const Recording& recording) {
  EXPECT_FALSE(recording_);
  for (const auto& [name, step] : static_cast<const Recorded&>(recording).steps) run(name, step);
}

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

void HostDevice::linear(std::span<const kc::LinearArgs> together) {
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
          if (a.quantise) {
            EXPECT_LE(a.n_tokens, kc::kTokensFew);
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

void HostDevice::quantise(const kc::QuantiseArgs& a) {
  run("quantise", [=, this] {
    for (int r = 0; r < a.n_rows; ++r)
      encode(k_, row_of(a.x + at(r, a.x_stride), a.n), a.codes + at(r, a.codes_stride),
             a.scale + at(r, a.scale_stride));
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
          const float scale = most == 0 ? 1
                                        : std::exp2(std::floor(std::log2(most)) - 3);  // the
                                                                                       // largest
                                                                                       // is 4
                                                                                       // or 6
                                                                                       // of it,
                                                                                       // twice
                                                                                       // that
                                                                                       // its
                                                                                       // code
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

void HostDevice::attention(const kc::AttentionArgs& a) {
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
      Floats out(q.size()), scratch(kernels::attention_scratch(n_rows, H, C));
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
