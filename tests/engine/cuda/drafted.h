// What draft blocks say on some device, to be compared with another's.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <vector>

#include "tests/engine/cuda/pipeline.h"
#include "tests/engine/model/golden.h"

namespace lares::engine::test {

// What the draft blocks say after a text that was evaluated in three runs, one of them long enough
// to be no step.
struct Drafted {
  std::vector<Token> guesses;
  std::vector<float> logits;
};
inline Drafted drafted_on(cuda::Device& memory, const Weights& weights) {
  kernels::ThreadPool pool{2};
  cuda::Device* const device = &memory;
  const Config& c = weights.checkpoint.config();
  Drafted out;
  const auto pipeline = pipeline_over(
      {&device, 1}, weights, {},
      {.n_pages = 8, .draft = true, .forward = {.chunk = 128, .n_context = 1024}}, pool);
  EXPECT_TRUE(pipeline && (*pipeline)->draft());
  cuda::DeviceDrafter made = cuda::device_drafter(*(*pipeline)->draft());
  cuda::PipelineState state(**pipeline, 1024);
  std::vector<Token> tokens;
  for (int i = 0; i < 81; ++i)
    tokens.push_back(static_cast<Token>((i * 37 + i / 7) % c.vocab_size));
  std::int64_t at = 0;
  for (const int n : {70, 9, 1}) {
    std::vector<cuda::bf16*> rows;
    made.rows->make_rows(at, n, rows);
    const cuda::Pipeline::Sequence one{&state, n, rows};
    EXPECT_TRUE((*pipeline)->evaluate(
        {&one, 1},
        std::span(tokens).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(n)),
        n == 9 ? 4 : 1, nullptr));
    at += n;
  }
  made.drafter->draft(tokens, 2, out.guesses);
  const float* const logits = (*pipeline)->draft()->forward().logits();
  out.logits.assign(logits, logits + c.vocab_size);
  return out;
}

// As emulated_test.cc measures what other sums do to a row of logits; a wrong row of streams
// moves it by more than its length.
inline void expect_near(const Drafted& got, const Drafted& want, const char* name) {
  ASSERT_EQ(want.guesses.size(), 2u);
  ASSERT_EQ(got.guesses.size(), 2u);
  const double apart = relative_errors(got.logits, want.logits, want.logits.size()).front();
  std::printf("  %s: apart by %.1e\n", name, apart);
  EXPECT_LT(apart, 0.2);
}

}  // namespace lares::engine::test
