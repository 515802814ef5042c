// What a Keeper has of one base when another follows, and of one that was not finished.
#include "daemon/residency/keeper.h"

#include <chrono>

#include "tests/daemon/residency/keeper_world.h"

namespace lares::daemon {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;

// The second base's prefixes are offered in wider steps, which does not matter for what is there
// already.
TEST(Keeper, ABaseThatChangedKeepsWhatItSharesWithTheOneBefore) {
  const World& w = world();
  ASSERT_GT(w.n_common, static_cast<std::int64_t>(w.first.base->tokens.size()) / 3);
  ASSERT_LT(w.n_shared + 1, w.first.prefixes.size());
  for (const bool reopened : {false, true}) {
    SCOPED_TRACE(reopened);
    tools::test::Scratch dir;
    const std::string store = dir.at("store");
    auto keeper = open(store);
    EXPECT_THAT(keep(*keeper, w.first, 1), ElementsAre());
    if (reopened) {
      keeper.reset();
      keeper = open(store);
      ASSERT_TRUE(keeper->restore());
    }
    const auto before = extent_files(store);
    std::vector<fs::file_time_type> times;
    for (const auto& file : before) times.push_back(fs::last_write_time(file.path));
    std::size_t n_new = 0;
    for (std::size_t i = 0; i < w.second.prefixes.size(); ++i) {
      const bool last = i + 1 == w.second.prefixes.size();
      if (i % 2 == 0 && !last) continue;
      n_new += i >= w.n_shared ? 1 : 0;
      EXPECT_TRUE(keeper->keep(w.second.prefixes[i], w.second.base, 2));
    }
    EXPECT_EQ(extent_files(store).size(), before.size() + n_new);
    for (std::size_t i = 0; i < before.size(); ++i)
      EXPECT_EQ(fs::last_write_time(before[i].path), times[i]) << i;
    EXPECT_TRUE(fs::is_empty(store + "/quarantine"));
    keeper.reset();
    const auto back = open(store)->restore();
    ASSERT_TRUE(back);
    EXPECT_EQ(back->epoch, 2u);
    test::expect_equal(*back->base, *w.second.base);
    ASSERT_EQ(back->prefixes.size(), w.n_shared + n_new);
    expect_equal(*back->prefixes[w.n_shared - 1], *w.second.prefixes[w.n_shared - 1]);
    expect_equal(*back->prefixes.back(), *w.second.prefixes.back());
  }
}

TEST(Keeper, ABaseThatAnotherFollowsTooEarlyIsForgotten) {
  const World& w = world();
  tools::test::Scratch dir;
  store::Clock::time_point now{};
  const auto keeper = open(dir.at("store"), {.now = [&] { return now; }});
  EXPECT_THAT(keep(*keeper, w.first, 1, w.first.prefixes.size() - 1), ElementsAre());
  EXPECT_THAT(keep(*keeper, w.second, 2), ElementsAre());
  EXPECT_EQ(extent_files(dir.at("store")).size(),
            w.first.prefixes.size() - 1 + w.second.prefixes.size() - w.n_shared);
  now += std::chrono::hours(1);
  EXPECT_TRUE(keeper->tend());
  EXPECT_EQ(extent_files(dir.at("store")).size(), w.second.prefixes.size());
  expect_restored(keeper->restore(), w.second, 2, w.second.prefixes.size());
}

// Wider steps would give the extents that are there other beginnings, and so overwrite what is
// committed.
TEST(Keeper, ABaseThatWasGivenUpForTheOneBeforeLeavesThatAsItIs) {
  const World& w = world();
  tools::test::Scratch dir;
  const auto keeper = open(dir.at("store"));
  EXPECT_THAT(keep(*keeper, w.first, 1), ElementsAre());
  EXPECT_THAT(keep(*keeper, w.second, 2, w.n_shared + 1), ElementsAre());
  const auto before = extent_files(dir.at("store"));
  const Evaluated again{std::make_shared<const Base>(*w.first.base),
                        {w.first.prefixes[3], w.first.prefixes.back()}};
  EXPECT_THAT(keep(*keeper, again, 3), ElementsAre());
  EXPECT_EQ(extent_files(dir.at("store")).size(), before.size());
  EXPECT_TRUE(fs::is_empty(dir.at("store/quarantine")));
  expect_restored(keeper->restore(), w.first, 3, w.first.prefixes.size());
}

TEST(Keeper, ABaseThatGrewGoesOnFromTheLastWholePage) {
  const World& w = world();
  ASSERT_EQ(w.first.prefixes.back()->tokens().size() % kKeptPageTokens, 128u);
  Base grown = *w.first.base;
  grown.tokens.insert(grown.tokens.end(), grown.tokens.begin(), grown.tokens.begin() + 900);
  const std::size_t n = w.first.prefixes.size() - 1;
  Evaluated longer = evaluated(std::make_shared<const Base>(grown), w.first.prefixes[n - 1]);
  longer.prefixes.insert(longer.prefixes.begin(), w.first.prefixes.begin(),
                         w.first.prefixes.begin() + static_cast<std::ptrdiff_t>(n));
  tools::test::Scratch dir;
  auto keeper = open(dir.at("store"));
  EXPECT_THAT(keep(*keeper, w.first, 1), ElementsAre());
  EXPECT_THAT(keep(*keeper, longer, 2), ElementsAre());
  EXPECT_EQ(extent_files(dir.at("store")).size(),
            w.first.prefixes.size() + longer.prefixes.size() - n);
  keeper.reset();
  expect_restored(open(dir.at("store"))->restore(), longer, 2, longer.prefixes.size());
}

// A daemon ended while it kept the second base: the next one finds what there was of it, though
// nothing was committed.
class Resumed : public ::testing::Test {
 protected:
  static constexpr std::size_t kMore = 2;  // prefixes behind those that both bases have
  void SetUp() override {
    const auto keeper = open(dir_.at("store"));
    EXPECT_THAT(keep(*keeper, w_.first, 1), ElementsAre());
    const auto of_first = extent_files(dir_.at("store"));
    EXPECT_THAT(keep(*keeper, w_.second, 2, w_.n_shared + kMore), ElementsAre());
    n_files_ = of_first.size() + kMore;
    for (const ExtentFile& file : extent_files(dir_.at("store")))
      if (std::ranges::find(of_first, file.path, &ExtentFile::path) == of_first.end())
        more_.push_back(file);
    ASSERT_EQ(more_.size(), kMore);
  }
  std::unique_ptr<Keeper> restored(Keeper::Options options = {}) {
    auto keeper = open(dir_.at("store"), std::move(options));
    first_ = keeper->restore().value().prefixes;
    return keeper;
  }
  std::vector<PrefixRef> resume(Keeper& keeper, std::size_t n_known) const {
    const std::int64_t last = static_cast<std::int64_t>(w_.second.base->tokens.size()) / kKeptStep *
                              kKeptStep;
    return keeper.resume(w_.second.base, 2, std::span(first_).first(n_known), [&](std::int64_t at) {
      return at >= last ? INT64_MAX : std::min(at / kCut * kCut + kCut, last);
    });
  }

  const World& w_ = world();
  tools::test::Scratch dir_;
  std::size_t n_files_ = 0;
  std::vector<ExtentFile> more_;
  std::vector<PrefixRef> first_;  // as they came back
};

TEST_F(Resumed, BehindWhatIsKnownAndSharingIts) {
  const auto keeper = restored();
  const auto more = resume(*keeper, w_.n_shared);
  EXPECT_THAT(keeper->lost(), ElementsAre());
  ASSERT_EQ(more.size(), kMore);
  for (std::size_t i = 0; i < kMore; ++i)
    expect_equal(*more[i], *w_.second.prefixes[w_.n_shared + i]);
  EXPECT_EQ(more.back()->page(0).data(), first_[0]->page(0).data());
  EXPECT_EQ(drawn(more.back(), *w_.second.base), drawn(w_.second.prefixes.back(), *w_.second.base));
  EXPECT_THAT(resume(*keeper, w_.n_shared), testing::SizeIs(kMore));  // it is still to be had
  EXPECT_THAT(keep(*keeper,
                   {w_.second.base,
                    {w_.second.prefixes.begin() + static_cast<std::ptrdiff_t>(w_.n_shared + kMore),
                     w_.second.prefixes.end()}},
                   2),
              ElementsAre());
  EXPECT_TRUE(keeper->usage().committed);
  expect_restored(keeper->restore(), w_.second, 2, w_.second.prefixes.size());
}

TEST_F(Resumed, FromTheBeginningWhereNothingIsKnown) {
  const auto keeper = restored();
  const auto all = resume(*keeper, 0);
  ASSERT_EQ(all.size(), w_.n_shared + kMore);
  for (std::size_t i = 0; i < all.size(); ++i) expect_equal(*all[i], *w_.second.prefixes[i]);
}

TEST_F(Resumed, NotWhenAsMuchIsKnown) {
  const auto keeper = restored();
  first_ = w_.second.prefixes;
  EXPECT_THAT(resume(*keeper, w_.n_shared + kMore), ElementsAre());
  EXPECT_THAT(keeper->lost(), ElementsAre());
}

TEST_F(Resumed, UpToWhatIsDamaged) {
  flip(more_.back().path);
  const auto keeper = restored();
  EXPECT_THAT(resume(*keeper, w_.n_shared), testing::SizeIs(kMore - 1));
  EXPECT_THAT(keeper->lost(), ElementsAre(HasSubstr("quarantine")));
  EXPECT_THAT(keep(*keeper, w_.second, 2), ElementsAre());
  EXPECT_THAT(keeper->lost(), ElementsAre(HasSubstr("quarantine")));
  expect_restored(keeper->restore(), w_.second, 2, w_.second.prefixes.size());
}

TEST_F(Resumed, AndNotDeletedAsWhatNobodyNeeds) {
  for (const bool resumed : {true, false}) {
    store::Clock::time_point now{};
    const auto keeper = restored({.now = [&] { return now; }});
    EXPECT_TRUE(keeper->tend());
    if (resumed) {
      EXPECT_THAT(resume(*keeper, w_.n_shared), testing::SizeIs(kMore));
    }
    now += std::chrono::hours(1);
    EXPECT_TRUE(keeper->tend());
    EXPECT_EQ(extent_files(dir_.at("store")).size(), n_files_ - (resumed ? 0 : kMore));
  }
}

}  // namespace
}  // namespace lares::daemon
