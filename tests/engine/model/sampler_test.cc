// The sampler against a plain one that sorts everything, and penalties and log-probabilities
// against their definitions.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "engine/model/sampler.h"

namespace lares::engine {
namespace {

std::vector<float> random_logits(std::size_t n, float spread, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> out(n);
  for (float& x : out) x = normal(random);
  return out;
}
TokenMask random_mask(std::size_t n, unsigned seed) {
  std::mt19937_64 random(seed);
  TokenMask mask((n + 63) / 64);
  for (auto& word : mask)
    word = random() % 3 == 0 ? random() & random() : random() % 2 ? 0 : ~std::uint64_t{0};
  mask[0] |= 2;
  return mask;
}

// Everything the filters keep, in the order drawn from, by the definitions: std::exp, one stable
// sort, one filter after another.
std::vector<std::pair<double, Token>> reference_kept(const std::vector<float>& logits,
                                                     const Sampling& s, const TokenMask* mask) {
  std::vector<std::pair<double, Token>> p;
  float top = -INFINITY;
  const auto allowed = [&](std::size_t i) { return !mask || ((*mask)[i / 64] >> (i % 64) & 1); };
  for (std::size_t i = 0; i < logits.size(); ++i)
    if (allowed(i)) top = std::max(top, logits[i]);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double scaled = (static_cast<double>(logits[i]) - top) / s.temperature;
    if (allowed(i) && scaled >= -50) p.emplace_back(std::exp(scaled), static_cast<Token>(i));
  }
  if (s.top_k <= 0 && s.top_p >= 1 && s.min_p <= 0) return p;
  std::stable_sort(p.begin(), p.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  if (s.top_k > 0 && static_cast<std::size_t>(s.top_k) < p.size()) p.resize(s.top_k);
  if (s.top_p < 1) {
    double total = 0, sum = 0;
    for (const auto& [e, id] : p) total += e;
    std::size_t n = 0;
    while (n < p.size() && (n == 0 || sum < s.top_p * total)) sum += p[n++].first;
    p.resize(n);
  }
  std::erase_if(p, [&](const auto& c) { return c.first < s.min_p; });
  return p;
}
double reference_uniform(std::uint64_t seed, std::int64_t position) {
  const auto mixed = [](std::uint64_t x) {
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
  };
  const std::uint64_t a = mixed(seed + 0x9E3779B97F4A7C15u);
  return static_cast<double>(mixed(a ^ (static_cast<std::uint64_t>(position) * 0x9E3779B97F4A7C15u +
                                        0xD1B54A32D192ED03u)) >>
                             11) *
         0x1p-53;
}
Token reference(const std::vector<float>& logits, const Sampling& s, const TokenMask* mask,
                std::int64_t position) {
  const auto p = reference_kept(logits, s, mask);
  double total = 0, sum = 0;
  for (const auto& [e, id] : p) total += e;
  for (const auto& [e, id] : p)
    if ((sum += e) > reference_uniform(s.seed, position) * total) return id;
  return p.back().second;
}

// The two sum in different orders: a draw within 1e-13 of a boundary may differ, once in 1e10 draws
// or so.
TEST(Sampler, DrawsWhatAPlainSortDraws) {
  Sampler sampler;
  for (const std::size_t n : {3u, 64u, 65u, 1000u, 5000u})
    for (const float spread : {0.0f, 0.01f, 1.0f, 8.0f}) {
      const auto logits = random_logits(n, spread, static_cast<unsigned>(n));
      const auto mask = random_mask(n, static_cast<unsigned>(n));
      for (const TokenMask* m : {static_cast<const TokenMask*>(nullptr), &mask})
        for (const Sampling& s :
             {Sampling{}, Sampling{.temperature = 0.3f}, Sampling{.temperature = 2, .top_p = 0.95f},
              Sampling{.top_p = 0.1f}, Sampling{.top_p = 0}, Sampling{.top_k = 1},
              Sampling{.top_k = 40}, Sampling{.top_k = 700, .top_p = 0.5f},
              Sampling{.min_p = 0.05f}, Sampling{.top_p = 0.9f, .min_p = 0.2f},
              Sampling{.temperature = 0.7f, .top_k = 100, .top_p = 0.9f, .min_p = 0.01f},
              Sampling{.min_p = 1}})
          for (int position = 0; position < 20; ++position)
            ASSERT_EQ(sampler.draw(logits, s, m, position).value(),
                      reference(logits, s, m, position))
                << n << " logits, spread " << spread << (m ? ", masked" : "") << ", temperature "
                << s.temperature << ", top_k " << s.top_k << ", top_p " << s.top_p << ", min_p "
                << s.min_p << ", position " << position;
    }
}

TEST(Sampler, GreedyTakesTheLowestOfTheBestAnywhere) {
  for (const std::size_t at : {0u, 1u, 63u, 64u, 200u, 255u, 256u, 299u}) {
    std::vector<float> logits = random_logits(300, 1, 1);
    logits[at] = 9;
    if (at + 40 < 300) logits[at + 40] = 9;
    EXPECT_EQ(Sampler().draw(logits, {.temperature = 0}, nullptr, 0).value(),
              static_cast<Token>(at));
    logits[at] = NAN;
    EXPECT_EQ(Sampler().draw(logits, {.temperature = 0}, nullptr, 0).error().code, Errc::malformed)
        << at;
  }
}

// A vocabulary of V4's size over threads: the same draws and refusals as on one, with what matters
// in any stretch of it.
TEST(Sampler, ThreadsChangeNothing) {
  constexpr std::size_t kVocab = 129280;
  kernels::ThreadPool pool(3);
  Sampler alone, shared(&pool);
  const auto logits = random_logits(kVocab, 4, 5);
  const TokenMask odd = random_mask(kVocab, 6);
  for (const Sampling& s :
       {Sampling{.temperature = 0}, Sampling{.temperature = 1},
        Sampling{.temperature = 0.6f, .top_p = 0.9f}, Sampling{.temperature = 1, .top_k = 40},
        Sampling{.temperature = 2, .min_p = 0.01f}})
    for (const TokenMask* const mask :
         {static_cast<const TokenMask*>(nullptr), static_cast<const TokenMask*>(&odd)})
      for (int position = 0; position < 20; ++position)
        ASSERT_EQ(shared.draw(logits, s, mask, position).value(),
                  alone.draw(logits, s, mask, position).value());
  for (const std::size_t at : {std::size_t{0}, std::size_t{70000}, kVocab - 1}) {
    auto spoilt = logits;
    spoilt[at] = spoilt[kVocab - 1] = NAN;
    EXPECT_EQ(shared.draw(spoilt, {.temperature = 1}, nullptr, 0).error().message,
              alone.draw(spoilt, {.temperature = 1}, nullptr, 0).error().message)
        << at;
    auto tied = logits;
    tied[at] = tied[kVocab - 1] = 100;
    EXPECT_EQ(shared.draw(tied, {.temperature = 0}, nullptr, 0).value(), static_cast<Token>(at));
  }
}

TEST(Sampler, FiltersLookAtWhatTheOnesBeforeThemLeft) {
  // Probabilities .4 .3 .2 .1. top_k 2 leaves .57 .43, of which top_p .5 is the first alone; of all
  // four it would be two.
  const std::vector<float> logits{std::log(0.4f), std::log(0.3f), std::log(0.2f), std::log(0.1f)};
  const auto seen = [&](const Sampling& s) {
    std::vector<bool> out(4);
    for (int i = 0; i < 500; ++i) out[Sampler().draw(logits, s, nullptr, i).value()] = true;
    return std::count(out.begin(), out.end(), true);
  };
  EXPECT_EQ(seen({}), 4);
  EXPECT_EQ(seen({.top_p = 0.5f}), 2);
  EXPECT_EQ(seen({.top_k = 2}), 2);
  EXPECT_EQ(seen({.top_k = 2, .top_p = 0.5f}), 1);
  EXPECT_EQ(seen({.min_p = 0.3f}), 3);
  EXPECT_EQ(seen({.top_k = 100}), 4);
}

// The raw logits that greedy draws would have to beat: found by making each token in turn the best
// by a hair.
TEST(Sampler, PenaltiesAreHuggingFacesAndOpenAIs) {
  Sampler sampler;
  const std::vector<float> logits{2, -1, 3, 0.5f, 1};
  const std::vector<Token> tokens{0, 1, 1, 2, 2, 4};  // the prompt is 0 1 1; 2 2 4 were generated
  const Context context{tokens, 3};
  // Where a token nobody has seen yet, 3, takes over from `id`
  const auto penalty_of = [&](Token id, const Sampling& s) {
    TokenMask mask{(std::uint64_t{1} << id) | 8};
    float low = -50, high = 50;
    for (int i = 0; i < 60; ++i) {
      const float middle = (low + high) / 2;
      auto l = logits;
      l[3] = middle;
      (sampler.draw(l, s, &mask, 6, context).value() == 3 ? high : low) = middle;
    }
    return high;
  };
  const Sampling repetition{.temperature = 0, .repetition_penalty = 2},
      presence{.temperature = 0, .presence_penalty = 0.5f},
      frequency{.temperature = 0, .frequency_penalty = 0.25f};
  const float near = 1e-5f;
  EXPECT_NEAR(penalty_of(0, repetition), 1, near);  // of the prompt, once
  // Below zero, multiplied, and once however often it came
  EXPECT_NEAR(penalty_of(1, repetition), -2, near);
  EXPECT_NEAR(penalty_of(2, repetition), 1.5, near);
  EXPECT_NEAR(penalty_of(0, presence), 2, near);  // the prompt's tokens are free
  EXPECT_NEAR(penalty_of(2, presence), 2.5, near);
  EXPECT_NEAR(penalty_of(4, presence), 0.5, near);
  EXPECT_NEAR(penalty_of(1, frequency), -1, near);
  EXPECT_NEAR(penalty_of(2, frequency), 2.5, near);  // twice
  EXPECT_NEAR(penalty_of(4, frequency), 0.75, near);
  // And nothing stays behind
  EXPECT_EQ(sampler.draw(logits, {.temperature = 0}, nullptr, 6, context).value(), 2);
  EXPECT_EQ(sampler.draw(logits, {.repetition_penalty = 0}, nullptr, 6, context).error().code,
            Errc::bad_argument);
}

TEST(Sampler, PenaltiesForgetWhatLeftTheWindow) {
  std::vector<Token> tokens(kPenaltyWindow + 1, 1);
  tokens[0] = 0;
  const std::vector<float> logits{1.5f, 9, 1};
  const TokenMask mask{0b101};
  const Sampling s{.temperature = 0, .repetition_penalty = 2};
  EXPECT_EQ(Sampler().draw(logits, s, &mask, 0).value(), 0);
  EXPECT_EQ(Sampler().draw(logits, s, &mask, 0, {tokens, 0}).value(), 0);
  EXPECT_EQ(
      Sampler().draw(logits, s, &mask, 0, {std::span(tokens).first(kPenaltyWindow), 0}).value(), 2);
}

// f32 logits and results: an ulp of the greatest, 1e-6 of 12.
TEST(Logprobs, AreTheLogSoftmaxOfTheRawLogits) {
  auto logits = random_logits(3000, 3, 5);
  logits[7] = logits[2900] = 12;
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x));
  std::vector<Token> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](Token a, Token b) { return logits[a] > logits[b]; });
  const auto got = logprobs(logits, 100, 20);
  EXPECT_NEAR(got.drawn, logits[100] - std::log(sum), 2e-6);
  ASSERT_EQ(got.top.size(), 20u);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(got.top[i].first, order[i]) << i;
    EXPECT_NEAR(got.top[i].second, logits[order[i]] - std::log(sum), 2e-6) << i;
  }
  EXPECT_EQ(logprobs(logits, 100, 1000).top.size(), static_cast<std::size_t>(kLogprobsMax));
  EXPECT_TRUE(logprobs(logits, 100, 0).top.empty());
  EXPECT_EQ(logprobs(std::vector<float>{1, 2}, 0, 20).top.size(), 2u);
}

}  // namespace
}  // namespace lares::engine
