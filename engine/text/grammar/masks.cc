// What may come next: the mask of each of the grammar's states.
#include "engine/text/grammar/impl.h"
#include "engine/text/grammar/sorted_walk.h"

namespace lares::engine {

void GrammarImpl::clear() { mask_.assign(vocabulary_->ordinary_mask().size(), 0); }

void GrammarImpl::compute() {
  switch (phase_) {
    case Phase::thinking:
      free_text();
      allow(mask_, vocabulary_->think_end());
      return;
    case Phase::content:
      free_text();
      for (const std::string_view tag : {"<tool_result>", "</tool_result>"}) forbid_completing(tag);
      allow(mask_, vocabulary_->eos());
      if (!tools_.empty() && tail_.ends_with("\n\n<")) allow(mask_, vocabulary_->dsml());
      return;
    case Phase::json_content:
      clear();
      json_masks_.add(*json_, mask_);
      if (json_->complete()) allow(mask_, vocabulary_->eos());
      return walk_ways(0);  // of calls, while nothing has been said
    case Phase::ways:
      clear();
      if (!ways_.empty() && ways_.back().text[at_] == kMarker)
        allow(mask_, vocabulary_->dsml());  // no byte is greater
      if (listed_ && !listed_at_ && listed_->sorted() && !ways_.empty())
        listed_at_ = listed_->find(std::string_view(ways_[0].text).substr(0, at_));
      if (listed_at_) return listed_->add(*vocabulary_, *listed_at_, mask_);
      return walk_ways(at_);
    case Phase::free_value:
      free_text();
      if (tail_.ends_with("</")) allow(mask_, vocabulary_->dsml());
      return;
    case Phase::json_value:
      clear();
      json_masks_.add(*json_, mask_);
      forbid_marker(value_);
      if (json_->closed()) allow(mask_, vocabulary_->dsml());
      return;
    case Phase::stretch_value:
      clear();
      stretch_->add(mask_);
      if (stretch_->closed()) allow(mask_, vocabulary_->dsml());
      return;
    case Phase::end:
    case Phase::broken:
      clear();
      allow(mask_, vocabulary_->eos());
      return;
    case Phase::done:
      free_text();
      allow(mask_, vocabulary_->eos());
  }
}

void GrammarImpl::free_text() {
  mask_ = vocabulary_->ordinary_mask();
  forbid_marker(tail_);
}

void GrammarImpl::forbid_marker(std::string_view so_far) {
  if (!so_far.ends_with("｜DSML")) return;
  const std::uint32_t node = vocabulary_->ordinary().child(ByteTrie::kRoot, std::uint8_t("｜"[0]));
  if (node != ByteTrie::kRoot) forbid_below(node);
}

void GrammarImpl::forbid_completing(std::string_view text) {
  for (std::size_t n = 0; n < text.size(); ++n) {
    if (!tail_.ends_with(text.substr(0, n))) continue;
    std::uint32_t node = ByteTrie::kRoot;
    for (const char c : text.substr(n)) {
      node = vocabulary_->ordinary().child(node, std::uint8_t(c));
      if (node == ByteTrie::kRoot) break;
    }
    if (node != ByteTrie::kRoot) forbid_below(node);
  }
}

void GrammarImpl::forbid_below(std::uint32_t node) {
  const ByteTrie& trie = vocabulary_->ordinary();
  for (const Token id : trie.ids(node))
    mask_[std::size_t(id) / 64] &= ~(std::uint64_t{1} << (id % 64));
  for (std::uint32_t c = 0; c < trie.node(node).n_children; ++c)
    forbid_below(trie.node(node).first_child + c);
}

void GrammarImpl::walk_ways(std::size_t depth) {
  const auto byte_at = [this](std::size_t i, std::size_t at) {
    const std::string& text = ways_[i].text;
    return at >= text.size() ? -1 : text[at] == kMarker ? 256 : int(std::uint8_t(text[at]));
  };
  allow_along(vocabulary_->ordinary(), byte_at, ByteTrie::kRoot, 0, ways_.size(), depth, mask_);
}

}  // namespace lares::engine
