// The numerics contract at full size: company of 7, of 31 and of more than whose logits are
// computed at once; a prompt of 3,000 tokens in six cuts; a hundred reruns in memory that holds
// something else each time.
#include <gmock/gmock.h>
#include <malloc.h>

#include "engine/model/timeline.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;

using Bytes = std::vector<std::uint8_t>;

// A sequence after its evaluation: all that may depend on nothing but its tokens.
struct Evaluated {
  std::vector<float> logits;  // [T, V]
  Bytes cells, frontier;      // of all pages; of the window and the compressors' open rows
  bool operator==(const Evaluated&) const = default;
};

class ModelContract : public testing::TestWithParam<const char*> {
 protected:
  std::vector<Token> tokens(int n, unsigned seed) const {
    return random_tokens(static_cast<std::size_t>(n), config().vocab_size, seed);
  }
  Evaluated evaluate(const std::vector<Token>& text, int chunk, int threads) const {
    const std::size_t width = static_cast<std::size_t>(config().hc_mult) * config().hidden_size,
                      V = config().vocab_size;
    kernels::ThreadPool pool(threads);
    Forward forward(*weights_, false, pool, kernels::best());
    State state(*weights_, false, chunk);
    Buffer x;
    Evaluated out;
    out.logits.resize(text.size() * V);
    for (std::size_t at = 0; at < text.size(); at += static_cast<std::size_t>(chunk)) {
      const std::size_t n = std::min(static_cast<std::size_t>(chunk), text.size() - at);
      forward.evaluate(state, {text.data() + at, n}, room(x, n * width));
      forward.head(x.data(), static_cast<int>(n), out.logits.data() + at * V);
    }
    for (std::int64_t i = 0; i < state.pages().n_pages(); ++i)
      out.cells.insert(out.cells.end(), state.pages().page(i)->begin(),
                       state.pages().page(i)->end());
    out.frontier = state.frontier(static_cast<std::int64_t>(text.size())).bytes;
    return out;
  }
  std::unique_ptr<ModelTimeline> timeline(Forward& forward) const {
    return std::make_unique<ModelTimeline>(*weights_, forward, 4096, 256, DraftOptions{});
  }
  const Config& config() const { return weights_->checkpoint.config(); }

  std::unique_ptr<Weights> weights_ = golden_weights(GetParam());
};

void expect_equal(const Evaluated& got, const Evaluated& want, const std::string& what) {
  EXPECT_TRUE(
      std::memcmp(got.logits.data(), want.logits.data(), want.logits.size() * sizeof(float)) == 0)
      << "logits, " << what;
  EXPECT_TRUE(got.cells == want.cells) << "cells, " << what;
  EXPECT_TRUE(got.frontier == want.frontier) << "frontier, " << what;
}

TEST_P(ModelContract, CompanyChangesNoBit) {
  constexpr int kDraws = 4;
  kernels::ThreadPool pool(2);
  Forward forward(*weights_, false, pool, kernels::best());
  std::vector<std::vector<float>> alone;  // after each draw
  for (const int strangers : {0, 7, 31, kHeadRows + 8}) {
    std::vector<std::unique_ptr<ModelTimeline>> owned;
    std::vector<ModelTimeline*> all;
    for (int i = strangers; i >= 0; --i) {  // the one that is looked at comes last
      owned.push_back(timeline(forward));
      ASSERT_TRUE(owned.back()->sync(tokens(210 - 5 * i, static_cast<unsigned>(i)), {}, {}));
      all.push_back(owned.back().get());
    }
    std::vector<std::vector<float>> got;
    for (int k = 0; k < kDraws; ++k) {
      for (std::size_t i = 0; i < all.size(); ++i) {
        const auto token = all[i]->next({.temperature = 1.0f, .seed = all.size() - i}, nullptr);
        ASSERT_TRUE(token) << token.error().message;
      }
      ModelTimeline::evaluate_together(all);
      got.emplace_back(all.back()->logits().begin(), all.back()->logits().end());
    }
    if (strangers == 0) alone = got;
    EXPECT_TRUE(got == alone) << strangers << " strangers";
  }
}

TEST_P(ModelContract, CutsOf3000TokensChangeNoBit) {
  const auto text = tokens(3000, 1);
  const Evaluated want = evaluate(text, 3000, 2);
  ASSERT_GT(want.cells.size(), 0u);
  ASSERT_GT(want.frontier.size(), 0u);
  for (const int chunk : {1, 7, 64, 128, 512})
    expect_equal(evaluate(text, chunk, 1 + chunk % 2), want, "chunks of " + std::to_string(chunk));
}

// What is read before it is written, and what two threads do in either order, shows sooner or
// later.
TEST_P(ModelContract, AHundredRerunsInPoisonedMemoryAreEqual) {
  const auto text = tokens(160, 2);  // past the window, the first HCA entry and the indexer's top k
  const Evaluated want = evaluate(text, 160, 1);
  for (int i = 0; i < 100; ++i) {
    // New memory holds this byte's complement: 0x7f, NaN or huge in every format, then others
    ::mallopt(M_PERTURB, i == 0 ? 0x80 : 1 + i * 2);
    const Evaluated got = evaluate(text, i % 4 == 0 ? 160 : 1 + i, 1 + i % 4);
    ::mallopt(M_PERTURB, 0);
    expect_equal(got, want, "run " + std::to_string(i));
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(, ModelContract, testing::Values("micro-flash", "micro-pro"),
                         [](const auto& param) { return std::string(param.param).substr(6); });

}  // namespace
}  // namespace lares::engine
