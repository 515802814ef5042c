// Files that the user's editor holds unsaved changes of: what the model is shown of them, and why
// they are not edited.
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/edit/edit_tool.h"
#include "tools/edit/replies.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

constexpr std::size_t kDiffBytesMax = 4000;

}  // namespace

std::string editors_path(const std::string& relative) {
  const auto path = std::filesystem::path(relative).lexically_normal();
  const bool inside = path.has_filename() && path.is_relative() && path != "." &&
                      *path.begin() != "..";
  return inside ? path.generic_string() : "";
}

void use_editor(const std::vector<std::unique_ptr<Tool>>& tools,
                std::shared_ptr<EditorTexts> editor) {
  for (const auto& tool : tools)
    if (auto* edits = dynamic_cast<EditTool*>(tool.get())) edits->use_editor(editor);
}

asio::awaitable<std::optional<std::string>> EditTool::ask_editor(nlohmann::json args) const {
  std::string command, path;
  if (args.is_object() && args.contains("command") && args["command"].is_string())
    command = args["command"].get<std::string>();
  if (!editor_ || command.empty() || command == "create") co_return std::nullopt;
  if (const auto target = locate(args, command == "view");
      target && !target->in_outputs && !target->fs.is_directory(target->path))
    path = target->path;
  if (path.empty()) co_return std::nullopt;
  path = editors_path(path);
  if (path.empty()) co_return std::nullopt;
  auto asking = editor_->unsaved(path);
  auto text = co_await std::move(asking);
  if (text) text = shown_text(*text);
  co_return text;
}

std::string EditTool::unsaved_note() {
  if (!unsaved_) return "";
  const bool told = std::exchange(told_of_unsaved_, true);
  return told ? "[The user has not saved this in the editor yet.]\n"
              : "[The user has not saved this in the editor yet. `view` shows the editor's text, "
                "and edits go into it; commands and tests see the file as it is on disk.]\n";
}

// An edit of the disk would part the two texts.
std::string EditTool::refuse_unsaved(const Target& target, const FileData& data) {
  const std::string was = text_seen(data.path).value_or(shown_text(data.bytes));
  std::string text = fmt::format(
      "No edit was performed: the user has changes of {} in the editor that are not saved, and the "
      "editor did not save them. Ask the user to save the file, or try again.",
      target.shown);
  if (was != *unsaved_ && !is_kept(data.path, was) && !is_kept(data.path, *unsaved_))
    text += " They have changed these lines:\n" +
            unified_diff(data.path, was, *unsaved_, kDiffBytesMax);
  note_seen(data.path, *unsaved_);
  return text;
}

}  // namespace lares::tools
