#include "daemon/store/chain_hash.h"

#include <algorithm>
#include <memory>
#include <vector>

#include <openssl/evp.h>

#include "daemon/store/little_endian.h"

namespace lares::daemon::store {
namespace {

// Fetched once: EVP_sha256() looks its implementation up again at every use, which costs more than
// hashing a page's end.
const EVP_MD* sha256() {
  static const std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> md(
      EVP_MD_fetch(nullptr, "SHA256", nullptr), EVP_MD_free);
  return md ? md.get() : EVP_sha256();
}

}  // namespace

Hash256 hash256(std::span<const std::span<const std::byte>> pieces) {
  thread_local const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(
      EVP_MD_CTX_new(), EVP_MD_CTX_free);
  Hash256 out;
  bool ok = context && EVP_DigestInit_ex2(context.get(), sha256(), nullptr) == 1;
  for (const auto piece : pieces)
    ok = ok && EVP_DigestUpdate(context.get(), piece.data(), piece.size()) == 1;
  ok = ok && EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(out.bytes.data()),
                                nullptr) == 1;
  if (!ok)
    std::abort();  // out of memory, or a libcrypto without SHA-256: no name of anything could be
                   // trusted
  return out;
}

Hash256 hash256(std::span<const std::byte> bytes) { return hash256(std::span(&bytes, 1)); }

Hash256 chain_begin(const Hash256& fingerprint) { return hash256(fingerprint.bytes); }

Hash256 chain_after(Hash256 before, std::span<const engine::Token> tokens) {
  std::array<std::byte, kPageTokens * 4> page;
  while (!tokens.empty()) {
    const auto n = std::min<std::size_t>(tokens.size(), kPageTokens);
    LittleEndianWriter out(page);
    for (const engine::Token token : tokens.first(n)) out.u32(static_cast<std::uint32_t>(token));
    const std::array<std::span<const std::byte>, 2> pieces{
        before.bytes, std::span<const std::byte>(page).first(4 * n)};
    before = hash256(pieces);
    tokens = tokens.subspan(n);
  }
  return before;
}

std::string to_hex(const Hash256& hash) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(64);
  for (const std::byte b : hash.bytes) {
    out += kDigits[static_cast<unsigned>(b) >> 4];
    out += kDigits[static_cast<unsigned>(b) & 15];
  }
  return out;
}

std::optional<Hash256> from_hex(std::string_view hex) {
  if (hex.size() != 64) return std::nullopt;
  Hash256 out;
  for (std::size_t i = 0; i < 64; ++i) {
    const char c = hex[i];
    int digit = 0;
    if (c >= '0' && c <= '9')
      digit = c - '0';
    else if (c >= 'a' && c <= 'f')
      digit = c - 'a' + 10;
    else
      return std::nullopt;
    out.bytes[i / 2] |= static_cast<std::byte>(i % 2 == 0 ? digit << 4 : digit);
  }
  return out;
}

}  // namespace lares::daemon::store
