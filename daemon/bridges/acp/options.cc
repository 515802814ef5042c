#include "daemon/bridges/acp/options.h"

#include <algorithm>
#include <utility>

#include "daemon/client/policies.h"

namespace lares::cli::acp {

bool is_mode(const std::string& mode) {
  return std::ranges::find(kPolicies, mode, &Policy::id) != kPolicies.end();
}

std::string modes_known() {
  std::string out;
  for (const Policy& m : kPolicies) out += (out.empty() ? "" : ", ") + std::string(m.id);
  return out;
}

Json modes_json(const std::string& mode) {
  Json available = Json::array();
  for (const Policy& m : kPolicies)
    available.push_back({{"id", m.id}, {"name", m.name}, {"description", m.what}});
  return {{"currentModeId", mode}, {"availableModes", std::move(available)}};
}

Json options_json(const std::string& mode) {
  Json modes = Json::array(), out = Json::array();
  for (const Policy& m : kPolicies)
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
