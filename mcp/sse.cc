#include "mcp/sse.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace lares::mcp {

bool SseParser::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    if (after_cr_ && bytes.front() == '\n') bytes.remove_prefix(1);  // the second half of \r\n
    after_cr_ = false;
    const auto end = bytes.find_first_of("\r\n");
    line_.append(bytes.substr(0, end));
    if (line_.size() + data_.size() > n_max_) return false;
    if (end == std::string_view::npos) break;
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    line();
    line_.clear();
  }
  return true;
}

void SseParser::line() {
  std::string_view text = line_;
  if (std::exchange(at_start_, false) && text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  if (text.empty()) {
    last_id_ = id_;
    const auto data = std::exchange(data_, ""), type = std::exchange(type_, "");
    if (std::exchange(has_data_, false)) on_event_(type, data);
    return;
  }
  const auto colon = text.find(':');
  const auto field = text.substr(0, colon);
  auto value = colon == std::string_view::npos ? std::string_view{} : text.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "data") {
    if (has_data_) data_ += '\n';
    data_ += value;
    has_data_ = true;
  } else if (field == "event") {
    type_ = value;
  } else if (field == "id") {
    if (value.find('\0') == std::string_view::npos) id_ = value;
  } else if (field == "retry") {
    int ms = 0;
    const auto [stop, ec] = std::from_chars(value.data(), value.data() + value.size(), ms);
    if (ec == std::errc{} && stop == value.data() + value.size() && ms >= 0) retry_ms_ = ms;
  }
}

void SseParser::restart() {
  line_.clear(), data_.clear(), type_.clear();
  id_ = last_id_;  // an event that was cut off is not had
  has_data_ = after_cr_ = false;
  at_start_ = true;
}

}  // namespace lares::mcp
