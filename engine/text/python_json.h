// JSON text exactly as Python's json.dumps(value, ensure_ascii=False) writes it: the form the model
// was trained on (SPEC section 5.1, J).
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace lares::engine {

// Of arrays and objects in one another: writing one again takes a call for each
inline constexpr int kJsonDepthMax = 128;

// What a model or a client wrote. Discarded: it is not JSON, or nested deeper than kJsonDepthMax.
nlohmann::ordered_json parsed_json(std::string_view text);
std::string python_json(const nlohmann::ordered_json& value);
// A quoted string, escaped as above.
std::string python_json_string(std::string_view text);
// So too, for one line of a message: of more than 40 bytes the beginning, and "...".
std::string shown(std::string_view text);

}  // namespace lares::engine
