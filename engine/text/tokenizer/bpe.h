// Byte-pair encoding of one piece: merge the adjacent pair with the lowest rank, the leftmost among
// equals, until none is left.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/engine.h"

namespace lares::engine {

class Bpe {
 public:
  struct Merge {
    Token left, right, result;
  };
  Bpe() = default;
  // `merges` in order of rank; `bytes[b]` is the token of the single byte b.
  Bpe(const std::vector<Merge>& merges, const std::array<Token, 256>& bytes);

  // Appends the tokens of `piece`. Short pieces come from a per-thread cache after the first time.
  void encode(std::string_view piece, std::vector<Token>& out) const;

 private:
  struct Slot {
    std::uint64_t pair = kNoPair;
    std::uint32_t rank = 0;
    Token result = 0;
  };
  static constexpr std::uint64_t kNoPair = ~std::uint64_t{0};
  static constexpr std::uint32_t kNoRank = ~std::uint32_t{0};

  struct Found {
    std::uint32_t rank = kNoRank;
    Token result = -1;
  };
  Found find(Token left, Token right) const;
  void merge_short(std::string_view piece, std::vector<Token>& out) const;
  void merge_long(std::string_view piece, std::vector<Token>& out) const;

  std::array<Token, 256> bytes_{};
  std::vector<Slot> slots_;  // open addressing, a power of two
  std::uint64_t mask_ = 0;
  std::uint32_t serial_ = 0;  // tells this object's entries in the per-thread cache from another's
};

}  // namespace lares::engine
