#include "daemon/bridges/acp/options.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace lares::cli::acp {
namespace {

struct Mode {
  const char *id, *name, *what;
};
constexpr Mode kModes[] = {
    {"auto", "Auto", "Works on its own; asks only before what could lose work"},
    {"edits", "Edits", "Edits files unasked, asks before commands"},
    {"ask", "Ask", "Asks before every change and command"},
    {"plan", "Plan", "Changes nothing, and says what it would do"},
    {"read-only", "Read-only", "Changes nothing, answers questions"},
};

}  // namespace

bool is_mode(const std::string& mode) {
  return std::any_of(std::begin(kModes), std::end(kModes),
                     [&](const Mode& m) { return mode == m.id; });
}

std::string modes_known() {
  std::string out;
  for (const Mode& m : kModes) out += (out.empty() ? "" : ", ") + std::string(m.id);
  return out;
}

Json modes_json(const std::string& mode) {
  Json available = Json::array();
  for (const Mode& m : kModes)
    available.push_back({{"id", m.id}, {"name", m.name}, {"description", m.what}});
  return {{"currentModeId", mode}, {"availableModes", std::move(available)}};
}

Json options_json(const std::string& mode) {
  Json modes = Json::array(), out = Json::array();
  for (const Mode& m : kModes)
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
