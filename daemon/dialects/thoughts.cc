#include "daemon/dialects/thoughts.h"

#include <vector>

#include <fmt/format.h>
#include <openssl/evp.h>
#include <xxhash.h>

namespace lares::daemon {
namespace {

constexpr std::string_view kSignature = "lares-thought-", kSealed = "lares-sealed-";

}  // namespace

std::string thought_signature(std::string_view text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return fmt::format("{}{:016x}{:016x}", kSignature, hash.high64, hash.low64);
}

std::string sealed_thought(std::string_view text) {
  // And the zero that EVP_EncodeBlock adds
  std::vector<unsigned char> base64(4 * ((text.size() + 2) / 3) + 1);
  const int n = EVP_EncodeBlock(base64.data(), reinterpret_cast<const unsigned char*>(text.data()),
                                static_cast<int>(text.size()));
  return std::string(kSealed) +
         std::string(reinterpret_cast<const char*>(base64.data()), static_cast<std::size_t>(n));
}

std::optional<std::string> unsealed_thought(std::string_view sealed) {
  if (!sealed.starts_with(kSealed)) return std::nullopt;
  sealed.remove_prefix(kSealed.size());
  if (sealed.size() % 4 != 0) return std::nullopt;
  std::string text(sealed.size() / 4 * 3, '\0');
  const int n = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                reinterpret_cast<const unsigned char*>(sealed.data()),
                                static_cast<int>(sealed.size()));
  if (n < 0 || static_cast<std::size_t>(n) > text.size()) return std::nullopt;
  // EVP_DecodeBlock counts what only pads.
  const std::size_t n_padding = sealed.ends_with("==") ? 2 : sealed.ends_with('=') ? 1 : 0;
  text.resize(static_cast<std::size_t>(n) - n_padding);
  return text;
}

}  // namespace lares::daemon
