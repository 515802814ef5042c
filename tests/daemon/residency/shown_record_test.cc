// What a session's model knows, through the records of its journal.
#include "daemon/residency/shown_record.h"

#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/daemon/residency/files.h"

namespace lares::daemon {
namespace {

using namespace test;
using State = Seen::State;

std::string name(int i) { return fmt::format("{}/{}/f{}.cc", i % 3, i % 7, i); }

std::shared_ptr<const Base> some_base(int n) {
  tools::Workspace files;
  for (int i = 0; i < n; ++i) put(files, file(name(i), fmt::format("int x{};\n", i)));
  return base_of(files);
}

// As the next daemon would make it of what was read back.
View made_again(const View& view, const WasShown& was) {
  View out(view.shared_base());
  out.hide_below(was.hidden_below);
  for (const auto& [path, file] : was.files)
    out.set(path, {.state = file.state, .blob = file.blob});
  return out;
}

TEST(ShownRecord, WhatIsReadBackIsWhatTheViewSays) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    View view(some_base(40));
    ShownRecord record;
    WasShown was;
    for (int step = 0; step < 60; ++step) {
      const int i = static_cast<int>(random() % 60);  // some the base does not know
      switch (random() % 6) {
        case 0:
          view.set(name(i), {});
          break;
        case 1:
          view.hide_below({fmt::format("{}/", i % 3), fmt::format("{}/{}/", i % 3, i % 7)});
          break;
        case 2:
          if (step % 20 == 0) view.hide_below({std::string(kEverything)});
          break;
        default:
          view.set(name(i), {.state = random() % 4 ? State::text : State::hidden,
                             .blob = fmt::format("{:040}", random() % 5 + 1)});
      }
      if (random() % 3 == 0) continue;  // two changes, one record
      if (const auto next = record.next(view)) was.take(*next);
      EXPECT_FALSE(record.next(view));  // nothing changed
      const View again = made_again(view, was);
      for (int f = 0; f < 60; ++f) {
        const Seen a = again.seen(name(f)), b = view.seen(name(f));
        ASSERT_EQ(a.state, b.state) << name(f) << " at " << step;
        if (b.state == State::text) {
          ASSERT_EQ(a.blob, b.blob) << name(f) << " at " << step;
        }
      }
    }
  }
}

// Of a daemon that knew no directories: all of it, anew each time.
TEST(ShownRecord, RecordsOfEarlierVersionsAreRead) {
  WasShown was{.files = {{"old", {}}}, .hidden_below = {"c/"}};
  was.take(nlohmann::ordered_json::parse(
      R"({"files": [["gone", "", false], ["known", "aa", true], ["hidden", "bb", false]]})"));
  const std::map<std::string, WasShown::File, std::less<>> want = {
      {"gone", {"", State::absent}}, {"known", {"aa", State::text}}, {"hidden", {"bb"}}};
  EXPECT_EQ(was.files, want);
  EXPECT_TRUE(was.hidden_below.empty());
}

TEST(ShownRecord, IsAsLongAsWhatChanged) {
  View view(some_base(5000));
  ShownRecord record;
  EXPECT_FALSE(record.next(view));
  view.hide_below({std::string(kEverything)});
  const auto all = record.next(view);
  ASSERT_TRUE(all);
  EXPECT_LT(all->dump().size(), 100u);
  for (int i = 0; i < 500; ++i) {
    view.set(name(i), {.state = State::text, .blob = std::string(40, 'a')});
    const auto next = record.next(view);
    ASSERT_TRUE(next);
    ASSERT_LT(next->dump().size(), 200u) << i;
  }
  EXPECT_EQ(view.n_hidden(), 4500u);
}

// An edit is a fact of its own, which says what was written. Where the file is as it was before,
// that is to be said too.
TEST(ShownRecord, WhatAnotherRecordSaidIsSaidAgain) {
  View view(some_base(3));
  const Seen seen{.state = State::text, .blob = std::string(40, 'a')};
  view.set(name(0), seen);
  view.set(name(1), seen);
  ShownRecord record;
  ASSERT_TRUE(record.next(view));
  record.told(name(1));
  const auto next = record.next(view);
  ASSERT_TRUE(next);
  WasShown was;
  was.take(*next);
  EXPECT_EQ(was.files.size(), 1u);
  EXPECT_TRUE(was.files.contains(name(1)));
  EXPECT_FALSE(record.next(view));
}

TEST(ShownRecord, WhatIsNoRecordOfOursSaysNothing) {
  WasShown was{.files = {{"a", {"b", State::text}}}, .hidden_below = {"c/"}};
  was.take(nlohmann::ordered_json::parse(
      R"({"files": [["x"], ["y", 1, true], 3, ["z", "blob", true]], "hiddenBelow": [1, "d/"]})"));
  EXPECT_EQ(was.files.size(), 1u);
  EXPECT_EQ(was.hidden_below, std::vector<std::string>{"d/"});
  was.take(nlohmann::ordered_json::parse(R"({"files": "none", "more": true})"));
  EXPECT_EQ(was.files.size(), 1u);
}

// Directories by the hundred, files by the thousand: in one pass.
TEST(View, ManyDirectoriesAreHiddenAtOnce) {
  View view(some_base(2000));
  std::vector<std::string> directories;
  for (int i = 0; i < 2000; ++i) directories.push_back(fmt::format("none{}/", i));
  directories.push_back("1/");
  for (int i = 0; i < 20'000; ++i)
    view.set(fmt::format("n/{}", i), {.state = State::text, .blob = "a"});
  view.hide_below(directories);
  EXPECT_EQ(view.seen("none7/x").state, State::hidden);
  EXPECT_EQ(view.seen(name(1)).state, State::hidden);
  EXPECT_FALSE(view.is_clean(name(1)));
  EXPECT_EQ(view.seen(name(0)).state, State::text);
  EXPECT_EQ(view.seen("n/7").state, State::text);
}

}  // namespace
}  // namespace lares::daemon
