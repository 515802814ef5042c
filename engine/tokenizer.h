// Byte-level BPE from a Hugging Face tokenizer.json.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"

namespace lares::engine {

// A piece of a prompt. `trusted` text was written by us and may contain control tokens; text that
// came from files, tools or people is not, and its `<｜User｜>` is eleven ordinary characters.
// The release tokenizes all of a prompt alike.
struct Segment {
  std::string text;
  bool trusted = false;
};

class Vocabulary;  // engine/text/tokenizer/vocabulary.h: what the grammar walks

class Tokenizer {
 public:
  static Result<std::unique_ptr<Tokenizer>> from_file(const std::string& path);  // a tokenizer.json
  virtual ~Tokenizer() = default;

  // Appends to `out`. With `added`, added tokens are matched first (leftmost, longest); without,
  // the text is plain.
  virtual void encode(std::string_view text, bool added, std::vector<Token>& out) const = 0;
  // Adjacent plain stretches are joined before BPE, whatever segment they came from, so seams cost
  // no different merges.
  virtual std::vector<Token> encode(const std::vector<Segment>& segments) const = 0;
  std::vector<Token> encode(std::string_view text, bool added) const {
    std::vector<Token> out;
    encode(text, added, out);
    return out;
  }

  virtual int vocab_size() const = 0;  // ids are 0 .. vocab_size() - 1
  // What the token adds to the text; empty for unused ids
  virtual std::string_view bytes(Token id) const = 0;
  virtual std::optional<Token> added(std::string_view) const = 0;  // the id of an added token
  // Built from the above at the first call where an implementation keeps it.
  virtual std::shared_ptr<const Vocabulary> vocabulary() const;
  std::string decode(std::span<const Token> ids) const {
    std::string s;
    for (Token t : ids) s += bytes(t);
    return s;
  }
};

}  // namespace lares::engine
