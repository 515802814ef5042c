// JSON whose numbers stay the ones that were written. nlohmann's are of 64 bits: an integer beyond
// them would be rounded to another, and what no double reaches would be no JSON. Here such a number
// is kept as its digits, in a binary value, which JSON has no other use for.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace lares::engine {

// Of arrays and objects in one another: writing one again takes a call for each
inline constexpr int kJsonDepthMax = 128;
// In one text: beyond every double each takes another look at it
inline constexpr std::size_t kBeyondDoublesMax = 16;

// What a model or a client wrote; of nlohmann::json and ordered_json. Discarded: it is not JSON, or
// nested deeper than that, or has more numbers beyond every double.
template <class Json>
Json exact_json(std::string_view text, int depth_max = kJsonDepthMax);

// Of a number that is kept so, or nothing: the value is another one. As long as the value lives.
std::string_view digits_of(const nlohmann::json& value);
std::string_view digits_of(const nlohmann::ordered_json& value);

// Without blanks, on one line. What is not UTF-8 becomes U+FFFD.
std::string exact_text(const nlohmann::ordered_json& json);

// Of a text that is JSON: what exact_text() writes as that text, to the letter.
nlohmann::ordered_json as_written(std::string_view text);

struct Rounded {
  std::string path;    // "rows[3].id"
  std::string digits;  // as they were written
};
// For who needs values: each number that is kept as its digits becomes the double nearest to it,
// which is finite. The first that has become another number.
template <class Json>
std::optional<Rounded> round_to_doubles(Json& json);

}  // namespace lares::engine
