// A stream of bytes as its lines, however pipes cut it: what a bridge hears.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace lares::cli {

struct Line {
  std::string text;
  bool too_long = false;  // then the text is its beginning
};

class LineReader {
 public:
  struct Bounds {
    std::size_t bytes_max;     // of a line, without its newline
    std::size_t head_max = 0;  // of the beginning of a longer one that is told; at most bytes_max
  };
  explicit LineReader(Bounds bounds) : bounds_(bounds) {}

  // Without their newline; blank ones are left out, and the last one, if it has no newline yet,
  // waits for the rest.
  void take(std::string_view bytes, const std::function<void(Line)>& line);

 private:
  Bounds bounds_;
  std::string inbox_;
  bool skipping_ = false;  // a line that is too long
};

}  // namespace lares::cli
