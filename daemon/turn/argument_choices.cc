#include "daemon/turn/argument_choices.h"

#include <utility>

namespace lares::daemon {

std::optional<engine::ArgumentChoices> argument_choices(const Tools& tools,
                                                        const engine::ModelInfo& model,
                                                        const std::string& tool,
                                                        const std::string& key,
                                                        const engine::Arguments& so_far) {
  const tools::Tool* const t = find_tool(tools, tool);
  auto found = t ? t->choices(key, so_far) : std::nullopt;
  const bool small = model.n_parameters > 0 && model.n_parameters < kSpellsNames;
  if (!found || (!found->one_of.empty() && !small)) return std::nullopt;
  return engine::ArgumentChoices{std::move(found->one_of), std::move(found->substring_of),
                                 found->unique};
}

}  // namespace lares::daemon
