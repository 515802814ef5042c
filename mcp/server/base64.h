// Base64 with padding, as headers and sealed states carry bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lares::mcp::server {

std::string to_base64(std::string_view bytes);
std::optional<std::string> from_base64(std::string_view text);  // nothing: it is none

}  // namespace lares::mcp::server
