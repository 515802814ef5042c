#include "daemon/turn/prompt.h"

#include <optional>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <nlohmann/json.hpp>

#include "daemon/turn/toolbox.h"
#include "engine/chat.h"

namespace lares::daemon {
namespace {

// `schema` as it stands: of the catalogue it is a part of every prompt, byte by byte.
engine::ToolSpec spec_of(const tools::Spec& spec, std::string schema) {
  auto strict = engine::compile_parameters(nlohmann::ordered_json::parse(schema));
  return {spec.name, spec.description, std::move(schema), strict ? std::move(*strict) : nullptr};
}

// nullopt: all of its calls change something.
std::optional<nlohmann::ordered_json> schema_for_reading(tools::Tool& tool) {
  auto schema = nlohmann::ordered_json::parse(tool.spec().schema);
  auto& properties = schema["properties"];
  const auto command = properties.find("command");
  if (command == properties.end() || !command->contains("enum"))
    return tool.mutates(nlohmann::json::object()) ? std::nullopt : std::optional(schema);
  auto& commands = (*command)["enum"];
  auto reading = nlohmann::ordered_json::array();
  for (const auto& name : commands)
    if (!tool.mutates({{"command", name}})) reading.push_back(name);
  if (reading.empty()) return std::nullopt;
  commands = std::move(reading);
  return schema;
}

}  // namespace

const std::vector<engine::ToolSpec>& catalogue() {
  static const std::vector<engine::ToolSpec> kSpecs = [] {
    boost::asio::io_context io;  // nothing runs: only the tools' own descriptions are read
    std::vector<engine::ToolSpec> specs;
    for (const auto& tool : make_tools(io.get_executor(), {}, nullptr))
      specs.push_back(spec_of(tool->spec(), tool->spec().schema));
    return specs;
  }();
  return kSpecs;
}

const std::vector<engine::ToolSpec>& reading_catalogue() {
  static const std::vector<engine::ToolSpec> kSpecs = [] {
    boost::asio::io_context io;
    std::vector<engine::ToolSpec> specs;
    for (const auto& tool : make_tools(io.get_executor(), {}, nullptr)) {
      tools::Tool* const reading = tool->for_reading();
      const auto schema = reading ? schema_for_reading(*reading) : std::nullopt;
      if (schema) specs.push_back(spec_of(reading->spec(), schema->dump()));
    }
    return specs;
  }();
  return kSpecs;
}

std::string prompt_head() {
  return std::string(engine::kBos) + engine::effort_text(kEffort, kGeneration) +
         std::string(kSystem) + engine::tools_text(catalogue());
}

namespace {

void open_answer(std::vector<engine::Segment>& out) {
  out.push_back({std::string(engine::kAssistant) + std::string(engine::kThink), true});
}

std::string results_text(const std::vector<std::string>& results) {
  std::string text;
  for (const auto& result : results)
    text += (text.empty() ? "<tool_result>" : "\n\n<tool_result>") + result + "</tool_result>";
  return text;
}

}  // namespace

std::vector<engine::Segment> begin_session(const std::string& changes, const std::string& root,
                                           const std::string& task, const std::string& asked) {
  std::vector<engine::Segment> out{{std::string(engine::kUser), true},
                                   {changes + (changes.empty() ? "" : "\n") +
                                        "The repository is at " + root + ".\n\n" + asked + task,
                                    false}};
  open_answer(out);
  return out;
}

std::vector<engine::Segment> continue_session(const std::vector<std::string>& results,
                                              const std::vector<std::string>& said) {
  std::string text = results_text(results);
  for (const auto& s : said) text += (text.empty() ? "" : "\n\n") + s;
  std::vector<engine::Segment> out{{std::string(engine::kUser), true}, {text, false}};
  open_answer(out);
  return out;
}

std::vector<engine::Segment> begin_result(const std::vector<std::string>& results,
                                          std::string_view so_far) {
  std::string text = results_text(results);
  text += (text.empty() ? "<tool_result>" : "\n\n<tool_result>") + std::string(so_far);
  return {{std::string(engine::kUser), true}, {text, false}};
}

}  // namespace lares::daemon
