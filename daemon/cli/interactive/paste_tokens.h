// Large pastes stand in the line as "[pasted 40 lines #1]" and are sent whole; so do earlier
// prompts that come back into it, but only where they are too large to be read and edited there.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace lares::cli {

struct ShownMax {  // what is larger becomes a token
  std::size_t lines, bytes;
};
inline constexpr ShownMax kPasteShownMax{6, 500}, kRecalledShownMax{40, 4000};

class PasteTokens {
 public:
  // What stands in the line for `text`: itself, or a token.
  std::string shown(const std::string& text, const ShownMax& max);
  // `line` with what its tokens stand for. One that was edited is text like any other.
  std::string expanded(std::string line) const;
  void clear() { pastes_.clear(); }

 private:
  std::vector<std::string> pastes_;
};

}  // namespace lares::cli
