#include "tests/clients/client_director.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/chat.h"

namespace lares::daemon {
namespace {

using Json = nlohmann::ordered_json;

// The functions that the prompt declares, in its order.
std::vector<Json> declared(std::string_view prompt) {
  constexpr std::string_view kHeading = "### Available Tool Schemas\n\n";
  std::vector<Json> out;
  for (std::size_t at = prompt.find(kHeading); at != std::string_view::npos;
       at = prompt.find(kHeading, at)) {
    at += kHeading.size();
    while (at < prompt.size() && prompt[at] == '{') {
      const std::size_t end = std::min(prompt.find('\n', at), prompt.size());
      Json tool = Json::parse(prompt.substr(at, end - at), nullptr, /*allow_exceptions=*/false);
      if (tool.is_object()) out.push_back(std::move(tool));
      at = std::min(end + 1, prompt.size());
    }
  }
  return out;
}

Json properties(const Json& tool) {
  const auto parameters = tool.value("parameters", Json::object());
  return parameters.is_object() ? parameters.value("properties", Json::object()) : Json::object();
}

// Something of the type that is asked for.
Json filler(const Json& schema) {
  if (schema.is_object() && schema.contains("enum") && schema["enum"].is_array() &&
      !schema["enum"].empty())
    return schema["enum"][0];
  const Json type = schema.is_object() ? schema.value("type", Json("string")) : Json("string");
  if (type == "boolean") return false;
  if (type == "integer" || type == "number") return 1;
  if (type == "array") return Json::array();
  if (type == "object") return Json::object();
  return "to write the file";
}

// How a call of `tool` makes PATH hold kWritten; nothing: it is no such tool.
std::optional<Json> arguments(const Json& tool, const std::string& path) {
  const Json known = properties(tool);
  const std::string name = tool.value("name", "");
  const auto has = [&](const char* key) { return known.contains(key); };
  Json out = Json::object();
  const auto shell = [&](const char* key) {
    out[key] = fmt::format("printf '%s\\n' 'hello from Lares' > '{}'", path);
  };
  const auto first_of = [&](std::initializer_list<const char*> keys) {
    const auto found = std::ranges::find_if(keys, has);
    return found == keys.end() ? nullptr : *found;
  };
  const char* const where = first_of({"file_path", "filePath", "filepath", "path"});
  const char* const what = first_of({"content", "file_text", "new_text"});
  if (where && what) {
    out[where] = path;
    out[what] = kWritten;
  } else if (name.ends_with("apply_patch") && has("input")) {
    out["input"] = fmt::format(
        "*** Begin Patch\n*** Add File: {}\n+hello from Lares\n*** End Patch\n", path);
  } else if (has("cmd")) {
    shell("cmd");
  } else if (has("command") && known["command"].value("type", "") == "string") {
    shell("command");
  } else {
    return std::nullopt;
  }
  for (const Json& key :
       tool.value("parameters", Json::object()).value("required", Json::array())) {
    if (key.is_string() && !out.contains(key.get<std::string>()))
      out[key.get<std::string>()] = filler(known.value(key.get<std::string>(), Json()));
  }
  return out;
}

// The likeliest first: what is meant for writing files, then what can.
std::string call(const std::vector<Json>& tools, const std::string& path) {
  constexpr std::array<std::string_view, 9> kPreferred = {
      "Write", "write", "write_file", "apply_patch", "exec_command", "bash", "Bash", "shell", ""};
  for (const std::string_view preferred : kPreferred) {
    for (const Json& tool : tools) {
      const std::string name = tool.value("name", "");
      if (!preferred.empty() && name != preferred) continue;
      const auto values = arguments(tool, path);
      if (!values) continue;
      std::string out = fmt::format("\n\n<{0}tool_calls>\n<{0}invoke name=\"{1}\">\n",
                                    engine::kDsml, name);
      for (const auto& [key, value] : values->items()) {
        const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
        out += fmt::format("<{0}parameter name=\"{1}\" string=\"{2}\">{3}</{0}parameter>\n",
                           engine::kDsml, key, value.is_string(), text);
      }
      return out + fmt::format("</{0}invoke>\n</{0}tool_calls>", engine::kDsml);
    }
  }
  return "";
}

}  // namespace

Play writes_file(std::string_view prompt) {
  constexpr std::string_view kMark = "[[write ";
  const std::string thought = prompt.ends_with(engine::kThink) ? "A file is wanted.</think>" : "";
  const std::size_t mark = prompt.rfind(kMark);
  if (mark == std::string_view::npos) return {.text = thought + "Writing a file"};
  const std::string_view rest = prompt.substr(mark + kMark.size());
  if (rest.find("<tool_result>") != std::string_view::npos)
    return {.text = thought + "The file is written."};
  const auto tools = declared(prompt);
  const std::string written = tools.empty()
                                  ? ""
                                  : call(tools, std::string(rest.substr(0, rest.find("]]"))));
  return {.text = thought + (written.empty() ? "There is no tool that writes files."
                                             : "I write it." + written)};
}

Director writes_file_with(Mishaps mishaps) {
  return [mishaps, n = 0](std::string_view prompt) mutable {
    if (prompt.find("[[say ") != std::string_view::npos) return said_by_prompt(prompt);
    Play play = writes_file(prompt);
    const std::size_t call = play.text.find("tool_calls>");
    if (call == std::string::npos) return play;
    ++n;
    if (mishaps.pause.count() > 0)
      play.before_token = [pause = mishaps.pause](std::int64_t) {
        std::this_thread::sleep_for(pause);
      };
    if (n <= mishaps.n_broken)
      play.text.resize(play.text.find(kWritten.substr(0, 5), call)), play.fails_at_end = true;
    return play;
  };
}

}  // namespace lares::daemon
