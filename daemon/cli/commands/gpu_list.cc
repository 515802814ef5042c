#include "daemon/cli/commands/gpu_list.h"

#include <fmt/format.h>

#include <charconv>
#include <sstream>

#include "engine/placement.h"

namespace lares::cli {
namespace {

constexpr double kGpuGbMin = 0.1, kGpuGbMax = 4096;

template <class T>
bool number(std::string_view text, T& out) {
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  return ec == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::optional<std::vector<std::uint64_t>> parse_gpus(std::string text, std::string& why) {
  std::erase(text, ' ');
  std::vector<std::uint64_t> out;
  const auto refuse = [&](std::string because) {
    why = fmt::format("--gpus {:.60}: {}; write 2x80 for two of 80 GB, 1x141,2x40, or here", text,
                      because);
    return std::nullopt;
  };
  std::istringstream list(text);
  for (std::string one; std::getline(list, one, ',');) {
    const auto x = one.find_first_of("xX*");
    std::int64_t count = 1;
    double gb = 0;
    if (x != std::string::npos && (!number(std::string_view(one).substr(0, x), count) || count < 1))
      return refuse(fmt::format("\"{:.20}\" is no number of GPUs", one.substr(0, x)));
    const std::string_view size = std::string_view(one).substr(x == std::string::npos ? 0 : x + 1);
    if (!number(size, gb) || !(gb >= kGpuGbMin && gb <= kGpuGbMax))
      return refuse(
          fmt::format("\"{:.20}\" is no size from {} to {} GB", size, kGpuGbMin, kGpuGbMax));
    if (count > static_cast<std::int64_t>(engine::kGpusMax - out.size()))
      return refuse(fmt::format("more than {} GPUs", engine::kGpusMax));
    out.insert(out.end(), static_cast<std::size_t>(count), engine::card_bytes(gb));
  }
  if (out.empty()) return refuse("it names none");
  return out;
}

}  // namespace lares::cli
