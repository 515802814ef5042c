// Checks for CLI11 options. Of numbers CLI::Range is not enough: it lets nan through, and an
// unsigned option takes -1 for the largest number.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <system_error>

namespace lares::cli {

inline CLI::Validator number_in(double low, double high) {
  const std::string range = fmt::format("{} to {}", low, high);
  const auto check = [=](std::string& text) -> std::string {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    const bool whole = !text.empty() && *end == '\0';
    if (whole && value >= low && value <= high) return "";
    return fmt::format("{} is no number from {}", text, range);
  };
  return CLI::Validator(check, range);
}

inline CLI::Validator whole_number_in(std::uint64_t low, std::uint64_t high) {
  const bool open = high >= std::uint64_t{1} << 62;  // none that anybody would type
  const std::string range = open ? fmt::format("{} on", low) : fmt::format("{} to {}", low, high);
  const auto check = [=](std::string& text) -> std::string {
    std::uint64_t value = 0;
    const char* const last = text.data() + text.size();
    const auto [end, ec] = std::from_chars(text.data(), last, value);
    if (ec == std::errc() && end == last && value >= low && value <= high) return "";
    return fmt::format("{} is no whole number from {}", text, range);
  };
  return CLI::Validator(check, range);
}

// An empty word is what an unset variable of a script leaves: it asks for nothing, least of all for
// the default.
inline CLI::Validator not_empty(const std::string& what, const std::string& advice) {
  const auto check = [=](std::string& text) -> std::string {
    return text.empty() ? fmt::format("{} is empty; {}", what, advice) : "";
  };
  return CLI::Validator(check, "");
}

inline CLI::Validator session_id() {
  return not_empty("the session's id", "`lares sessions` lists them");
}

inline CLI::Validator directory_name() {
  return not_empty("the directory's name", "leave it out for the default");
}

}  // namespace lares::cli
