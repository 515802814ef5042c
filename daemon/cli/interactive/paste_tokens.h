// Large pastes stand in the line as "[pasted 40 lines #1]" and are sent whole.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace lares::cli {

inline constexpr std::size_t kPasteLinesShownMax = 6, kPasteBytesShownMax = 500;  // larger ones
                                                                                  // become tokens

class PasteTokens {
 public:
  // What stands in the line for `paste`: itself, or a token.
  std::string shown(const std::string& paste);
  // `line` with what its tokens stand for. One that was edited is text like any other.
  std::string expanded(std::string line) const;
  void clear() { pastes_.clear(); }

 private:
  std::vector<std::string> pastes_;
};

}  // namespace lares::cli
