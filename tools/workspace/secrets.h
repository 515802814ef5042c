// Whether a text holds something nobody should be shown: keys and tokens by their shape, and
// random-looking values that are assigned to a name for secrets. Documentation's examples and
// hashes are not, or the answer would be worth nothing.
#pragma once

#include <string>
#include <string_view>

namespace lares::tools {

struct Secret {
  std::string kind;  // "private key", "GitHub token", ...; "" when there is none
  std::size_t at = 0;
};
Secret find_secret(std::string_view text);
inline bool holds_secret(std::string_view text) { return !find_secret(text).kind.empty(); }

}  // namespace lares::tools
