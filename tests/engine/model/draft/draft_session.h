// What a session does to a timeline, for tests of guesses: the tokens, and the bits of what the
// model says about them.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <stop_token>
#include <vector>

#include "engine/engine.h"

namespace lares::engine::test {

// Repeats itself with small changes, as listings and edits do.
inline std::vector<Token> text(int n, int vocab, unsigned seed) {
  std::vector<Token> out;
  std::uint32_t x = seed * 2654435761u + 1;
  for (int i = 0; i < n; ++i) {
    x = x * 1664525u + 1013904223u;
    out.push_back(i >= 40 && x >> 28 != 0
                      ? out[static_cast<std::size_t>(i) - 40]
                      : static_cast<Token>((x >> 8) % static_cast<unsigned>(vocab)));
  }
  return out;
}

// What a session does to its timeline: generate, go back a little and a lot, diverge, stop half
// way, run into the context's end.
inline std::vector<Token> session(Timeline& t, int vocab, const Sampling& sampling, int n) {
  std::vector<Token> out;
  enum Masks {
    none,
    some,
    narrow
  };  // narrow: so few tokens that a model of random weights repeats itself
  const auto draw = [&](int count, Masks masks) {
    TokenMask mask(static_cast<std::size_t>(vocab + 63) / 64);
    for (int i = 0; i < count; ++i) {
      for (std::size_t w = 0; w < mask.size(); ++w)
        mask[w] = masks == narrow ? (w == 1 ? 7 : 0)
                                  : 0xF0F0F0F0F0F0F0F0u >> ((t.tokens().size() + w) % 3);
      const auto token = t.next(sampling,
                                masks == narrow || (masks == some && i % 5 == 0) ? &mask : nullptr);
      if (!token) {
        EXPECT_EQ(token.error().code, Errc::too_long);
        out.push_back(-1);
        return;
      }
      out.push_back(*token);
      const auto p = t.logprobs(2);
      out.push_back(std::bit_cast<Token>(p.drawn));
      out.push_back(p.top.at(1).first);
    }
  };
  const auto sync = [&](std::vector<Token> tokens) { EXPECT_TRUE(t.sync(tokens, {}, {})); };
  const auto kept = [&](std::size_t size) {
    return std::vector<Token>(t.tokens().begin(),
                              t.tokens().begin() + static_cast<std::ptrdiff_t>(size));
  };
  sync(text(150, vocab, 1));
  draw(n, none);
  draw(n / 2, some);
  draw(n, narrow);
  sync(kept(t.tokens().size()));
  draw(20, none);
  for (const int back : {1, 2, 7, 60}) {
    sync(kept(t.tokens().size() - static_cast<std::size_t>(back)));
    draw(15, none);
  }
  auto other = kept(100);
  for (const Token token : text(70, vocab, 2)) other.push_back(token);
  sync(other);
  draw(30, none);
  std::stop_source stop;
  const auto stopped = t.sync(text(600, vocab, 3), stop.get_token(),
                              [&](std::int64_t done, std::int64_t) {
                                if (done >= 250) stop.request_stop();
                              });
  EXPECT_FALSE(stopped);
  draw(30, some);
  sync(text(128, vocab, 1));  // on a snapshot
  draw(10, none);
  sync(text(250, vocab, 1));
  draw(20, narrow);  // over another
  sync(kept(257));
  draw(10, none);
  return out;
}

}  // namespace lares::engine::test
