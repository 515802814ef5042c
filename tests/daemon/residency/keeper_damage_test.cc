// What a Keeper gives back of damaged and foreign bytes, and what it does when the disk refuses.
#include "daemon/residency/keeper.h"

#include <cerrno>
#include <chrono>

#include <fmt/format.h>

#include "daemon/residency/base_record.h"
#include "tests/daemon/residency/keeper_world.h"
#include "tests/daemon/store/crash_disk.h"

namespace lares::daemon {
namespace {

using namespace test;
using store::test::CrashDisk;
using store::test::Fault;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Keeper, ADamagedExtentShortensWhatComesBack) {
  const World& w = world();
  for (const bool truncated : {false, true}) {
    tools::test::Scratch dir;
    const std::string store = dir.at("store");
    EXPECT_THAT(keep(*open(store), w.first, 7), ElementsAre());
    const auto file = extent_files(store)[3].path;
    if (truncated)
      fs::resize_file(file, fs::file_size(file) - 1);
    else
      flip(file);
    auto keeper = open(store);
    const auto back = keeper->restore();
    expect_restored(back, w.first, 7, 3);
    ASSERT_EQ(back->lost.size(), 1u);
    EXPECT_THAT(back->lost[0], HasSubstr("tokens 3072..4096: "));
    EXPECT_FALSE(keeper->usage().committed);
    // What follows is evaluated and kept again.
    for (std::size_t i = 3; i < w.first.prefixes.size(); ++i)
      EXPECT_TRUE(keeper->keep(w.first.prefixes[i], back->base, 7));
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
  const auto fingerprint = store::hash256(
      std::as_bytes(std::span(std::string_view(nano().prefix_format().fingerprint))));
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
                shorter.tokens.resize(static_cast<std::size_t>(shorter.files.back().start +
                                                               shorter.files.back().n_tokens));
                shorter.files_end = static_cast<std::int64_t>(shorter.tokens.size());
                payload = encode_base(shorter, 7, "nano");
              }),
              HasSubstr("tokens and its extents 7808"));
  Base other = *w.first.base;
  other.tokens[2000] ^= 1;  // in a file
  EXPECT_THAT(restored_after([&](Chain& chain, Payload& payload) {
                chain = all, payload = encode_base(other, 7, "nano");
              }),
              HasSubstr("are not its text"));
  other = *w.first.base;
  other.tokens[3] ^= 1;  // in the head, where nothing else is held against it
  EXPECT_THAT(
      restored_after([&](Chain&, Payload& payload) { payload = encode_base(other, 7, "nano"); }),
      HasSubstr("tokens 0..1024 are not those of its extent"));
  other = *w.first.base;
  // In the second extent, and the files say so too: then the first does not belong to it either
  other.tokens[1500] ^= 1;
  for (BaseFile& file : other.files)
    if (file.start <= 1500 && 1500 < file.start + file.n_tokens)
      file.source.shown = tools::Shown::outline;
  EXPECT_THAT(
      restored_after([&](Chain&, Payload& payload) { payload = encode_base(other, 7, "nano"); }),
      HasSubstr("tokens 1024..2048 are not those of its extent"));
  EXPECT_THAT(restored_after([&](Chain&, Payload& payload) { payload.resize(100); }),
              HasSubstr("it is truncated"));
  EXPECT_THAT(restored_after([&](Chain&, Payload& payload) { payload.clear(); }),
              HasSubstr("it does not begin like a base"));
}

std::shared_ptr<CrashDisk> new_disk() {
  auto disk = std::make_shared<CrashDisk>();
  (void)disk->make_dir("/home");
  (void)disk->sync_dir("/");
  return disk;
}

// Whatever operation finds the disk full: one line, what was committed comes back, and with room
// again the rest is written.
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
    disk->plan({.kind = i == 0 ? Fault::Kind::none : Fault::Kind::error,
                .at = at,
                .error = ENOSPC,
                .lasting = true});
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
      if (back->epoch == 1)
        expect_restored(back, w.first, 1, w.first.prefixes.size());
      else
        expect_restored(back, w.second, 2, w.second.prefixes.size());
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

// While the disk refuses, another base comes: of the one before nothing is written any more, and
// the same refusal is said once more, for it.
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
  EXPECT_THAT(keep(*keeper, w.second, 2, w.n_shared),
              ElementsAre(HasSubstr("No space left on device")));
  disk->plan({});
  now += std::chrono::minutes(2);
  EXPECT_THAT(keep(*keeper, w.second, 2), ElementsAre());
  EXPECT_TRUE(keeper->usage().committed);
  keeper.reset();
  expect_restored(open("/home/store", options)->restore(), w.second, 2, w.second.prefixes.size());
}

// A prefix with one byte of one page, or of its frontier, that the engine would not compute.
class Altered : public engine::Prefix {
 public:
  Altered(PrefixRef of, std::int64_t page)
      : of_(std::move(of)),
        page_(page),
        bytes_(altered(page < 0 ? of_->frontier() : of_->page(page))) {}
  std::span<const Token> tokens() const override { return of_->tokens(); }
  std::int64_t n_pages() const override { return of_->n_pages(); }
  std::span<const std::uint8_t> page(std::int64_t i) const override {
    return i == page_ ? bytes_ : of_->page(i);
  }
  std::span<const std::uint8_t> frontier() const override {
    return page_ < 0 ? bytes_ : of_->frontier();
  }

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
  const auto begin_of = [](const auto& prefixes, std::size_t i) {
    return i == 0 ? 0 : static_cast<std::int64_t>(prefixes[i - 1]->tokens().size());
  };
  const auto scrub = [&](std::size_t i) {
    return keeper->compare(*w.first.prefixes[i], begin_of(w.first.prefixes, i));
  };
  const auto altered = [&](std::size_t i, std::int64_t page) {
    return std::make_shared<Altered>(w.first.prefixes[i], page);
  };
  for (std::size_t i = 0; i < w.first.prefixes.size(); ++i) {
    const PrefixRef prefix = i == 1 ? altered(i, 6) : i == 2 ? altered(i, -1) : w.first.prefixes[i];
    EXPECT_TRUE(keeper->keep(prefix, w.first.base, 7));
  }
  for (const std::size_t i : {std::size_t{0}, std::size_t{3}, w.first.prefixes.size() - 1})
    EXPECT_TRUE(scrub(i)) << scrub(i).error();
  EXPECT_THAT(scrub(1).error(), HasSubstr("of tokens 1024..2048: 1 of its pages are not what the "
                                          "engine computes now, from page 6 on"));
  EXPECT_THAT(scrub(2).error(), HasSubstr("of tokens 2048..3072: 0 of its pages and its frontier"));
  EXPECT_THAT(
      keeper->compare(*w.second.prefixes[w.n_shared], begin_of(w.second.prefixes, w.n_shared))
          .error(),
      HasSubstr("no extent is of these"));
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

}  // namespace
}  // namespace lares::daemon
