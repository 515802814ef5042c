// What a server says, before anything is made of it.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace lares::daemon {

// As a part of a line for people: a bounded beginning, without control characters.
std::string words_of_server(std::string_view text);

// Discarded where it is no JSON. What is nested deeper than any answer is left out, for JSON's own
// functions go down by themselves; and so is "prompt_token_ids", which is the prompt once more.
nlohmann::json foreign_json(std::string_view text);

}  // namespace lares::daemon
