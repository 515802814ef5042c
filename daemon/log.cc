#include "daemon/log.h"

#include <unistd.h>

namespace lares::daemon {
namespace {

void append_value(std::string& line, std::string_view value) {
  bool plain = !value.empty();
  for (const unsigned char c : value) plain = plain && c > ' ' && c != '"' && c != '\\' && c != 127;
  if (plain) {
    line += value;
    return;
  }
  line += '"';
  for (const unsigned char c : value) {
    if (c == '"' || c == '\\') {
      line += '\\';
      line += static_cast<char>(c);
    } else if (c < ' ' || c == 127) {
      line += fmt::format("\\x{:02x}", c);
    } else {
      line += static_cast<char>(c);
    }
  }
  line += '"';
}

}  // namespace

void Log::event(std::string_view name, std::initializer_list<Field> fields) const {
  if (fd_ < 0) return;
  std::string line(name);
  for (const Field& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    append_value(line, field.value);
  }
  line += '\n';
  // A full or closed log is no reason to stop working, and there is nobody left to tell.
  [[maybe_unused]] const auto n = ::write(fd_, line.data(), line.size());
}

}  // namespace lares::daemon
