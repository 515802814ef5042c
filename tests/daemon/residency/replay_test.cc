#include "tests/daemon/residency/replay/replay.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/daemon/residency/replay/git_history.h"
#include "tests/daemon/residency/synthetic_history.h"
#include "tests/temporary_directory.h"

namespace lares::daemon {
namespace {

using test::by_bytes;
using test::SyntheticHistory;

// The figures the design must reach, over 400 made-up commits on half a million tokens.
TEST(Replay, ReachesTheDesignsFigures) {
  SyntheticHistory history({.n_files = 450, .n_commits = 400});
  const ReplayResult r = replay(history, {.overlay_tokens_max = kLargeOverlay, .count = by_bytes},
                                /*check_every=*/20);
  std::printf("%s%s", replay_header().c_str(), replay_row("made up", r).c_str());
  EXPECT_EQ(r.foreground.size(), 400u);
  EXPECT_GT(r.base_tokens, 200'000);
  EXPECT_LE(r.foreground_mean() / r.base_mean, 0.005);
  EXPECT_LE(quantile(r.foreground, 0.5), 1'600);
  EXPECT_LE(quantile(r.foreground, 1), kEventTokensMax);
  EXPECT_LE(r.total_share(), 0.05);
  EXPECT_FALSE(r.rebases.empty());
}

TEST(Replay, AHunkCostsAHundredAndFiftyTokens) {
  SyntheticHistory commits({.n_files = 300, .n_commits = 60});
  HunkByHunk history(commits);
  const ReplayResult r = replay(history, {.overlay_tokens_max = kLargeOverlay, .count = by_bytes});
  std::printf("%s%s", replay_header().c_str(), replay_row("hunk by hunk", r).c_str());
  EXPECT_GT(r.foreground.size(), 400u);
  EXPECT_LE(quantile(r.foreground, 0.5), 200);
  EXPECT_EQ(history.now().size(), commits.now().size());
  for (const auto& [path, file] : commits.now()) EXPECT_EQ(history.now().at(path).blob, file.blob);
}

TEST(GitHistory, ReplaysWhatGitRecorded) {
  const TemporaryDirectory directory;
  const std::string script =
      "cd '" + directory.path() +
      "' && export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b "
      "GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b && "
      "git init -q . && mkdir src && printf 'a\\n' > src/a && printf 'b\\r\\n' > b && git add . && "
      "git commit -qm 1 && "
      "git mv src/a src/c && printf 'x\\0y' > data && git add . && git commit -qm 2 && "
      "git rm -q b && printf 'more\\n' >> src/c && git commit -qam 3";
  ASSERT_EQ(std::system(script.c_str()), 0);
  const auto history = open_git_history(directory.path(), 10);
  ASSERT_TRUE(history) << history.error();
  EXPECT_EQ((*history)->now().size(), 2u);
  EXPECT_TRUE((*history)->now().at("b").crlf);
  EXPECT_EQ(*(*history)->now().at("b").text, "b\n");
  ASSERT_TRUE((*history)->next());
  EXPECT_EQ((*history)->now().at("data").reason, "binary");
  EXPECT_FALSE((*history)->now().contains("src/a"));
  EXPECT_GT((*history)->changes("src/c"), 0);
  ASSERT_TRUE((*history)->next());
  EXPECT_EQ(*(*history)->now().at("src/c").text, "a\nmore\n");
  EXPECT_FALSE((*history)->now().contains("b"));
  EXPECT_FALSE((*history)->next());
  EXPECT_FALSE(open_git_history("/nowhere", 1));
}

}  // namespace
}  // namespace lares::daemon
