// HTTP's headers beside the message: a modern client says twice what it wants, so that what lies
// between can route it.
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

#include "mcp/server/rpc.h"
#include "tools/base64.h"

namespace lares::mcp::server {
namespace {

constexpr std::string_view kBase64Begin = "=?base64?", kBase64End = "?=";

Refusal mismatch(std::string why) { return {kHeaderMismatch, std::move(why)}; }

std::string_view trimmed(std::string_view text) {
  const auto from = text.find_first_not_of(" \t");
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(" \t") - from + 1);
}

// As its sender meant it; nothing: it says base64 and is none.
std::optional<std::string> decoded(std::string_view value) {
  value = trimmed(value);
  if (!value.starts_with(kBase64Begin) || !value.ends_with(kBase64End) ||
      value.size() < kBase64Begin.size() + kBase64End.size())
    return std::string(value);
  return tools::from_base64(
      value.substr(kBase64Begin.size(), value.size() - kBase64Begin.size() - kBase64End.size()));
}

std::optional<Refusal> compare(std::string_view name, const std::string& expected,
                               const HeaderOf& header) {
  std::string lower(name);
  for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  const auto said = header(lower);
  if (!said)
    return mismatch(
        fmt::format("the header {} is missing; it must be {}, as in the message", name, expected));
  const auto value = decoded(*said);
  if (!value) return mismatch(fmt::format("the header {} is no base64", name));
  if (*value != expected)
    return mismatch(
        fmt::format("the header {} is {}, but the message says {}", name, *value, expected));
  return std::nullopt;
}

bool says(const std::string& header, const Json& value) {
  if (value.is_string()) return header == value.get_ref<const std::string&>();
  if (value.is_boolean()) return header == (value.get<bool>() ? "true" : "false");
  if (!value.is_number()) return false;
  char* end = nullptr;
  const double number = std::strtod(header.c_str(), &end);
  return !header.empty() && *end == '\0' && std::isfinite(number) && number == value.get<double>();
}

// Each property that the tool's schema marks with x-mcp-header, at any depth that objects alone
// lead to.
std::optional<Refusal> wrong_parameters(const Json& schema, const Json& arguments,
                                        const HeaderOf& header, std::size_t depth = 0) {
  const Json& properties = member(schema, "properties");
  if (!properties.is_object() || depth > kDepthMax) return std::nullopt;
  for (const auto& [key, property] : properties.items()) {
    const Json& value = member(arguments, key);
    if (const std::string name = string_member(property, "x-mcp-header"); !name.empty()) {
      std::string lower = "mcp-param-" + name;
      for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
      const auto said = header(lower);
      if (value.is_null() && !said) continue;
      if (value.is_null())
        return mismatch(
            fmt::format("the header Mcp-Param-{} is there, but the message has no {}", name, key));
      if (!said)
        return mismatch(
            fmt::format("the header Mcp-Param-{} is missing, but the message has {}", name, key));
      const auto plain = decoded(*said);
      if (!plain) return mismatch(fmt::format("the header Mcp-Param-{} is no base64", name));
      if (!says(*plain, value))
        return mismatch(fmt::format("the header Mcp-Param-{} is {}, but the message says otherwise",
                                    name, *plain));
    }
    if (auto wrong = wrong_parameters(property, value, header, depth + 1)) return wrong;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Refusal> header_mismatch(const Json& message, const Json& tools,
                                       const HeaderOf& header) {
  const std::string method = string_member(message, "method");
  const Json& params = member(message, "params");
  if (const std::string version = modern_version(message); !version.empty()) {
    if (auto wrong = compare("MCP-Protocol-Version", version, header)) return wrong;
  }
  if (auto wrong = compare("Mcp-Method", method, header)) return wrong;
  const char* const named = method == "tools/call" || method == "prompts/get" ? "name"
                            : method == "resources/read"                      ? "uri"
                                                                              : nullptr;
  if (!named || !member(params, named).is_string())
    return std::nullopt;  // what is missing in the message is said elsewhere
  const std::string name = string_member(params, named);
  if (auto wrong = compare("Mcp-Name", name, header)) return wrong;
  if (method != "tools/call") return std::nullopt;
  for (const Json& tool : tools) {
    if (member(tool, "name") == name)
      return wrong_parameters(member(tool, "inputSchema"), member(params, "arguments"), header);
  }
  return std::nullopt;
}

std::optional<Refusal> wrong_meta(const Json& message) {
  const Json& params = member(message, "params");
  if (!meta(params, "protocolVersion").is_string()) {
    return Refusal{kInvalidParams,
                   "_meta must have io.modelcontextprotocol/protocolVersion, a string",
                   {{"field", "io.modelcontextprotocol/protocolVersion"}}};
  }
  const std::string version = string_member(member(params, "_meta"),
                                            std::string(kMetaPrefix) + "protocolVersion");
  if (version != kModern) {
    return Refusal{
        kUnsupportedVersion,
        fmt::format("version {} is not spoken here; {} is, and older ones begin with initialize",
                    version, kModern),
        {{"supported", Json::array({kModern})}, {"requested", version}}};
  }
  if (!meta(params, "clientCapabilities").is_object()) {
    return Refusal{kInvalidParams,
                   "_meta must have io.modelcontextprotocol/clientCapabilities, an object",
                   {{"field", "io.modelcontextprotocol/clientCapabilities"}}};
  }
  return std::nullopt;
}

int http_status(const Refusal& refusal) {
  switch (refusal.code) {
    case kUnknownMethod:
      return 404;
    case kHeaderMismatch:
    case kMissingCapability:
    case kUnsupportedVersion:
    case kParseError:
    case kInvalidRequest:
      return 400;
    case kInvalidParams:
      return refusal.data.is_object() && refusal.data.contains("field") ? 400 : 200;
    default:
      return 200;
  }
}

}  // namespace lares::mcp::server
