#include "tools/base64.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstddef>

namespace lares::tools {

std::string to_base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');  // and the zero that the library adds
  text.resize(static_cast<std::size_t>(::EVP_EncodeBlock(
      reinterpret_cast<unsigned char*>(text.data()),
      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()))));
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  const auto letter = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
  };
  const std::size_t n_padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  // The library skips blanks and takes padding anywhere.
  if (!std::all_of(text.begin(), text.end() - static_cast<std::ptrdiff_t>(n_padding), letter))
    return std::nullopt;
  std::string bytes(text.size() / 4 * 3, '\0');
  if (::EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                        reinterpret_cast<const unsigned char*>(text.data()),
                        static_cast<int>(text.size())) < 0)
    return std::nullopt;
  bytes.resize(bytes.size() - n_padding);
  return bytes;
}

}  // namespace lares::tools
