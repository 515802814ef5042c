// The clipboard of the person's terminal, wherever that is: also at the other end of ssh.
#pragma once

#include <string>
#include <string_view>

namespace lares::cli {

// What terminals take of it differs; with base64 this much stays below 100,000 bytes.
inline constexpr std::size_t kCopiedBytesMax = 74'000;

// The sequence that sets it to `text` (OSC 52), which shows nothing. A terminal that does not know
// it, or does not let programs do so, drops it and says nothing.
std::string clipboard_set_to(std::string_view text);

}  // namespace lares::cli
