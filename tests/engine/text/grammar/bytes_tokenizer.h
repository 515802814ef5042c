// A byte-level tokenizer with the control tokens, to test grammars with.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/chat.h"
#include "engine/tokenizer.h"

namespace lares::engine::test {

inline const std::vector<std::string> kLongerTokens = {
    "</",     "\">\n", "parameter", "name", "=\"", "true", " string",        "in",
    "invoke", "\n\n",  "return ",   "12",   "[1",  ", ",   "</tool_result>", "tool_result>\n"};

// 256 bytes, the longer tokens, then the added ones.
class Bytes final : public Tokenizer {
 public:
  explicit Bytes(const std::vector<std::string>& longer = kLongerTokens,
                 std::optional<char> without = {}) {
    tokens_.reserve(256 + longer.size() + 7);
    for (int b = 0; b < 256; ++b) tokens_.emplace_back(1, char(b));
    if (without) tokens_[std::uint8_t(*without)] = '\0';
    tokens_.insert(tokens_.end(), longer.begin(), longer.end());
    n_ordinary_ = Token(tokens_.size());
    for (std::string_view t : {kBos, kEos, kUser, kAssistant, kThink, kThinkEnd, kDsml})
      tokens_.emplace_back(t);
  }
  void encode(std::string_view, bool, std::vector<Token>&) const override {}
  std::vector<Token> encode(const std::vector<Segment>&) const override { return {}; }
  int vocab_size() const override { return int(tokens_.size()); }
  std::string_view bytes(Token id) const override { return tokens_[std::size_t(id)]; }
  std::optional<Token> added(std::string_view text) const override {
    for (Token id = n_ordinary_; id < vocab_size(); ++id) {
      if (tokens_[std::size_t(id)] == text) return id;
    }
    return std::nullopt;
  }

 private:
  std::vector<std::string> tokens_;
  Token n_ordinary_ = 0;
};

}  // namespace lares::engine::test
