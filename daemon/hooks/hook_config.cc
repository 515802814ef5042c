#include "daemon/hooks/hook_config.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace lares::daemon {
namespace {

using nlohmann::json;

using Wrong = tl::unexpected<std::string>;

tl::expected<Hook, std::string> hook_of(const json& entry, bool of_tools) {
  if (!entry.is_object()) return Wrong("it is not an object");
  Hook hook;
  for (const auto& [key, value] : entry.items()) {
    if (key == "command" && value.is_string()) {
      hook.command = value.get<std::string>();
    } else if (key == "timeout_ms" && value.is_number_integer() && value >= 1 &&
               value <= kHookTimeoutMsMax) {
      hook.timeout_ms = value.get<int>();
    } else if (key == "tools" && of_tools && value.is_array() &&
               std::ranges::all_of(value, [](const json& name) { return name.is_string(); })) {
      hook.tools = value.get<std::vector<std::string>>();
    } else {
      return Wrong(fmt::format("`{}` is not one of: command, a string; timeout_ms, 1 to {}{}", key,
                               kHookTimeoutMsMax, of_tools ? "; tools, a list of names" : ""));
    }
  }
  if (hook.command.empty()) return Wrong("it has no command");
  return hook;
}

}  // namespace

bool Hook::is_for(std::string_view tool) const {
  return tools.empty() || std::ranges::find(tools, tool) != tools.end();
}

tl::expected<HookConfig, std::string> parse_hooks(std::string_view text) {
  json all;
  try {
    all = json::parse(text, nullptr, /*allow_exceptions=*/true, /*ignore_comments=*/true);
  } catch (const json::parse_error& e) {
    const auto line = std::count(
                          text.begin(),
                          text.begin() + static_cast<std::ptrdiff_t>(std::min(e.byte, text.size())),
                          '\n') +
                      1;
    return Wrong(fmt::format("line {} is not JSON", line));
  }
  if (!all.is_object()) return Wrong("it is not an object");
  HookConfig out;
  std::size_t n = 0;
  for (const auto& [event, hooks] : all.items()) {
    auto* const into = event == "before_tool"  ? &out.before_tool
                       : event == "after_tool" ? &out.after_tool
                       : event == "turn_end"   ? &out.turn_end
                                               : nullptr;
    if (!into)
      return Wrong(fmt::format("`{}` is not one of before_tool, after_tool and turn_end", event));
    if (!hooks.is_array()) return Wrong(fmt::format("`{}` is not a list", event));
    for (const auto& entry : hooks) {
      auto hook = hook_of(entry, into != &out.turn_end);
      if (!hook)
        return Wrong(fmt::format("hook {} of {}: {}", into->size() + 1, event, hook.error()));
      if (++n > kHooksMax) return Wrong(fmt::format("more than {} hooks", kHooksMax));
      into->push_back(std::move(*hook));
    }
  }
  return out;
}

tl::expected<HookConfig, std::string> read_hooks(const std::string& path) {
  if (path.empty()) return HookConfig{};
  const auto wrong = [&](const std::string& why) {
    return Wrong(
        fmt::format("read the hooks in {}: {}; mend the file, or take it away", path, why));
  };
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    if (errno == ENOENT || errno == ENOTDIR) return HookConfig{};
    return wrong(std::strerror(errno));
  }
  std::string text(kHookConfigBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kHookConfigBytesMax)
    return wrong(fmt::format("it has more than {} bytes", kHookConfigBytesMax));
  auto parsed = parse_hooks(text);
  if (!parsed) return wrong(parsed.error());
  return parsed;
}

}  // namespace lares::daemon
