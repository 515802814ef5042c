// GPUs as they are written on a command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lares::cli {

// "80", "2x80", "1x141,2x40": how many, of how many GB each; as bytes. None: that is no such
// list, and `why` says why.
std::optional<std::vector<std::uint64_t>> parse_gpus(std::string text, std::string& why);

}  // namespace lares::cli
