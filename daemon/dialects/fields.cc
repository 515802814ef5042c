#include "daemon/dialects/fields.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace lares::daemon {

void Fields::refuse(std::string_view name, std::string_view must) {
  if (!error_)
    error_ = invalid(path(name), fmt::format("read {}: it must be {}", path(name), must));
}

const WireJson* Fields::object(std::string_view name) {
  const WireJson* const value = any(name);
  if (!value || value->is_object()) return value;
  return refuse(name, "an object"), nullptr;
}

const WireJson* Fields::array(std::string_view name) {
  const WireJson* const value = any(name);
  if (!value || value->is_array()) return value;
  return refuse(name, "an array"), nullptr;
}

std::optional<std::string> Fields::text(std::string_view name) {
  const WireJson* const value = any(name);
  if (!value) return std::nullopt;
  if (value->is_string()) return value->get<std::string>();
  return refuse(name, "a string"), std::nullopt;
}

std::optional<std::string> Fields::word(std::string_view name,
                                        const std::vector<std::string_view>& words) {
  const WireJson* const value = any(name);
  if (!value) return std::nullopt;
  if (value->is_string() &&
      std::ranges::find(words, value->get_ref<const std::string&>()) != words.end())
    return value->get<std::string>();
  return refuse(name, fmt::format("one of {}", fmt::join(words, ", "))), std::nullopt;
}

std::optional<std::int64_t> Fields::whole(std::string_view name, std::int64_t low,
                                          std::int64_t high) {
  const WireJson* const value = any(name);
  if (!value) return std::nullopt;
  const bool fits = value->is_number_integer() &&
                    (!value->is_number_unsigned() || value->get<std::uint64_t>() <= INT64_MAX);
  if (fits && value->get<std::int64_t>() >= low && value->get<std::int64_t>() <= high)
    return value->get<std::int64_t>();
  const std::string form = low == high ? fmt::format("{}", low)
                           : high == INT64_MAX
                               ? fmt::format("a whole number from {} on", low)
                               : fmt::format("a whole number from {} to {}", low, high);
  return refuse(name, form), std::nullopt;
}

std::optional<double> Fields::number(std::string_view name, double low, double high) {
  const WireJson* const value = any(name);
  if (!value) return std::nullopt;
  if (value->is_number() && value->get<double>() >= low && value->get<double>() <= high)
    return value->get<double>();
  return refuse(name, fmt::format("a number from {} to {}", low, high)), std::nullopt;
}

bool Fields::flag(std::string_view name, bool otherwise) {
  const WireJson* const value = any(name);
  if (!value) return otherwise;
  if (value->is_boolean()) return value->get<bool>();
  return refuse(name, "true or false"), otherwise;
}

void read_sampling(Fields& fields, bool thinks, engine::Sampling& sampling) {
  const auto temperature = fields.number("temperature", 0, 2), top_p = fields.number("top_p", 0, 1);
  const auto presence = fields.number("presence_penalty", -2, 2),
             frequency = fields.number("frequency_penalty", -2, 2);
  // Beside OpenAI's fields those that other servers of open models take.
  const auto top_k = fields.whole("top_k", -1, INT32_MAX);  // -1, 0: all
  const auto min_p = fields.number("min_p", 0, 1),
             repetition = fields.number("repetition_penalty", 0.01, 100);
  if (const auto seed = fields.whole("seed", INT64_MIN, INT64_MAX))
    sampling.seed = static_cast<std::uint64_t>(*seed);
  if (thinks) return;
  if (temperature) sampling.temperature = static_cast<float>(*temperature);
  if (top_p) sampling.top_p = static_cast<float>(*top_p);
  if (presence) sampling.presence_penalty = static_cast<float>(*presence);
  if (frequency) sampling.frequency_penalty = static_cast<float>(*frequency);
  if (top_k) sampling.top_k = static_cast<int>(std::max<std::int64_t>(0, *top_k));
  if (min_p) sampling.min_p = static_cast<float>(*min_p);
  if (repetition) sampling.repetition_penalty = static_cast<float>(*repetition);
}

std::vector<std::string> read_stop(Fields& fields) {
  const WireJson* const stop = fields.any("stop");
  if (!stop) return {};
  std::vector<std::string> out;
  const WireJson all = stop->is_array() ? *stop : WireJson::array({*stop});
  for (const WireJson& one : all) {
    if (one.is_string() && !one.get_ref<const std::string&>().empty())
      out.push_back(one.get<std::string>());
    else if (!one.is_string())
      fields.refuse("stop", "a string or an array of strings");
  }
  if (out.size() > kStopSequencesMax)
    fields.refuse("stop", fmt::format("of at most {} strings", kStopSequencesMax));
  return out;
}

std::optional<WireError> retired(std::string_view model) {
  const bool chat = model == "deepseek-chat";
  if (!chat && model != "deepseek-reasoner") return std::nullopt;
  return WireError{.status = 404,
                   .message = fmt::format("generate with {0}: that name is retired; use {1} with "
                                          "\"thinking\": {{\"type\": \"{2}\"}}",
                                          model, kModelFlash, chat ? "disabled" : "enabled"),
                   .parameter = "model",
                   .code = "model_not_found"};
}

std::string read_model(Fields& fields, std::optional<WireError>& error) {
  const std::string model = fields.text("model").value_or(std::string(kModelFlash));
  if (!error) error = retired(model);
  return model;
}

}  // namespace lares::daemon
