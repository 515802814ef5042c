#include "mcp/content.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "mcp/message.h"

namespace lares::mcp {
namespace {

using nlohmann::json;

constexpr std::size_t kBlocksMax = 10'000;

// Of a picture, a sound or a file: what it is and how long, for its bytes are nothing to read.
std::string described(std::string_view kind, const json& block, const char* data) {
  const auto type = text_at(block, "mimeType");
  return fmt::format("[{}{}{}, {} bytes in base64]", kind, type.empty() ? "" : " ", type, text_at(block, data).size());
}

std::string resource_text(const json& resource) {
  if (resource.is_object() && resource.contains("text")) return text_at(resource, "text");
  const auto uri = text_at(resource, "uri");
  if (resource.is_object() && resource.contains("blob")) return described(uri.empty() ? "resource" : "resource " + uri, resource, "blob");
  return fmt::format("[resource {}]", uri);
}

std::string link_text(const json& link) {
  std::string text = "[resource " + text_at(link, "uri");
  for (const char* key : {"name", "mimeType", "description"}) {
    if (const auto value = text_at(link, key); !value.empty()) text += fmt::format("; {}", value);
  }
  return text + "; resources/read gets it]";
}

std::string block_text(const json& block) {
  const auto type = text_at(block, "type");
  if (type == "text") return text_at(block, "text");
  if (type == "resource") return resource_text(block.value("resource", json::object()));
  if (type == "resource_link") return link_text(block);
  return described(type, block, "data");
}

}  // namespace

std::string result_text(const json& result) {
  std::string text;
  bool structured_said = false;
  const auto structured = result.find("structuredContent");
  const auto add = [&](const std::string& more) { text += (text.empty() || more.empty() || text.ends_with('\n') ? "" : "\n") + more; };
  const auto list = [&](const char* key) {
    const auto found = result.find(key);
    return found != result.end() && found->is_array() && found->size() <= kBlocksMax ? *found : json::array();
  };
  for (const auto& block : list("content")) {
    if (!block.is_object()) continue;
    add(block_text(block));
    if (structured == result.end() || structured_said || text_at(block, "type") != "text") continue;
    const auto said = text_at(block, "text");
    structured_said = !nested_too_deep(said) && json::parse(said, nullptr, false) == *structured;
  }
  for (const auto& resource : list("contents")) add(resource_text(resource));
  for (const auto& message : list("messages")) {
    if (message.is_object()) add(fmt::format("{}: {}", text_at(message, "role"), block_text(message.value("content", json::object()))));
  }
  // Most servers repeat it as text; the model reads it once.
  if (structured != result.end() && !structured_said) add(dumped(*structured));
  return text;
}

}  // namespace lares::mcp
