// Less memory than weights: the same results, within the bound, and the disk read for what is
// missing; too little is refused from arithmetic.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "engine/model/memory/available_memory.h"
#include "engine/model/memory/expert_memory.h"
#include "engine/model/memory/memory_nodes.h"
#include "engine/model/memory/memory_plan.h"
#include "engine/model/state.h"
#include "engine/model/timeline.h"
#include "tests/engine/model/golden.h"
#include "tests/temporary_directory.h"

namespace lares::engine {
namespace {

using namespace test;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

const std::string kNano = std::string(LARES_SOURCE_DIR) + "/engine/nano/checkpoint";

TEST(MemoryNodes, OfALinuxList) {
  EXPECT_EQ(parse_nodes("0"), std::vector<int>{0});
  EXPECT_EQ(parse_nodes("0-3"), (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(parse_nodes("0-1,8,10-11"), (std::vector<int>{0, 1, 8, 10, 11}));
  for (const char* bad : {"", "x", "1-", "-1", "3-1", "1,", ",1", "1 2", "0-99999", "0-1,x"})
    EXPECT_TRUE(parse_nodes(bad).empty()) << bad;
}

// A file of experts of 1 MiB, mapped.
class Mapped : public testing::Test {
 protected:
  static constexpr std::size_t kSize = 1 << 20;
  static constexpr int kCount = 16;

  void SetUp() override {
    const int fd = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    std::vector<std::uint8_t> bytes(kSize);
    for (int i = 0; i < kCount; ++i) {
      bytes.assign(kSize, static_cast<std::uint8_t>(i + 1));
      ASSERT_EQ(::write(fd, bytes.data(), kSize), static_cast<ssize_t>(kSize));
    }
    ::fsync(fd);
    ::close(fd);
    auto opened = MappedFile::open(path_);
    ASSERT_TRUE(opened);
    file_.emplace(std::move(*opened));
  }

  std::span<const std::uint8_t> bytes(int i) const {
    return file_->bytes().subspan(static_cast<std::size_t>(i) * kSize, kSize);
  }
  ExpertMemory memory(int max) const {
    std::vector<ExpertMemory::Expert> experts;
    for (int i = 0; i < kCount; ++i) experts.push_back({{&*file_, bytes(i)}});
    return ExpertMemory(std::move(experts), static_cast<std::uint64_t>(max) * kSize);
  }
  void send(ExpertMemory& m, std::vector<std::int32_t> experts, int tokens = 1) const {
    m.use(experts, std::vector<std::int32_t>(experts.size(), tokens), 1);
    for (const auto e : experts)
      for (std::size_t at = 0; at < kSize; at += 512) EXPECT_EQ(bytes(e)[at], e + 1);
  }
  // Bytes of the mapping that this process holds.
  std::uint64_t held() const {
    std::ifstream smaps("/proc/self/smaps");
    std::string line;
    std::uint64_t total = 0, kb = 0;
    bool ours = false;
    while (std::getline(smaps, line)) {
      if (line.find('-') != std::string::npos && line.find(' ') > line.find('-'))
        ours = line.find(path_) != std::string::npos;
      if (ours && std::sscanf(line.c_str(), "Rss: %lu kB", &kb) == 1) total += kb * 1024;
    }
    return total;
  }

  const TemporaryDirectory made_;
  const std::string path_ = made_ / "experts";
  std::optional<MappedFile> file_;
};

TEST_F(Mapped, StaysWithinItsBoundAndReadsTheSame) {
  auto m = memory(5);
  for (int round = 0; round < 3; ++round)
    for (int i = 0; i < kCount; i += 2) {
      send(m, {i, i + 1});
      EXPECT_GE(held(), 2 * kSize);
      EXPECT_LE(m.report().resident, 5 * kSize);
      // a fault may map what of its neighbours is in the page cache
      EXPECT_LE(held(), 5 * kSize + kCount * 16 * 4096);
    }
  EXPECT_EQ(m.report().bytes, kCount * kSize);
  EXPECT_EQ(m.report().missed, 3 * kCount);  // who comes back was given up meanwhile
  EXPECT_EQ(m.report().read, 3 * kCount * kSize);
}

TEST_F(Mapped, WhatIsAskedForMostStays) {
  auto m = memory(4);
  for (int i = 0; i < 20; ++i) send(m, {1, 2});
  const auto before = m.report();
  for (int i = 4; i < kCount; ++i) send(m, {i});
  for (int i = 0; i < 3; ++i) send(m, {1, 2});
  EXPECT_EQ(m.report().missed - before.missed, kCount - 4);
  EXPECT_EQ(m.report().found - before.found, 6);
}

TEST_F(Mapped, WhatWasHotLongAgoGoes) {
  auto m = memory(2);
  send(m, {1}, 50);
  for (int i = 0; i < 40; ++i)
    m.use(std::vector<std::int32_t>{2}, std::vector<std::int32_t>{8}, kHeatHalfLife / 4);
  send(m, {3});
  const auto before = m.report();
  send(m, {2});
  EXPECT_EQ(m.report().missed, before.missed);
  send(m, {1});
  EXPECT_EQ(m.report().missed, before.missed + 1);
}

TEST_F(Mapped, AUseThatNeedsMoreThanTheBoundGetsIt) {
  auto m = memory(2);
  send(m, {1, 2, 3, 4, 5});
  EXPECT_EQ(m.report().resident, 5 * kSize);
  send(m, {6});
  EXPECT_LE(m.report().resident, 2 * kSize);
}

TEST_F(Mapped, WhatIsExpectedIsThereWhenItIsUsed) {
  auto m = memory(4);
  send(m, {8, 9}, 100);
  m.expect(std::vector<std::int32_t>{1, 2});
  send(m, {3, 4});  // hotter or not, what is expected is kept as long as others can go
  const auto before = m.report();
  send(m, {1, 2});
  EXPECT_EQ(m.report().missed, before.missed);
  EXPECT_LE(m.report().resident, 4 * kSize);
}

// A second run over the same file of heat.
class Remembered : public Mapped {
 protected:
  void SetUp() override {
    Mapped::SetUp();
    fs::create_directory(directory_);
  }
  HeatFile file(const std::string& fingerprint = "0123456789abcdef") const {
    return HeatFile(directory_, fingerprint);
  }
  std::string content() const {
    std::ifstream in(file().path(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void put(const std::string& bytes) const {
    std::ofstream(file().path(), std::ios::binary) << bytes;
  }

  const std::string directory_ = path_ + ".heat";
};

TEST_F(Remembered, WhatWasHotIsReadFirstAndGoesLast) {
  {
    auto m = memory(6);
    ASSERT_TRUE(m.remember(file()));
    EXPECT_EQ(m.report().remembered, 0);
    for (int i = 0; i < 20; ++i) send(m, {11, 12});
    for (const int i : {3, 4, 5, 6, 7}) send(m, {i});
    EXPECT_FALSE(fs::exists(file().path()));  // before kHeatKeptEvery tokens
  }
  auto m = memory(4);
  ASSERT_TRUE(m.remember(file()));
  m.wait_until_read_ahead();
  const auto begun = m.report();
  EXPECT_EQ(begun.remembered, 7);
  EXPECT_EQ(begun.ahead, 4 * kSize);
  EXPECT_EQ(begun.read, 4 * kSize);
  EXPECT_EQ(begun.resident, 4 * kSize);
  send(m, {11, 12});
  EXPECT_EQ(m.report().found, 2);
  for (const int i : {0, 1, 2, 8, 9, 10, 13, 14}) send(m, {i});
  const auto before = m.report();
  send(m, {11, 12});
  EXPECT_EQ(m.report().found - before.found, 2);
  EXPECT_LE(m.report().resident, 4 * kSize);
  EXPECT_EQ(m.report().unkept, "");
}

TEST_F(Remembered, IsHalfForgotten) {
  {
    auto m = memory(3);
    ASSERT_TRUE(m.remember(file()));
    send(m, {1}, 10);
  }
  auto m = memory(3);
  ASSERT_TRUE(m.remember(file()));
  send(m, {2}, 7);  // less than 10, more than half of it
  send(m, {4});
  send(m, {5});  // 1 goes
  const auto before = m.report();
  send(m, {2});
  EXPECT_EQ(m.report().missed, before.missed);
  send(m, {1});
  EXPECT_EQ(m.report().missed, before.missed + 1);
}

// The thread that reads ahead and the one that uses them: nothing is counted twice, and the bound
// holds.
TEST_F(Remembered, StaysWithinItsBoundWhileItReadsAhead) {
  for (int run = 0; run < 4; ++run) {
    auto m = memory(6);
    ASSERT_TRUE(m.remember(file()));
    for (int i = 0; i < kCount; i += 2) {
      send(m, {i, (i + 5) % kCount});
      EXPECT_LE(m.report().resident, 6 * kSize);
    }
    m.wait_until_read_ahead();
    const auto r = m.report();
    EXPECT_LE(r.resident, 6 * kSize);
    EXPECT_LE(held(), 6 * kSize + kCount * 16 * 4096);
    EXPECT_EQ(r.found + r.missed, kCount);
    EXPECT_EQ(r.read, static_cast<std::uint64_t>(r.missed) * kSize + r.ahead);
    EXPECT_EQ(r.read - r.resident, static_cast<std::uint64_t>(r.given_up) * kSize);
  }
}

TEST_F(Remembered, IsKeptNowAndThen) {
  auto m = memory(4);
  ASSERT_TRUE(m.remember(file()));
  m.use(std::vector<std::int32_t>{1, 2}, std::vector<std::int32_t>{1, 3}, kHeatKeptEvery);
  const auto heat = file().read(kCount);
  ASSERT_TRUE(heat) << heat.error().message;
  EXPECT_FLOAT_EQ((*heat)[1], 0);
  EXPECT_FLOAT_EQ((*heat)[2], std::log2(3.0f));
  EXPECT_EQ((*heat)[3], -INFINITY);
}

TEST_F(Remembered, AFileThatIsNotWhatItShouldBeIsNotUsedAndReplaced) {
  const std::vector<float> heat{1, -INFINITY, 3.5f, -20};
  EXPECT_EQ(file().read(4).error().code, Errc::not_found);
  ASSERT_TRUE(file().write(heat));
  ASSERT_EQ(*file().read(4), heat);
  EXPECT_EQ(file().read(5).error().code, Errc::malformed);
  const std::string good = content();
  for (std::size_t n = 0; n < good.size(); ++n) {
    put(good.substr(0, n));
    ASSERT_EQ(file().read(4).error().code, Errc::malformed) << "cut at " << n;
    std::string bad = good;
    bad[n] = static_cast<char>(bad[n] ^ 4);
    put(bad);
    ASSERT_EQ(file().read(4).error().code, Errc::malformed) << "damaged at " << n;
  }
  put(good + " ");
  EXPECT_EQ(file().read(4).error().code, Errc::malformed);
  fs::rename(file().path(), file("fedcba9876543210").path());
  const auto foreign = file("fedcba9876543210").read(4);
  ASSERT_FALSE(foreign);
  EXPECT_THAT(foreign.error().message,
              testing::AllOf(HasSubstr(directory_),
                             HasSubstr("it is of other weights; it is not used, and written anew"),
                             Not(HasSubstr("\n"))));
  {
    put("lares heat 1\n");
    auto m = memory(4);
    EXPECT_FALSE(m.remember(file()));
    EXPECT_EQ(m.report().remembered, 0);
    send(m, {1, 2});
  }
  EXPECT_TRUE(file().read(kCount));
  EXPECT_EQ(std::distance(fs::directory_iterator(directory_), {}), 2);  // no part of one is left
}

TEST_F(Remembered, WhereItCannotBeKeptTheReportSaysWhy) {
  auto m = memory(4);
  ASSERT_TRUE(m.remember(HeatFile(directory_ + "/gone", "0123456789abcdef")));
  m.use(std::vector<std::int32_t>{1}, std::vector<std::int32_t>{1}, kHeatKeptEvery);
  EXPECT_THAT(m.report().unkept, testing::AllOf(HasSubstr(directory_ + "/gone"),
                                                HasSubstr("No such file or directory")));
  fs::create_directory(directory_ + "/gone");
  m.use(std::vector<std::int32_t>{1}, std::vector<std::int32_t>{1}, kHeatKeptEvery);
  EXPECT_EQ(m.report().unkept, "");
}

TEST_F(Mapped, MakesWayForSequences) {
  auto m = memory(8);
  const auto sequences = std::make_shared<SequenceMemory>(8 * kSize);
  m.share_with(sequences, 10 * kSize);
  for (int i = 0; i < 8; i += 2) send(m, {i, i + 1});
  EXPECT_EQ(m.report().resident, 8 * kSize);
  sequences->take(7 * kSize);
  send(m, {8});
  EXPECT_EQ(m.report().resident, 3 * kSize);
  sequences->take(kSize * 5);  // beyond what there is
  send(m, {9, 10});
  EXPECT_EQ(m.report().resident, 2 * kSize);
  sequences->give(12 * kSize);
  for (int i = 0; i < 8; i += 2) send(m, {i, i + 1});
  EXPECT_EQ(m.report().resident, 8 * kSize);
}

struct Outcome {
  std::vector<Token> tokens;
  std::vector<float> logprobs;
  MemoryUse use;
};
Outcome outcome_with(std::uint64_t memory, const std::string& heat_directory = {}) {
  Outcome out;
  auto engine = load(
      {.directory = kNano, .n_threads = 2, .memory = memory, .heat_directory = heat_directory}, {});
  EXPECT_TRUE(engine) << engine.error().message;
  if (!engine) return out;
  auto timeline = (*engine)->timeline();
  std::vector<Token> prompt;
  for (int i = 0; i < 400; ++i) prompt.push_back(2 + i * 7919 % 1200);
  EXPECT_TRUE(timeline->sync(prompt, {}, {}));
  for (int i = 0; i < 24; ++i) {
    const auto token = timeline->next({.seed = 3}, nullptr);
    EXPECT_TRUE(token);
    out.tokens.push_back(*token);
    for (const auto& [id, p] : timeline->logprobs(5).top) out.logprobs.push_back(p);
  }
  out.use = (*engine)->memory();
  return out;
}

TEST(Memory, LessOfItThanWeightsChangesNoBit) {
  auto weights = load_weights(kNano, {});
  ASSERT_TRUE(weights);
  const auto needs = memory_needs(
      **weights, false, (*weights)->checkpoint.config().max_position_embeddings, kChunk, 2);
  const Outcome all = outcome_with(0);
  EXPECT_EQ(all.use.experts.bytes_max, 0u);
  EXPECT_GT(all.use.tiles, 0u);
  const std::uint64_t limit = (needs.dense + needs.work + needs.experts_min) +
                              (needs.experts_min + needs.experts_min / 2) + needs.sequence_min +
                              4'000'000;
  const Outcome some = outcome_with(limit);
  EXPECT_EQ(some.use.tiles, 0u);
  EXPECT_GT(some.use.experts.given_up, 0);
  EXPECT_GT(some.use.experts.read, needs.experts);
  EXPECT_LE(some.use.experts.resident, some.use.experts.bytes_max);
  EXPECT_LT(some.use.experts.bytes_max, needs.experts);
  EXPECT_EQ(some.use.sequences.bytes_max, limit - needs.dense - needs.work - needs.experts_min);
  EXPECT_GT(some.use.sequences.bytes, 0u);
  EXPECT_LE(some.use.sequences.most, some.use.sequences.bytes_max);
  EXPECT_EQ(all.use.sequences.bytes_max, 0u);  // no bound was asked for, and all weights have room
  EXPECT_EQ(some.tokens, all.tokens);
  EXPECT_EQ(some.logprobs, all.logprobs);
  const TemporaryDirectory made;
  const std::string& directory = made.path();
  for (const bool again : {false, true}) {
    const Outcome warm = outcome_with(limit, directory);
    EXPECT_EQ(warm.use.experts.remembered > 0, again);
    if (!again) {  // the second time it is a matter of who comes first, that thread or a use
      EXPECT_EQ(warm.use.experts.ahead, 0u);
    }
    EXPECT_EQ(warm.tokens, all.tokens);
    EXPECT_EQ(warm.logprobs, all.logprobs);
  }
  const std::string path = fs::directory_iterator(directory)->path();
  fs::resize_file(path, fs::file_size(path) - 1);
  const auto damaged = load(
      {.directory = kNano, .n_threads = 2, .memory = limit, .heat_directory = directory}, {});
  ASSERT_TRUE(damaged);
  EXPECT_THAT((*damaged)->info().notes, testing::Contains(HasSubstr("read " + path)));
  EXPECT_EQ((*damaged)->memory().experts.remembered, 0);
}

TEST(Memory, TooLittleIsRefusedInOneLineWithTheNumbers) {
  const auto engine = load({.directory = kNano, .memory = 1'000'000}, {});
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, Errc::no_memory);
  EXPECT_THAT(engine.error().message,
              testing::AllOf(HasSubstr("load " + kNano), HasSubstr("1.0 MB are there"),
                             Not(HasSubstr("\n"))));
}

// What the arithmetic lets in can answer.
TEST(Memory, AtTheLeastThatIsLetInAShortPromptIsAnswered) {
  const auto weights = load_weights(kNano, {});
  ASSERT_TRUE(weights);
  const auto needs = memory_needs(
      **weights, false, (*weights)->checkpoint.config().max_position_embeddings, kChunk, 2);
  const std::uint64_t least = needs.dense + needs.work + needs.experts_min + needs.sequence_min;
  EXPECT_FALSE(load({.directory = kNano, .n_threads = 2, .memory = least - 1}, {}));
  const auto engine = load({.directory = kNano, .n_threads = 2, .memory = least}, {});
  ASSERT_TRUE(engine) << engine.error().message;
  auto timeline = (*engine)->timeline();
  const auto synced = timeline->sync(std::vector<Token>{11, 12, 13}, {}, {});
  ASSERT_TRUE(synced) << synced.error().message;
  for (int i = 0; i < 30; ++i) {
    const auto token = timeline->next({.seed = 3}, nullptr);
    ASSERT_TRUE(token) << i << ": " << token.error().message;
  }
}

// A prompt that is synced in pieces is refused before the first of them.
TEST(Memory, APromptThatHasNoRoomIsRefusedBeforeItIsBegun) {
  const auto weights = load_weights(kNano, {});
  ASSERT_TRUE(weights);
  const auto needs = memory_needs(
      **weights, false, (*weights)->checkpoint.config().max_position_embeddings, kChunk, 2);
  const auto engine = load(
      {.directory = kNano,
       .n_threads = 2,
       .memory = needs.dense + needs.work + needs.experts_min + needs.sequence_min + 2'000'000},
      {});
  ASSERT_TRUE(engine);
  auto timeline = (*engine)->timeline();
  EXPECT_TRUE(timeline->expect(500));
  const auto room = timeline->expect(900'000);
  ASSERT_FALSE(room);
  EXPECT_EQ(room.error().code, Errc::too_long);
  EXPECT_THAT(room.error().message, HasSubstr("evaluate a prompt of 900000 tokens: it takes "));
  EXPECT_TRUE(timeline->tokens().empty());
  EXPECT_TRUE(timeline->sync(std::vector<Token>{11, 12, 13}, {}, {}));
}

TEST(Memory, ThePlanFollowsFromTheNumbers) {
  constexpr std::uint64_t kGb = 1'000'000'000;
  const MemoryNeeds flash{.dense = 12 * kGb,
                          .experts = 148 * kGb,
                          .experts_min = 4 * kGb,
                          .tiles = 160 * kGb,
                          .sequence = 8 * kGb,
                          .work = kGb};
  EXPECT_EQ(plan_memory(flash, 200 * kGb, 2 * kGb, "d")->experts_max, 0u);
  EXPECT_FALSE(plan_memory(flash, 200 * kGb, 2 * kGb, "d")->tiles);
  EXPECT_TRUE(plan_memory(flash, 400 * kGb, 200 * kGb, "d")->tiles);
  EXPECT_EQ(plan_memory(flash, 64 * kGb, 2 * kGb, "d")->experts_max, (64 - 12 - 1 - 8) * kGb);
  EXPECT_EQ(plan_memory(flash, 64 * kGb, 2 * kGb, "d")->sequences_max, (64 - 12 - 1 - 4) * kGb);
  EXPECT_EQ(plan_memory(flash, 200 * kGb, 2 * kGb, "d")->sequences_max, (200 - 12 - 1 - 148) * kGb);
  EXPECT_EQ(plan_memory(flash, 400 * kGb, 200 * kGb, "d")->sequences_max,
            (400 - 12 - 1 - 148 - 160) * kGb);
  EXPECT_EQ(plan_memory(flash, 18 * kGb, 2 * kGb, "d")->experts_max, 4 * kGb);
  EXPECT_EQ(plan_memory(flash, 16 * kGb, 2 * kGb, "d").error().code, Errc::no_memory);
}

TEST(Memory, AStateTakesWhatWasSaid) {
  for (const char* name : {"micro-flash", "micro-pro"}) {
    auto weights = golden_weights(name);
    const Golden golden(name);
    kernels::ThreadPool pool(2);
    Forward forward(*weights, false, pool, kernels::best());
    State state(*weights, false, 64);
    const auto wanted = state.missing_bytes(static_cast<std::int64_t>(golden.tokens.size()));
    const Config& c = weights->checkpoint.config();
    std::vector<float> x(64 * static_cast<std::size_t>(c.hc_mult) * c.hidden_size);
    for (std::size_t at = 0; at < golden.tokens.size(); at += 64)
      forward.evaluate(state,
                       std::span(golden.tokens)
                           .subspan(at, std::min<std::size_t>(64, golden.tokens.size() - at)),
                       x.data());
    const std::uint64_t held = static_cast<std::uint64_t>(state.pages().n_pages()) *
                               state.pages().page(0)->size();
    EXPECT_EQ(held, wanted);
    EXPECT_EQ(held, State::bytes(*weights, false, state.size(), 64) -
                        State::bytes(*weights, false, 0, 64));
    EXPECT_EQ(state.missing_bytes(state.size()), 0u);
  }
}

TEST(Memory, SomeIsAvailableHere) {
  EXPECT_GT(available_bytes(), 1u << 20);
  EXPECT_LT(available_bytes(), std::uint64_t{1} << 50);
}

}  // namespace
}  // namespace lares::engine
