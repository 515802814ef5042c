// Whether a document obeys a JSON Schema, read off the schema's text: shares nothing with what is
// tested. Of the keywords that the engine enforces; any other is an error of the test.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace lares::engine::test {

class SchemaChecker {
 public:
  explicit SchemaChecker(const nlohmann::ordered_json& schema)
      : whole_(Json::parse(schema.dump())) {}
  // Of a document's text: what reads it as doubles loses digits that the model may write.
  bool valid(const std::string& text) const {
    const Json document = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    return !document.is_discarded() && valid(whole_, document);
  }

 private:
  using Number = long double;  // holds every integer of 19 digits
  static_assert(std::numeric_limits<Number>::digits >= 64);
  using Json = nlohmann::basic_json<nlohmann::ordered_map, std::vector, std::string, bool,
                                    std::int64_t, std::uint64_t, Number>;

  static bool is(const Json& value, const std::string& type) {
    if (type == "integer")
      return value.is_number() && std::floor(value.get<Number>()) == value.get<Number>();
    return type == value.type_name();
  }

  const Json& at(const std::string& reference) const {
    return whole_.at(Json::json_pointer(reference.substr(1)));
  }

  bool valid(const Json& schema, const Json& value) const {
    if (schema.is_boolean()) return schema.get<bool>();
    for (const auto& [keyword, says] : schema.items()) {
      if (!obeys(schema, keyword, says, value)) return false;
    }
    return true;
  }

  bool obeys(const Json& schema, const std::string& keyword, const Json& says,
             const Json& value) const {
    if (keyword == "type") {
      if (says.is_string()) return is(value, says);
      return std::any_of(says.begin(), says.end(),
                         [&](const Json& type) { return is(value, type); });
    }
    if (keyword == "enum") return std::find(says.begin(), says.end(), value) != says.end();
    if (keyword == "const") return says == value;
    if (keyword == "anyOf")
      return std::any_of(says.begin(), says.end(),
                         [&](const Json& one) { return valid(one, value); });
    if (keyword == "allOf")
      return std::all_of(says.begin(), says.end(),
                         [&](const Json& one) { return valid(one, value); });
    // What refers to itself without a step into the document says nothing of it
    if (keyword == "$ref") {
      const std::pair step(&says, &value);
      if (!under_way_.insert(step).second) return false;
      const bool obeyed = valid(at(says), value);
      under_way_.erase(step);
      return obeyed;
    }
    if (value.is_number()) {
      const auto x = value.get<Number>();
      if (keyword == "minimum") return x >= says.get<Number>();
      if (keyword == "maximum") return x <= says.get<Number>();
      if (keyword == "exclusiveMinimum") return x > says.get<Number>();
      if (keyword == "exclusiveMaximum") return x < says.get<Number>();
      if (keyword == "multipleOf") return std::fmod(x, says.get<Number>()) == 0;
    }
    if (value.is_string() && keyword == "pattern")
      return std::regex_search(value.get<std::string>(), std::regex(says.get<std::string>()));
    if (value.is_string() && keyword == "format") return is_format(says, value);
    if (value.is_array()) {
      if (keyword == "minItems") return value.size() >= says.get<std::size_t>();
      if (keyword == "maxItems") return value.size() <= says.get<std::size_t>();
      if (keyword == "items")
        return std::all_of(value.begin(), value.end(),
                           [&](const Json& item) { return valid(says, item); });
    }
    if (value.is_object()) {
      if (keyword == "required")
        return std::all_of(says.begin(), says.end(), [&](const Json& name) {
          return value.contains(name.get<std::string>());
        });
      if (keyword == "properties") {
        for (const auto& [name, property] : says.items()) {
          if (value.contains(name) && !valid(property, value[name])) return false;
        }
      }
      if (keyword == "additionalProperties") {
        for (const auto& [name, item] : value.items()) {
          if (!(schema.contains("properties") && schema["properties"].contains(name)) &&
              !valid(says, item))
            return false;
        }
      }
    }
    return true;  // of another type, or it only describes
  }

  static bool is_format(const std::string& format, const std::string& text) {
    if (format == "date") {
      std::smatch m;
      if (!std::regex_match(text, m, std::regex("(\\d{4})-(\\d\\d)-(\\d\\d)"))) return false;
      const int year = std::stoi(m[1]), month = std::stoi(m[2]), day = std::stoi(m[3]);
      const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
      const int days[] = {31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
      return year > 0 && month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1];
    }
    if (format == "uuid")
      return std::regex_match(text,
                              std::regex("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"));
    return true;
  }

  const Json whole_;
  mutable std::set<std::pair<const Json*, const Json*>> under_way_;
};

}  // namespace lares::engine::test
