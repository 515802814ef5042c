// Formatted text on standard output and standard error. fmt::print throws where the stream takes
// nothing more, a full disk or a reader that went away, and the command then ends in the middle of
// its work: these go on.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace lares::cli {

void write_out(std::string_view text);  // what fails is remembered for delivered()
void write_err(std::string_view text);  // what fails has nowhere to be said

template <class... Args>
void print_out(fmt::format_string<Args...> format, Args&&... args) {
  write_out(fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
void print_err(fmt::format_string<Args...> format, Args&&... args) {
  write_err(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace lares::cli
