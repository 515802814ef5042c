#include "daemon/shown/asked_call.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "daemon/shown/text.h"
#include "tools/text.h"

namespace lares::shown {
namespace {

using Json = nlohmann::json;

std::string string_of(const Json& arguments, const char* key) {
  const auto at = arguments.find(key);
  return at != arguments.end() && at->is_string() ? at->get<std::string>() : "";
}

// How it begins and how it ends: what is to be hidden from a person stands at the end.
std::string bounded(std::string text) {
  if (text.size() <= kAskedBytesMax) return text;
  const std::size_t head = tools::utf8_floor(text, kAskedBytesMax / 2),
                    tail = tools::utf8_floor(text, text.size() - kAskedBytesMax / 2);
  return fmt::format("{}\n[{} bytes in between are not shown]\n{}", text.substr(0, head),
                     grouped(static_cast<long long>(tail - head)), text.substr(tail));
}

std::string edited(const Json& arguments) {
  std::string out;
  for (const auto& [key, sign] :
       {std::pair{"old_str", '-'}, {"new_str", '+'}, {"file_text", '+'}}) {
    const std::string text = string_of(arguments, key);
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      out.append(1, sign).append(text, begin, end - begin).append(1, '\n');
      begin = end + 1;
    }
  }
  return out;
}

std::string named(const Json& arguments) {
  std::string out;
  for (const auto& [name, value] : arguments.items())
    out += fmt::format("{}{}: {}", out.empty() ? "" : "\n", name,
                       value.is_string()
                           ? value.get<std::string>()
                           : value.dump(2, ' ', false, Json::error_handler_t::replace));
  return out;
}

}  // namespace

AskedCall asked_call(const daemon::protocol::Item& item) {
  const Json arguments = Json::parse(item.arguments, nullptr, /*allow_exceptions=*/false);
  AskedCall out;
  if (!arguments.is_object()) {
    out.what = item.arguments;
  } else if (item.name == "bash") {
    out.what = string_of(arguments, "command");
  } else if (item.name == "str_replace_editor") {
    out.what = string_of(arguments, "command") + " " + string_of(arguments, "path");
    if (const auto line = arguments.find("insert_line"); line != arguments.end())
      out.what += " after line " + line->dump();
    out.lines = edited(arguments);
  } else {
    out.what = named(arguments);
  }
  out.what = bounded(exact(out.what));
  out.lines = bounded(exact(out.lines));
  return out;
}

}  // namespace lares::shown
