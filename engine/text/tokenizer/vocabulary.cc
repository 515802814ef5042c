#include "engine/text/tokenizer/vocabulary.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/chat.h"
#include "engine/text/grammar/mask_store.h"

namespace lares::engine {
namespace {

class StringWalk {
 public:
  explicit StringWalk(const ByteTrie& trie) : trie_(trie) {}

  StringTokens from(StringAt at, std::size_t n_words) {
    out_.inside.assign(n_words, 0);
    rests_.clear();
    inside(ByteTrie::kRoot, at);
    std::vector<ByteTrie::Entry> entries(rests_.begin(), rests_.end());
    out_.crossing = ByteTrie(std::move(entries));
    return std::move(out_);
  }

 private:
  void inside(std::uint32_t node, StringAt at) {
    for (std::uint32_t c = 0; c < trie_.node(node).n_children; ++c) {
      const std::uint32_t child = trie_.node(node).first_child + c;
      const StringAt next = string_step(at, trie_.label(child));
      if (next == StringAt::broken) continue;
      for (const Token id : trie_.ids(child)) allow(out_.inside, id);
      if (next == StringAt::closed)
        behind(child);
      else
        inside(child, next);
    }
  }
  void behind(std::uint32_t node) {
    for (std::uint32_t c = 0; c < trie_.node(node).n_children; ++c) {
      const std::uint32_t child = trie_.node(node).first_child + c;
      rest_ += char(trie_.label(child));
      for (const Token id : trie_.ids(child)) rests_.emplace_back(rest_, id);
      behind(child);
      rest_.pop_back();
    }
  }

  const ByteTrie& trie_;
  StringTokens out_;
  std::string rest_;
  std::vector<std::pair<std::string, Token>> rests_;
};

void find_shorter(const ByteTrie& trie, std::uint32_t node, Token above, std::vector<Token>& out) {
  const auto ids = trie.ids(node);
  for (std::size_t i = ids.size(); i-- > 0;)
    out[std::size_t(ids[i])] = std::exchange(above, ids[i]);
  for (std::uint32_t c = 0; c < trie.node(node).n_children; ++c)
    find_shorter(trie, trie.node(node).first_child + c, above, out);
}

}  // namespace

Vocabulary::Vocabulary(const Tokenizer& tokenizer)
    : mask_((std::size_t(tokenizer.vocab_size()) + 63) / 64) {
  std::vector<ByteTrie::Entry> entries, numerals, others;
  std::array<std::vector<ByteTrie::Entry>, 2> specials;
  for (Token id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string_view bytes = tokenizer.bytes(id);
    if (bytes.empty() || tokenizer.added(bytes) == id) continue;
    entries.emplace_back(bytes, id);
    const bool numeral = std::ranges::all_of(bytes,
                                             [](char c) { return json_digit(std::uint8_t(c)); });
    (numeral ? numerals : others).emplace_back(bytes, id);
    if (numeral) longest_numeral_ = std::max(longest_numeral_, int(bytes.size()));
    for (const TextKind kind : {TextKind::json_string, TextKind::plain}) {
      if (std::ranges::any_of(bytes, [&](char c) { return is_special(kind, std::uint8_t(c)); }))
        specials[std::size_t(kind)].emplace_back(bytes, id);
    }
    allow(mask_, id);
  }
  for (std::size_t kind = 0; kind < specials.size(); ++kind)
    specials_[kind] = ByteTrie(std::move(specials[kind]));
  trie_ = ByteTrie(std::move(entries));
  numerals_ = ByteTrie(std::move(numerals));
  not_numerals_ = ByteTrie(std::move(others));
  scan_ = TokenScan(trie_);
  shorter_.assign(std::size_t(tokenizer.vocab_size()), -1);
  find_shorter(trie_, ByteTrie::kRoot, -1, shorter_);
  for (std::size_t at = 0; at < kStringStates; ++at)
    strings_[at] = StringWalk(trie_).from(StringAt(at), mask_.size());
  eos_ = tokenizer.added(kEos).value_or(-1);
  dsml_ = tokenizer.added(kDsml).value_or(-1);
  think_end_ = tokenizer.added(kThinkEnd).value_or(-1);
  store_ = std::make_unique<MaskStore>(*this);
}

Vocabulary::~Vocabulary() = default;

std::shared_ptr<const Vocabulary> Tokenizer::vocabulary() const {
  return std::make_shared<const Vocabulary>(*this);
}

}  // namespace lares::engine
