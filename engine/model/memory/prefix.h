// Shared beginnings of sequences: pages, and the frontier at their end.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/model/draft/copy_index.h"
#include "engine/model/state.h"

namespace lares::engine {

class ModelPrefix : public Prefix {
 public:
  ModelPrefix(std::vector<Token> tokens, std::vector<PageRef> pages, FrontierRef frontier,
              CopyIndex index = CopyIndex(), SequenceMemoryRef memory = nullptr)
      : tokens_(std::move(tokens)),
        pages_(std::move(pages)),
        frontier_(std::move(frontier)),
        index_(std::move(index)),
        charge_(std::move(memory), tokens_.capacity() * sizeof(Token)) {}
  // The first tokens of what `pages` has. The last page is copied when it is not full, without what
  // may lie behind.
  ModelPrefix(std::vector<Token> tokens, const Pages& pages, FrontierRef frontier,
              CopyIndex index = CopyIndex(), SequenceMemoryRef memory = nullptr);

  std::span<const Token> tokens() const override { return tokens_; }
  std::int64_t n_pages() const override { return static_cast<std::int64_t>(pages_.size()); }
  std::span<const std::uint8_t> page(std::int64_t i) const override {
    return *pages_[static_cast<std::size_t>(i)];
  }
  std::span<const std::uint8_t> frontier() const override { return frontier_->bytes; }

  const std::vector<PageRef>& pages() const { return pages_; }
  const FrontierRef& frontier_at_end() const { return frontier_; }
  const CopyIndex& copy_index() const { return index_; }  // of tokens(), or of less

 private:
  std::vector<Token> tokens_;
  std::vector<PageRef> pages_;
  FrontierRef frontier_;
  CopyIndex index_;
  Charge charge_;  // of the tokens; all else counts itself
};

// A copy of what the first `n_tokens` of a page's tokens are in, with zeros behind.
PageRef beginning_of(const PageLayout& layout, const Page& page, int n_tokens,
                     const SequenceMemoryRef& memory = nullptr);

class ModelPrefixBuilder : public PrefixBuilder {
 public:
  ModelPrefixBuilder(const Weights& weights, bool exact, const PrefixRef& from = nullptr,
                     SequenceMemoryRef memory = nullptr);
  std::span<std::uint8_t> add_page() override;
  Result<PrefixRef> finish(std::vector<Token> tokens, std::vector<std::uint8_t> frontier) override;

 private:
  const Weights& weights_;
  const bool exact_;
  const PageLayout layout_;
  const SequenceMemoryRef memory_;
  std::vector<PageRef> pages_;
  Result<> room_;  // why a page had none, from when on all are given nowhere_, and finish() says so
  std::shared_ptr<Page> nowhere_;
  CopyIndex index_;  // of what finish() was given last
};

// Of the weights by their stored bytes' places and samples, the shape, the numerics and the cells'
// formats: 64 hex digits.
std::string prefix_fingerprint(const Weights& weights, bool exact);

}  // namespace lares::engine
