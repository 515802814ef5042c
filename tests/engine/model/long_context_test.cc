// Contexts of a million tokens, whose caches are made up: what is evaluated behind them is the same
// whoever is beside it and whatever computes it, and takes the memory that was reckoned with.
#include <gmock/gmock.h>

#include <fstream>
#include <malloc.h>

#include "engine/model/state.h"
#include "engine/model/work_space.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;

constexpr std::int64_t kLong = 1 << 20;
// That differ; a prime, so that what is looked up a power of two away is something else
constexpr int kPages = 61;

// Cells as released numerics have them.
std::vector<PageRef> made_up_pages(const Config& c, const PageLayout& layout) {
  std::vector<PageRef> out;
  std::mt19937 random(7);
  for (int i = 0; i < kPages; ++i) {
    auto page = std::make_shared<Page>(layout.bytes);
    std::fill(page->begin(), page->end(), 0);
    for (const PageLayout::Layer& layer : layout.layers) {
      for (int j = 0; j < layer.entries.n; ++j) {
        std::uint8_t* cell = page->data() + layer.entries.offset +
                             static_cast<std::size_t>(j) * layer.entries.row_bytes;
        const int n = c.head_dim - c.qk_rope_head_dim;
        for (int k = 0; k < n; ++k) cell[k] = static_cast<std::uint8_t>(random() & 0xB7);  // no NaN
        for (int k = 0; k < n / kernels::kCellBlock; ++k)
          cell[n + k] = static_cast<std::uint8_t>(125 + random() % 3);
        std::uint8_t* const turned = cell + kernels::cell_rope_at(c.head_dim, c.qk_rope_head_dim);
        for (int k = 0; k < c.qk_rope_head_dim; ++k) {  // 0.5 to 2, of both signs
          const auto value = static_cast<std::uint16_t>(0x3F00 | (random() & 0x80FF));
          std::memcpy(turned + 2 * k, &value, 2);
        }
      }
      for (int j = 0; j < layer.index_keys.n; ++j) {
        std::uint8_t* const key = page->data() + layer.index_keys.offset +
                                  static_cast<std::size_t>(j) * layer.index_keys.row_bytes;
        for (int k = 0; k < c.index_head_dim / 2; ++k) key[k] = static_cast<std::uint8_t>(random());
        for (int k = 0; k < c.index_head_dim / 32; ++k)
          key[c.index_head_dim / 2 + k] = static_cast<std::uint8_t>(124 + random() % 4);
      }
    }
    out.push_back(std::move(page));
  }
  return out;
}

// As if `size` tokens were in.
std::unique_ptr<State> long_state(const Weights& weights, int chunk, std::int64_t size,
                                  const SequenceMemoryRef& memory = nullptr) {
  const Config& c = weights.checkpoint.config();
  auto state = std::make_unique<State>(weights, false, chunk, memory);
  const PageLayout& layout = state->pages().layout();
  const auto some = made_up_pages(c, layout);
  std::vector<PageRef> all;
  for (std::int64_t i = 0; i < (size + layout.tokens - 1) / layout.tokens; ++i)
    all.push_back(some[static_cast<std::size_t>((i * i + size) % kPages)]);
  state->pages().adopt(all);
  state->open(size, chunk);
  std::mt19937 random(static_cast<unsigned>(size));
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    LayerState& layer = state->layer(static_cast<int>(i));
    for (auto p = size - c.sliding_window; p < size; ++p)
      for (std::size_t k = 0; k < layer.window.row_bytes(); k += 2) {
        const auto value = static_cast<std::uint16_t>(0x3F00 | (random() & 0x80FF));
        std::memcpy(layer.window.row(p) + k, &value, 2);
      }
    const auto fill = [&](RawRows& rows) {
      for (auto p = rows.first_open(size); p < size; ++p)
        for (std::size_t k = 0; k < rows.row_bytes(); k += 4) {
          const float value = static_cast<float>(random() % 2001) / 1000 - 1;
          std::memcpy(rows.row(p) + k, &value, 4);
        }
    };
    if (weights.layers[i].compressor) fill(layer.raw);
    if (weights.layers[i].indexer) fill(layer.raw_index);
  }
  state->advance(size);
  return state;
}

class LongContextTest : public testing::TestWithParam<const char*> {
 protected:
  std::vector<float> evaluate(Forward& forward, std::span<const Sequence> sequences,
                              std::span<const Token> tokens) {
    std::vector<float> x(tokens.size() * static_cast<std::size_t>(c_.hc_mult) * c_.hidden_size);
    EXPECT_TRUE(forward.evaluate(sequences, tokens, x.data()));
    for (const float v : x) EXPECT_TRUE(std::isfinite(v));
    return x;
  }
  std::unique_ptr<Weights> weights_ = golden_weights(GetParam());
  const Config& c_ = weights_->checkpoint.config();
};

TEST_P(LongContextTest, AllKernelsAgree) {
  kernels::ThreadPool pool(2);
  const auto tokens = random_tokens(2, c_.vocab_size, 1);
  std::vector<float> first;
  for (const kernels::Kernels* row : kernels::rows()) {
    if (!row->available()) continue;
    for (const int chunk : {2, 1}) {  // shared out by tokens, and by what a token sees
      Forward forward(*weights_, false, pool, *row);
      const auto state = long_state(*weights_, 16, kLong - 64);
      std::vector<float> x;
      for (std::size_t at = 0; at < tokens.size(); at += static_cast<std::size_t>(chunk)) {
        const Sequence one{state.get(), chunk};
        const auto more = evaluate(forward, {&one, 1},
                                   std::span(tokens).subspan(at, static_cast<std::size_t>(chunk)));
        x.insert(x.end(), more.begin(), more.end());
      }
      if (first.empty()) first = x;
      EXPECT_TRUE(x == first) << row->name << ", " << chunk << " at a time";
    }
  }
}

// Together they see more entries than are unpacked at a time.
TEST_P(LongContextTest, CompanyChangesNothing) {
  constexpr std::int64_t kSizes[] = {kLong - 64, 300, kLong - 129, kLong / 2 - 1, 2000};
  constexpr int kNew[] = {2, 1, 3, 1, 1};
  std::vector<std::unique_ptr<State>> states;
  std::vector<Sequence> all;
  std::int64_t entries = 0;
  for (std::size_t i = 0; i < std::size(kSizes); ++i) {
    states.push_back(long_state(*weights_, 16, kSizes[i]));
    all.push_back({states.back().get(), kNew[i]});
    entries += kSizes[i] / 128;
  }
  EXPECT_GT(entries, kCommonRows * 2);
  for (const int threads : {2, 16}) {
    kernels::ThreadPool pool(threads);
    Forward forward(*weights_, false, pool, kernels::best());
    std::vector<float> alone;
    std::vector<Token> tokens;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto own = random_tokens(static_cast<std::size_t>(kNew[i]), c_.vocab_size,
                                     static_cast<unsigned>(i));
      const auto x = evaluate(forward, std::span(all).subspan(i, 1), own);
      alone.insert(alone.end(), x.begin(), x.end());
      tokens.insert(tokens.end(), own.begin(), own.end());
      states[i]->drop_to(kSizes[i]);
    }
    const auto together = evaluate(forward, all, tokens);
    EXPECT_TRUE(together == alone) << threads << " threads";
    for (std::size_t i = 0; i < all.size(); ++i) states[i]->drop_to(kSizes[i]);
  }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kOwnAllocator = false;  // a sanitizer's, which takes more
#else
constexpr bool kOwnAllocator = true;
#endif

// Of this process, in memory, but what is a file's.
std::uint64_t anonymous_bytes() {
  ::malloc_trim(0);
  std::ifstream status("/proc/self/status");
  std::string key;
  for (std::uint64_t kb = 0; status >> key;)
    if (key == "RssAnon:" && status >> kb) return kb * 1024;
  return 0;
}

// Chunks, single tokens and several sequences: buffers stay as large as they ever were.
TEST_P(LongContextTest, TheWorkSpaceTakesWhatWasSaid) {
  if (!kOwnAllocator) GTEST_SKIP() << "what a sanitizer takes besides is not reckoned with";
  constexpr int kChunk = 24, kThreads = 8;
  const auto memory = std::make_shared<SequenceMemory>();
  const auto state = long_state(*weights_, kChunk, kLong - 256, memory),
             other = long_state(*weights_, kChunk, kLong - 512, memory);
  const auto tokens = random_tokens(kChunk, c_.vocab_size, 2);
  std::vector<float> x(kChunk * static_cast<std::size_t>(c_.hc_mult) * c_.hidden_size),
      logits(static_cast<std::size_t>(c_.vocab_size));
  {
    kernels::ThreadPool first(2);  // what code takes once, and the caches' own pages
    Forward forward(*weights_, false, first, kernels::best());
    for (State* const s : {state.get(), other.get()}) {
      forward.evaluate(*s, std::span(tokens).first(3), x.data());
      s->drop_to(s->size() - 3);
    }
  }
  for (const int threads : {1, kThreads}) {
    const std::uint64_t before = anonymous_bytes(), held = memory->held();
    ASSERT_GT(before, 0u);
    std::uint64_t taken = 0;
    {
      kernels::ThreadPool pool(threads);
      Forward forward(*weights_, false, pool, kernels::best());
      forward.evaluate(*state, tokens, x.data());
      forward.head(x.data(), 1, logits.data());
      state->drop_to(state->size() - kChunk);
      forward.evaluate(*state, std::span(tokens).first(1), x.data());
      state->drop_to(state->size() - 1);
      const Sequence both[] = {{state.get(), 2}, {other.get(), 3}};
      forward.evaluate(both, std::span(tokens).first(5), x.data());
      for (const Sequence& s : both) s.state->drop_to(s.state->size() - s.n);
      taken = anonymous_bytes() - before;
    }
    const std::uint64_t said = work_bytes(
        *weights_, {.n_context = kLong, .chunk = kChunk, .n_threads = threads});
    EXPECT_EQ(memory->held(), held);
    EXPECT_LE(taken, said) << threads << " threads";
    if (threads == 1) {  // of several, some may have had nothing to do
      EXPECT_GE(taken, said / 4);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, LongContextTest, testing::Values("micro-flash", "micro-pro"),
                         [](const auto& p) {
                           std::string name = p.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace lares::engine
