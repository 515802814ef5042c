#include "daemon/bridges/acp/tool_view.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "daemon/shown/asked_call.h"
#include "daemon/shown/text.h"

namespace lares::cli::acp {
namespace {

namespace fs = std::filesystem;

constexpr int kTitleColumnsMax = 100;
// Of a file, for the line that an edit is at
constexpr std::uintmax_t kSearchedBytesMax = 4u << 20;

std::string titled(const std::string& text) {
  return clip(one_line(text), kTitleColumnsMax, "...");
}

int int_at(const Json& object, const char* key, int otherwise) {
  const Json& value = at(object, key);
  return value.is_number_integer() ? value.get<int>() : otherwise;
}

// Of the first occurrence of `text` in the file; 0: it is not found.
int line_of(const std::string& path, const std::string& text) {
  std::error_code ec;
  if (text.empty() || fs::file_size(path, ec) > kSearchedBytesMax || ec) return 0;
  std::ifstream in(path, std::ios::binary);
  const std::string whole(std::istreambuf_iterator<char>(in), {});
  const std::size_t found = whole.find(text);
  if (found == std::string::npos) return 0;
  return 1 + static_cast<int>(std::count(whole.begin(),
                                         whole.begin() + static_cast<std::ptrdiff_t>(found), '\n'));
}

Json location(const std::string& path, int line) {
  Json out = {{"path", path}};
  if (line > 0) out["line"] = line;
  return out;
}
Json text_content(std::string text) {
  const Json block = {{"type", "text"}, {"text", std::move(text)}};
  return {{"type", "content"}, {"content", block}};
}
Json diff_content(const std::string& path, Json before, std::string after) {
  return {{"type", "diff"},
          {"path", path},
          {"oldText", std::move(before)},
          {"newText", std::move(after)}};
}

struct Words {
  std::string title;
  Json locations = Json::array(), content = Json::array();
};

Words editor_words(const Json& arguments, const Root& root) {
  const std::string command = string_at(arguments, "command"),
                    path = root.as_opened(string_at(arguments, "path")), name = root.below(path);
  Words out;
  if (command == "view") {
    const Json& range = at(arguments, "view_range");
    const bool part = range.is_array() && range.size() == 2 && range[0].is_number_integer() &&
                      range[1].is_number_integer();
    const int first = part ? range[0].get<int>() : 1, last = part ? range[1].get<int>() : -1;
    out.title = !part      ? "Read " + name
                : last < 0 ? fmt::format("Read {} from line {}", name, first)
                           : fmt::format("Read {}, lines {} to {}", name, first, last);
    out.locations.push_back(location(path, first));
  } else if (command == "create") {
    out.title = "Create " + name;
    out.locations.push_back(location(path, 1));
    out.content.push_back(diff_content(path, nullptr, string_at(arguments, "file_text")));
  } else if (command == "insert") {
    out.title = "Edit " + name;
    out.locations.push_back(location(path, int_at(arguments, "insert_line", 0) + 1));
    out.content.push_back(diff_content(path, "", string_at(arguments, "new_str")));
  } else if (command == "str_replace") {
    const std::string before = string_at(arguments, "old_str"),
                      after = string_at(arguments, "new_str");
    const int line = line_of(path, before);
    out.title = "Edit " + name;
    // It may have run by now
    out.locations.push_back(location(path, line > 0 ? line : line_of(path, after)));
    out.content.push_back(diff_content(path, before, after));
  } else {
    out.title = (command == "undo_edit" ? "Undo the last edit of " : command + " ") + name;
    out.locations.push_back(location(path, 0));
  }
  return out;
}

Words words_of(const std::string& tool, const Json& arguments, const Root& root) {
  const auto argument = [&](const char* key) { return string_at(arguments, key); };
  if (tool == "str_replace_editor") return editor_words(arguments, root);
  Words out;
  if (tool == "bash") {
    out.title = argument("command");
  } else if (tool == "test") {
    out.title = argument("command").empty() ? "Run the tests"
                                            : "Run the tests: " + argument("command");
  } else if (tool == "git") {
    out.title = "git " + argument("command");
    for (const char* key : {"rev", "path"})
      if (!argument(key).empty()) out.title += " " + argument(key);
  } else if (tool == "outline") {
    const std::string path = root.as_opened(argument("path"));
    out.title = argument("name").empty() ? "Outline of " + root.below(path)
                                         : "Definitions of " + argument("name");
    if (!argument("path").empty()) out.locations.push_back(location(path, 0));
  } else if (tool == "mcp_call") {
    out.title = argument("server") + ": " + argument("tool");
  } else if (tool == "mcp_search") {
    out.title = "Search tools: " + argument("query");
  } else if (tool == "ask_user") {
    out.title = argument("question");
  }
  return out;
}

}  // namespace

std::string kind_of(const std::string& tool, const Json& arguments) {
  const std::string command = string_at(arguments, "command");
  if (tool == "str_replace_editor") return command == "view" ? "read" : "edit";
  if (tool == "bash" || tool == "test") return "execute";
  if (tool == "outline" || tool == "mcp_search") return "search";
  if (tool == "git") {
    const bool reads = command == "status" || command == "diff" || command == "log" ||
                       command == "show" || command == "blame";
    return reads ? "read" : "execute";
  }
  return "other";
}

std::string fenced(std::string_view text) {
  std::size_t longest = 2, run = 0;
  for (const char c : text) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  const std::string fence(longest + 1, '`');
  return fmt::format("{}\n{}{}{}", fence, text, text.ends_with('\n') ? "" : "\n", fence);
}

int first_line_of(const std::string& unified) {
  const std::size_t hunk = unified.find("\n@@ -"),
                    plus = unified.find(" +", hunk == std::string::npos ? unified.size() : hunk);
  if (plus == std::string::npos) return 0;
  int line = 0;
  std::from_chars(unified.data() + plus + 2, unified.data() + unified.size(), line);
  // The hunk begins with lines that are as they were.
  for (std::size_t at = unified.find('\n', plus);
       at != std::string::npos && at + 1 < unified.size() && unified[at + 1] == ' '; ++line)
    at = unified.find('\n', at + 1);
  return line;
}

Json diffs_of(const std::string& path, const std::string& unified, bool created) {
  Json out = Json::array();
  std::string before, after;
  char last = ' ';
  const auto finish = [&] {
    if (before.empty() && after.empty()) return;
    out.push_back(
        diff_content(path, created ? Json(nullptr) : Json(std::move(before)), std::move(after)));
    before.clear(), after.clear();
  };
  bool inside = false;
  for (std::size_t at = 0; at < unified.size();) {
    const std::size_t end = std::min(unified.find('\n', at), unified.size());
    const std::string_view line = std::string_view(unified).substr(at, end - at);
    at = end + 1;
    if (line.starts_with("@@ -")) {
      finish();
      inside = true;
      continue;
    }
    if (!inside || line.empty()) continue;
    const char mark = line[0];
    if (mark == '\\') {  // "\ No newline at end of file", about the line before
      if (last != '+' && !before.empty()) before.pop_back();
      if (last != '-' && !after.empty()) after.pop_back();
      continue;
    }
    if (mark == '[') break;  // it was cut
    if (mark != '+') before.append(line.substr(1)).append(1, '\n');
    if (mark != '-') after.append(line.substr(1)).append(1, '\n');
    last = mark;
  }
  finish();
  return out;
}

Json plan_entries(const std::string& arguments) {
  Json out = Json::array();
  const Json json = Json::parse(arguments, nullptr, /*allow_exceptions=*/false);
  const Json& steps = at(json, "steps");
  if (!steps.is_array()) return out;
  for (const Json& step : steps) {
    const std::string status = string_at(step, "status");
    out.push_back({{"content", string_at(step, "step")},
                   {"priority", "medium"},
                   {"status", status == "done"          ? "completed"
                              : status == "in_progress" ? status
                                                        : "pending"}});
  }
  return out;
}

Json call_fields(const protocol::Item& item, const Root& root) {
  Json arguments = Json::parse(item.arguments, nullptr, /*allow_exceptions=*/false);
  if (arguments.is_discarded()) arguments = item.arguments;
  Words words = words_of(item.name, arguments, root);
  const std::string title = words.title.empty() ? item.name : titled(words.title);
  // Editors show the title, and may not show the raw input.
  if (item.state == "asking") {
    const AskedCall call = asked_call(item);
    if (item.name != "str_replace_editor" && call.what != title)
      words.content.push_back(text_content(fenced(call.what)));
  }
  Json out = {{"title", title}, {"name", item.name}, {"kind", kind_of(item.name, arguments)}};
  if (!words.locations.empty()) out["locations"] = std::move(words.locations);
  out["rawInput"] = std::move(arguments);
  if (item.state == "asking" && !item.why.empty()) words.content.push_back(text_content(item.why));
  if (!words.content.empty()) out["content"] = std::move(words.content);
  return out;
}

Json result_fields(const protocol::Item& item, const Root& root) {
  Json out = {{"status", item.state == "done" ? "completed" : "failed"}};
  Json content = Json::array(), locations = Json::array(), behind = Json::array();
  for (const auto& change : item.changes) {
    const std::string path = root.as_opened(change.path);
    for (auto& diff : diffs_of(path, change.diff, change.before == "none"))
      (item.changes_untold ? behind : content).push_back(std::move(diff));
    if (!item.changes_untold) locations.push_back(location(path, first_line_of(change.diff)));
  }
  if (content.empty() || item.state != "done") {
    if (item.state == "denied" && !item.why.empty()) content.push_back(text_content(item.why));
    if (!item.output.empty()) content.push_back(text_content(fenced(item.output)));
  }
  for (auto& diff : behind) content.push_back(std::move(diff));  // a command's, its output first
  if (!content.empty()) out["content"] = std::move(content);
  if (!locations.empty()) out["locations"] = std::move(locations);
  out["rawOutput"] = {
      {"state", item.state}, {"output", item.output}, {"elapsedMs", item.elapsed_ms}};
  return out;
}

}  // namespace lares::cli::acp
