// What the tests of kernels/cuda share where no device is: runs of a kernel's body, and quantised
// activations.
#pragma once

#include "kernels/cuda/simt/arithmetic.h"
#include "kernels/cuda/products/linear_plan.h"
#include "kernels/quantise.h"
#include "tests/kernels/stored_matrix.h"

namespace lares::kernels::cuda::test {

using namespace lares::kernels::test;

// In which orders threads take their turns. A race detector sees what no order shows, and takes its
// time: it has the first alone.
#ifdef LARES_RACES
inline constexpr bool kFirstOrderAlone = true;
#else
inline constexpr bool kFirstOrderAlone = false;
#endif
inline std::vector<simt::Order> in_turn(std::vector<simt::Order> orders) {
  if (kFirstOrderAlone) orders.resize(1);
  return orders;
}

// Runs `body` as every block's threads, three times over: `fresh` poisons what it writes, `result`
// reads it. Threads take their turns in another order each time, and what comes out may not depend
// on it.
template <class Fresh, class Body, class Result>
auto in_every_order(simt::Dim grid, int threads, std::size_t shared_bytes, Fresh fresh, Body body,
                    Result result) {
  const std::function<void()> one = body;
  fresh();
  simt::Machine::get().run(grid, threads, shared_bytes, simt::Order::ascending, one);
  auto first = result();
  if (kFirstOrderAlone) return first;
  for (const simt::Order order : {simt::Order::descending, simt::Order::scattered}) {
    fresh();
    simt::Machine::get().run(grid, threads, shared_bytes, order, one);
    EXPECT_TRUE(result() == first) << "depends on the order of threads";
  }
  return first;
}

// Storage between guards, of any element.
template <class T>
class Guarded {
 public:
  explicit Guarded(std::size_t n) : data_(n + 2 * kGuard) { poison(); }
  void poison() {
    std::memset(static_cast<void*>(data_.data()), 0xFF, data_.size() * sizeof(T));
    for (std::size_t i = 0; i < kGuard; ++i)
      std::memset(static_cast<void*>(&data_[i]), 0x5A, sizeof(T)),
          std::memset(static_cast<void*>(&data_[data_.size() - 1 - i]), 0x5A, sizeof(T));
  }
  T* data() { return data_.data() + kGuard; }
  std::vector<T> values() const {
    EXPECT_TRUE(guards_intact());
    return {data_.begin() + kGuard, data_.end() - kGuard};
  }
  bool guards_intact() const {
    T mark;
    std::memset(static_cast<void*>(&mark), 0x5A, sizeof(T));
    for (std::size_t i = 0; i < kGuard; ++i)
      if (std::memcmp(&data_[i], &mark, sizeof(T)) != 0 ||
          std::memcmp(&data_[data_.size() - 1 - i], &mark, sizeof(T)) != 0)
        return false;
    return true;
  }

 private:
  static constexpr std::size_t kGuard = 64;
  std::vector<T> data_;
};

inline std::vector<std::uint16_t> halves(const std::vector<float>& x) {
  std::vector<std::uint16_t> out;
  for (const float v : x) out.push_back(bf16_bits(v));
  return out;
}
inline std::vector<float> floats(const std::vector<std::uint16_t>& x) {
  std::vector<float> out;
  for (const auto v : x) out.push_back(bf16_value(v));
  return out;
}

// Q8_128 of bf16 rows [n, stride] by the CPU's kernel: values, and the codes and scales that stand
// for them.
struct Quantised {
  std::vector<float> values, scale;
  std::vector<std::uint8_t> codes;
};
inline Quantised quantised(const std::vector<std::uint16_t>& x, int n_rows, int n) {
  Quantised q;
  q.values = floats(x);
  const int whole = n / 128 * 128, blocks = (n + 127) / 128;
  const Kernels& cpu = *find("cpu");
  for (int r = 0; r < n_rows; ++r) {
    float* const row = q.values.data() + static_cast<std::size_t>(r) * n;
    if (whole) cpu.quantise({.x = row, .stride = n, .n_rows = 1, .n = whole, .block = 128});
    if (n > whole)
      cpu.quantise(
          {.x = row + whole, .stride = n, .n_rows = 1, .n = n - whole, .block = n - whole});
    for (int b = 0; b < blocks; ++b) {
      float most = kFp8Least;
      for (int k = b * 128; k < std::min(n, b * 128 + 128); ++k)
        most = std::max(most, std::fabs(bf16_value(x[static_cast<std::size_t>(r) * n + k])));
      q.scale.push_back(fp8_scale(most));
      for (int k = b * 128; k < std::min(n, b * 128 + 128); ++k)
        q.codes.push_back(e4m3_code(row[k] / q.scale.back()));
    }
  }
  return q;
}

// Weights in tiles, as on a device.
struct Tiled {
  std::vector<std::uint8_t> tiles;
  std::vector<float> scale;
  Weight w;
};
inline Tiled tiled(const Matrix& m) {
  Tiled t;
  t.tiles.resize(cuda::tiles_bytes(m.format, m.n_out, m.n_in));
  t.scale.resize(std::max<std::size_t>(1, cuda::tiles_scales(m.format, m.n_out, m.n_in)));
  for (int row = 0; row < m.n_out; row += 48)
    pack_tiles(m, row, std::min(m.n_out, row + 48),
               t.tiles.data() + cuda::tiles_bytes(m.format, row, m.n_in),
               t.scale.data() + cuda::tiles_scales(m.format, row, m.n_in));
  t.w = {.format = m.format,
         .tiles = t.tiles.data(),
         .scale = t.scale.data(),
         .n_out = m.n_out,
         .n_in = m.n_in};
  return t;
}

}  // namespace lares::kernels::cuda::test
