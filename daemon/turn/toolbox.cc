#include "daemon/turn/toolbox.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace lares::daemon {
namespace {

class AskUser final : public tools::Tool {
 public:
  explicit AskUser(Ask ask) : ask_(std::move(ask)) {}

  const tools::Spec& spec() const override {
    static const tools::Spec kSpec{
        std::string(kAskUser),
        "Ask the user a question that only they can decide, and wait for the answer. Find out by "
        "yourself whatever the "
        "repository or a command can tell.",
        R"({"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]})"};
    return kSpec;
  }
  bool mutates(const nlohmann::json&) const override { return false; }

  asio::awaitable<tools::Result<tools::Outcome>> run(nlohmann::json args,
                                                     tools::OnOutput) override {
    if (!args.contains("question") || !args["question"].is_string()) {
      co_return tools::Outcome{"ask_user needs a question: a string.", false, {}};
    }
    std::string question = args["question"].get<std::string>();
    const auto answer = co_await ask_(std::move(question));
    if (!answer) {
      co_return tools::Outcome{
          "Nobody is there to answer. Decide yourself, and say in the end what you assumed.",
          false,
          {}};
    }
    co_return tools::Outcome{*answer, true, {}};
  }

 private:
  Ask ask_;
};

// What the model means to do, for people to follow; the model itself reads it back.
class Plan final : public tools::Tool {
 public:
  const tools::Spec& spec() const override {
    static const tools::Spec kSpec{
        std::string(kPlan),
        "Tell the user the steps of a longer task and how far you are. Send all of them each time "
        "one is begun or done; one is in work at a time.",
        R"({"type": "object", "properties": {"steps": {"type": "array", "items": {"type": "object", "properties": {"step": {"type": "string"}, "status": {"type": "string", "enum": ["pending", "in_progress", "done"]}}, "required": ["step", "status"]}}}, "required": ["steps"]})"};
    return kSpec;
  }
  bool mutates(const nlohmann::json&) const override { return false; }

  asio::awaitable<tools::Result<tools::Outcome>> run(nlohmann::json args,
                                                     tools::OnOutput) override {
    std::string text, wrong;
    const auto steps = args.find("steps");
    if (steps == args.end() || !steps->is_array() || steps->empty() ||
        steps->size() > kPlanStepsMax)
      wrong = fmt::format(
          "plan needs steps: 1 to {} of them, each {{\"step\": \"what\", \"status\": \"pending\", "
          "\"in_progress\" or \"done\"}}.",
          kPlanStepsMax);
    for (std::size_t i = 0; wrong.empty() && i < steps->size(); ++i) {
      const auto& step = (*steps)[i];
      const auto what = step.is_object() ? step.value("step", nlohmann::json()) : nlohmann::json(),
                 status = step.is_object() ? step.value("status", nlohmann::json())
                                           : nlohmann::json();
      const std::string_view mark = status == "pending"       ? "[ ] "
                                    : status == "in_progress" ? "[>] "
                                    : status == "done"        ? "[x] "
                                                              : "";
      if (!what.is_string() || what.get_ref<const std::string&>().empty() || mark.empty())
        wrong = fmt::format(
            "Step {} of the plan needs a step, a string, and a status: pending, in_progress or "
            "done.",
            i + 1);
      else
        text += fmt::format("{}{}{}", text.empty() ? "" : "\n", mark, what.get<std::string>());
    }
    const bool ok = wrong.empty();
    tools::Outcome outcome{ok ? std::move(text) : std::move(wrong), ok, {}};
    co_return outcome;
  }
};

Tools mcp_tools(asio::any_io_executor io, const ToolboxOptions& options, Ask ask) {
  const mcp::Options servers{.root = options.builtin.root,
                             .start = options.builtin.state_dir + "/mcp",
                             .config_path = options.mcp_config,
                             .launcher = options.builtin.sandbox_launcher,
                             .repository_config_path = options.builtin.root + "/.mcp.json",
                             .servers = options.mcp_servers,
                             .elicit = std::move(ask)};
  return mcp::make_mcp_tools(io, servers, options.builtin.threads);
}

}  // namespace

void use_mcp_servers(Tools& tools, asio::any_io_executor io, const ToolboxOptions& options,
                     Ask ask) {
  for (auto& tool : mcp_tools(io, options, std::move(ask))) {
    const auto same = std::ranges::find_if(
        tools, [&](const auto& t) { return t->spec().name == tool->spec().name; });
    if (same != tools.end()) *same = std::move(tool);
  }
}

Tools make_tools(asio::any_io_executor io, const ToolboxOptions& options, Ask ask) {
  Tools tools = tools::make_builtin_tools(io, options.builtin);
  for (auto& tool : mcp_tools(io, options, ask)) tools.push_back(std::move(tool));
  tools.push_back(std::make_unique<AskUser>(std::move(ask)));
  tools.push_back(std::make_unique<Plan>());
  return tools;
}

tools::Tool* find_tool(const Tools& tools, const std::string& name) {
  for (const auto& tool : tools) {
    if (tool->spec().name == name) return tool.get();
  }
  return nullptr;
}

}  // namespace lares::daemon
