#include "daemon/turn/prompt.h"

#include <boost/asio/io_context.hpp>
#include <nlohmann/json.hpp>

#include "daemon/turn/toolbox.h"
#include "engine/chat.h"

namespace lares::daemon {

const std::vector<engine::ToolSpec>& catalogue() {
  static const std::vector<engine::ToolSpec> kSpecs = [] {
    boost::asio::io_context io;  // nothing runs: only the tools' own descriptions are read
    std::vector<engine::ToolSpec> specs;
    for (const auto& tool : make_tools(io.get_executor(), {}, nullptr)) {
      const tools::Spec& spec = tool->spec();
      auto strict = engine::compile_parameters(nlohmann::ordered_json::parse(spec.schema));
      specs.push_back(
          {spec.name, spec.description, spec.schema, strict ? std::move(*strict) : nullptr});
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
