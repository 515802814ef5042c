#include "daemon/residency/overlay.h"

#include <gtest/gtest.h>

#include "daemon/residency/catch_up.h"
#include "tests/daemon/residency/files.h"
#include "tests/daemon/residency/reconstruct.h"

namespace lares::daemon {
namespace {

using namespace test;
using State = Freshness::State;

const std::string kText = numbered_lines(1, 400);  // 1,055 tokens

tools::Workspace some_files() {
  tools::Workspace out;
  put(out, file("big.cc", kText));
  put(out, file("small.cc", "int x;\n"));
  put(out, listed(".env", "secret"));
  return out;
}

Overlay overlay_of(const tools::Workspace& files, std::int64_t tokens_max = 64'000) {
  return Overlay(base_of(files), by_bytes, tokens_max);
}

std::string with_line(std::string text, int n, const std::string& now) {
  const std::string line = "line " + std::to_string(n) + "\n";
  return text.replace(text.find(line), line.size(), now);
}

std::string texts(const std::vector<Entry>& entries) {
  std::string out;
  for (const Entry& entry : entries) out += entry.text;
  return out;
}

TEST(Overlay, ALineCostsItsDiff) {
  auto files = some_files();
  Overlay overlay = overlay_of(files);
  EXPECT_TRUE(overlay.advance(files).empty());
  EXPECT_EQ(overlay.version(), 0u);
  put(files, file("big.cc", with_line(kText, 50, "changed\n")));
  const std::string sha = files.at("big.cc").blob;
  EXPECT_EQ(texts(overlay.advance(files)),
            "<changed path=\"big.cc\" sha=\"" + sha.substr(0, 8) +
                "\">\n@@ line 46\n line 47\n line 48\n line 49\n-line 50\n+changed\n line 51\n"
                " line 52\n line 53\n</changed>\n");
  EXPECT_EQ(overlay.version(), 1u);
  EXPECT_EQ(overlay.freshness("big.cc").state, State::dirty);
  EXPECT_EQ(overlay.freshness("big.cc").sha, sha);
  EXPECT_EQ(overlay.freshness("small.cc").state, State::resident);
  EXPECT_EQ(overlay.freshness(".env").state, State::path_only);
  EXPECT_EQ(overlay.freshness("none").state, State::absent);
  EXPECT_EQ(overlay.n_stale_lines(), 1u);
  // The next one is against what was shown, not against the base.
  put(files, file("big.cc", with_line(*files.at("big.cc").text, 51, "too\n")));
  EXPECT_NE(texts(overlay.advance(files)).find("\n changed\n-line 51\n+too\n"), std::string::npos);
}

TEST(Overlay, ShortNewAndMuchChangedFilesAreShownWhole) {
  auto files = some_files();
  Overlay overlay = overlay_of(files);
  put(files, file("new.cc", numbered_lines(1, 120)));  // 290 tokens
  EXPECT_EQ(overlay.advance(files).at(0).kind, Notice::Kind::full);
  put(files, file("new.cc", numbered_lines(2, 120)));
  put(files, file("newer.cc", kText));
  auto entries = overlay.advance(files);
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].kind, Notice::Kind::full);
  EXPECT_EQ(entries[1].kind, Notice::Kind::full);
  // Diffs of one line are some 40 tokens: once they are half of the text, the text.
  int n_diffs = 0;
  for (;; ++n_diffs) {
    put(files, file("big.cc", with_line(*files.at("big.cc").text, 10 + 10 * n_diffs, "x\n")));
    entries = overlay.advance(files);
    ASSERT_EQ(entries.size(), 1u);
    if (entries[0].kind == Notice::Kind::full) break;
    ASSERT_LT(n_diffs, 30);
  }
  EXPECT_GE(n_diffs, 9);
}

TEST(Overlay, BackToTheBaseIsOneLine) {
  auto files = some_files();
  Overlay overlay = overlay_of(files);
  put(files, file("big.cc", "other\n"));
  overlay.advance(files);
  put(files, file("big.cc", kText));
  const auto entries = overlay.advance(files);
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].kind, Notice::Kind::reverted);
  EXPECT_EQ(overlay.freshness("big.cc").state, State::resident);
}

TEST(Overlay, ARenameIsOneEntryIfTheTextIsTheSame) {
  auto files = some_files();
  Overlay overlay = overlay_of(files);
  files.erase("big.cc");
  put(files, file("moved.cc", kText));
  EXPECT_EQ(texts(overlay.advance(files)), "<renamed path=\"moved.cc\" from=\"big.cc\"/>\n");
  files.erase("moved.cc");
  put(files, file("again.cc", kText + "more\n"));
  const auto entries = overlay.advance(files);
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].kind, Notice::Kind::full);
  EXPECT_EQ(entries[1].kind, Notice::Kind::deleted);
  EXPECT_EQ(overlay.freshness("moved.cc").state, State::absent);
}

// A rebase keeps the tree, which may name what is gone.
TEST(Overlay, AFileTheBaseCallsRemovedIsGone) {
  auto files = some_files();
  Base base = *base_of(files);
  base.files.push_back({.source = listed("old.cc", std::string(kRemoved))});
  Overlay overlay(std::make_shared<const Base>(base), by_bytes, 64'000);
  EXPECT_TRUE(overlay.advance(files).empty());
  EXPECT_EQ(overlay.freshness("old.cc").state, State::absent);
  put(files, file("old.cc", "back\n"));
  EXPECT_EQ(overlay.advance(files).at(0).kind, Notice::Kind::full);
  EXPECT_EQ(reconstruct(overlay.base(), overlay)->differs(files), "");
}

// What a budget left out of the base is no news, however it changes; what it outlined is, once.
TEST(Overlay, WhatTheBaseLeftOutStaysOut) {
  auto files = some_files();
  put(files, file("outlined.cc", kText));
  Base base = *base_of(files);
  for (BaseFile& f : base.files) {
    if (f.source.path == "big.cc") f.source.shown = tools::Shown::path;
    if (f.source.path == "outlined.cc") f.source.shown = tools::Shown::outline;
    if (f.source.shown != tools::Shown::full && f.source.text) f.source.reason = "over budget";
  }
  Overlay overlay(std::make_shared<const Base>(base), by_bytes, 64'000);
  EXPECT_TRUE(overlay.advance(files).empty());
  EXPECT_EQ(overlay.freshness("outlined.cc").state, State::outline);
  for (int i = 1; i < 3; ++i) {
    put(files, file("big.cc", with_line(kText, i, "x\n")));
    put(files, file("outlined.cc", with_line(kText, i, "x\n")));
    EXPECT_EQ(texts(overlay.advance(files)),
              i == 1 ? "<changed path=\"outlined.cc\" not shown/>\n" : "");
  }
  EXPECT_EQ(overlay.freshness("outlined.cc").state, State::hidden);
  EXPECT_EQ(overlay.n_hidden(), 0u);  // no rebase would show it
  EXPECT_EQ(reconstruct(overlay.base(), overlay)->differs(files), "");
}

TEST(Overlay, LineEndsAndTheLastNewlineAreChanges) {
  auto files = some_files();
  Overlay overlay = overlay_of(files);
  put(files, file("big.cc", kText, /*crlf=*/true));
  EXPECT_NE(texts(overlay.advance(files)).find(" eol=\"crlf\">\n</changed>"), std::string::npos);
  put(files, file("big.cc", kText.substr(0, kText.size() - 1), true));
  EXPECT_NE(texts(overlay.advance(files)).find("+line 400\n\\ No newline at end of file\n"),
            std::string::npos);
  put(files, file("big.cc", kText.substr(0, kText.size() - 1), false));
  EXPECT_NE(texts(overlay.advance(files)).find(" eol=\"lf\">\n</changed>"), std::string::npos);
  EXPECT_EQ(reconstruct(overlay.base(), overlay)->differs(files), "");
}

TEST(Overlay, ASecretIsNeverShown) {
  auto files = some_files();
  Overlay overlay = overlay_of(files);
  put(files, listed(".env", "secret", 4'711));
  EXPECT_TRUE(overlay.advance(files).empty());
  put(files, listed("big.cc", "secret"));
  EXPECT_EQ(texts(overlay.advance(files)), "<listed path=\"big.cc\" reason=\"secret\"/>\n");
  EXPECT_EQ(overlay.freshness("big.cc").state, State::path_only);
  files.erase(".env");
  EXPECT_EQ(texts(overlay.advance(files)), "<deleted path=\".env\"/>\n");
}

TEST(Overlay, WhatOneEventCannotShowIsMarkedUntilItFits) {
  auto files = some_files();
  Overlay overlay = overlay_of(files);
  const std::string huge = numbered_lines(1, 8'000);  // 22k tokens
  put(files, file("big.cc", huge));
  put(files, file("small.cc", "int y;\n"));
  EXPECT_TRUE(texts(overlay.advance(files))
                  .starts_with("<changed path=\"big.cc\" not shown/>\n<file path=\"small.cc\""));
  EXPECT_EQ(overlay.freshness("big.cc").state, State::hidden);
  EXPECT_EQ(overlay.n_hidden(), 1u);
  put(files, file("big.cc", huge + "more\n"));
  EXPECT_TRUE(overlay.advance(files).empty());  // said already
  put(files, file("big.cc", with_line(kText, 3, "x\n")));
  // Against the base, the last text shown
  EXPECT_EQ(overlay.advance(files).at(0).kind, Notice::Kind::diff);
  EXPECT_EQ(reconstruct(overlay.base(), overlay)->differs(files), "");
}

TEST(Overlay, NeverGrowsPastItsBound) {
  tools::Workspace files;
  for (int i = 0; i < 2'000; ++i)
    put(files,
        file("src/" + std::to_string(i % 40) + "/" + std::to_string(i), numbered_lines(i, i + 50)));
  Overlay overlay = overlay_of(files, 10'000);
  for (int round = 0; round < 20; ++round) {
    for (auto& [path, source] : files)
      source = file(path, *source.text + "round " + std::to_string(round) + "\n");
    std::int64_t n = 0;
    for (const Entry& entry : overlay.advance(files)) n += entry.n_tokens;
    EXPECT_LE(n, kEventTokensMax);
    EXPECT_LE(overlay.n_tokens(), 10'000 + kEventTokensMax);
    EXPECT_EQ(reconstruct(overlay.base(), overlay)->differs(files), "");
  }
  EXPECT_EQ(overlay.freshness("src/1/1").state, State::hidden);
}

TEST(Overlay, TheBoundFollowsTheBudgetAndTheBase) {
  EXPECT_EQ(overlay_tokens_max(1'048'576, 1'000'000), 64'000);
  EXPECT_EQ(overlay_tokens_max(384'000, 300'000), 32'000);
  EXPECT_EQ(overlay_tokens_max(100'000, 300'000), 32'000);
  EXPECT_EQ(overlay_tokens_max(1'000'000, 40'000), 10'000);
}

TEST(CatchUp, TellsWhatTheSessionDidNotWrite) {
  auto files = some_files();
  Overlay overlay = overlay_of(files);
  Pinned session(overlay);
  const auto mine = file("big.cc", with_line(kText, 100, "mine\n"));
  put(files, mine);
  overlay.advance(files);
  EXPECT_EQ(catch_up(session, files, overlay.version(), {&mine, 1}, by_bytes), "");
  EXPECT_EQ(session.version, 1u);
  // Someone else, next to it: the diff is against what the session wrote.
  put(files, file("big.cc", with_line(*mine.text, 101, "theirs\n")));
  overlay.advance(files);
  const std::string update = catch_up(session, files, overlay.version(), {}, by_bytes);
  EXPECT_TRUE(
      update.starts_with("<workspace-update from=\"1\" to=\"2\">\n<changed path=\"big.cc\""));
  EXPECT_NE(update.find("\n mine\n-line 101\n+theirs\n"), std::string::npos);
  EXPECT_LE(by_bytes(update), 150);
  EXPECT_EQ(catch_up(session, files, overlay.version(), {}, by_bytes), "");
}

TEST(CatchUp, AHiddenFileIsMarkedAgainWhenItChangesAgain) {
  auto files = some_files();
  Overlay overlay = overlay_of(files);
  Pinned session(overlay);
  for (const char* end : {"a\n", "b\n"}) {
    put(files, file("big.cc", numbered_lines(1, 8'000) + end));
    overlay.advance(files);
    EXPECT_NE(catch_up(session, files, overlay.version(), {}, by_bytes)
                  .find("<changed path=\"big.cc\" not shown/>"),
              std::string::npos);
    EXPECT_EQ(catch_up(session, files, overlay.version(), {}, by_bytes), "");
  }
}

}  // namespace
}  // namespace lares::daemon
