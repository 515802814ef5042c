// A server's elicitation/create, put to a person as questions and read back as the result it wants.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "mcp/mcp.h"

namespace lares::mcp {

inline constexpr std::size_t kFieldsMax = 32;
inline constexpr int kTriesMax = 3;  // of one answer that does not fit its field
inline constexpr std::size_t kAnswerBytesMax = 64 << 10;
inline constexpr std::size_t kUrlsMax = 8;  // of one error: those after them are only counted
inline constexpr std::size_t kUrlBytesMax = 4'000;

// {"action": "accept", "content": {...}}, or decline, or cancel: also where nobody is there, or the
// form makes no sense.
asio::awaitable<nlohmann::json> elicit(std::string server, nlohmann::json params, Elicit ask);

// Of the data of an error kUrlElicitationRequired: what elicit() takes, once for each url that has
// to be opened first.
std::vector<nlohmann::json> required_urls(const nlohmann::json& data);
// "https://example.org/login (Log in), ...", for the model to pass on.
std::string listed_urls(const std::vector<nlohmann::json>& required);

}  // namespace lares::mcp
