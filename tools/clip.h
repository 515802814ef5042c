// A command's output on its way to the model: cleaned (UTF-8, no terminal codes), bounded in memory
// whatever comes, and clipped to a head and a tail, with the whole of it in a file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tools/spill.h"

namespace lares::tools {

inline constexpr std::size_t kOutputBytesMax = 16'000, kHeadBytes = 10'000, kTailBytes = 6'000;

// The words the model was trained to see where something was cut.
inline constexpr std::string_view kClippedNote =
    "<response clipped><NOTE>To save on context only part of this file has been shown to you. You "
    "should retry this tool "
    "after you have searched inside the file with `grep -n` in order to find the line numbers of "
    "what you are looking "
    "for.</NOTE>";

// Takes bytes in any pieces and gives text: escape sequences dropped, "\r\n" as "\n", of a line
// redrawn with "\r" only the last state, invalid UTF-8 as U+FFFD, other control characters dropped.
class OutputCleaner {
 public:
  std::string feed(std::string_view bytes);
  std::string finish();

 private:
  void put(char c, std::string& out);
  void end_character(std::string& out);

  enum class State { text, escape, csi, osc, osc_escape } state_ = State::text;
  // The line so far, at most kLineBytesMax of it; the UTF-8 character so far
  std::string line_, pending_;
  bool carriage_return_ = false;
  static constexpr std::size_t kLineBytesMax = 8 << 10;
};

// Of a text that is whole, as a string of JSON is, in which escape sequences stand escaped.
std::string cleaned(std::string text);

class Clip {
 public:
  Clip(std::string state_dir, std::string_view tool)
      : state_dir_(std::move(state_dir)), tool_(tool) {}
  void append(std::string_view text);
  // Ends the text; with the marker and the file's path where something was left out.
  std::string finish();
  std::uint64_t n_bytes() const { return n_bytes_; }

 private:
  std::string state_dir_, tool_, head_, tail_;
  std::uint64_t n_bytes_ = 0;
  std::optional<SpillFile> spill_;
};

// The same for a text at hand.
std::string clipped(const std::string& state_dir, std::string_view tool, std::string_view text);

}  // namespace lares::tools
