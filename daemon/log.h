// The daemon's log: one event a line on one descriptor, a fixed name, then key=value. No prompt or
// file text goes here.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace lares::daemon {

class Log {
 public:
  struct Field {
    template <class T>
    Field(std::string_view k, const T& v) : key(k), value(fmt::format("{}", v)) {}
    std::string_view key;
    std::string value;
  };

  explicit Log(int fd) : fd_(fd) {}  // -1: silent
  // Values with blanks, quotes or control characters are quoted. A line is one write, so threads do
  // not tear each other's.
  void event(std::string_view name, std::initializer_list<Field> fields = {}) const;

 private:
  int fd_;
};

}  // namespace lares::daemon
