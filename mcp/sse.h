// A stream of server-sent events, fed as the bytes come.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace lares::mcp {

class SseParser {
 public:
  // Type "" is "message"
  using OnEvent = std::function<void(const std::string& type, const std::string& data)>;

  SseParser(std::size_t event_bytes_max, OnEvent on_event)
      : n_max_(event_bytes_max), on_event_(std::move(on_event)) {}

  // false: an event is longer than allowed, and the stream is of no more use
  bool feed(std::string_view bytes);
  void restart();  // another connection goes on after last_id
  const std::string& last_id() const { return last_id_; }
  std::optional<int> retry_ms() const { return retry_ms_; }

 private:
  void line();

  std::size_t n_max_;
  OnEvent on_event_;
  std::string line_, type_, data_, id_, last_id_;
  std::optional<int> retry_ms_;
  bool has_data_ = false, after_cr_ = false, at_start_ = true;
};

}  // namespace lares::mcp
