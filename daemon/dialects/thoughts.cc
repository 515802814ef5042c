#include "daemon/dialects/thoughts.h"

#include <fmt/format.h>
#include <xxhash.h>

#include "tools/base64.h"

namespace lares::daemon {
namespace {

constexpr std::string_view kSignature = "lares-thought-", kSealed = "lares-sealed-";

}  // namespace

std::string thought_signature(std::string_view text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return fmt::format("{}{:016x}{:016x}", kSignature, hash.high64, hash.low64);
}

std::string sealed_thought(std::string_view text) {
  return std::string(kSealed) + tools::to_base64(text);
}

std::optional<std::string> unsealed_thought(std::string_view sealed) {
  if (!sealed.starts_with(kSealed)) return std::nullopt;
  return tools::from_base64(sealed.substr(kSealed.size()));
}

}  // namespace lares::daemon
