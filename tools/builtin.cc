#include "tools/builtin.h"

#include "tools/edit/edit_tool.h"
#include "tools/git/git_tool.h"
#include "tools/outline/outline_tool.h"
#include "tools/shell/bash_tool.h"
#include "tools/testing/test_tool.h"

namespace lares::tools {

std::vector<std::unique_ptr<Tool>> make_builtin_tools(asio::any_io_executor io,
                                                      const BuiltinOptions& options) {
  std::vector<std::unique_ptr<Tool>> out;
  out.push_back(std::make_unique<BashTool>(io, options));
  out.push_back(std::make_unique<EditTool>(options));
  out.push_back(std::make_unique<TestTool>(options));
  out.push_back(make_git_tool(io, options));
  out.push_back(make_outline_tool(io, options));
  return out;
}

void note_shown(const std::vector<std::unique_ptr<Tool>>& tools, const std::vector<File>& files) {
  for (const auto& tool : tools) {
    auto* editor = dynamic_cast<EditTool*>(tool.get());
    if (!editor) continue;
    for (const File& file : files) {
      if (file.skipped.empty()) editor->note_seen(file.path, file.content);
    }
  }
}

void ask_what_was_shown(const std::vector<std::unique_ptr<Tool>>& tools,
                        const WasShown& was_shown) {
  for (const auto& tool : tools)
    if (auto* editor = dynamic_cast<EditTool*>(tool.get())) editor->ask_what_was_shown(was_shown);
}

}  // namespace lares::tools
