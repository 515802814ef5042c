#include "mcp/content.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "mcp/message.h"
#include "mcp/tools.h"

namespace lares::mcp {
namespace {

using nlohmann::json;

constexpr std::size_t kBlocksMax = 10'000;
constexpr int kLeavesMax = 1'000;

// Of a picture, a sound or a file: what it is and how long, for its bytes are nothing to read.
std::string described(std::string_view kind, const json& block, const char* data) {
  const auto type = text_at(block, "mimeType");
  return fmt::format("[{}{}{}, {} bytes in base64]", kind, type.empty() ? "" : " ", type,
                     text_at(block, data).size());
}

std::string resource_text(const json& resource) {
  if (resource.is_object() && resource.contains("text")) return text_at(resource, "text");
  const auto uri = text_at(resource, "uri");
  if (resource.is_object() && resource.contains("blob"))
    return described(uri.empty() ? "resource" : "resource " + uri, resource, "blob");
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

// Whether each string, number and truth of `value` stands in the text. Those too many to look for
// do not.
bool says(const std::string& text, const json& value, int& n_left) {
  if (--n_left < 0) return false;
  if (value.is_string()) return text.find(value.get_ref<const std::string&>()) != std::string::npos;
  if (value.is_number() || value.is_boolean()) return text.find(value.dump()) != std::string::npos;
  return std::ranges::all_of(value, [&](const json& part) { return says(text, part, n_left); });
}

}  // namespace

std::string result_text(const json& result) {
  std::string text;
  const auto structured = result.find("structuredContent");
  const auto add = [&](const std::string& more) {
    text += (text.empty() || more.empty() || text.ends_with('\n') ? "" : "\n") + more;
  };
  const auto list = [&](const char* key) -> const json& {
    static const json kNone = json::array();
    const auto found = result.find(key);
    return found != result.end() && found->is_array() && found->size() <= kBlocksMax ? *found
                                                                                     : kNone;
  };
  for (const auto& block : list("content")) {
    if (block.is_object()) add(block_text(block));
  }
  for (const auto& resource : list("contents")) add(resource_text(resource));
  for (const auto& message : list("messages")) {
    if (message.is_object())
      add(fmt::format("{}: {}", text_at(message, "role"),
                      block_text(message.value("content", json::object()))));
  }
  if (structured == result.end()) return text;
  // Most servers say it as text, too, as JSON or in their own words: the model reads it once. Of a
  // long text it would see nothing more.
  int n_left = kLeavesMax;
  const bool said = text.size() >= kOutputBytesMax ||
                    (!text.empty() && says(text, *structured, n_left)) ||
                    (!nested_too_deep(text) && json::parse(text, nullptr, false) == *structured);
  if (!said) add(dumped(*structured));
  return text;
}

}  // namespace lares::mcp
