#include "daemon/cli/acp/options.h"

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

Json select(const char* id, const char* name, const std::string& current, Json options) {
  return {{"id", id}, {"name", name}, {"category", id}, {"type", "select"}, {"currentValue", current}, {"options", std::move(options)}};
}

}  // namespace

bool is_mode(const std::string& mode) {
  return std::any_of(std::begin(kModes), std::end(kModes), [&](const Mode& m) { return mode == m.id; });
}

std::string modes_known() {
  std::string out;
  for (const Mode& m : kModes) out += (out.empty() ? "" : ", ") + std::string(m.id);
  return out;
}

Json modes_json(const Choices& choices) {
  Json available = Json::array();
  for (const Mode& m : kModes) available.push_back({{"id", m.id}, {"name", m.name}, {"description", m.what}});
  return {{"currentModeId", choices.mode}, {"availableModes", std::move(available)}};
}

Json options_json(const Choices& choices) {
  Json modes = Json::array(), thoughts = Json::array(), models = Json::array();
  for (const Mode& m : kModes) modes.push_back({{"value", m.id}, {"name", m.name}, {"description", m.what}});
  thoughts.push_back({{"value", "max"}, {"name", "Maximum"}, {"description", "Thinks for as long as it helps"}});
  models.push_back({{"value", choices.model}, {"name", choices.model}});
  Json out = Json::array();
  out.push_back(select("mode", "Mode", choices.mode, std::move(modes)));
  out.push_back(select("thought_level", "Thinking", choices.thinking, std::move(thoughts)));
  out.push_back(select("model", "Model", choices.model, std::move(models)));
  return out;
}

}  // namespace lares::cli::acp
