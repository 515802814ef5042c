// Where the last few tokens of a sequence stood before: what followed them then is a guess at what follows now.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/engine.h"

namespace lares::engine {

inline constexpr int kMatchMin = 3, kMatchMax = 8;        // tokens that must be equal
inline constexpr std::size_t kCopySlots = std::size_t{1} << 16;  // a match length, 256 KiB each; newer places push out older ones

class CopyIndex {
 public:
  struct Match {
    std::int64_t follows = 0;  // tokens [follows - length, follows) equal the last `length`
    int length = 0;            // 0: none
  };

  // The most recent place of the longest match. Takes in what came since the last call, constant work a token.
  Match find(std::span<const Token> tokens);
  // Only the first `size` tokens stay as they were.
  void drop_to(std::int64_t size);

 private:
  using Hashes = std::array<std::uint64_t, kMatchMax + 1>;
  static Hashes hashes(std::span<const Token> tokens);  // [n]: of the last n tokens

  // Places are only hints, compared token by token when used, so going back need not take any out.
  std::array<std::vector<std::uint32_t>, kMatchMax + 1> places_;
  std::int64_t indexed_ = 0;  // every place up to here is in
};

// The n tokens that followed the match; where they reach the end of the sequence they go on from there, as a repetition does.
void copy_tokens(std::span<const Token> tokens, const CopyIndex::Match& match, int n, std::vector<Token>& out);

}  // namespace lares::engine
