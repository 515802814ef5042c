// The CPU's kernels as --impl names them.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>

#include "engine/inspect.h"

namespace lares::cli {

inline CLI::Validator kernel_name() {
  return CLI::Validator(
      [](std::string& text) {
        const auto names = engine::kernel_names();
        if (std::find(names.begin(), names.end(), text) != names.end()) return std::string();
        return fmt::format("no kernels are called {} here; this machine runs {}", text,
                           fmt::join(names, ", "));
      },
      "");
}

}  // namespace lares::cli
