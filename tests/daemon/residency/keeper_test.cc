// The evaluated beginnings of a base, through the disk and back, with a real engine: the model that comes with Lares.
#include "daemon/residency/keeper.h"

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "daemon/residency/base_record.h"
#include "daemon/residency/compose.h"
#include "daemon/residency/reconstruct.h"
#include "daemon/store/extent_format.h"
#include "tests/daemon/residency/kept_bases.h"
#include "tests/daemon/store/crash_disk.h"
#include "tests/tools/scratch.h"
#include "tools/scanner.h"

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;
using engine::PrefixRef;
using engine::Token;
using store::test::CrashDisk;
using store::test::Fault;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::int64_t kCut = 1024;
const ComposeOptions kOptions{.tokens_max = 8'000};

std::unique_ptr<engine::Engine> load(bool exact) {
  auto loaded = engine::load({.directory = LARES_SOURCE_DIR "/engine/nano/checkpoint", .n_threads = 2, .exact = exact}, {});
  if (!loaded) std::abort();
  return std::move(*loaded);
}
engine::Engine& nano() {
  static const auto kEngine = load(false);
  return *kEngine;
}

// A base and its prefixes, as its caller has them.
struct Evaluated {
  std::shared_ptr<const Base> base;
  std::vector<PrefixRef> prefixes;
};
Evaluated evaluated(std::shared_ptr<const Base> base, const PrefixRef& from = nullptr) {
  Evaluated out{base, {}};
  const auto timeline = nano().timeline(from);
  const auto n = static_cast<std::int64_t>(base->tokens.size()), last = n / kKeptStep * kKeptStep;
  for (std::int64_t end = from ? static_cast<std::int64_t>(from->tokens().size()) : 0; end < last;) {
    end = std::min(end + kCut, last);
    EXPECT_TRUE(timeline->sync(std::span(base->tokens).first(static_cast<std::size_t>(end)), {}, {}));
    out.prefixes.push_back(timeline->prefix(end));
  }
  return out;
}

// A directory of some files, more than fit in the base.
struct World {
  tools::test::Scratch dir;
  const std::vector<Token> head = nano().tokenizer().encode("You are.", true);
  Evaluated first, second;  // `second`: a file behind the first third changed, and from there on all is written anew
  std::size_t cut = 0;      // its place in first.base->files
  std::int64_t n_common = 0;
  std::size_t n_shared = 0;  // prefixes of both

  World() {
    for (const auto& [path, file] : test::many(40, 60))
      if (file.text) dir.write(path, *file.text);
    dir.write("crlf.txt", "on disk\r\nwith more\r\n");
    dir.write("no-newline.txt", "the last line has none");
    dir.write("empty.txt", "");
    dir.write(".env", "A=q7Hk2LmX9vTz4RbYc8WnJ5sDgF1pA6uEoQ3x\n");
    dir.write("logo.png", std::string("\x89PNG\0\0", 6));
    TokenCache cache(nano().tokenizer(), {});
    first = evaluated(std::make_shared<const Base>(compose(head, scanned(), {}, cache, kOptions)));
    const auto& files = first.base->files;
    while (files[cut].source.shown != tools::Shown::full || files[cut].start < first.base->files_end / 3 || files[cut].n_tokens < 100) ++cut;
    dir.write(files[cut].source.path, dir.read(files[cut].source.path) + "// one line more\n");
    const auto second_base = std::make_shared<const Base>(recompose(head, *first.base, cut, scanned(), {}, cache, kOptions));
    n_common = std::ranges::mismatch(first.base->tokens, second_base->tokens).in1 - first.base->tokens.begin();
    n_shared = static_cast<std::size_t>(n_common / kCut);
    second = evaluated(second_base, first.prefixes[n_shared - 1]);
    second.prefixes.insert(second.prefixes.begin(), first.prefixes.begin(), first.prefixes.begin() + static_cast<std::ptrdiff_t>(n_shared));
  }
  tools::Workspace scanned() const {
    auto files = tools::Scanner({dir.root(), {}}).scan();
    if (!files) std::abort();
    return std::move(*files);
  }
};
const World& world() {
  static const World kWorld;
  return kWorld;
}

std::unique_ptr<Keeper> open(const std::string& directory, Keeper::Options options = {}) {
  options.tokenizer_id = "nano";
  auto opened = Keeper::open(directory, nano(), std::move(options));
  EXPECT_TRUE(opened) << opened.error();
  return opened ? std::move(*opened) : nullptr;
}
// All lines it said.
std::vector<std::string> keep(Keeper& keeper, const Evaluated& e, std::uint64_t epoch, std::size_t n = SIZE_MAX) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < std::min(n, e.prefixes.size()); ++i)
    if (auto kept = keeper.keep(e.prefixes[i], e.base, epoch); !kept) out.push_back(kept.error());
  return out;
}

void expect_equal(const engine::Prefix& back, const engine::Prefix& prefix) {
  ASSERT_TRUE(std::ranges::equal(back.tokens(), prefix.tokens()));
  ASSERT_EQ(back.n_pages(), prefix.n_pages());
  for (std::int64_t i = 0; i < prefix.n_pages(); ++i) ASSERT_TRUE(std::ranges::equal(back.page(i), prefix.page(i))) << "page " << i;
  ASSERT_TRUE(std::ranges::equal(back.frontier(), prefix.frontier()));
}
void expect_restored(const std::optional<Keeper::Restored>& back, const Evaluated& e, std::uint64_t epoch, std::size_t n_prefixes) {
  ASSERT_TRUE(back);
  EXPECT_EQ(back->epoch, epoch);
  test::expect_equal(*back->base, *e.base);
  ASSERT_EQ(back->prefixes.size(), n_prefixes);
  for (std::size_t i = 0; i < n_prefixes; ++i) {
    SCOPED_TRACE(i);
    expect_equal(*back->prefixes[i], *e.prefixes[i]);
  }
}

// What a turn on the base draws, with the twenty likeliest and their log-probabilities each time.
std::pair<std::vector<Token>, std::vector<std::pair<Token, float>>> drawn(const PrefixRef& from, const Base& base) {
  const auto timeline = nano().timeline(from);
  std::vector<Token> prompt = base.tokens;
  const auto turn = nano().tokenizer().encode("What does f3 return?", false);
  prompt.insert(prompt.end(), turn.begin(), turn.end());
  EXPECT_EQ(timeline->sync(prompt, {}, {}).value(), static_cast<std::int64_t>(prompt.size() - from->tokens().size()));
  std::pair<std::vector<Token>, std::vector<std::pair<Token, float>>> out;
  for (int i = 0; i < 16; ++i) {
    out.first.push_back(timeline->next({.temperature = 0}, nullptr).value());
    const auto top = timeline->logprobs(engine::kLogprobsMax).top;
    out.second.insert(out.second.end(), top.begin(), top.end());
  }
  return out;
}

struct ExtentFile {
  fs::path path;
  std::uint64_t pos0;
};
// In the order of their tokens.
std::vector<ExtentFile> extent_files(const std::string& directory) {
  std::vector<ExtentFile> out;
  for (const auto& entry : fs::recursive_directory_iterator(directory + "/ext")) {
    if (!entry.is_regular_file()) continue;
    std::vector<std::byte> head(store::kExtentHeadBytes);
    std::ifstream(entry.path(), std::ios::binary).read(reinterpret_cast<char*>(head.data()), static_cast<std::streamsize>(head.size()));
    out.push_back({entry.path(), store::decode_header(head).value().pos0});
  }
  std::ranges::sort(out, {}, &ExtentFile::pos0);
  return out;
}
void flip(const fs::path& path) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  const auto at = static_cast<std::streamoff>(fs::file_size(path) / 2);
  file.seekg(at);
  const char was = static_cast<char>(file.get());
  file.seekp(at);
  file.put(static_cast<char>(was ^ 1));
}

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
    if (n % 2 == 0) now.erase(file.source.path);
    else test::put(now, file.source.path, "now another text\n");
  }
  ASSERT_EQ(edited.size(), 3u);
  const auto count = [](std::string_view text) { return static_cast<std::int64_t>(nano().tokenizer().encode(text, false).size()); };
  const auto told = [&](std::shared_ptr<const Base> base) {
    Overlay overlay(std::move(base), count, 2'000);
    std::string out;
    for (const Entry& entry : overlay.advance(now)) out += entry.text;
    EXPECT_TRUE(reconstruct(overlay.base(), overlay));
    return fmt::format("{}{} stale of {} lines, {} hidden", out, overlay.n_stale_lines(), overlay.n_base_lines(), overlay.n_hidden());
  };
  EXPECT_EQ(told(back->base), told(w.first.base));
  EXPECT_THAT(told(back->base), HasSubstr("now another text"));
  TokenCache cache(nano().tokenizer(), {});
  EXPECT_EQ(recompose(w.head, *back->base, w.cut, w.scanned(), {}, cache, kOptions).tokens, w.second.base->tokens);
}

// The second base's prefixes are offered in wider steps, which does not matter for what is there already.
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
    for (std::size_t i = 0; i < before.size(); ++i) EXPECT_EQ(fs::last_write_time(before[i].path), times[i]) << i;
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
  EXPECT_EQ(extent_files(dir.at("store")).size(), w.first.prefixes.size() - 1 + w.second.prefixes.size() - w.n_shared);
  now += std::chrono::hours(1);
  EXPECT_TRUE(keeper->tend());
  EXPECT_EQ(extent_files(dir.at("store")).size(), w.second.prefixes.size());
  expect_restored(keeper->restore(), w.second, 2, w.second.prefixes.size());
}

// A daemon ended while it kept the second base: the next one finds what there was of it, though nothing was committed.
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
      if (std::ranges::find(of_first, file.path, &ExtentFile::path) == of_first.end()) more_.push_back(file);
    ASSERT_EQ(more_.size(), kMore);
  }
  std::unique_ptr<Keeper> restored(Keeper::Options options = {}) {
    auto keeper = open(dir_.at("store"), std::move(options));
    first_ = keeper->restore().value().prefixes;
    return keeper;
  }
  std::vector<PrefixRef> resume(Keeper& keeper, std::size_t n_known) const {
    const std::int64_t last = static_cast<std::int64_t>(w_.second.base->tokens.size()) / kKeptStep * kKeptStep;
    return keeper.resume(w_.second.base, 2, std::span(first_).first(n_known),
                         [&](std::int64_t at) { return at >= last ? INT64_MAX : std::min(at / kCut * kCut + kCut, last); });
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
  for (std::size_t i = 0; i < kMore; ++i) expect_equal(*more[i], *w_.second.prefixes[w_.n_shared + i]);
  EXPECT_EQ(more.back()->page(0).data(), first_[0]->page(0).data());
  EXPECT_EQ(drawn(more.back(), *w_.second.base), drawn(w_.second.prefixes.back(), *w_.second.base));
  EXPECT_THAT(resume(*keeper, w_.n_shared), testing::SizeIs(kMore));  // it is still to be had
  EXPECT_THAT(keep(*keeper, {w_.second.base, {w_.second.prefixes.begin() + static_cast<std::ptrdiff_t>(w_.n_shared + kMore), w_.second.prefixes.end()}}, 2), ElementsAre());
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

// Wider steps would give the extents that are there other beginnings, and so overwrite what is committed.
TEST(Keeper, ABaseThatWasGivenUpForTheOneBeforeLeavesThatAsItIs) {
  const World& w = world();
  tools::test::Scratch dir;
  const auto keeper = open(dir.at("store"));
  EXPECT_THAT(keep(*keeper, w.first, 1), ElementsAre());
  EXPECT_THAT(keep(*keeper, w.second, 2, w.n_shared + 1), ElementsAre());
  const auto before = extent_files(dir.at("store"));
  const Evaluated again{std::make_shared<const Base>(*w.first.base), {w.first.prefixes[3], w.first.prefixes.back()}};
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
  longer.prefixes.insert(longer.prefixes.begin(), w.first.prefixes.begin(), w.first.prefixes.begin() + static_cast<std::ptrdiff_t>(n));
  tools::test::Scratch dir;
  auto keeper = open(dir.at("store"));
  EXPECT_THAT(keep(*keeper, w.first, 1), ElementsAre());
  EXPECT_THAT(keep(*keeper, longer, 2), ElementsAre());
  EXPECT_EQ(extent_files(dir.at("store")).size(), w.first.prefixes.size() + longer.prefixes.size() - n);
  keeper.reset();
  expect_restored(open(dir.at("store"))->restore(), longer, 2, longer.prefixes.size());
}

TEST(Keeper, ADamagedExtentShortensWhatComesBack) {
  const World& w = world();
  for (const bool truncated : {false, true}) {
    tools::test::Scratch dir;
    const std::string store = dir.at("store");
    EXPECT_THAT(keep(*open(store), w.first, 7), ElementsAre());
    const auto file = extent_files(store)[3].path;
    if (truncated) fs::resize_file(file, fs::file_size(file) - 1);
    else flip(file);
    auto keeper = open(store);
    const auto back = keeper->restore();
    expect_restored(back, w.first, 7, 3);
    ASSERT_EQ(back->lost.size(), 1u);
    EXPECT_THAT(back->lost[0], HasSubstr("tokens 3072..4096: "));
    EXPECT_FALSE(keeper->usage().committed);
    // What follows is evaluated and kept again.
    for (std::size_t i = 3; i < w.first.prefixes.size(); ++i) EXPECT_TRUE(keeper->keep(w.first.prefixes[i], back->base, 7));
    keeper.reset();
    expect_restored(open(store)->restore(), w.first, 7, w.first.prefixes.size());
  }
}

TEST(Keeper, NothingComesBackWithoutTheFirstExtentOrForAnotherTokenizer) {
  const World& w = world();
  tools::test::Scratch dir;
  EXPECT_THAT(keep(*open(dir.at("store")), w.first, 7), ElementsAre());
  {
    const auto other = Keeper::open(dir.at("store"), nano(), {.tokenizer_id = "other"}).value();
    EXPECT_FALSE(other->restore());
    EXPECT_THAT(other->lost(), ElementsAre(HasSubstr("cannot be used: another tokenizer made it")));
  }
  expect_restored(open(dir.at("store"))->restore(), w.first, 7, w.first.prefixes.size());
  flip(extent_files(dir.at("store"))[0].path);
  const auto keeper = open(dir.at("store"));
  EXPECT_FALSE(keeper->restore());
  EXPECT_THAT(keeper->lost(), ElementsAre(HasSubstr("tokens 0..1024: ")));
}

TEST(Keeper, AnotherEngineGetsNothing) {
  const World& w = world();
  tools::test::Scratch dir;
  EXPECT_THAT(keep(*open(dir.at("store")), w.first, 7), ElementsAre());
  {
    const auto exact = load(true);
    const auto other = Keeper::open(dir.at("store"), *exact, {.tokenizer_id = "nano"}).value();
    EXPECT_FALSE(other->restore());
    EXPECT_THAT(other->lost(), ElementsAre(HasSubstr("another engine or checkpoint made it")));
  }
  expect_restored(open(dir.at("store"))->restore(), w.first, 7, w.first.prefixes.size());
}

// Sound bytes that this daemon would not have written.
TEST(Keeper, ABaseAndExtentsThatDoNotBelongTogetherGiveNothing) {
  const World& w = world();
  tools::test::Scratch dir;
  EXPECT_THAT(keep(*open(dir.at("store")), w.first, 7), ElementsAre());
  const auto fingerprint = store::hash256(std::as_bytes(std::span(std::string_view(nano().prefix_format().fingerprint))));
  const auto restored_after = [&](auto change) {
    {
      const auto raw = std::move(store::Store::open(dir.at("store"), fingerprint, {}).value());
      auto manifest = raw->restore({}).manifest.value();
      std::vector<store::Hash256> chain;
      for (const auto& extent : manifest.extents) chain.push_back(extent.chain_out);
      change(chain, manifest.payload);
      EXPECT_TRUE(raw->commit(chain, manifest.payload));
    }
    const auto keeper = open(dir.at("store"));
    EXPECT_FALSE(keeper->restore());
    return fmt::format("{}", fmt::join(keeper->lost(), "\n"));
  };
  using Chain = std::vector<store::Hash256>;
  using Payload = std::vector<std::byte>;
  Chain all;
  EXPECT_THAT(restored_after([&](Chain& chain, Payload& payload) {
    all = chain;
    Base shorter = *w.first.base;
    while (shorter.files.back().start >= 4096) shorter.files.pop_back();
    shorter.tokens.resize(static_cast<std::size_t>(shorter.files.back().start + shorter.files.back().n_tokens));
    shorter.files_end = static_cast<std::int64_t>(shorter.tokens.size());
    payload = encode_base(shorter, 7, "nano");
  }), HasSubstr("tokens and its extents 7808"));
  Base other = *w.first.base;
  other.tokens[2000] ^= 1;  // in a file
  EXPECT_THAT(restored_after([&](Chain& chain, Payload& payload) { chain = all, payload = encode_base(other, 7, "nano"); }), HasSubstr("are not its text"));
  other = *w.first.base;
  other.tokens[3] ^= 1;  // in the head, where nothing else is held against it
  EXPECT_THAT(restored_after([&](Chain&, Payload& payload) { payload = encode_base(other, 7, "nano"); }), HasSubstr("tokens 0..1024 are not those of its extent"));
  other = *w.first.base;
  other.tokens[1500] ^= 1;  // in the second extent, and the files say so too: then the first does not belong to it either
  for (BaseFile& file : other.files)
    if (file.start <= 1500 && 1500 < file.start + file.n_tokens) file.source.shown = tools::Shown::outline;
  EXPECT_THAT(restored_after([&](Chain&, Payload& payload) { payload = encode_base(other, 7, "nano"); }), HasSubstr("tokens 1024..2048 are not those of its extent"));
  EXPECT_THAT(restored_after([&](Chain&, Payload& payload) { payload.resize(100); }), HasSubstr("it is truncated"));
  EXPECT_THAT(restored_after([&](Chain&, Payload& payload) { payload.clear(); }), HasSubstr("it does not begin like a base"));
}

std::shared_ptr<CrashDisk> new_disk() {
  auto disk = std::make_shared<CrashDisk>();
  (void)disk->make_dir("/home");
  (void)disk->sync_dir("/");
  return disk;
}

// Whatever operation finds the disk full: one line, what was committed comes back, and with room again the rest is written.
TEST(Keeper, AFullDiskCostsOnlyWhatIsNew) {
  const World& w = world();
  std::size_t n_operations = 0;
  for (std::size_t i = 0; i <= 12; ++i) {
    const std::size_t at = i * n_operations / 12;
    SCOPED_TRACE(at);
    const auto disk = new_disk();
    store::Clock::time_point now{};
    const Keeper::Options options{.disk = disk, .now = [&] { return now; }};
    auto keeper = open("/home/store", options);
    EXPECT_THAT(keep(*keeper, w.first, 1), ElementsAre());
    disk->plan({.kind = i == 0 ? Fault::Kind::none : Fault::Kind::error, .at = at, .error = ENOSPC, .lasting = true});
    const auto lines = keep(*keeper, w.second, 2);
    if (i == 0) {  // to count
      n_operations = disk->n_operations();
      EXPECT_THAT(lines, ElementsAre());
      continue;
    }
    EXPECT_THAT(lines, ElementsAre(HasSubstr("No space left on device")));
    EXPECT_FALSE(keeper->usage().committed);
    EXPECT_TRUE(keeper->tend()) << "it is said once";
    if (i % 2 == 0) {
      keeper.reset();
      disk->plan({});
      keeper = open("/home/store", options);
      const auto back = keeper->restore();
      ASSERT_TRUE(back);
      // Where only the very last sync failed, either is right.
      if (back->epoch == 1) expect_restored(back, w.first, 1, w.first.prefixes.size());
      else expect_restored(back, w.second, 2, w.second.prefixes.size());
      EXPECT_TRUE(back->epoch == 1 || at == n_operations);
      continue;
    }
    disk->plan({});
    now += std::chrono::minutes(2);
    EXPECT_TRUE(keeper->tend());
    EXPECT_TRUE(keeper->usage().committed);
    keeper.reset();
    expect_restored(open("/home/store", options)->restore(), w.second, 2, w.second.prefixes.size());
  }
  EXPECT_GT(n_operations, 12u);
}

// While the disk refuses, another base comes: of the one before nothing is written any more, and the same refusal is said once more, for it.
TEST(Keeper, WhatWaitedForTheDiskIsForgottenWithItsBase) {
  const World& w = world();
  const auto disk = new_disk();
  store::Clock::time_point now{};
  const Keeper::Options options{.disk = disk, .now = [&] { return now; }};
  auto keeper = open("/home/store", options);
  disk->plan({.kind = Fault::Kind::error, .at = 1, .error = ENOSPC, .lasting = true});
  EXPECT_THAT(keep(*keeper, w.first, 1), ElementsAre(HasSubstr("No space left on device")));
  now += std::chrono::minutes(2);
  EXPECT_TRUE(keeper->tend()) << "it was tried again, and said before";
  now += std::chrono::minutes(2);
  EXPECT_THAT(keep(*keeper, w.second, 2, w.n_shared), ElementsAre(HasSubstr("No space left on device")));
  disk->plan({});
  now += std::chrono::minutes(2);
  EXPECT_THAT(keep(*keeper, w.second, 2), ElementsAre());
  EXPECT_TRUE(keeper->usage().committed);
  keeper.reset();
  expect_restored(open("/home/store", options)->restore(), w.second, 2, w.second.prefixes.size());
}

TEST(Keeper, TheSameBaseOfAnotherEpochIsCommittedAgainAndOnlyThen) {
  const World& w = world();
  tools::test::Scratch dir;
  const std::string store = dir.at("store");
  const auto manifests = [&] { return std::distance(fs::directory_iterator(store + "/epochs"), fs::directory_iterator()); };
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

// A daemon that ends while it evaluates its first base goes on from there; one that has a base keeps that until the next is whole.
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
  for (std::size_t i = 3; i < w.first.prefixes.size(); ++i) EXPECT_TRUE(keeper->keep(w.first.prefixes[i], back->base, 7));
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

TEST(Keeper, NoStepIsLongerThanAnExtent) {
  tools::test::Scratch dir;
  const auto keeper = open(dir.at("store"));
  const auto base = std::make_shared<Base>();
  base->tokens.resize(kKeptStepMax + 4 * kKeptPageTokens);
  const auto far = std::make_shared<Bare>(std::vector<Token>(base->tokens.begin(), base->tokens.begin() + kKeptStepMax + kKeptPageTokens));
  EXPECT_THAT(keeper->keep(far, base, 1).error(), HasSubstr("it comes behind one of 0; at most 16384 more are possible"));
}

// A prefix with one byte of one page, or of its frontier, that the engine would not compute.
class Altered : public engine::Prefix {
 public:
  Altered(PrefixRef of, std::int64_t page) : of_(std::move(of)), page_(page), bytes_(altered(page < 0 ? of_->frontier() : of_->page(page))) {}
  std::span<const Token> tokens() const override { return of_->tokens(); }
  std::int64_t n_pages() const override { return of_->n_pages(); }
  std::span<const std::uint8_t> page(std::int64_t i) const override { return i == page_ ? bytes_ : of_->page(i); }
  std::span<const std::uint8_t> frontier() const override { return page_ < 0 ? bytes_ : of_->frontier(); }

 private:
  static std::vector<std::uint8_t> altered(std::span<const std::uint8_t> bytes) {
    std::vector<std::uint8_t> out(bytes.begin(), bytes.end());
    out.back() ^= 0x10;
    return out;
  }
  PrefixRef of_;
  std::int64_t page_;
  std::vector<std::uint8_t> bytes_;
};

TEST(Keeper, AScrubSeesWhatTheEngineDoesNotComputeAndWhatTheDiskLost) {
  const World& w = world();
  tools::test::Scratch dir;
  const auto keeper = open(dir.at("store"));
  const auto begin_of = [](const auto& prefixes, std::size_t i) { return i == 0 ? 0 : static_cast<std::int64_t>(prefixes[i - 1]->tokens().size()); };
  const auto scrub = [&](std::size_t i) { return keeper->compare(*w.first.prefixes[i], begin_of(w.first.prefixes, i)); };
  const auto altered = [&](std::size_t i, std::int64_t page) { return std::make_shared<Altered>(w.first.prefixes[i], page); };
  for (std::size_t i = 0; i < w.first.prefixes.size(); ++i) {
    const PrefixRef prefix = i == 1 ? altered(i, 6) : i == 2 ? altered(i, -1) : w.first.prefixes[i];
    EXPECT_TRUE(keeper->keep(prefix, w.first.base, 7));
  }
  for (const std::size_t i : {std::size_t{0}, std::size_t{3}, w.first.prefixes.size() - 1}) EXPECT_TRUE(scrub(i)) << scrub(i).error();
  EXPECT_THAT(scrub(1).error(), HasSubstr("of tokens 1024..2048: 1 of its pages are not what the engine computes now, from page 6 on"));
  EXPECT_THAT(scrub(2).error(), HasSubstr("of tokens 2048..3072: 0 of its pages and its frontier"));
  EXPECT_THAT(keeper->compare(*w.second.prefixes[w.n_shared], begin_of(w.second.prefixes, w.n_shared)).error(), HasSubstr("no extent is of these"));
  EXPECT_THAT(keeper->compare(*w.first.prefixes[3], 0).error(), HasSubstr("no extent is of these"));
  ASSERT_EQ(keeper->kept().size(), w.first.prefixes.size());
  EXPECT_EQ(keeper->kept()[1].begin, 1024);
  EXPECT_EQ(keeper->kept()[1].end, 2048);
  EXPECT_TRUE(keeper->usage().committed);
  flip(extent_files(dir.at("store"))[4].path);
  EXPECT_THAT(scrub(4).error(), HasSubstr("of tokens 4096..5120: scrub extent "));
  EXPECT_EQ(keeper->usage().n_tokens, 4096);
  EXPECT_FALSE(keeper->usage().committed);
  EXPECT_THAT(keep(*keeper, w.first, 7), ElementsAre());
  EXPECT_TRUE(keeper->usage().committed);
  EXPECT_TRUE(scrub(4));
}

TEST(Keeper, RefusesWhatIsNoBeginningOfTheBase) {
  const World& w = world();
  tools::test::Scratch dir;
  const auto keeper = open(dir.at("store"));
  EXPECT_THAT(keeper->keep(nullptr, w.first.base, 1).error(), HasSubstr("does not begin so"));
  EXPECT_THAT(keeper->keep(w.second.prefixes.back(), w.first.base, 1).error(), HasSubstr("does not begin so"));
  const auto timeline = nano().timeline(w.first.prefixes[0]);
  ASSERT_TRUE(timeline->sync(std::span(w.first.base->tokens).first(1152), {}, {}));
  EXPECT_THAT(keeper->keep(timeline->prefix(1152), w.first.base, 1).error(), HasSubstr("must end at a multiple of 256"));
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
  EXPECT_THAT(Keeper::open(dir.at("store"), Other(), {}).error(), HasSubstr("pages are of 0 tokens"));
  EXPECT_FALSE(fs::exists(dir.at("store")));
  const auto one = open(dir.at("store"));
  EXPECT_FALSE(Keeper::open(dir.at("store"), nano(), {}));
}

}  // namespace
}  // namespace lares::daemon
