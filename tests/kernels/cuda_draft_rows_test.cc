// Bodies of what keeps streams for draft blocks, emulated, against plain loops: the same bits.
#include "kernels/cuda/draft_rows_kernels.h"

#include "tests/kernels/cuda_emulation.h"
#include "tests/kernels/kernel_rows.h"

namespace lares::kernels::cuda {
namespace {

using namespace test;

constexpr int kTokens = 5, kStreams = 4;

class CudaDraftRows : public testing::TestWithParam<int> {
 protected:
  int D() const { return GetParam(); }
  std::size_t width() const { return kStreams * static_cast<std::size_t>(D()); }
  std::size_t row_at(int t) const {
    return static_cast<std::size_t>((t * 3) % kTokens) * 2 * width();
  }  // in another order, and apart
  void run(DraftRowsArgs a, std::vector<std::uint16_t>& rows) {
    std::vector<bf16*> row;
    for (int t = 0; t < kTokens; ++t) row.push_back(t == 2 ? nullptr : rows.data() + row_at(t));
    a.row = row.data();
    const int values = a.what == DraftRows::keep_means ? D() : static_cast<int>(width());
    simt::Machine::get().run({kTokens, draft_blocks(values)}, kDraftThreads, 0,
                             simt::Order::scattered, [&] { draft_rows_kernel(a); });
  }
};

TEST_P(CudaDraftRows, KeepsStreamsAndGivesThemBack) {
  const auto x = halves(normals(kTokens * width(), 1));
  std::vector<std::uint16_t> from = x, rows(kTokens * 2 * width(), 7), want = rows;
  run({.what = DraftRows::keep,
       .x = from.data(),
       .row = nullptr,
       .n_tokens = kTokens,
       .n_streams = kStreams,
       .dim = D()},
      rows);
  for (int t = 0; t < kTokens; ++t)
    if (t != 2)
      std::copy_n(x.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(t) * width()),
                  width(), want.begin() + static_cast<std::ptrdiff_t>(row_at(t)));
  EXPECT_EQ(rows, want);
  EXPECT_EQ(from, x);
  Guarded<std::uint16_t> back(x.size());
  run({.what = DraftRows::recall,
       .x = back.data(),
       .row = nullptr,
       .n_tokens = kTokens,
       .n_streams = kStreams,
       .dim = D()},
      rows);
  std::vector<std::uint16_t> got = back.values();
  for (int t = 0; t < kTokens; ++t)
    for (std::size_t i = static_cast<std::size_t>(t) * width();
         i < static_cast<std::size_t>(t + 1) * width(); ++i)
      ASSERT_EQ(got[i] == x[i], t != 2) << t << " " << i;
  EXPECT_EQ(rows, want);
}

TEST_P(CudaDraftRows, KeepsMeansWhereTheyAreAskedFor) {
  const auto x = halves(normals(kTokens * width(), 2));
  std::vector<std::uint16_t> from = x, rows(kTokens * 2 * width(), 7), want = rows;
  for (int t = 0; t < kTokens; ++t)
    for (int d = 0; d < D() && t != 2; ++d) {
      const auto at = [&](int s) {
        return bf16_value(
            x[static_cast<std::size_t>(t) * width() + static_cast<std::size_t>(s * D() + d)]);
      };
      float sum = at(0);
      for (int s = 1; s < kStreams; ++s) sum += at(s);
      want[row_at(t) + 2 * static_cast<std::size_t>(D()) + static_cast<std::size_t>(d)] =
          to_bf16(sum / kStreams);
    }
  run({.what = DraftRows::keep_means,
       .x = from.data(),
       .row = nullptr,
       .n_tokens = kTokens,
       .n_streams = kStreams,
       .dim = D(),
       .offset = 2 * D()},
      rows);
  EXPECT_EQ(rows, want);
}

TEST_P(CudaDraftRows, AddsToEveryStream) {
  const auto x = halves(normals(kTokens * width(), 3)),
             y = halves(normals(static_cast<std::size_t>(kTokens * D()), 4));
  Guarded<std::uint16_t> sum(x.size());
  const auto fresh = [&] { std::copy(x.begin(), x.end(), sum.data()); };
  const AddToStreamsArgs a{
      .x = sum.data(), .y = y.data(), .n_tokens = kTokens, .n_streams = kStreams, .dim = D()};
  in_every_order(
      {kTokens, draft_blocks(D())}, kDraftThreads, 0, fresh, [&] { add_to_streams_kernel(a); },
      [&] { return sum.values(); });
  std::vector<std::uint16_t> want;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t t = i / width(), d = i % static_cast<std::size_t>(D());
    want.push_back(
        to_bf16(bf16_value(y[t * static_cast<std::size_t>(D()) + d]) + bf16_value(x[i])));
  }
  EXPECT_EQ(sum.values(), want);
}

INSTANTIATE_TEST_SUITE_P(, CudaDraftRows, testing::Values(8, 64, 4096));

}  // namespace
}  // namespace lares::kernels::cuda
