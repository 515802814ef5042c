// JSON as programs write it. Of a string that JavaScript cut between the two halves of a character
// the half that is left is written as an escape, which no strict parser takes; whoever kept such a
// string would be refused ever after.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace lares::tools {

// `json` with U+FFFD in place of every escaped surrogate that has not its other half beside it;
// nullopt: there is none.
std::optional<std::string> with_whole_characters(std::string_view json);

// Brackets within brackets: a parser, and whoever prints what it made, recurses as deep as a text
// says. In any text; what a sound one has in its strings does not count.
bool nested_too_deep(std::string_view json, std::size_t depth_max);

// What a text may hold, beyond which parsing it is a danger.
struct JsonBounds {
  std::size_t depth = 128;         // as nested_too_deep()
  std::size_t members = 16'384;    // of one object: ordered_json compares each with those
                                   // before it
  std::size_t compares = 1 << 28;  // of all its objects' members
  std::size_t values = 1 << 20;    // each takes memory, and time to be let go of
};
// Before JSON is parsed: why it is too much, "an object in it has more than 16384 members";
// nullopt: it is not.
std::optional<std::string> too_much(std::string_view json, const JsonBounds& bounds);

// Discarded where it is no JSON all the same.
template <class Json>
Json lenient_json(std::string_view text) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_discarded()) return json;
  const auto whole = with_whole_characters(text);
  return whole ? Json::parse(*whole, nullptr, /*allow_exceptions=*/false) : json;
}

}  // namespace lares::tools
