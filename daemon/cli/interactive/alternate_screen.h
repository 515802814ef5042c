// What a command writes outside of the terminal's other screen: the pages of vim or less are no
// output that anybody wants to read again.
#pragma once

#include <string>
#include <string_view>

namespace lares::cli {

class AlternateScreen {
 public:
  // Takes bytes in any pieces and gives those of the first screen, the sequences that switch among
  // them (DEC private modes 47, 1047 and 1049).
  std::string feed(std::string_view bytes);
  bool active() const { return active_; }  // the other one is shown

 private:
  void follow(char c);

  static constexpr std::size_t kParametersMax = 32;  // bytes; a longer sequence is none of these
  enum class State { text, escape, introduced, parameters } state_ = State::text;
  std::string parameters_;
  bool active_ = false;
};

}  // namespace lares::cli
