#include "daemon/cli/interactive/clipboard.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <vector>

namespace lares::cli {

std::string clipboard_set_to(std::string_view text) {
  std::vector<unsigned char> base64(4 * ((text.size() + 2) / 3) + 1);
  const int n = ::EVP_EncodeBlock(base64.data(),
                                  reinterpret_cast<const unsigned char*>(text.data()),
                                  static_cast<int>(text.size()));
  return fmt::format(
      "\x1b]52;c;{}\a",
      std::string_view(reinterpret_cast<const char*>(base64.data()), static_cast<std::size_t>(n)));
}

}  // namespace lares::cli
