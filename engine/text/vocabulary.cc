#include "engine/text/vocabulary.h"

#include "engine/chat.h"

namespace lares::engine {

Vocabulary::Vocabulary(const Tokenizer& tokenizer) : mask_((std::size_t(tokenizer.vocab_size()) + 63) / 64) {
  std::vector<ByteTrie::Entry> entries;
  for (Token id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string_view bytes = tokenizer.bytes(id);
    if (bytes.empty() || tokenizer.added(bytes) == id) continue;
    entries.emplace_back(bytes, id);
    allow(mask_, id);
  }
  trie_ = ByteTrie(std::move(entries));
  eos_ = tokenizer.added(kEos).value_or(-1);
  dsml_ = tokenizer.added(kDsml).value_or(-1);
  think_end_ = tokenizer.added(kThinkEnd).value_or(-1);
}

std::shared_ptr<const Vocabulary> Tokenizer::vocabulary() const { return std::make_shared<const Vocabulary>(*this); }

}  // namespace lares::engine
