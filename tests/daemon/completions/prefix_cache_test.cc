#include "daemon/completions/prefix_cache.h"

#include <gtest/gtest.h>

namespace lares::daemon {
namespace {

using Tokens = std::vector<engine::Token>;
constexpr std::size_t kPageBytes = 1000;

class PagedPrefix final : public engine::Prefix {
 public:
  PagedPrefix(Tokens tokens, std::vector<std::shared_ptr<std::vector<std::uint8_t>>> pages)
      : tokens_(std::move(tokens)), pages_(std::move(pages)) {}
  std::span<const engine::Token> tokens() const override { return tokens_; }
  std::int64_t n_pages() const override { return static_cast<std::int64_t>(pages_.size()); }
  std::span<const std::uint8_t> page(std::int64_t i) const override {
    return *pages_[static_cast<std::size_t>(i)];
  }
  std::span<const std::uint8_t> frontier() const override { return {}; }

 private:
  Tokens tokens_;
  std::vector<std::shared_ptr<std::vector<std::uint8_t>>> pages_;
};
auto page() { return std::make_shared<std::vector<std::uint8_t>>(kPageBytes); }
engine::PrefixRef prefix(Tokens tokens) {
  return std::make_shared<PagedPrefix>(std::move(tokens), std::vector{page()});
}

TEST(PrefixCache, TheLongestThatIsABeginningAndNotAllOfIt) {
  PrefixCache cache;
  for (const Tokens& tokens :
       {Tokens{1, 2}, Tokens{1, 2, 3, 4}, Tokens{1, 2, 3, 9, 9, 9}, Tokens{1, 2, 3, 4, 5}})
    cache.keep(prefix(tokens));
  const Tokens prompt = {1, 2, 3, 4, 5};
  const auto found = cache.find(prompt);
  ASSERT_TRUE(found.prefix);
  EXPECT_EQ(found.prefix->tokens().size(), 4u);
  EXPECT_EQ(found.n_common, 5);
  const Tokens other = {1, 2, 3, 9};
  EXPECT_EQ(cache.find(other).prefix->tokens().size(), 2u);
  EXPECT_EQ(cache.find(other).n_common, 4);
  const Tokens foreign = {7};
  EXPECT_FALSE(cache.find(foreign).prefix);
}

TEST(PrefixCache, WhatWasUsedLongestAgoIsGivenUpForOthers) {
  PrefixCache cache;
  for (const Tokens& tokens : {Tokens{1}, Tokens{2}, Tokens{3}}) cache.keep(prefix(tokens));
  const Tokens first = {1, 9}, second = {2, 9}, third = {3, 9};
  EXPECT_TRUE(cache.find(first).prefix);
  EXPECT_TRUE(cache.shrink());
  EXPECT_FALSE(cache.find(second).prefix);
  EXPECT_TRUE(cache.shrink());
  EXPECT_FALSE(cache.find(third).prefix);
  EXPECT_TRUE(cache.find(first).prefix);
  EXPECT_TRUE(cache.shrink());  // the last, too
  EXPECT_EQ(cache.bytes(), 0u);
  EXPECT_FALSE(cache.shrink());
}

TEST(PrefixCache, HasAShareOfWhatSequencesMayTake) {
  PrefixCache cache(10 * kPageBytes);
  cache.share(0);  // no bound
  cache.share(3 * kPrefixMemoryShare * kPageBytes);
  for (engine::Token t = 0; t < 10; ++t) cache.keep(prefix({t}));
  EXPECT_EQ(cache.n_prefixes(), 2u);
  cache.share(100 * kPrefixMemoryShare * kPageBytes);  // it was said that there is less
  for (engine::Token t = 0; t < 10; ++t) cache.keep(prefix({t}));
  EXPECT_EQ(cache.n_prefixes(), 2u);
}

TEST(PrefixCache, PagesThatSeveralHaveCountOnceAndUntilTheLastIsGone) {
  const auto shared = page();
  PrefixCache cache(3 * kPageBytes);
  cache.keep(std::make_shared<PagedPrefix>(Tokens{1}, std::vector{shared}));
  cache.keep(std::make_shared<PagedPrefix>(Tokens{1, 2}, std::vector{shared, page()}));
  EXPECT_EQ(cache.bytes(), 2 * kPageBytes + 3 * sizeof(engine::Token));
  EXPECT_EQ(cache.n_prefixes(), 2u);
  // The first, the least recently used, leaves; its page is the second's, too
  cache.keep(prefix({5}));
  EXPECT_EQ(cache.n_prefixes(), 1u);
  EXPECT_EQ(cache.bytes(), kPageBytes + sizeof(engine::Token));
}

// A conversation may be longer than the bound: without it each request would begin at nothing.
TEST(PrefixCache, TheNewestStaysHoweverLong) {
  PrefixCache cache(kPageBytes / 2);
  cache.keep(prefix({1}));
  cache.keep(prefix({1, 2}));
  EXPECT_EQ(cache.n_prefixes(), 1u);
  const Tokens prompt = {1, 2, 3};
  const auto found = cache.find(prompt);
  ASSERT_TRUE(found.prefix);
  EXPECT_EQ(found.prefix->tokens().size(), 2u);
}

TEST(PrefixCache, WhatIsUsedStays) {
  PrefixCache cache(2 * kPageBytes + 100);
  cache.keep(prefix({1}));
  cache.keep(prefix({2}));
  const Tokens prompt = {1, 1};
  EXPECT_TRUE(cache.find(prompt).prefix);
  cache.keep(prefix({3}));
  EXPECT_TRUE(cache.find(prompt).prefix);
  const Tokens gone = {2, 2};
  EXPECT_FALSE(cache.find(gone).prefix);
}

TEST(PrefixCache, TheSameTokensAreKeptOnce) {
  PrefixCache cache;
  cache.keep(prefix({1, 2}));
  cache.keep(prefix({1, 2}));
  cache.keep(nullptr);
  EXPECT_EQ(cache.n_prefixes(), 1u);
}

}  // namespace
}  // namespace lares::daemon
