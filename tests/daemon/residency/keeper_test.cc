// The evaluated beginnings of a base, through the disk and back, with a real engine: the model that
// comes with Lares.
#include "daemon/residency/keeper.h"

#include <set>

#include <fmt/format.h>

#include "tests/daemon/residency/keeper_world.h"
#include "tests/daemon/residency/reconstruct.h"

namespace lares::daemon {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Keeper, GivesBackTheBaseAndEveryPrefix) {
  const World& w = world();
  tools::test::Scratch dir;
  const std::string store = dir.at("store");
  ASSERT_GT(w.first.prefixes.size(), 5u);
  ASSERT_NE(w.first.base->tokens.size() % 256, 0u);
  {
    const auto keeper = open(store);
    EXPECT_FALSE(keeper->restore());
    EXPECT_THAT(keeper->lost(), ElementsAre());
    EXPECT_THAT(keep(*keeper, w.first, 7, 3), ElementsAre());
    EXPECT_FALSE(keeper->usage().committed);
    EXPECT_THAT(keep(*keeper, w.first, 7), ElementsAre());
    EXPECT_TRUE(keeper->usage().committed);
  }
  const auto keeper = open(store);
  const auto back = keeper->restore();
  expect_restored(back, w.first, 7, w.first.prefixes.size());
  EXPECT_THAT(back->lost, ElementsAre());
  const auto usage = keeper->usage();
  EXPECT_EQ(usage.n_tokens, static_cast<std::int64_t>(w.first.prefixes.back()->tokens().size()));
  EXPECT_TRUE(usage.committed);
}

TEST(Keeper, WhatIsRestoredGoesOnAsTheLiveOneDoes) {
  const World& w = world();
  tools::test::Scratch dir;
  (void)keep(*open(dir.at("store")), w.first, 7);
  const auto keeper = open(dir.at("store"));
  const auto back = keeper->restore();
  ASSERT_TRUE(back);
  const auto want = drawn(w.first.prefixes.back(), *w.first.base);
  EXPECT_EQ(drawn(back->prefixes.back(), *back->base), want);
  EXPECT_EQ(drawn(back->prefixes[back->prefixes.size() / 2], *back->base), want);
}

// Outlined files have no text any more, which what is built on a base does not miss.
TEST(Keeper, WhatIsRestoredIsEditedAndRebasedAsTheLiveOneIs) {
  const World& w = world();
  tools::test::Scratch dir;
  (void)keep(*open(dir.at("store")), w.first, 7);
  const auto back = open(dir.at("store"))->restore();
  ASSERT_TRUE(back);
  tools::Workspace now = w.scanned();
  std::size_t n = 0;
  std::set<tools::Shown> edited;
  for (const BaseFile& file : w.first.base->files) {
    if (++n % 3 != 0) continue;
    edited.insert(file.source.shown);
    if (n % 2 == 0)
      now.erase(file.source.path);
    else
      test::put(now, file.source.path, "now another text\n");
  }
  ASSERT_EQ(edited.size(), 3u);
  const auto count = [](std::string_view text) {
    return static_cast<std::int64_t>(nano().tokenizer().encode(text, false).size());
  };
  const auto told = [&](std::shared_ptr<const Base> base) {
    Overlay overlay(std::move(base), count, 2'000);
    std::string out;
    for (const Entry& entry : overlay.advance(now)) out += entry.text;
    EXPECT_TRUE(reconstruct(overlay.base(), overlay));
    return fmt::format("{}{} stale of {} lines, {} hidden", out, overlay.n_stale_lines(),
                       overlay.n_base_lines(), overlay.n_hidden());
  };
  EXPECT_EQ(told(back->base), told(w.first.base));
  EXPECT_THAT(told(back->base), HasSubstr("now another text"));
  TokenCache cache(nano().tokenizer(), {});
  EXPECT_EQ(recompose(w.head, *back->base, w.cut, w.scanned(), {}, cache, kOptions).tokens,
            w.second.base->tokens);
}

TEST(Keeper, TheSameBaseOfAnotherEpochIsCommittedAgainAndOnlyThen) {
  const World& w = world();
  tools::test::Scratch dir;
  const std::string store = dir.at("store");
  const auto manifests = [&] {
    return std::distance(fs::directory_iterator(store + "/epochs"), fs::directory_iterator());
  };
  auto keeper = open(store);
  EXPECT_THAT(keep(*keeper, w.first, 7), ElementsAre());
  const auto n_before = manifests();
  EXPECT_TRUE(keeper->tend());
  EXPECT_TRUE(keeper->keep(w.first.prefixes.back(), w.first.base, 7));
  EXPECT_EQ(manifests(), n_before);
  EXPECT_TRUE(keeper->keep(w.first.prefixes.back(), w.first.base, 8));
  EXPECT_EQ(manifests(), n_before + 1);
  keeper.reset();
  expect_restored(open(store)->restore(), w.first, 8, w.first.prefixes.size());
}

// A daemon that ends while it evaluates its first base goes on from there; one that has a base
// keeps that until the next is whole.
TEST(Keeper, ABeginningOfTheFirstBaseIsKept) {
  const World& w = world();
  tools::test::Scratch dir;
  const std::string store = dir.at("store");
  {
    const auto keeper = open(store);
    EXPECT_THAT(keep(*keeper, w.first, 7, 3), ElementsAre());
    EXPECT_TRUE(keeper->tend());
    EXPECT_FALSE(keeper->usage().committed);
  }
  auto keeper = open(store);
  const auto back = keeper->restore();
  ASSERT_THAT(keeper->lost(), ElementsAre());
  ASSERT_TRUE(back);
  expect_restored(back, w.first, 7, 3);
  EXPECT_FALSE(keeper->usage().committed);
  for (std::size_t i = 3; i < w.first.prefixes.size(); ++i)
    EXPECT_TRUE(keeper->keep(w.first.prefixes[i], back->base, 7));
  EXPECT_TRUE(keeper->usage().committed);
  EXPECT_THAT(keep(*keeper, w.second, 8, w.n_shared + 1), ElementsAre());
  EXPECT_TRUE(keeper->tend());
  keeper.reset();
  expect_restored(open(store)->restore(), w.first, 7, w.first.prefixes.size());
}

// Tokens without pages: what is refused before any page is looked at.
class Bare : public engine::Prefix {
 public:
  explicit Bare(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  std::span<const Token> tokens() const override { return tokens_; }
  std::int64_t n_pages() const override { return 0; }
  std::span<const std::uint8_t> page(std::int64_t) const override { return {}; }
  std::span<const std::uint8_t> frontier() const override { return {}; }

 private:
  std::vector<Token> tokens_;
};

// After a start with a lower bound.
TEST(Keeper, WhatIsNotWantedGivesWayToWhatIs) {
  const World& w = world();
  tools::test::Scratch dir;
  const std::string store = dir.at("store");
  EXPECT_THAT(keep(*open(store), w.first, 7), ElementsAre());
  const std::uint64_t bytes = open(store)->usage().bytes, bytes_max = bytes + bytes / 8;
  {
    const auto keeper = open(store, {.bytes_max = bytes_max});
    ASSERT_TRUE(keeper->restore());
    EXPECT_THAT(keep(*keeper, w.second, 8), ElementsAre(HasSubstr("do not fit the cap")));
    EXPECT_FALSE(keeper->usage().committed);
  }
  {
    const auto keeper = open(store, {.bytes_max = bytes_max});
    expect_restored(keeper->restore(), w.first, 7, w.first.prefixes.size());
    keeper->not_wanted();
    EXPECT_THAT(keep(*keeper, w.second, 8), ElementsAre());
    EXPECT_TRUE(keeper->usage().committed);
    EXPECT_LE(keeper->usage().bytes, bytes_max);
  }
  expect_restored(open(store)->restore(), w.second, 8, w.second.prefixes.size());
}

TEST(Keeper, NoStepIsLongerThanAnExtent) {
  tools::test::Scratch dir;
  const auto keeper = open(dir.at("store"));
  const auto base = std::make_shared<Base>();
  base->tokens.resize(kKeptStepMax + 4 * kKeptPageTokens);
  const auto far = std::make_shared<Bare>(std::vector<Token>(
      base->tokens.begin(), base->tokens.begin() + kKeptStepMax + kKeptPageTokens));
  EXPECT_THAT(keeper->keep(far, base, 1).error(),
              HasSubstr("it comes behind one of 0; at most 16384 more are possible"));
}

TEST(Keeper, RefusesWhatIsNoBeginningOfTheBase) {
  const World& w = world();
  tools::test::Scratch dir;
  const auto keeper = open(dir.at("store"));
  EXPECT_THAT(keeper->keep(nullptr, w.first.base, 1).error(), HasSubstr("does not begin so"));
  EXPECT_THAT(keeper->keep(w.second.prefixes.back(), w.first.base, 1).error(),
              HasSubstr("does not begin so"));
  const auto timeline = nano().timeline(w.first.prefixes[0]);
  ASSERT_TRUE(timeline->sync(std::span(w.first.base->tokens).first(1152), {}, {}));
  EXPECT_THAT(keeper->keep(timeline->prefix(1152), w.first.base, 1).error(),
              HasSubstr("must end at a multiple of 256"));
  EXPECT_THAT(keep(*keeper, w.first, 1), ElementsAre());
}

TEST(Keeper, NeedsAnEngineThatSharesPagesOf256) {
  class Other : public engine::Engine {
   public:
    const engine::ModelInfo& info() const override { return nano().info(); }
    const engine::Tokenizer& tokenizer() const override { return nano().tokenizer(); }
    std::unique_ptr<engine::Timeline> timeline() override { return nullptr; }
  };
  tools::test::Scratch dir;
  EXPECT_THAT(Keeper::open(dir.at("store"), Other(), {}).error(),
              HasSubstr("pages are of 0 tokens"));
  EXPECT_FALSE(fs::exists(dir.at("store")));
  const auto one = open(dir.at("store"));
  EXPECT_FALSE(Keeper::open(dir.at("store"), nano(), {}));
}

}  // namespace
}  // namespace lares::daemon
