// The daemon's log: one event a line on one descriptor, a fixed name, then key=value. No prompt or
// file text goes here.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace lares::daemon {

// Of a log file; one older is kept, as PATH.1
inline constexpr std::uint64_t kLogBytesMax = 16 << 20;

class Log {
 public:
  struct Field {
    template <class T>
    Field(std::string_view k, const T& v) : key(k), value(fmt::format("{}", v)) {}
    std::string_view key;
    std::string value;
  };

  explicit Log(int fd) : fd_(fd) {}  // -1: silent
  // Where the descriptor is this file, it is begun anew when it has grown to `bytes_max`. Whatever
  // else is written to the descriptor goes to the new one, too.
  void rotate(std::string path, std::uint64_t bytes_max = kLogBytesMax);
  // Any thread; one writes at a time, so lines stay whole and a file that is begun anew has what
  // was written before. Values with blanks, quotes or control characters are quoted.
  void event(std::string_view name, std::initializer_list<Field> fields = {}) const;

 private:
  void begin_anew() const;

  int fd_;
  mutable std::mutex mutex_;  // of what follows, and of writing
  std::string path_;          // empty: it is not looked after
  std::uint64_t bytes_max_ = 0;
  mutable std::uint64_t bytes_ = 0;  // of the file, as far as events made it
};

}  // namespace lares::daemon
