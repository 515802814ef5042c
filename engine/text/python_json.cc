#include "engine/text/python_json.h"

#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/exact_json.h"

namespace lares::engine {
namespace {

// repr(float): the shortest digits that read back the same, scientific below 1e-4 and from 1e16 on.
std::string python_float(double x) {
  if (std::isnan(x)) return "NaN";
  if (std::isinf(x)) return x < 0 ? "-Infinity" : "Infinity";
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, x, std::chars_format::scientific).ptr;
  const std::string_view all(text, std::size_t(end - text));
  const std::size_t e = all.find('e');
  int exponent = 0;
  const char* digits_begin = all.data() + e + 1 + (all[e + 1] == '+');
  std::from_chars(digits_begin, end, exponent);
  if (x != 0 && (exponent < -4 || exponent >= 16)) {
    return fmt::format("{}e{}{:02}", all.substr(0, e), exponent < 0 ? '-' : '+',
                       std::abs(exponent));
  }
  const auto fixed_end = std::to_chars(text, text + sizeof text, x, std::chars_format::fixed).ptr;
  std::string fixed(text, fixed_end);
  if (fixed.find('.') == std::string::npos) fixed += ".0";
  return fixed;
}

void write(const nlohmann::ordered_json& value, std::string& out) {
  switch (value.type()) {
    case nlohmann::ordered_json::value_t::object: {
      out += '{';
      bool first = true;
      for (const auto& [key, item] : value.items()) {
        if (!first) out += ", ";
        first = false;
        out += python_json_string(key);
        out += ": ";
        write(item, out);
      }
      out += '}';
      return;
    }
    case nlohmann::ordered_json::value_t::array: {
      out += '[';
      bool first = true;
      for (const auto& item : value) {
        if (!first) out += ", ";
        first = false;
        write(item, out);
      }
      out += ']';
      return;
    }
    case nlohmann::ordered_json::value_t::string:
      out += python_json_string(value.get_ref<const std::string&>());
      return;
    case nlohmann::ordered_json::value_t::number_float:
      out += python_float(value.get<double>());
      return;
    case nlohmann::ordered_json::value_t::binary:
      out += digits_of(value);
      return;
    default:
      out += value.dump();  // null, true, false and integers are written alike
  }
}

}  // namespace

std::string python_json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (std::uint8_t(c) < 0x20) {
          out += fmt::format("\\u{:04x}", std::uint8_t(c));
        } else {
          out += c;
        }
    }
  }
  return out + '"';
}

std::string shown(std::string_view text) {
  constexpr std::size_t kShownMax = 40;
  if (text.size() <= kShownMax) return python_json_string(text);
  std::size_t n = kShownMax;
  while (n > 0 && (std::uint8_t(text[n]) & 0xC0) == 0x80) --n;  // not within a character
  return python_json_string(text.substr(0, n)) + "...";
}

std::string python_json(const nlohmann::ordered_json& value) {
  std::string out;
  write(value, out);
  return out;
}

}  // namespace lares::engine
