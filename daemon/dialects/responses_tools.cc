#include "daemon/dialects/responses_tools.h"

#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "daemon/dialects/conversation_builder.h"

namespace lares::daemon {
namespace {

// The grammar is not enforced: it tells the model what the text must look like, as the description
// alone often does not.
WireJson custom_parameters(const WireJson& tool) {
  std::string description = "The tool's whole input, as plain text.";
  if (const WireJson* format = field_of(tool, "format")) {
    const std::string_view syntax = string_field(*format, "syntax"),
                           definition = string_field(*format, "definition");
    if (!definition.empty())
      description += fmt::format(" It follows this grammar ({}):\n{}",
                                 syntax.empty() ? "EBNF" : syntax, definition);
  }
  const WireJson input = {{"type", "string"}, {"description", std::move(description)}};
  return {{"type", "object"},
          {"properties", {{std::string(kCustomInput), input}}},
          {"required", WireJson::array({kCustomInput})},
          {"additionalProperties", false}};
}

class ToolsReader {
 public:
  explicit ToolsReader(Conversation& conversation) : conversation_(conversation) {}

  // `about`: what the namespace says of itself, told once.
  void read(const WireJson& tools, std::string_view space, std::string_view about,
            const std::string& at = "tools") {
    for (std::size_t i = 0; i < tools.size() && !error_; ++i) {
      const WireJson& tool = tools[i];
      const std::string here = fmt::format("{}[{}]", at, i);
      const std::string_view type = string_field(tool, "type");
      if (type == "namespace" && space.empty()) {
        const WireJson* inner = field_of(tool, "tools");
        if (inner && inner->is_array())
          read(*inner, string_field(tool, "name"), string_field(tool, "description"),
               here + ".tools");
      } else if (type == "function" || type == "custom") {
        add(tool, type == "custom", space, std::exchange(about, {}), here);
      }
    }
  }
  tl::expected<ResponsesTools, WireError> take() {
    if (error_) return tl::unexpected(std::move(*error_));
    return std::move(tools_);
  }

 private:
  void add(const WireJson& tool, bool custom, std::string_view space, std::string_view about,
           const std::string& at) {
    const std::string name(string_field(tool, "name"));
    if (name.empty()) {  // mostly one as Chat Completions has it: left out, nobody would know why
      error_ = invalid(at + ".name",
                       fmt::format("read {}.name: it must be the tool's name, beside its type and "
                                   "its parameters",
                                   at));
      return;
    }
    std::string flat = flat_name(space, name), description(about);
    if (!about.empty()) description += "\n\n";
    description += string_field(tool, "description");
    const WireJson text = custom ? custom_parameters(tool) : WireJson();
    OfferedTool offered{.name = flat,
                        .description = std::move(description),
                        .parameters = custom ? &text : field_of(tool, "parameters"),
                        .strict = is_true(tool, "strict"),
                        .at = at + ".parameters"};
    const auto added = add_tool(conversation_, names_, std::move(offered));
    if (!added)
      error_ = added.error();
    else if (*added)
      tools_.emplace(std::move(flat), ResponsesTool{custom, std::string(space), name});
  }

  Conversation& conversation_;
  std::set<std::string> names_;
  ResponsesTools tools_;
  std::optional<WireError> error_;
};

}  // namespace

std::string flat_name(std::string_view space, std::string_view name) {
  return space.empty() ? std::string(name) : fmt::format("{}__{}", space, name);
}

std::string custom_arguments(std::string_view input) {
  return wire_text({{std::string(kCustomInput), input}});
}

std::string custom_input(std::string_view arguments) {
  const WireJson parsed = WireJson::parse(arguments, nullptr, /*allow_exceptions=*/false);
  return std::string(string_field(parsed, kCustomInput));
}

tl::expected<ResponsesTools, WireError> read_tools(const WireJson& tools,
                                                   Conversation& conversation) {
  ToolsReader reader(conversation);
  reader.read(tools, "", "");
  return reader.take();
}

}  // namespace lares::daemon
