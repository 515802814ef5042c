#include "daemon/turn/argument_choices.h"

#include <string_view>
#include <utility>

#include "daemon/turn/small_model.h"

namespace lares::daemon {
namespace {

constexpr std::string_view kStretchOfAFile = "old_str";  // of str_replace_editor

}  // namespace

std::optional<engine::ArgumentChoices> argument_choices(const Tools& tools,
                                                        const engine::ModelInfo& model,
                                                        const std::string& tool,
                                                        const std::string& key,
                                                        const engine::Arguments& so_far) {
  const tools::Tool* const t = find_tool(tools, tool);
  const bool small = is_small(model);
  // Names are not even looked up for nothing: that lists the worktree, 0.2 s of 20,000 files, while
  // the engine waits.
  if (!t || (!small && key != kStretchOfAFile)) return std::nullopt;
  auto found = t->choices(key, so_far);
  if (!found) return std::nullopt;
  return engine::ArgumentChoices{std::move(found->one_of), std::move(found->substring_of),
                                 found->unique};
}

}  // namespace lares::daemon
