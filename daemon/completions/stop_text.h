// Finds the first of several texts in one that comes in pieces, wherever it is cut, and holds back
// what could be the beginning of one.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lares::daemon {

class StopText {
 public:
  explicit StopText(std::vector<std::string> stops)
      : stops_(std::move(stops)) {}  // none of them empty

  // What can be said now. After found() nothing.
  std::string feed(std::string_view piece);
  std::string finish() { return found_ ? "" : std::move(held_); }  // the end: what was held back
  const std::optional<std::string>& found() const {
    return found_;
  }  // of those that begin at the same place, the longest

 private:
  std::vector<std::string> stops_;
  std::string held_;
  std::optional<std::string> found_;
};

}  // namespace lares::daemon
