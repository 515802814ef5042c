#include "daemon/toolbox.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "mcp/mcp.h"

namespace lares::daemon {
namespace {

class AskUser final : public tools::Tool {
 public:
  explicit AskUser(Ask ask) : ask_(std::move(ask)) {}

  const tools::Spec& spec() const override {
    static const tools::Spec kSpec{
        std::string(kAskUser),
        "Ask the user a question that only they can decide, and wait for the answer. Find out by yourself whatever the "
        "repository or a command can tell.",
        R"({"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]})"};
    return kSpec;
  }
  bool mutates(const nlohmann::json&) const override { return false; }

  asio::awaitable<tools::Result<tools::Outcome>> run(nlohmann::json args, tools::OnOutput) override {
    if (!args.contains("question") || !args["question"].is_string()) {
      co_return tools::Outcome{"ask_user needs a question: a string.", false, {}};
    }
    std::string question = args["question"].get<std::string>();
    const auto answer = co_await ask_(std::move(question));
    if (!answer) {
      co_return tools::Outcome{"Nobody is there to answer. Decide yourself, and say in the end what you assumed.", false, {}};
    }
    co_return tools::Outcome{*answer, true, {}};
  }

 private:
  Ask ask_;
};

}  // namespace

Tools make_tools(asio::any_io_executor io, const ToolboxOptions& options, Ask ask) {
  Tools tools = tools::make_builtin_tools(io, options.builtin);
  for (auto& tool : mcp::make_mcp_tools(io, {.root = options.builtin.root, .config_path = options.mcp_config})) {
    tools.push_back(std::move(tool));
  }
  tools.push_back(std::make_unique<AskUser>(std::move(ask)));
  return tools;
}

tools::Tool* find_tool(const Tools& tools, const std::string& name) {
  for (const auto& tool : tools) {
    if (tool->spec().name == name) return tool.get();
  }
  return nullptr;
}

}  // namespace lares::daemon
