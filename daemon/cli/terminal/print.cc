#include "daemon/cli/terminal/print.h"

#include <cerrno>
#include <cstdio>

#include "daemon/cli/terminal/output.h"

namespace lares::cli {

void write_out(std::string_view text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
    note_write_error(errno != 0 ? errno : EIO);
}

void write_err(std::string_view text) { (void)std::fwrite(text.data(), 1, text.size(), stderr); }

}  // namespace lares::cli
