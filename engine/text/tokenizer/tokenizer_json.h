// What a Hugging Face tokenizer.json says, checked and reduced to what byte-level BPE needs.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "engine/text/tokenizer/bpe.h"
#include "engine/text/tokenizer/pretokenizer.h"

namespace lares::engine {

struct TokenizerJson {
  std::vector<std::string> bytes;                    // of every id; empty: the id is unused
  std::vector<std::pair<std::string, Token>> added;  // matched in text before anything else
  std::vector<Bpe::Merge> merges;
  std::array<Token, 256> byte_tokens{};
  std::vector<SplitPattern> splits;
};
// `path` is only for messages.
Result<TokenizerJson> parse_tokenizer_json(std::string_view text, const std::string& path);

}  // namespace lares::engine
