// OpenAI Responses: the tools of a request as functions, and the way back from a function's name to
// what the client calls it.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "daemon/completions/conversation.h"
#include "daemon/dialects/wire.h"

namespace lares::daemon {

struct ResponsesTool {
  bool custom = false;  // takes text; for the model, a function with one string
  std::string space;    // the namespace it is in; empty: none
  std::string name;
};
// By the name the model knows it under: `space__name` where it is in a namespace.
using ResponsesTools = std::map<std::string, ResponsesTool, std::less<>>;

inline constexpr std::string_view kCustomInput = "input";  // the one argument

std::string flat_name(std::string_view space, std::string_view name);
std::string custom_arguments(std::string_view input);  // {"input": ...}
std::string custom_input(std::string_view arguments);  // and back; empty where there is none
// `tools` as the client sent them; hosted ones, which nobody here runs, are left out. An error: a
// strict one cannot be enforced.
tl::expected<ResponsesTools, WireError> read_tools(const WireJson& tools,
                                                   Conversation& conversation);

}  // namespace lares::daemon
