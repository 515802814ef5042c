#include "daemon/client/prompt_id.h"

#include <fmt/format.h>

#include <random>

namespace lares::cli {

std::string fresh_prompt_id() {
  std::random_device random;  // version 4 UUID
  const auto word = [&] { return static_cast<unsigned>(random()); };
  const unsigned a = word(), b = word(), c = word(), d = word();
  return fmt::format("{:08x}-{:04x}-4{:03x}-{:04x}-{:04x}{:08x}", a, b >> 16, b & 0xFFF,
                     (c >> 16 & 0x3FFF) | 0x8000, c & 0xFFFF, d);
}

}  // namespace lares::cli
