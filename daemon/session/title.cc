#include "daemon/session/title.h"

#include "daemon/utf8.h"

namespace lares::daemon {

std::string title_of(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return "";
  const auto end = text.find_first_of("\r\n", begin);
  return std::string(utf8_prefix(text.substr(begin, end - begin), kTitleBytesMax));
}

}  // namespace lares::daemon
