// The subcommands of `lares`, as its help lists them.
#pragma once

#include <span>
#include <string_view>

namespace lares::cli {

struct Command {
  std::string_view name, what;
  int (*run)(int argc, const char* const* argv);
  bool seldom = false;  // the help only names it
};
std::span<const Command> commands();

}  // namespace lares::cli
