// Cuts text into the pieces BPE works on: a tokenizer.json's sequence of Split patterns, each
// applied to every piece that the ones before it made ("Isolated": matches and the gaps between
// them both become pieces).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/tokenizer/regex.h"

namespace lares::engine {

struct SplitPattern {
  std::string pattern;
  bool literal = false;  // a plain string, not a regular expression
};

// The three patterns of DeepSeek-V4's tokenizer.json, run by a scanner written for them.
extern const char* const kOfficialSplits[3];

class Pretokenizer {
 public:
  static Result<Pretokenizer> make(const std::vector<SplitPattern>& splits);

  // Appends where each piece of `text` ends, in ascending order; the last is text.size(). Bytes
  // that are not valid UTF-8 are pieces of their own.
  void pieces(std::string_view text, std::vector<std::size_t>& ends) const;

 private:
  bool official_ = false;
  std::vector<Regex> splits_;  // when not official
};

}  // namespace lares::engine
