// The reference parser of a finished answer (encoding_dsv4.py): exact or refused.
#include <array>

#include <fmt/format.h>

#include "engine/chat.h"
#include "engine/text/python_json.h"

namespace lares::engine {
namespace {

constexpr std::string_view kCallsOpen = "<｜DSML｜tool_calls",
                           kCallsClose = "</｜DSML｜tool_calls>", kInvokeOpen = "<｜DSML｜invoke",
                           kInvokeClose = "</｜DSML｜invoke", kParameterOpen = "<｜DSML｜parameter",
                           kParameterClose = "</｜DSML｜parameter";

tl::unexpected<Error> refuse(std::string why) {
  return tl::unexpected(Error{Errc::malformed, "parse the answer: " + std::move(why)});
}

struct Reader {
  std::string_view rest;

  // The text before whichever mark comes first; nullopt when none does. `which` is its index.
  template <std::size_t N>
  bool until(const std::array<std::string_view, N>& marks, std::string_view& before,
             std::size_t& which) {
    std::size_t at = std::string_view::npos;
    for (std::size_t i = 0; i < N; ++i) {
      const std::size_t found = rest.find(marks[i]);
      if (found < at) at = found, which = i;
    }
    if (at == std::string_view::npos) return false;
    before = rest.substr(0, at);
    rest.remove_prefix(at + marks[which].size());
    return true;
  }
};

// ` name="f">` and line ends: the tail of an opening tag of an invoke.
bool tag_name(std::string_view text, std::string_view& name) {
  constexpr std::string_view kName = " name=\"", kEnd = "\">\n";
  if (!text.starts_with(kName)) return false;
  text.remove_prefix(kName.size());
  const std::size_t end = text.find(kEnd);
  if (end == std::string_view::npos) return false;
  name = text.substr(0, end);
  const std::string_view tail = text.substr(end + kEnd.size());
  return tail.empty() || tail == "\n";  // an empty argument list leaves an empty line
}

Result<ToolCall> invoke(Reader& reader) {
  std::string_view before, name;
  std::size_t which = 0;
  if (!reader.until(std::array{kParameterOpen, kInvokeClose}, before, which))
    return refuse("an invoke has no end");
  if (!tag_name(before, name)) return refuse("the opening tag of an invoke is malformed");
  ToolCall call{std::string(name), "{"};
  std::vector<std::string> keys;
  while (which == 0) {
    std::string_view value;
    std::size_t one = 0;
    if (!reader.until(std::array{kParameterClose}, value, one))
      return refuse("a parameter has no end");
    constexpr std::string_view kName = " name=\"", kText = "\" string=\"true\">",
                               kJson = "\" string=\"false\">";
    if (!value.starts_with(kName)) return refuse("the opening tag of a parameter is malformed");
    value.remove_prefix(kName.size());
    const std::size_t quote = value.find('"');
    const std::string key(value.substr(0, quote));
    value.remove_prefix(std::min(quote, value.size()));
    const bool text = value.starts_with(kText);
    if (!text && !value.starts_with(kJson))
      return refuse(fmt::format("the parameter '{}' does not say string=\"true|false\"", key));
    value.remove_prefix(text ? kText.size() : kJson.size());
    for (const std::string& other : keys) {
      if (other == key) return refuse(fmt::format("the parameter '{}' is given twice", key));
    }
    if (!keys.empty()) call.arguments += ", ";
    keys.push_back(key);
    call.arguments += python_json_string(key) + ": " +
                      (text ? python_json_string(value) : std::string(value));
    if (!reader.until(std::array{kParameterOpen, kInvokeClose}, before, which))
      return refuse("an invoke has no end");
    if (before != ">\n") return refuse("there is text between parameters");
  }
  call.arguments += '}';
  return call;
}

}  // namespace

Result<Message> parse_strict(std::string_view text, bool thinking) {
  Message message;
  if (thinking) {
    const std::size_t end = text.find(kThinkEnd);
    if (end == std::string_view::npos) return refuse("the reasoning does not end with </think>");
    message.reasoning = text.substr(0, end);
    if (message.reasoning.find(kCallsOpen) != std::string::npos)
      return refuse("a tool call stands before </think>");
    text.remove_prefix(end + kThinkEnd.size());
  }
  const std::string opener = "\n\n" + std::string(kCallsOpen);
  Reader reader{text};
  std::string_view content;
  std::size_t which = 0;
  if (!reader.until(std::array<std::string_view, 2>{kEos, opener}, content, which))
    return refuse("it does not end with the end-of-sentence token");
  message.content = content;
  if (which == 1) {
    std::string_view before;
    if (!reader.until(std::array{kInvokeOpen, kCallsClose}, before, which))
      return refuse("the tool calls have no end");
    if (before != ">\n") return refuse("the opening tag of the tool calls is malformed");
    while (which == 0) {
      auto call = invoke(reader);
      if (!call) return tl::unexpected(std::move(call.error()));
      message.calls.push_back(std::move(*call));
      if (!reader.until(std::array{kInvokeOpen, kCallsClose}, before, which))
        return refuse("the tool calls have no end");
      if (before != ">\n") return refuse("there is text between calls");
    }
    if (!reader.rest.starts_with(kEos)) return refuse("there is text after the tool calls");
    reader.rest.remove_prefix(kEos.size());
  }
  if (!reader.rest.empty()) return refuse("there is text after the end-of-sentence token");
  for (const std::string* part : {&message.content, &message.reasoning}) {
    for (const std::string_view special : {kBos, kEos, kThink, kThinkEnd, kDsml}) {
      if (part->find(special) != std::string::npos)
        return refuse(fmt::format("'{}' stands in the text", special));
    }
  }
  return message;
}

}  // namespace lares::engine
