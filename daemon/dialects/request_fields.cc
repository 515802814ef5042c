#include "daemon/dialects/request_fields.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace lares::daemon {
void RequestFields::refuse(std::string parameter, std::string message) {
  if (!wrong_) wrong_ = invalid(std::move(parameter), std::move(message));
}

bool RequestFields::boolean(const char* name, bool otherwise) {
  const WireJson* field = field_of(body_, name);
  if (!field) return otherwise;
  if (!field->is_boolean()) refuse(name, fmt::format("read {}: it is no boolean", name));
  return field->is_boolean() ? field->get<bool>() : otherwise;
}

std::string RequestFields::text(const char* name) {
  const WireJson* field = field_of(body_, name);
  if (!field) return "";
  if (!field->is_string()) refuse(name, fmt::format("read {}: it is no string", name));
  return field->is_string() ? field->get<std::string>() : "";
}

std::optional<double> RequestFields::number(const char* name, double least, double most) {
  const WireJson* field = field_of(body_, name);
  if (!field) return std::nullopt;
  if (field->is_number() && field->get<double>() >= least && field->get<double>() <= most) return field->get<double>();
  refuse(name, fmt::format("read {}: it is no number from {} to {}", name, least, most));
  return std::nullopt;
}

std::optional<std::int64_t> RequestFields::integer(const char* name, std::int64_t least) {
  const WireJson* field = field_of(body_, name);
  if (!field) return std::nullopt;
  // A double first: clients write 32000.0, and what no int64 holds is only large.
  const double value = field->is_number() ? field->get<double>() : -1e300;
  if (value >= static_cast<double>(least)) return static_cast<std::int64_t>(std::min(value, 1e15));
  refuse(name, fmt::format("read {}: it is no number of at least {}", name, least));
  return std::nullopt;
}

bool add_tool(Conversation& conversation, std::set<std::string>& names, OfferedTool tool) {
  if (tool.name.empty() || !names.insert(tool.name).second) return false;
  WireJson function = {{"name", std::move(tool.name)}, {"description", std::move(tool.description)}};
  if (tool.parameters && tool.parameters->is_object()) function["parameters"] = *tool.parameters;
  else function["parameters"] = {{"type", "object"}, {"properties", WireJson::object()}};
  if (tool.strict) function["strict"] = true;
  conversation.tools.push_back({{"type", "function"}, {"function", std::move(function)}});
  return true;
}

bool is_true(const WireJson& object, std::string_view name) {
  const WireJson* field = field_of(object, name);
  return field && *field == true;
}

}  // namespace lares::daemon
