// What a client carries from one round of a request to the next: ours, so it is sealed, bound to
// the request and to a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "mcp/server.h"

namespace lares::mcp::server {

std::string fresh_key();  // of a process; what it sealed nobody opens after it

// What a later round must be about to carry this one's state: everything of the request but what
// changes from round to round.
std::string digest_of(const std::string& principal, const std::string& method, const Json& params);

std::string seal(const std::string& key, const std::string& digest, const Json& state,
                 std::int64_t expires);  // Unix seconds
std::optional<Json> unseal(const std::string& key, const std::string& digest,
                           const std::string& sealed, std::int64_t now);

}  // namespace lares::mcp::server
