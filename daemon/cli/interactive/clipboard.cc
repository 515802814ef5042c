#include "daemon/cli/interactive/clipboard.h"

#include <fmt/format.h>

#include "tools/base64.h"

namespace lares::cli {

std::string clipboard_set_to(std::string_view text) {
  return fmt::format("\x1b]52;c;{}\a", tools::to_base64(text));
}

}  // namespace lares::cli
