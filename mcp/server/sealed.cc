#include "mcp/server/sealed.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <cstdlib>

#include "mcp/server/rpc.h"
#include "tools/base64.h"

namespace lares::mcp::server {
namespace {

constexpr std::size_t kKeyBytes = 32, kMacBytes = 32;

std::string mac_of(const std::string& key, std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac;
  unsigned int n = 0;
  if (!::HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
              reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac.data(), &n))
    std::abort();
  return {reinterpret_cast<const char*>(mac.data()), n};
}

}  // namespace

std::string fresh_key() {
  std::string key(kKeyBytes, '\0');
  // Without randomness a state could be forged.
  if (::RAND_bytes(reinterpret_cast<unsigned char*>(key.data()), static_cast<int>(key.size())) != 1)
    std::abort();
  return key;
}

std::string digest_of(const std::string& principal, const std::string& method, const Json& params) {
  Json rest = params.is_object() ? params : Json::object();
  for (const char* changes : {"_meta", "inputResponses", "requestState"}) rest.erase(changes);
  // a client may write its keys in another order
  const nlohmann::json sorted = Json::array({principal, method, std::move(rest)});
  return tools::to_base64(
      mac_of("request", sorted.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
}

std::string seal(const std::string& key, const std::string& digest, const Json& state,
                 std::int64_t expires) {
  const std::string payload = text_of({{"expires", expires}, {"of", digest}, {"state", state}});
  return tools::to_base64(mac_of(key, payload) + payload);
}

std::optional<Json> unseal(const std::string& key, const std::string& digest,
                           const std::string& sealed, std::int64_t now) {
  const auto bytes = tools::from_base64(sealed);
  if (!bytes || bytes->size() < kMacBytes) return std::nullopt;
  const std::string payload = bytes->substr(kMacBytes), mac = mac_of(key, payload);
  if (::CRYPTO_memcmp(mac.data(), bytes->data(), kMacBytes) != 0) return std::nullopt;
  const Json said = Json::parse(payload, nullptr, /*allow_exceptions=*/false);
  if (said.is_discarded() || string_member(said, "of") != digest ||
      member(said, "expires").get<std::int64_t>() < now)
    return std::nullopt;
  return member(said, "state");
}

}  // namespace lares::mcp::server
