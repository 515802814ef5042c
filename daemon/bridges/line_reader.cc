#include "daemon/bridges/line_reader.h"

#include <utility>

namespace lares::cli {

void LineReader::take(std::string_view bytes, const std::function<void(Line)>& line) {
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    if (!skipping_) inbox_ += bytes.substr(0, end);
    if (inbox_.size() > bounds_.bytes_max) {
      skipping_ = true;
      inbox_.resize(bounds_.head_max);
      inbox_.shrink_to_fit();
    }
    if (end == std::string_view::npos) return;
    bytes.remove_prefix(end + 1);
    Line whole{std::exchange(inbox_, ""), std::exchange(skipping_, false)};
    if (whole.too_long || whole.text.find_first_not_of(" \t\r") != std::string::npos)
      line(std::move(whole));
  }
}

}  // namespace lares::cli
