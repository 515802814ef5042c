#include "daemon/bridges/acp/options.h"
#include "daemon/protocol/policies.h"

#include <utility>

namespace lares::cli::acp {

bool is_mode(const std::string& mode) { return protocol::is_policy(mode); }

std::string modes_known() { return protocol::policies_named(", "); }

Json modes_json(const std::string& mode) {
  Json available = Json::array();
  for (const protocol::Policy& m : protocol::kPolicies)
    available.push_back({{"id", m.id}, {"name", m.name}, {"description", m.what}});
  return {{"currentModeId", mode}, {"availableModes", std::move(available)}};
}

Json options_json(const std::string& mode) {
  Json modes = Json::array(), out = Json::array();
  for (const protocol::Policy& m : protocol::kPolicies)
    modes.push_back({{"value", m.id}, {"name", m.name}, {"description", m.what}});
  out.push_back({{"id", "mode"},
                 {"name", "Mode"},
                 {"category", "mode"},
                 {"type", "select"},
                 {"currentValue", mode},
                 {"options", std::move(modes)}});
  return out;
}

}  // namespace lares::cli::acp
