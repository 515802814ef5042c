#include "daemon/mcp/catalogue.h"

#include <fmt/format.h>

namespace lares::daemon {

using mcp::server::Json;

const std::string_view kMcpInstructions =
    "Lares is a coding agent with a local model that has this repository before it, whole files "
    "and all, so it needs no search. ask_repo answers a question about the "
    "code; run_task has it do a piece of work by itself; review finds what is wrong in a change. "
    "All of them may take minutes: they report progress, and a task goes on when "
    "its client leaves; task_status finds it again.";

namespace {

// Schemas are written as they go out, with the keys in the order that models read them.
constexpr const char* kTools = R"json([
{"name": "ask_repo", "title": "Ask about the repository",
 "description": "Answers a question about this repository's code. The model has the whole repository before it. Changes nothing.",
 "inputSchema": {"type": "object", "properties": {
   "question": {"type": "string", "description": "In your words; name files or functions where you know them"},
   "root": {"type": "string", "description": "Absolute path of the repository; by default that of the client's working directory"}},
  "required": ["question"], "additionalProperties": false},
 "outputSchema": {"type": "object", "properties": {
   "answer": {"type": "string"}, "session": {"type": "string"}, "stop_reason": {"type": "string"}},
  "required": ["answer", "session", "stop_reason"]},
 "annotations": {"readOnlyHint": true}},
{"name": "run_task", "title": "Have a task done",
 "description": "Has the agent work on a task in this repository: it reads, edits, runs commands and tests in a sandbox, and says what it did. Returns at the end. If the client goes away the task goes on; task_status finds it.",
 "inputSchema": {"type": "object", "properties": {
   "prompt": {"type": "string", "description": "The task, complete: the agent sees the repository, and not this conversation"},
   "worktree": {"type": "boolean", "description": "Work in a git worktree of its own instead of the user's files; `lares apply SESSION` brings the changes in"},
   "root": {"type": "string", "description": "Absolute path of the repository; by default that of the client's working directory"}},
  "required": ["prompt"], "additionalProperties": false},
 "outputSchema": {"type": "object", "properties": {
   "session": {"type": "string"}, "turn": {"type": "integer"}, "state": {"type": "string", "description": "finished, stopped, limited, failed, or how it runs"},
   "stop_reason": {"type": "string"}, "answer": {"type": "string"}, "message": {"type": "string"}, "root": {"type": "string"}, "branch": {"type": "string"},
   "files": {"type": "array", "items": {"type": "object", "properties": {
     "path": {"type": "string"}, "added": {"type": "integer"}, "deleted": {"type": "integer"}}, "required": ["path", "added", "deleted"]}},
   "complete": {"type": "boolean", "description": "False: commands ran that may have changed other files too"},
   "unanswered": {"type": "array", "items": {"type": "string"}, "description": "Calls that did not run because nobody was there to allow them"},
   "steps": {"type": "integer"}},
  "required": ["session", "turn", "state", "stop_reason", "answer", "root", "files", "complete", "unanswered", "steps"]},
 "annotations": {"readOnlyHint": false, "destructiveHint": true, "idempotentHint": false, "openWorldHint": false}},
{"name": "review", "title": "Review a change",
 "description": "Reviews a change of this repository: findings with file and line, the worst first. Changes nothing.",
 "inputSchema": {"type": "object", "properties": {
   "range": {"type": "string", "description": "A commit, or main..HEAD; by default what is not committed, new files too"},
   "root": {"type": "string", "description": "Absolute path of the repository; by default that of the client's working directory"}},
  "additionalProperties": false},
 "outputSchema": {"type": "object", "properties": {
   "what": {"type": "string", "description": "Which change"}, "findings": {"type": "string"}, "session": {"type": "string"}, "stop_reason": {"type": "string"},
   "left_out": {"type": "array", "items": {"type": "string"}, "description": "Files too long to be shown whole"}},
  "required": ["what", "findings", "session", "stop_reason", "left_out"]},
 "annotations": {"readOnlyHint": true, "openWorldHint": false}},
{"name": "task_status", "title": "How a task stands",
 "description": "How a session stands: what it does now, or how its last turn ended and what it changed.",
 "inputSchema": {"type": "object", "properties": {
   "session": {"type": "string", "description": "Its id, as run_task gave it, or an unambiguous beginning of one"}},
  "required": ["session"], "additionalProperties": false},
 "outputSchema": {"$ref": "run_task"},
 "annotations": {"readOnlyHint": true, "openWorldHint": false}},
{"name": "task_cancel", "title": "Stop a task",
 "description": "Stops the turn that runs in a session. What it did so far stays; `lares rewind` takes it back.",
 "inputSchema": {"type": "object", "properties": {
   "session": {"type": "string", "description": "Its id, as run_task gave it, or an unambiguous beginning of one"}},
  "required": ["session"], "additionalProperties": false},
 "outputSchema": {"type": "object", "properties": {"session": {"type": "string"}, "stopped": {"type": "boolean", "description": "False: no turn ran"}}, "required": ["session", "stopped"]},
 "annotations": {"readOnlyHint": false, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false}}
])json";

}  // namespace

Json mcp_tools() {
  Json tools = Json::parse(kTools);
  Json task;
  for (Json& tool : tools) {
    if (tool["name"] == "run_task") task = tool["outputSchema"];
    if (tool["name"] == "task_status") tool["outputSchema"] = task;
  }
  return tools;
}

Json mcp_resource_templates() {
  return Json::parse(R"json([
    {"uriTemplate": "lares://sessions/{id}", "name": "session", "title": "A session's log", "description": "What was said and done in a session", "mimeType": "text/markdown"},
    {"uriTemplate": "lares://sessions/{id}/diff", "name": "session-diff", "title": "A session's diff", "description": "What a session changed, as a unified diff", "mimeType": "text/x-diff"}])json");
}

std::string wrong_argument(std::string_view tool, const Json& arguments) {
  static const Json kAll = mcp_tools();
  for (const Json& one : kAll) {
    if (one["name"] != tool) continue;
    const Json& properties = one["inputSchema"]["properties"];
    for (const auto& [key, value] : arguments.items()) {
      if (value.is_null()) continue;
      if (!properties.contains(key))
        return fmt::format("{} takes no argument {}; it takes {}", tool, key, [&] {
          std::string names;
          for (const auto& [name, property] : properties.items())
            names += (names.empty() ? "" : ", ") + name;
          return names;
        }());
      const std::string type = properties[key]["type"];
      if (type == "string" ? !value.is_string() : !value.is_boolean())
        return fmt::format("{}: {} must be {}", tool, key,
                           type == "string" ? "a string" : "true or false");
    }
    if (!one["inputSchema"].contains("required")) return "";
    for (const std::string name : one["inputSchema"]["required"]) {
      if (!arguments.contains(name) || arguments[name].is_null() ||
          arguments[name].get_ref<const std::string&>().find_first_not_of(" \t\r\n") ==
              std::string::npos)
        return fmt::format("{}: {} is missing or empty", tool, name);
    }
    return "";
  }
  return "";
}

}  // namespace lares::daemon
