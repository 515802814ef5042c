#include "sandbox/network.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>

#include <fmt/format.h>

namespace lares::sandbox {
namespace {

namespace ip = asio::ip;

constexpr std::size_t kNameMax = 253, kLabelMax = 63;

bool is_name(std::string_view name) {
  if (name.empty() || name.size() > kNameMax) return false;
  std::size_t label = 0;
  for (char c : name) {
    if (c == '.' && label == 0) return false;
    label = c == '.' ? 0 : label + 1;
    const bool fine = c == '.' || c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
    if (!fine || label > kLabelMax) return false;
  }
  return label > 0;
}

bool is_address(const std::string& text) {
  boost::system::error_code failed;
  ip::make_address(text, failed);
  return !failed;
}

// Addresses compare by value, for IPv6 has many spellings of one.
bool same_address(const std::string& text, const ip::address& address) {
  boost::system::error_code failed;
  const auto listed = ip::make_address(text, failed);
  return !failed && listed == address;
}

struct Range {
  std::uint32_t from;
  int bits;
};
// Special-purpose blocks of RFC 6890 and multicast.
constexpr std::array kNotPublic = {
    Range{0x00000000, 8},  Range{0x0A000000, 8},  Range{0x64400000, 10}, Range{0x7F000000, 8},
    Range{0xA9FE0000, 16}, Range{0xAC100000, 12}, Range{0xC0000000, 24}, Range{0xC0000200, 24},
    Range{0xC0586300, 24}, Range{0xC0A80000, 16}, Range{0xC6120000, 15}, Range{0xC6336400, 24},
    Range{0xCB007100, 24}, Range{0xE0000000, 4},  Range{0xF0000000, 4}};

bool is_public_v4(std::uint32_t address) {
  return std::none_of(kNotPublic.begin(), kNotPublic.end(), [&](const Range& range) {
    return (address ^ range.from) >> (32 - range.bits) == 0;
  });
}

std::uint32_t four(const ip::address_v6::bytes_type& bytes, std::size_t at) {
  return static_cast<std::uint32_t>(bytes[at]) << 24 |
         static_cast<std::uint32_t>(bytes[at + 1]) << 16 |
         static_cast<std::uint32_t>(bytes[at + 2]) << 8 | bytes[at + 3];
}

bool is_public_v6(const ip::address_v6& address) {
  const auto bytes = address.to_bytes();
  if (address.is_v4_mapped()) return is_public_v4(four(bytes, 12));
  if (four(bytes, 0) == 0x0064ff9b) return is_public_v4(four(bytes, 12));  // NAT64, 64:ff9b::/96
  if (bytes[0] == 0x20 && bytes[1] == 0x02) return is_public_v4(four(bytes, 2));  // 6to4
  if (four(bytes, 0) == 0x20010000 || four(bytes, 0) == 0x20010db8)
    return false;  // Teredo, documentation
  // 2000::/3 is all that is routed; this leaves out ::1, fc00::/7, fe80::/10, ff00::/8
  return (bytes[0] & 0xe0) == 0x20;
}

bool is_own(const ip::address& address) {
  ifaddrs* raw = nullptr;
  if (::getifaddrs(&raw) != 0) return true;  // in doubt
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> all(raw, ::freeifaddrs);
  for (const ifaddrs* one = all.get(); one; one = one->ifa_next) {
    if (!one->ifa_addr) continue;
    if (one->ifa_addr->sa_family == AF_INET && address.is_v4()) {
      if (ntohl(reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr.s_addr) ==
          address.to_v4().to_uint())
        return true;
    } else if (one->ifa_addr->sa_family == AF_INET6 && address.is_v6()) {
      const auto bytes = address.to_v6().to_bytes();
      if (::memcmp(&reinterpret_cast<const sockaddr_in6*>(one->ifa_addr)->sin6_addr, bytes.data(),
                   bytes.size()) == 0)
        return true;
    }
  }
  return false;
}

}  // namespace

Target parse_target(std::string_view text, std::uint16_t port) {
  Target out;
  std::string_view host = text, digits;
  bool has_port = false;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == text.npos || (close + 1 < text.size() && text[close + 1] != ':')) return {};
    host = text.substr(1, close - 1);
    has_port = close + 1 < text.size();
    if (has_port) digits = text.substr(close + 2);
  } else if (const auto colon = text.find(':'); colon != text.npos) {
    host = text.substr(0, colon);
    digits = text.substr(colon + 1);
    has_port = true;
  }
  out.port = port;
  if (has_port) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(),
                                              out.port);
    if (error != std::errc() || end != digits.data() + digits.size()) return {};
  }
  if (out.port == 0) return {};
  for (char c : host) out.host += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  if (!text.starts_with('[') && out.host.ends_with('.')) out.host.pop_back();
  if (text.starts_with('[') ? !is_address(out.host) || out.host.find('%') != out.host.npos
                            : !is_name(out.host))
    return {};
  return out;
}

Result<AllowList> AllowList::parse(const std::vector<std::string>& rules) {
  AllowList out;
  if (rules.size() > kRulesMax)
    return tl::unexpected(
        Error{Errc::refused, fmt::format("sandbox network: {} hosts, at most {} can be listed",
                                         rules.size(), kRulesMax)});
  for (const auto& text : rules) {
    const bool below = text.starts_with("*.");
    const auto target = parse_target(std::string_view(text).substr(below ? 2 : 0), kHttpPort);
    // "*.com" would be nearly everything, "*" everything: whoever means that is not helped by a
    // list.
    if (target.host.empty() ||
        (below && (target.host.find('.') == target.host.npos || is_address(target.host))))
      return tl::unexpected(Error{
          Errc::refused,
          fmt::format("sandbox network: '{}' is not NAME, NAME:PORT, *.NAME.TLD or ADDRESS:PORT",
                      text.substr(0, 80))});
    const bool has_port = text.find(':', text.starts_with('[') ? text.find(']') : 0) != text.npos;
    out.rules_.push_back({target.host, below, has_port ? target.port : std::uint16_t{0}});
  }
  return out;
}

bool AllowList::allows(const Target& target) const {
  if (target.host.empty()) return false;
  return std::any_of(rules_.begin(), rules_.end(), [&](const Rule& rule) {
    if (rule.port == 0 ? target.port != kHttpPort && target.port != kHttpsPort
                       : target.port != rule.port)
      return false;
    return rule.below ? target.host.ends_with("." + rule.host) : target.host == rule.host;
  });
}

bool AllowList::allows_address(const ip::address& address, std::uint16_t port) const {
  for (const auto& rule : rules_)
    if (!rule.below && same_address(rule.host, address) &&
        (rule.port == port || (rule.port == 0 && (port == kHttpPort || port == kHttpsPort))))
      return true;
  return is_public(address) && !is_own(address);
}

bool is_public(const ip::address& address) {
  return address.is_v4() ? is_public_v4(address.to_v4().to_uint()) : is_public_v6(address.to_v6());
}

}  // namespace lares::sandbox
