#include "engine/tokenizer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>

#include <fmt/format.h>

#include "engine/text/tokenizer/bpe.h"
#include "engine/text/tokenizer/byte_trie.h"
#include "engine/text/tokenizer/pretokenizer.h"
#include "engine/text/tokenizer/tokenizer_json.h"
#include "engine/text/tokenizer/vocabulary.h"

namespace lares::engine {
namespace {

constexpr std::streamoff kFileBytesMax = 256 << 20;  // the official file has 6 MB

ByteTrie trie_of(const std::vector<std::pair<std::string, Token>>& added) {
  std::vector<ByteTrie::Entry> entries;
  for (const auto& [content, id] : added) entries.emplace_back(content, id);
  return ByteTrie(std::move(entries));
}

class BpeTokenizer final : public Tokenizer {
 public:
  BpeTokenizer(TokenizerJson json, Pretokenizer pretokenizer)
      : bpe_(json.merges, json.byte_tokens),
        added_(trie_of(json.added)),
        pretokenizer_(std::move(pretokenizer)),
        bytes_(std::move(json.bytes)) {
    for (const auto& [content, id] : json.added) added_starts_[std::uint8_t(content[0])] = true;
  }

  void encode(std::string_view text, bool added, std::vector<Token>& out) const override {
    if (!added) return plain(text, out);
    std::size_t done = 0;
    for (std::size_t at = 0; at < text.size();) {
      const ByteTrie::Found found = added_at(text, at);
      if (found.id < 0) continue;
      plain(text.substr(done, at - done), out);
      out.push_back(found.id);
      at += found.length;
      done = at;
    }
    plain(text.substr(done), out);
  }

  std::vector<Token> encode(const std::vector<Segment>& segments) const override {
    std::vector<Token> out;
    std::string stretch;  // plain text since the last added token
    for (const Segment& segment : segments) {
      const std::string_view text = segment.text;
      std::size_t done = 0;
      for (std::size_t at = 0; segment.trusted && at < text.size();) {
        const ByteTrie::Found found = added_at(text, at);
        if (found.id < 0) continue;
        stretch += text.substr(done, at - done);
        plain(stretch, out);
        stretch.clear();
        out.push_back(found.id);
        at += found.length;
        done = at;
      }
      stretch += text.substr(done);
    }
    plain(stretch, out);
    return out;
  }

  int vocab_size() const override { return int(bytes_.size()); }
  std::string_view bytes(Token id) const override {
    return id >= 0 && std::size_t(id) < bytes_.size() ? std::string_view(bytes_[std::size_t(id)])
                                                      : std::string_view();
  }
  std::optional<Token> added(std::string_view text) const override {
    const Token id = added_.find(text);
    return id < 0 ? std::nullopt : std::optional(id);
  }
  std::shared_ptr<const Vocabulary> vocabulary() const override {
    std::call_once(vocabulary_once_, [&] { vocabulary_ = Tokenizer::vocabulary(); });
    return vocabulary_;
  }

 private:
  // The added token that starts at `at`; without one, moves `at` to the next byte that could start
  // one, or to the end.
  ByteTrie::Found added_at(std::string_view text, std::size_t& at) const {
    while (at < text.size() && !added_starts_[std::uint8_t(text[at])]) ++at;
    if (at == text.size()) return {};
    const ByteTrie::Found found = added_.longest(text.substr(at));
    if (found.id < 0) ++at;
    return found;
  }

  void plain(std::string_view text, std::vector<Token>& out) const {
    if (text.empty()) return;
    std::vector<std::size_t> ends;
    pretokenizer_.pieces(text, ends);
    std::size_t begin = 0;
    for (std::size_t end : ends) {
      bpe_.encode(text.substr(begin, end - begin), out);
      begin = end;
    }
  }

  Bpe bpe_;
  ByteTrie added_;
  std::array<bool, 256> added_starts_{};
  Pretokenizer pretokenizer_;
  std::vector<std::string> bytes_;
  mutable std::once_flag vocabulary_once_;
  mutable std::shared_ptr<const Vocabulary> vocabulary_;
};

}  // namespace

Result<std::unique_ptr<Tokenizer>> Tokenizer::from_file(const std::string& path) {
  const auto fail = [&](Errc code, std::string why) {
    return tl::unexpected(Error{code, fmt::format("read the tokenizer {}: {}", path, why)});
  };
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    return fail(Errc::malformed, "it is a directory; name the file in it");
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return fail(Errc::not_found, std::strerror(errno));
  const std::streamoff size = file.tellg();
  if (size < 0 || size > kFileBytesMax)
    return fail(Errc::malformed, fmt::format("{} bytes, the limit is {}", size, kFileBytesMax));
  std::string text(std::size_t(size), '\0');
  file.seekg(0);
  if (!file.read(text.data(), size))
    return fail(Errc::malformed, "it could not be read to its end");
  auto json = parse_tokenizer_json(text, path);
  if (!json) return tl::unexpected(std::move(json.error()));
  auto pretokenizer = Pretokenizer::make(json->splits);
  if (!pretokenizer) return fail(pretokenizer.error().code, pretokenizer.error().message);
  return std::make_unique<BpeTokenizer>(std::move(*json), std::move(*pretokenizer));
}

}  // namespace lares::engine
