// Repacked weights change no bit of any result; their file is for one checkpoint only, complete or not there.
#include "engine/model/dspark_drafter.h"
#include "engine/model/repack.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/engine/model_golden.h"

namespace lares::engine {
namespace {

using namespace test;
using testing::HasSubstr;
namespace fs = std::filesystem;

class Repack : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    std::string pattern = fs::temp_directory_path() / "lares-repack-XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    path_ = directory_ / kRepackFile;
  }
  void TearDown() override { fs::remove_all(directory_); }

  // Logits of the golden's tokens, in chunks of `chunk`, and of what DSpark stages draft after them.
  std::vector<float> logits(const Weights& weights, bool exact, int chunk) {
    const Golden golden(GetParam());
    const Config& c = weights.checkpoint.config();
    Forward forward(weights, exact, pool_, kernels::best());
    State state(weights, exact, chunk);
    const auto n = golden.tokens.size();
    std::optional<DsparkDrafter> drafter;
    if (weights.dspark) drafter.emplace(weights, forward);
    std::vector<float> x(n * c.hc_mult * c.hidden_size), out(n * c.vocab_size);
    for (std::size_t at = 0; at < n; at += static_cast<std::size_t>(chunk)) {
      const auto m = std::min<std::size_t>(chunk, n - at);
      forward.evaluate(state, std::span(golden.tokens).subspan(at, m), x.data(), [&](int layer, const float* y) {
        if (drafter) drafter->saw(layer, static_cast<std::int64_t>(at), static_cast<int>(m), y);
        return true;
      });
      forward.head(x.data(), static_cast<int>(m), out.data() + at * c.vocab_size);
    }
    if (drafter) {
      std::vector<Token> guesses;
      drafter->drop_to(static_cast<std::int64_t>(n) - 1);
      drafter->draft(golden.tokens, drafter->guesses_max(), guesses);
      EXPECT_FALSE(guesses.empty());
      out.insert(out.end(), drafter->block().logits.begin(), drafter->block().logits.end());
      out.insert(out.end(), drafter->block().confidence.begin(), drafter->block().confidence.end());
    }
    return out;
  }
  Result<> map(const std::string& checkpoint) {
    auto weights = golden_weights(checkpoint);
    Repacked repacked;
    return repacked.map(*weights, path_);
  }
  void write() {
    auto weights = golden_weights(GetParam());
    const auto written = write_repacked(*weights, path_, pool_, {});
    ASSERT_TRUE(written) << written.error().message;
    EXPECT_EQ(*written, fs::file_size(path_));
    EXPECT_EQ(std::distance(fs::directory_iterator(directory_), {}), 1);  // nothing is left of the draft
  }

  kernels::ThreadPool pool_{2};
  fs::path directory_, path_;
};

TEST_P(Repack, ChangesNoBit) {
  auto plain = golden_weights(GetParam());
  for (const bool exact : {true, false})
    for (const int chunk : {1, 7, 256}) {
      const auto want = logits(*plain, exact, chunk);
      auto weights = golden_weights(GetParam());
      Repacked repacked;
      ASSERT_TRUE(repacked.build(*weights, pool_, {}));
      EXPECT_GT(repacked.count(), weights->matrices.size() / 2);  // or nothing was compared
      EXPECT_LE(repacked.memory_bytes(), repacked_bytes(*weights));
      EXPECT_EQ(logits(*weights, exact, chunk), want) << exact << " " << chunk;
    }
}

TEST_P(Repack, TheFileHoldsTheSame) {
  ASSERT_EQ(map(GetParam()).error().code, Errc::not_found);
  write();
  auto weights = golden_weights(GetParam()), built = golden_weights(GetParam());
  Repacked mapped, in_memory;
  const auto done = mapped.map(*weights, path_);
  ASSERT_TRUE(done) << done.error().message;
  ASSERT_TRUE(in_memory.build(*built, pool_, {}));
  EXPECT_EQ(mapped.count(), in_memory.count());
  EXPECT_EQ(mapped.memory_bytes(), 0u);
  EXPECT_EQ(logits(*weights, false, 64), logits(*built, false, 64));
}

TEST_P(Repack, AnotherCheckpointsFileIsRefused) {
  write();
  const auto other = map(std::string(GetParam()) == "micro-flash" ? "micro-pro" : "micro-flash");
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message, HasSubstr("another checkpoint"));
}

TEST_P(Repack, ADamagedFileIsRefusedWhereverItIsCut) {
  write();
  const auto size = fs::file_size(path_);
  for (const auto keep : {std::uintmax_t{0}, std::uintmax_t{7}, std::uintmax_t{8}, std::uintmax_t{100}, std::uintmax_t{4096}, size / 2, size - 1}) {
    fs::resize_file(path_, keep);
    const auto done = map(GetParam());
    ASSERT_FALSE(done) << keep;
    EXPECT_EQ(done.error().code, Errc::malformed) << keep << ": " << done.error().message;
    write();
  }
  // A header that lies: about its length, a name, a place.
  for (const auto& [from, to] : {std::pair<std::string, std::string>{"{\"bytes", "\xFF\"bytes"}, {"head", "hEad"}, {"layers.0.attn.wq_a\",", "layers.0.attn.wq_a\",9"}}) {
    std::string bytes;
    {
      std::ifstream in(path_, std::ios::binary);
      bytes.assign(std::istreambuf_iterator<char>(in), {});
    }
    const auto at = bytes.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    bytes.replace(at, to.size(), to);
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
    EXPECT_FALSE(map(GetParam())) << to;
    write();
  }
}

TEST_P(Repack, WhatCannotBeWrittenLeavesNothing) {
  auto weights = golden_weights(GetParam());
  const auto done = write_repacked(*weights, directory_ / "missing" / "file", pool_, {});
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, HasSubstr("cannot be created: No such file or directory"));
  EXPECT_TRUE(fs::is_empty(directory_));
}

INSTANTIATE_TEST_SUITE_P(, Repack, testing::Values("micro-flash", "micro-pro", "tiny-dspark"), [](const auto& which) {
  return std::string(which.param).substr(6);
});

}  // namespace
}  // namespace lares::engine
