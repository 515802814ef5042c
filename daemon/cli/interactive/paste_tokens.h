// Large pastes stand in the line as "[pasted 40 lines #1]" and are sent whole; so do earlier
// prompts that come back into it, but only where they are too large to be read and edited there.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "daemon/cli/interactive/history.h"

namespace lares::cli {

struct ShownMax {  // what is larger becomes a token
  std::size_t lines, bytes;
};
inline constexpr ShownMax kPasteShownMax{6, 500}, kRecalledShownMax{40, 4000};

class PasteTokens {
 public:
  // What stands in the line for `text`: itself, or a token.
  std::string shown(const std::string& text, const ShownMax& max);
  // The same of an earlier prompt in which something was pasted: what was typed is shown.
  std::string shown(const std::string& entry, const std::vector<Pasted>& pasted);
  // `line` with what its tokens stand for, and where that is then. One that was edited is text like
  // any other.
  std::string expanded(std::string line) const;
  std::string expanded(std::string line, std::vector<Pasted>& pasted) const;
  void clear() { pastes_.clear(); }

 private:
  std::vector<std::string> pastes_;
};

}  // namespace lares::cli
