#include "tools/lenient_json.h"

#include <charconv>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace lares::tools {
namespace {

constexpr std::size_t kEscapeBytes = 6;  // \uD83D

// Of the escape at `at`; nullopt: there is none.
std::optional<unsigned> unit_at(std::string_view json, std::size_t at) {
  if (json.substr(at, 2) != "\\u" || json.size() < at + kEscapeBytes) return std::nullopt;
  const char* const digits = json.data() + at + 2;
  unsigned unit = 0;
  const auto [end, ec] = std::from_chars(digits, digits + 4, unit, 16);
  return ec == std::errc() && end == digits + 4 ? std::optional(unit) : std::nullopt;
}
bool is_high(unsigned unit) { return unit >= 0xD800 && unit < 0xDC00; }
bool is_low(unsigned unit) { return unit >= 0xDC00 && unit < 0xE000; }

// Calls `see` with what is not within strings, their first quotes among it, until it returns false.
template <class See>
void each_outside_strings(std::string_view json, See see) {
  for (std::size_t i = 0; i < json.size(); ++i) {
    if (!see(json[i])) return;
    if (json[i] != '"') continue;
    for (++i; i < json.size() && json[i] != '"'; ++i)
      if (json[i] == '\\') ++i;
  }
}

}  // namespace

std::optional<std::string> with_whole_characters(std::string_view json) {
  std::string out;
  std::size_t copied = 0, at = json.find('\\');
  while (at != std::string_view::npos) {
    std::size_t n = 2;  // of any other escape, a backslash's own among them
    if (const auto unit = unit_at(json, at)) {
      const auto next = unit_at(json, at + kEscapeBytes);
      const bool pair = is_high(*unit) && next && is_low(*next);
      n = pair ? 2 * kEscapeBytes : kEscapeBytes;
      if (!pair && (is_high(*unit) || is_low(*unit))) {
        out.append(json.substr(copied, at - copied)).append("\\uFFFD");
        copied = at + n;
      }
    }
    at = json.find('\\', at + n);
  }
  if (copied == 0) return std::nullopt;
  return out.append(json.substr(copied));
}

bool nested_too_deep(std::string_view json, std::size_t depth_max) {
  std::size_t depth = 0;
  each_outside_strings(json, [&](char c) {
    if (c == '[' || c == '{')
      ++depth;
    else if ((c == ']' || c == '}') && depth > 0)
      --depth;
    return depth <= depth_max;
  });
  return depth > depth_max;
}

std::optional<std::string> too_much(std::string_view json, const JsonBounds& bounds) {
  std::vector<std::size_t> n_members;  // of what is open
  std::size_t n_compares = 0, n_values = 1;
  bool empty = false;  // so far, what was opened last
  std::optional<std::string> why;
  each_outside_strings(json, [&](char c) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') return true;
    const bool closes = c == '}' || c == ']';
    if (std::exchange(empty, false) && !closes) ++n_values;
    if (c == '{' || c == '[') {
      n_members.push_back(0);
      empty = true;
      if (n_members.size() > bounds.depth)
        why = fmt::format("it is nested deeper than {} levels", bounds.depth);
    } else if (closes && !n_members.empty()) {
      n_members.pop_back();
    } else if (c == ',') {
      ++n_values;
    } else if (c == ':' && !n_members.empty()) {
      if (++n_members.back() > bounds.members)
        why = fmt::format("an object in it has more than {} members", bounds.members);
      else if ((n_compares += n_members.back()) > bounds.compares)
        why = "its objects have too many members";
    }
    if (!why && n_values > bounds.values)
      why = fmt::format("it has more than {} values", bounds.values);
    return !why;
  });
  return why;
}

}  // namespace lares::tools
