// A conversation as encode_chat() takes it, put together from the pieces in which dialects bring
// it: a model's turn may come as several items, a person's as several parts, and instructions
// anywhere.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "daemon/completions/conversation.h"
#include "daemon/dialects/wire.h"

namespace lares::daemon {

class ConversationBuilder {
 public:
  // Before anything else was said: into the system message. Later: into the person's turn, where V4
  // reads what comes between; a second system message in the middle would stand there without a
  // turn of its own.
  void system(std::string_view text);
  void user(std::string text);
  // Of the model's turn, which ends when somebody else speaks.
  void reasoning(std::string_view text);
  void content(std::string_view text);
  void call(std::string_view id, std::string_view name, std::string_view arguments);
  void result(std::string_view id, std::string text);

  bool empty() const { return messages_.empty(); }
  bool ends_with_assistant() const;
  bool ends_with_reasoning() const;  // the model's last turn has some
  // The model's last turn calls something, and nobody has said what came of it.
  bool ends_with_calls() const;
  WireJson take();

 private:
  WireJson& turn();  // the model's
  WireJson messages_ = WireJson::array();
};

// `arguments` where they are a JSON object, nested no deeper than a body may be; else an object
// that holds them as text, for a prompt has no other place for them.
std::string arguments_object(std::string_view arguments);

// The text of a string, or of an array's parts with "text" (or "refusal"), joined by `between`.
// What is no text is named in its place.
std::string text_of(const WireJson& content, std::string_view between);
// How a part that this model cannot read is named.
std::string unsupported(std::string_view type);

// Empty: it is not there, or no string
std::string_view string_field(const WireJson& object, std::string_view name);
// Of a request that brings no tool but such as the API's own servers run, tools[i] among them: left
// out, the model would make up what they find (Claude Code searches the web by such a request).
WireError only_hosted(std::size_t i, const WireJson& tool);

bool is_true(const WireJson& object, std::string_view name);

struct OfferedTool {
  std::string name, description;
  const WireJson* parameters = nullptr;  // null: it takes none
  bool strict = false;
  std::string at = {};  // of its parameters, in the request
};
// As the model reads it.
WireJson function_of(const OfferedTool& tool);
// Adds a function to `conversation.tools`. False: one is called so already, or it has no name. An
// error: it is strict, and cannot be.
tl::expected<bool, WireError> add_tool(Conversation& conversation, std::set<std::string>& names,
                                       OfferedTool tool);

}  // namespace lares::daemon
