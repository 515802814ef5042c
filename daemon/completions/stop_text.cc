#include "daemon/completions/stop_text.h"

#include <algorithm>
#include <utility>

namespace lares::daemon {

std::string StopText::feed(std::string_view piece) {
  if (found_) return "";
  held_ += piece;
  std::size_t at = std::string::npos;
  for (const std::string& stop : stops_) {
    const std::size_t here = held_.find(stop);
    if (here == std::string::npos || here > at || (here == at && stop.size() < found_->size()))
      continue;
    at = here, found_ = stop;
  }
  if (found_) return held_.substr(0, at);
  std::size_t n_held = 0;  // bytes at the end that begin one
  for (const std::string& stop : stops_) {
    for (std::size_t n = std::min(held_.size(), stop.size() - 1); n > n_held; --n) {
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, n))) n_held = n;
    }
  }
  std::string said = held_.substr(0, held_.size() - n_held);
  held_.erase(0, said.size());
  return said;
}

}  // namespace lares::daemon
