// A call of a tool in the editor's words: what kind it is, where it is about, what it would change
// or has changed.
#pragma once

#include <string>

#include "daemon/bridges/acp/message.h"
#include "daemon/bridges/acp/root.h"

namespace lares::cli::acp {

// The fields of tool_call and tool_call_update but sessionUpdate and toolCallId; paths are the
// editor's, and absolute. Reads the file of an edit that has not run, for the line it is at.
// Of one that asks, waits or runs: name, title, kind, locations, rawInput, content
Json call_fields(const protocol::Item& item, const Root& root);
// Of one that is complete: status, content, rawOutput, locations
Json result_fields(const protocol::Item& item, const Root& root);
std::string kind_of(const std::string& tool, const Json& arguments);

// Of the plan tool: entries of ACP's plan; an empty list where the arguments make no sense.
Json plan_entries(const std::string& arguments);

// A unified diff as ACP's diffs, one for each hunk: the lines it shows before, and after.
// `created`: there was no file.
Json diffs_of(const std::string& path, const std::string& unified, bool created);
int first_line_of(const std::string& unified);  // of what changed, now; 0: it says none

// In a fence that it cannot end.
std::string fenced(std::string_view text);

}  // namespace lares::cli::acp
