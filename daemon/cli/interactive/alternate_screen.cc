#include "daemon/cli/interactive/alternate_screen.h"

#include <algorithm>

namespace lares::cli {
namespace {

bool names_other_screen(std::string_view parameters) {
  while (!parameters.empty()) {
    const std::size_t end = std::min(parameters.find(';'), parameters.size());
    const std::string_view mode = parameters.substr(0, end);
    if (mode == "47" || mode == "1047" || mode == "1049") return true;
    parameters.remove_prefix(std::min(end + 1, parameters.size()));
  }
  return false;
}

}  // namespace

std::string AlternateScreen::feed(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    const bool before = active_;
    follow(c);
    if (!before) out += c;  // the end of the sequence that switches, too: what comes in is whole
  }
  return out;
}

// ESC [ ? PARAMETERS h or l
void AlternateScreen::follow(char c) {
  if (c == '\x1b') {
    state_ = State::escape;
  } else if (state_ == State::escape) {
    state_ = c == '[' ? State::introduced : State::text;
  } else if (state_ == State::introduced) {
    state_ = c == '?' ? State::parameters : State::text;
    parameters_.clear();
  } else if (state_ == State::parameters) {
    if (((c >= '0' && c <= '9') || c == ';') && parameters_.size() < kParametersMax) {
      parameters_ += c;
      return;
    }
    if ((c == 'h' || c == 'l') && names_other_screen(parameters_)) active_ = c == 'h';
    state_ = State::text;
  }
}

}  // namespace lares::cli
