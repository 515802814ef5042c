// JSON text exactly as Python's json.dumps(value, ensure_ascii=False) writes it: the form the model
// was trained on.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace lares::engine {

// Of a value of exact_json() too: Python's integers have no end.
std::string python_json(const nlohmann::ordered_json& value);
// A quoted string, escaped as above.
std::string python_json_string(std::string_view text);
// So too, for one line of a message: of more than 40 bytes the beginning, and "...".
std::string shown(std::string_view text);

}  // namespace lares::engine
