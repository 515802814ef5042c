// --policy, of the commands that begin sessions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "daemon/protocol/policies.h"

namespace lares::cli {

// `what` the policy is of, in words.
inline CLI::Option* add_policy(CLI::App& app, std::string& policy, std::string_view what) {
  namespace protocol = daemon::protocol;
  std::vector<std::string> ids;
  for (const auto& p : protocol::kPolicies) ids.emplace_back(p.id);
  return app.add_option("--policy", policy, fmt::format("{}: {}", what, protocol::kPolicyIds))
      ->check(CLI::IsMember(ids));
}

}  // namespace lares::cli
