#include "tools/git/change_rates.h"

#include "tests/tools/git/git_command.h"
#include "tests/tools/scratch.h"

namespace lares::tools {
namespace {

using Rates = std::map<std::string, double>;

// One commit with these files changed.
void commit(const test::Scratch& dir, const std::vector<std::string>& paths) {
  static int n = 0;
  for (const auto& path : paths) dir.write(path, "version " + std::to_string(++n) + "\n");
  test::git(dir.root(), "add -A");
  test::git(dir.root(), "commit -qm change --allow-empty");
}

TEST(ChangeRates, HalveWithAge) {
  test::Scratch dir;
  test::git(dir.root(), "init -q");
  commit(dir, {"a", "b", "c"});  // the first: they came, they did not change
  commit(dir, {"a"});            // age 2
  commit(dir, {"b"});            // age 1
  commit(dir, {"a", "d"});       // age 0
  const auto rates = change_rates(dir.root(), {.half_life = 1});
  EXPECT_EQ(rates.of, (Rates{{"a", 1.25}, {"b", 0.5}, {"d", 1}}));
  EXPECT_EQ(rates.n_commits, 4);
  EXPECT_EQ(rates.head.size(), 40u);
  EXPECT_FALSE(rates.cut_short);
  EXPECT_EQ(change_rates(dir.root(), {.commits_max = 2, .half_life = 1}).of,
            (Rates{{"a", 1}, {"b", 0.5}, {"d", 1}}));
}

TEST(ChangeRates, FollowFirstParentsAndRenames) {
  test::Scratch dir;
  test::git(dir.root(), "init -q");
  commit(dir, {"a", "b"});
  commit(dir, {"a"});
  test::git(dir.root(), "checkout -qb side");
  for (int i = 0; i < 3; ++i) commit(dir, {"b"});
  test::git(dir.root(), "checkout -q main");
  commit(dir, {"c"});
  test::git(dir.root(), "merge -q --no-ff -m merge side");
  test::git(dir.root(), "mv a renamed");
  commit(dir, {});
  const auto rates = change_rates(dir.root(), {.half_life = 1e9});
  ASSERT_EQ(rates.of.size(), 3u);
  EXPECT_NEAR(rates.of.at("b"), 1, 1e-5)
      << "the merge counts once, the commits of its branch do not";
  EXPECT_NEAR(rates.of.at("renamed"), 1, 1e-5) << "with its history, and renaming is no change";
}

TEST(ChangeRates, AreOfTheRootAlone) {
  test::Scratch dir;
  test::git(dir.root(), "init -q");
  commit(dir, {"a", "sub/a"});
  commit(dir, {"a", "sub/a", "sub2/a"});
  EXPECT_EQ(change_rates(dir.at("sub")).of, (Rates{{"a", 1}}));
}

TEST(ChangeRates, ABulkCommitSaysNothing) {
  test::Scratch dir;
  test::git(dir.root(), "init -q");
  commit(dir, {"a", "b", "c"});
  commit(dir, {"a"});
  commit(dir, {"a", "b", "c"});
  EXPECT_EQ(change_rates(dir.root(), {.half_life = 1, .bulk_files_min = 2}).of,
            (Rates{{"a", 0.5}}));
}

TEST(ChangeRates, StopInTime) {
  test::Scratch dir;
  test::git(dir.root(), "init -q");
  commit(dir, {"a"});
  commit(dir, {"a"});
  const auto rates = change_rates(dir.root(), {.time_max = std::chrono::milliseconds(-1)});
  EXPECT_TRUE(rates.cut_short);
  EXPECT_EQ(rates.n_commits, 0);
  EXPECT_TRUE(rates.of.empty());
}

TEST(ChangeRates, WithoutHistoryNothingChanges) {
  test::Scratch dir;
  dir.write("a", "x\n");
  EXPECT_TRUE(change_rates(dir.root()).of.empty());
  test::git(dir.root(), "init -q");
  EXPECT_TRUE(change_rates(dir.root()).of.empty());
  EXPECT_EQ(change_rates(dir.root()).head, "");
}

TEST(ChangeRates, TiersAreByChangesPerByte) {
  Workspace files;
  const auto add = [&](const std::string& path, std::size_t n_bytes) {
    files[path].path = path;
    files[path].text = std::make_shared<const std::string>(n_bytes, 'x');
  };
  add("cold", 7'999);
  add("warm", 5'999);
  add("hot", 999);
  add("hottest", 999);
  files["logo.png"] = {.path = "logo.png", .shown = Shown::path, .reason = "binary"};
  const ChangeRates rates{
      .of = {{"hottest", 2}, {"hot", 1}, {"warm", 5}, {"gone", 9}, {"logo.png", 1}}};
  EXPECT_EQ(volatility_tiers(rates, files),
            (std::map<std::string, int>{
                {"cold", 0}, {"hot", 2}, {"hottest", 3}, {"logo.png", 0}, {"warm", 1}}));
  for (const auto& [path, tier] : volatility_tiers({}, files)) EXPECT_EQ(tier, 0) << path;
}

}  // namespace
}  // namespace lares::tools
