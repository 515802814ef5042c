#include "daemon/turn/generation_config.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace lares::daemon {

tl::expected<TurnSettings, std::string> generation_defaults(const std::string& directory) {
  TurnSettings settings;
  const std::string path = directory + "/generation_config.json";
  std::ifstream file(path, std::ios::binary);
  if (!file) return settings;
  std::ostringstream text;
  text << file.rdbuf();
  const auto json = nlohmann::json::parse(text.str(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return tl::unexpected(fmt::format("read {}: not a JSON object", path));
  const auto number = [&](const char* key, double low, double high, auto into) {
    const auto it = json.find(key);
    if (it == json.end() || it->is_null()) return true;
    if (!it->is_number() || it->template get<double>() < low || it->template get<double>() > high)
      return false;
    into(it->template get<double>());
    return true;
  };
  if (!number("temperature", 0, 100,
              [&](double v) { settings.sampling.temperature = static_cast<float>(v); }) ||
      !number("top_p", 0, 1, [&](double v) { settings.sampling.top_p = static_cast<float>(v); }) ||
      !number("top_k", 0, 1e9, [&](double v) { settings.sampling.top_k = static_cast<int>(v); }) ||
      !number("min_p", 0, 1, [&](double v) { settings.sampling.min_p = static_cast<float>(v); }) ||
      !number("max_new_tokens", 1, 1e9, [&](double v) {
        settings.step_tokens_max = static_cast<std::int64_t>(v), settings.continuations_max = 0;
      })) {
    return tl::unexpected(fmt::format(
        "read {}: temperature, top_k, top_p, min_p or max_new_tokens is out of range", path));
  }
  if (const auto it = json.find("do_sample");
      it != json.end() && it->is_boolean() && !it->get<bool>())
    settings.sampling.temperature = 0;
  settings.think_tokens_max = std::min(settings.think_tokens_max, settings.step_tokens_max * 3 / 4);
  return settings;
}

}  // namespace lares::daemon
