#include "daemon/turn/answer_schema.h"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/text.h"

namespace lares::daemon {

tl::expected<engine::JsonSchemaRef, std::string> answer_schema(const std::string& text) {
  if (text.empty()) return nullptr;
  if (text.size() > kAnswerSchemaBytesMax)
    return tl::unexpected(
        fmt::format("it has {} bytes, more than {}", text.size(), kAnswerSchemaBytesMax));
  if (!tools::is_utf8(text)) return tl::unexpected(std::string("it is not UTF-8"));
  const auto json = nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return tl::unexpected(std::string("it is not a JSON object"));
  auto compiled = engine::compile_schema(json);
  if (!compiled)
    return tl::unexpected(fmt::format("{}{}{}", compiled.error().path,
                                      compiled.error().path.empty() ? "" : ": ",
                                      compiled.error().message));
  return std::move(*compiled);
}

std::string told_of_answer_schema(const std::string& text) {
  if (text.empty()) return "";
  return "\n\nWhen you are done, say nothing but one JSON document of this schema:\n" + text;
}

}  // namespace lares::daemon
