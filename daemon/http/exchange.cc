#include "daemon/http/exchange.h"

namespace lares::daemon {

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

}  // namespace lares::daemon
