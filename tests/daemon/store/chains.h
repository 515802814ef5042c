// Prefixes made up for tests, and what of them a store gives back.
#pragma once

#include <string>
#include <vector>

#include "crash_disk.h"
#include "daemon/store/store.h"

namespace lares::daemon::store::test {

struct Piece {  // what one extent is made of
  std::uint64_t pos0 = 0;
  Hash256 chain_in, chain_out;
  std::vector<engine::Token> tokens;
  std::vector<Bytes> pages;
  Bytes frontier;
};
using Chain = std::vector<Piece>;

Hash256 fingerprint_of(unsigned seed);
Bytes random_bytes(std::size_t n, unsigned seed);

// Pieces of these many tokens, one behind the other. `shared` of them are those of `base`.
struct ChainShape {
  std::vector<std::uint32_t> n_tokens;
  std::size_t page_bytes = 1000, frontier_bytes = 700;
};
Chain make_chain(const Hash256& fingerprint, unsigned seed, const ChainShape& shape,
                 const Chain& base = {}, std::size_t shared = 0);

Result<Hash256> put(Store& store, const Piece& piece);
std::vector<Hash256> names(const Chain& chain, std::size_t n);

struct Seen {
  Restored restored;
  Chain chain;  // of the valid extents, without chain_in
};
Seen restore_all(Store& store);

// Empty when `seen` is exactly the first extents of `chain`; else what is wrong.
std::string unlike_prefix(const Seen& seen, const Chain& chain);

}  // namespace lares::daemon::store::test
