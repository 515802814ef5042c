// Where the last few tokens of a sequence stood before: what followed them then is a guess at what
// follows now.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/model/memory/sequence_memory.h"

namespace lares::engine {

inline constexpr int kMatchMin = 3, kMatchMax = 8;  // tokens that must be equal
// a match length, 256 KiB each; newer places push out older ones
inline constexpr std::size_t kCopySlots = std::size_t{1} << 16;
// Slots that copies of an index share until one of them writes there
inline constexpr std::size_t kCopyChunk = 1024;

// A copy shares its table with what it was made of: it costs the chunks that come to differ. One
// thread at a time each.
class CopyIndex {
 public:
  struct Match {
    std::int64_t follows = 0;  // tokens [follows - length, follows) equal the last `length`
    int length = 0;            // 0: none
  };

  explicit CopyIndex(SequenceMemoryRef memory = nullptr)
      : memory_(std::move(memory)) {}  // memory: what counts its chunks, and those of its copies

  // The most recent place of the longest match. Takes in what came since the last call, constant
  // work a token.
  Match find(std::span<const Token> tokens);
  // Only the first `size` tokens stay as they were.
  void drop_to(std::int64_t size);

  // What find(tokens) would take in first.
  void take_in(std::span<const Token> tokens);
  // Whether it is what taking in the first tokens of those, and nothing else, makes of a new one.
  bool begins(std::span<const Token> tokens) const {
    return !dropped_ && indexed_ < std::max<std::int64_t>(1, std::ssize(tokens));
  }
  std::int64_t indexed() const { return indexed_; }  // of these tokens at least every place is in
  static std::uint64_t bytes_for(std::int64_t n_tokens) {  // of n_tokens more, at most
    return std::min<std::uint64_t>(kChunks, static_cast<std::uint64_t>(n_tokens)) *
           (kMatchMax - kMatchMin + 1) * sizeof(Chunk);
  }
  std::uint64_t bytes() const;  // of the chunks that no other has
  // Of the chunks that taking in n_tokens more may make or copy.
  std::uint64_t missing_bytes(std::int64_t n_tokens) const;

 private:
  using Hashes = std::array<std::uint64_t, kMatchMax + 1>;
  struct Chunk {
    std::array<std::uint32_t, kCopyChunk> places{};
    Charge charge;
  };
  static constexpr std::size_t kChunks = kCopySlots / kCopyChunk;
  static Hashes hashes(std::span<const Token> tokens);  // [n]: of the last n tokens
  std::shared_ptr<Chunk>& chunk(int n, std::uint64_t slot) {
    return chunks_[(n - kMatchMin) * kChunks + slot / kCopyChunk];
  }
  void write(int n, std::uint64_t slot, std::int64_t place);

  // Places are only hints, compared token by token when used, so going back need not take any out.
  SequenceMemoryRef memory_;
  std::vector<std::shared_ptr<Chunk>> chunks_;  // by match length, then slot; null: zeros
  std::int64_t indexed_ = 0;                    // every place up to here is in
  bool dropped_ = false;  // there may be places of tokens that went, where older ones were
};

// The n tokens that followed the match; where they reach the end of the sequence they go on from
// there, as a repetition does.
void copy_tokens(std::span<const Token> tokens, const CopyIndex::Match& match, int n,
                 std::vector<Token>& out);

}  // namespace lares::engine
