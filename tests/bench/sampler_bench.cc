// CPU microseconds a draw at the release's vocabulary. A decoding step of the smallest release is
// tens of milliseconds.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <random>

#include "engine/model/sampler.h"

namespace {
double seconds_since(std::clock_t began) {
  return static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC;
}

void print(const char* name, std::vector<double>& times) {
  std::sort(times.begin(), times.end());
  fmt::print("  {:<40} median {:7.0f} us, least {:7.0f}\n", name, times[times.size() / 2] * 1e6,
             times[0] * 1e6);
}
}  // namespace

int main() {
  using namespace lares::engine;
  constexpr int kVocab = 129280, kRows = 32, kDraws = 200;  // rows of 0.5 MB: past the cache
  struct Case {
    const char* name;
    Sampling sampling;
  };
  const Case cases[] = {
      {"greedy", {.temperature = 0}},
      {"temperature 1", {}},
      {"temperature 0.7", {.temperature = 0.7f}},
      {"top_p 0.95", {.top_p = 0.95f}},
      {"top_k 40", {.top_k = 40}},
      {"min_p 0.05", {.min_p = 0.05f}},
      {"temperature 0.7, top_k 100, top_p 0.95",
       {.temperature = 0.7f, .top_k = 100, .top_p = 0.95f}},
      {"greedy, repetition_penalty 1.1", {.temperature = 0, .repetition_penalty = 1.1f}}};
  for (const float spread : {2.5f, 0.1f}) {  // as a trained model's rows are, and nearly uniform
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0, spread);
    std::vector<std::vector<float>> rows(kRows, std::vector<float>(kVocab));
    for (auto& row : rows) {
      for (float& x : row) x = normal(random);
      for (int i = 0; i < 5; ++i)
        row[random() % kVocab] = 4 * spread + spread * static_cast<float>(i);
    }
    std::vector<Token> context(20000);
    for (auto& t : context) t = static_cast<Token>(random() % 5000);
    fmt::print("logits of standard deviation {}\n", spread);
    for (const Case& c : cases) {
      Sampler sampler;
      std::vector<double> times;
      for (int i = 0; i < kDraws; ++i) {
        const auto began = std::clock();
        if (!sampler.draw(rows[i % kRows], c.sampling, nullptr, i, {context, 10000})) return 1;
        times.push_back(seconds_since(began));
      }
      print(c.name, times);
    }
    std::vector<double> times;
    for (const auto& row : rows) {
      const auto began = std::clock();
      if (logprobs(row, 5, 20).top.size() != 20) return 1;
      times.push_back(seconds_since(began));
    }
    print("logprobs, 20", times);
  }
}
