#include "sandbox/host_sockets.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <string_view>

namespace lares::sandbox {
namespace {

constexpr std::size_t kLinesMax = 20'000;
constexpr unsigned long kAccepts = 0x10000;  // the kernel's SO_ACCEPTCON
constexpr std::array<std::string_view, 6> kPrivate = {"/run/",     "/var/run/", "/tmp/",
                                                      "/var/tmp/", "/dev/",     "/home/"};

}  // namespace

std::set<std::pair<std::string, std::string>> host_sockets_served() {
  std::set<std::pair<std::string, std::string>> out;
  std::ifstream table("/proc/net/unix");
  std::string line;
  for (std::size_t n = 0; n < kLinesMax && std::getline(table, line); ++n) {
    const auto at = line.find(" /");
    if (at == line.npos) continue;
    std::string path = line.substr(at + 1);
    if (std::ranges::any_of(kPrivate, [&](auto place) { return path.starts_with(place); }))
      continue;
    std::istringstream fields(line.substr(0, at));
    std::string number, references, protocol, inode;
    unsigned long flags = 0, type = 0, state = 0;
    fields >> number >> references >> protocol >> std::hex >> flags >> type >> state >> inode;
    constexpr unsigned long kStream = 1;
    // Of a stream every connection has its server's path.
    if (!fields || (type == kStream && (flags & kAccepts) == 0)) continue;
    out.emplace(std::move(path), std::move(inode));
  }
  return out;
}

}  // namespace lares::sandbox
