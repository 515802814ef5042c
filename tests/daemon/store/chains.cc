#include "chains.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

namespace lares::daemon::store::test {

Bytes random_bytes(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  Bytes out((n + 3) / 4 * 4);
  for (std::size_t i = 0; i < out.size(); i += 4) {
    const auto v = static_cast<std::uint32_t>(random());
    std::memcpy(out.data() + i, &v, 4);
  }
  out.resize(n);
  return out;
}

Hash256 fingerprint_of(unsigned seed) { return hash256(random_bytes(16, seed)); }

Chain make_chain(const Hash256& fingerprint, unsigned seed, const ChainShape& shape,
                 const Chain& base, std::size_t shared) {
  Chain out(base.begin(), base.begin() + static_cast<std::ptrdiff_t>(shared));
  Hash256 before = out.empty() ? chain_begin(fingerprint) : out.back().chain_out;
  std::uint64_t pos = out.empty() ? 0 : out.back().pos0 + out.back().tokens.size();
  std::mt19937 random(seed);
  for (std::size_t i = shared; i < shape.n_tokens.size(); ++i) {
    Piece p;
    p.pos0 = pos;
    p.chain_in = before;
    for (std::uint32_t k = 0; k < shape.n_tokens[i]; ++k)
      p.tokens.push_back(static_cast<engine::Token>(random() % 129280));
    for (std::uint32_t at = 0; at < shape.n_tokens[i]; at += kPageTokens) {
      const bool whole = shape.n_tokens[i] - at >= kPageTokens;
      p.pages.push_back(random_bytes(whole ? shape.page_bytes : shape.page_bytes / 2,
                                     static_cast<unsigned>(random())));
    }
    p.frontier = random_bytes(shape.frontier_bytes, static_cast<unsigned>(random()));
    p.chain_out = before = chain_after(p.chain_in, p.tokens);
    pos += shape.n_tokens[i];
    out.push_back(std::move(p));
  }
  return out;
}

Result<Hash256> put(Store& store, const Piece& p) {
  const std::vector<std::span<const std::byte>> pages(p.pages.begin(), p.pages.end());
  return store.put_extent({.pos0 = p.pos0,
                           .chain_in = p.chain_in,
                           .tokens = p.tokens,
                           .pages = pages,
                           .frontier = p.frontier});
}

std::vector<Hash256> names(const Chain& chain, std::size_t n) {
  std::vector<Hash256> out;
  for (std::size_t i = 0; i < n; ++i) out.push_back(chain[i].chain_out);
  return out;
}

Seen restore_all(Store& store) {
  Seen seen;
  Chain chain;
  seen.restored = store.restore({
      .begin = [&](const Manifest& m) { chain.resize(m.extents.size()); },
      .page =
          [&](std::size_t e, std::uint32_t page, std::size_t bytes) {
            chain[e].pages.resize(std::max<std::size_t>(chain[e].pages.size(), page + 1));
            chain[e].pages[page].resize(bytes);
            return std::span(chain[e].pages[page]);
          },
      .frontier =
          [&](std::size_t e, std::size_t bytes) {
            chain[e].frontier.resize(bytes);
            return std::span(chain[e].frontier);
          },
      .valid =
          [&](std::size_t e, std::span<const engine::Token> tokens) {
            chain[e].tokens.assign(tokens.begin(), tokens.end());
            seen.chain.push_back(std::move(chain[e]));
          },
  });
  for (std::size_t i = 0; i < seen.chain.size(); ++i) {
    seen.chain[i].pos0 = seen.restored.manifest->extents[i].pos0;
    seen.chain[i].chain_out = seen.restored.manifest->extents[i].chain_out;
  }
  return seen;
}

std::string unlike_prefix(const Seen& seen, const Chain& chain) {
  const Restored& r = seen.restored;
  if (seen.chain.size() != r.n_extents)
    return fmt::format("{} extents came and {} are said to be valid", seen.chain.size(),
                       r.n_extents);
  if (r.n_extents > chain.size()) return fmt::format("{} extents of {}", r.n_extents, chain.size());
  std::uint64_t n_tokens = 0;
  for (std::size_t i = 0; i < r.n_extents; ++i) {
    const Piece &got = seen.chain[i], &want = chain[i];
    if (got.chain_out != want.chain_out || got.pos0 != want.pos0)
      return fmt::format("extent {} is another one", i);
    if (got.tokens != want.tokens) return fmt::format("extent {}: other tokens", i);
    if (got.pages != want.pages) return fmt::format("extent {}: other pages", i);
    if (got.frontier != want.frontier) return fmt::format("extent {}: another frontier", i);
    n_tokens += want.tokens.size();
  }
  if (n_tokens != r.n_tokens)
    return fmt::format("{} tokens are said to be valid and {} came", r.n_tokens, n_tokens);
  return {};
}

}  // namespace lares::daemon::store::test
