// The fixed wording of DeepSeek-V4's prompts: effort and tool instructions, those of
// encoding_dsv4.py. Every byte counts.
#include <nlohmann/json.hpp>

#include "engine/chat.h"
#include "engine/grammar.h"
#include "engine/text/chat/tools_wording.h"
#include "engine/text/python_json.h"

namespace lares::engine {

std::string tools_wording(const std::vector<std::string>& functions) {
  std::string text =
      "## Tools\n\n"
      "You have access to a set of tools to help answer the user's question. You can invoke tools "
      "by writing a "
      "\"<｜DSML｜tool_calls>\" block like the following:\n\n"
      "<｜DSML｜tool_calls>\n"
      "<｜DSML｜invoke name=\"$TOOL_NAME\">\n"
      "<｜DSML｜parameter name=\"$PARAMETER_NAME\" "
      "string=\"true|false\">$PARAMETER_VALUE</｜DSML｜parameter>\n"
      "...\n"
      "</｜DSML｜invoke>\n"
      "<｜DSML｜invoke name=\"$TOOL_NAME2\">\n"
      "...\n"
      "</｜DSML｜invoke>\n"
      "</｜DSML｜tool_calls>\n\n"
      "String parameters should be specified as is and set `string=\"true\"`. For all other types "
      "(numbers, booleans, "
      "arrays, objects), pass the value in JSON format and set `string=\"false\"`.\n\n"
      "If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning "
      "inside "
      "<think>...</think> BEFORE any tool calls or final response.\n\n"
      "Otherwise, output directly after </think> with tool calls or final response.\n\n"
      "### Available Tool Schemas\n\n";
  for (std::size_t i = 0; i < functions.size(); ++i) {
    if (i > 0) text += '\n';
    text += functions[i];
  }
  return text +
         "\n\nYou MUST strictly follow the above defined tool name and parameter schemas to invoke "
         "tool calls.\n";
}

std::string tools_text(const std::vector<ToolSpec>& tools) {
  std::vector<std::string> functions;
  for (const ToolSpec& tool : tools) {
    nlohmann::ordered_json function;
    function["name"] = tool.name;
    function["description"] = tool.description;
    function["parameters"] = nlohmann::ordered_json::parse(tool.schema, nullptr,
                                                           /*allow_exceptions=*/false);
    functions.push_back(python_json(function));
  }
  return "\n\n" + tools_wording(functions);
}

std::string effort_text(std::string_view effort, std::string_view generation) {
  static constexpr std::string_view kAbsoluteMaximum =
      "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n"
      "You MUST be very thorough in your thinking and comprehensively decompose the problem to "
      "resolve the root cause, "
      "rigorously stress-testing your logic against all potential paths, edge cases, and "
      "adversarial scenarios.\n"
      "Explicitly write out your entire deliberation process, documenting every intermediate step, "
      "considered "
      "alternative, and rejected hypothesis to ensure absolutely no assumption is left "
      "unchecked.\n\n";
  static constexpr std::string_view kBeyondMaximum =
      "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n"
      "You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: "
      "exhaustively decompose the "
      "problem into its most fundamental components, trace every causal chain to its root, and "
      "resolve the underlying "
      "cause rather than any surface symptom.\n"
      "Do not stop reasoning until you have independently verified the solution from multiple "
      "angles and are certain that "
      "no assumption remains unchecked and no error remains undiscovered.\n\n";
  const bool preview = generation == "preview";
  if (effort == "max") return std::string(preview ? kAbsoluteMaximum : kBeyondMaximum);
  if (effort == "high" && !preview) return std::string(kAbsoluteMaximum);
  return "";
}

}  // namespace lares::engine
