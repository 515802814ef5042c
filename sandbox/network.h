// Which hosts commands may reach: rules of names, and addresses no name may lead to.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/ip/address.hpp>

#include "sandbox/sandbox.h"

namespace lares::sandbox {

inline constexpr std::size_t kRulesMax = 256;
inline constexpr std::uint16_t kHttpPort = 80, kHttpsPort = 443;

struct Target {
  std::string host;  // lower case, without a final dot; an address without brackets
  std::uint16_t port = 0;
};

// "host:port", "[v6]:port", "host"; `port` when none is written, and 0 then makes it an error (an
// empty host). Names are letters, digits, hyphens and dots: anything else could be read as another
// name by whoever resolves it.
Target parse_target(std::string_view text, std::uint16_t port);

class AllowList {
 public:
  // Errc::refused names the rule that makes no sense.
  static Result<AllowList> parse(const std::vector<std::string>& rules);
  bool allows(const Target& target) const;
  // Where a name has led to. Only public addresses, none of this machine's own; others when they
  // are listed as they are.
  bool allows_address(const asio::ip::address& address, std::uint16_t port) const;

 private:
  struct Rule {
    std::string host;
    bool below = false;      // "*.host"
    std::uint16_t port = 0;  // 0: 80 and 443
  };
  std::vector<Rule> rules_;
};

// Not this machine, not its neighbours, not a cloud's metadata, nor anything that stands for one of
// these in IPv6.
bool is_public(const asio::ip::address& address);

}  // namespace lares::sandbox
