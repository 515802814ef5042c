// DSpark: the stages' drafts against the NumPy reference's, the same whatever way led there, and
// what the loader takes.
#include <gmock/gmock.h>

#include "engine/model/draft/draft_policy.h"
#include "engine/model/draft/dspark_drafter.h"
#include "tests/engine/model/checkpoint/loader_files.h"
#include "tests/engine/model/golden.h"

namespace lares::engine {
namespace {

using namespace test;
using testing::HasSubstr;

constexpr char kGolden[] = "tiny-dspark";

struct Model {
  explicit Model(bool exact)
      : weights(golden_weights(kGolden)), forward(*weights, exact, pool, kernels::best()) {}
  const Config& config() const { return weights->checkpoint.config(); }
  std::size_t width() const {
    return static_cast<std::size_t>(config().hc_mult) * config().hidden_size;
  }

  std::unique_ptr<Weights> weights;
  kernels::ThreadPool pool{2};
  Forward forward;
};

// A text as the main model reads it, with a drafter watching.
struct Reader {
  explicit Reader(Model& of, int chunk_max = 256)
      : m(of), state(*m.weights, m.forward.exact(), chunk_max), drafter(*m.weights, m.forward) {}

  void read(std::span<const Token> tokens, bool watched = true) {
    std::vector<float> x(tokens.size() * m.width());
    const std::int64_t position = state.size();
    m.forward.evaluate(state, tokens, x.data(), [&](int layer, const float* y) {
      if (watched) drafter.saw(layer, position, static_cast<int>(tokens.size()), y);
      return true;
    });
  }
  // Of `text`, which was read.
  void drop_to(std::int64_t size, std::span<const Token> text) {
    if (state.can_drop_to(size)) {
      state.drop_to(size);
    } else {
      state.drop_to(0);
      read(text.first(static_cast<std::size_t>(size)), false);
    }
    drafter.drop_to(size);
  }
  // After `tokens`, of which all but the last were read.
  Forward::Block draft(std::span<const Token> tokens, int n = kDsparkBlockMax) {
    std::vector<Token> out;
    drafter.draft(tokens, n, out);
    if (out.empty()) return {};
    EXPECT_EQ(out, drafter.block().tokens);
    return drafter.block();
  }

  Model& m;
  State state;
  CpuDspark drafter;
};

bool operator==(const Forward::Block& a, const Forward::Block& b) {
  const auto same = [](const std::vector<float>& x, const std::vector<float>& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), 4 * x.size()) == 0;
  };
  return a.tokens == b.tokens && same(a.confidence, b.confidence) && same(a.logits, b.logits);
}

// The drafter sees a stream's means [T, targets, D], as if all streams were alike.
void feed(Model& m, CpuDspark& drafter, const std::vector<float>& hidden, int n) {
  const auto& targets = m.config().dspark_target_layer_ids;
  const auto D = static_cast<std::size_t>(m.config().hidden_size);
  for (std::size_t k = 0; k < targets.size(); ++k) {
    std::vector<float> streams;
    for (std::size_t t = 0; t < static_cast<std::size_t>(n); ++t)
      for (int s = 0; s < m.config().hc_mult; ++s)
        streams.insert(
            streams.end(),
            hidden.begin() + static_cast<std::ptrdiff_t>((t * targets.size() + k) * D),
            hidden.begin() + static_cast<std::ptrdiff_t>((t * targets.size() + k + 1) * D));
    drafter.saw(targets[k], 0, n, streams.data());
  }
}

// Exact: from the tokens on. Released: from the reference's own streams, for fp8 steps of the main
// model would hide those of the stages.
TEST(Dspark, DraftsWhatTheReferenceDrafts) {
  const Golden golden(kGolden);
  for (const bool exact : {true, false}) {
    Model m(exact);
    std::vector<double> errors;
    for (const int n : golden.ints("lengths")) {
      Reader reader(m);
      if (exact)
        reader.read(std::span(golden.tokens).first(static_cast<std::size_t>(n) - 1));
      else
        feed(m, reader.drafter, golden.floats("released.hidden"), n - 1);
      const auto block = reader.draft(std::span(golden.tokens).first(static_cast<std::size_t>(n)));
      const std::string name = std::string(exact ? "exact." : "released.") + std::to_string(n) +
                               ".";
      ASSERT_EQ(block.tokens.size(), static_cast<std::size_t>(m.config().dspark_block_size))
          << name;
      for (const double e : relative_errors(block.logits, golden.floats(name + "logits"),
                                            static_cast<std::size_t>(m.config().vocab_size)))
        errors.push_back(e);
      EXPECT_EQ(block.tokens, golden.ints(name + "tokens")) << name;
      EXPECT_LT(worst(relative_errors(block.confidence, golden.floats(name + "confidence"),
                                      block.confidence.size())),
                exact ? 1e-4 : 1e-2)
          << name;
    }
    std::printf("  %s: logits of %zu guesses, worst relative error %.1e, median %.1e\n",
                exact ? "exact" : "released", errors.size(), worst(errors), median(errors));
    if (exact)
      EXPECT_LT(worst(errors), 1e-4);
    else
      EXPECT_LT(worst(errors), 1e-2);
  }
}

TEST(Dspark, DraftsTheSameWhateverWayLedThere) {
  Golden golden(kGolden);
  auto text = golden.tokens;
  for (int i = 0; i < 600; ++i)
    text.push_back(text[static_cast<std::size_t>(i) * 7 % 160] ^ (i & 3));
  Model m(false);
  const auto at_once = [&](std::size_t n) {
    Reader reader(m, 512);
    reader.read(std::span(text).first(n - 1));
    return reader.draft(std::span(text).first(n));
  };
  Reader r(m);  // token by token, with wrong turns: drafts made, tokens read and taken back
  for (std::size_t n = 1; n < 420; ++n) {
    r.read(std::span(text).subspan(n - 1, 1));
    if (n % 5 == 0) {
      auto turn = std::vector<Token>(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(n));
      turn.push_back(text[n] ^ 1);
      r.draft(turn, 1 + static_cast<int>(n) % 4);
      const std::size_t wrong = 1 + n % 9;
      r.read(std::span(text).subspan(3, wrong));
      turn.resize(n);
      turn.insert(turn.end(), text.begin() + 3,
                  text.begin() + 4 + static_cast<std::ptrdiff_t>(wrong));
      if (n % 2 == 0) r.draft(turn);
      r.drop_to(static_cast<std::int64_t>(n), text);
    }
    if (n % 60 == 1 || n == 419) {
      ASSERT_TRUE(r.draft(std::span(text).first(n + 1)) == at_once(n + 1)) << n;
    }
  }
}

// Going back by less than a window loses nothing; from further back the drafter starts again, with
// what it sees from there on.
TEST(Dspark, ForgetsWhatItCannotKnowAnyMore) {
  Golden golden(kGolden);
  auto text = golden.tokens;
  for (int i = 0; i < 600; ++i)
    text.push_back(text[static_cast<std::size_t>(i) * 7 % 160] ^ (i & 3));
  Model m(false);
  for (const std::size_t back : {1, 30, 100, 127, 134, 200, 300})
    for (const std::size_t on : {1, 20, 140}) {
      Reader r(m, 512);
      const std::size_t size = 400, kept = size - back, now = kept + on;
      for (std::size_t n = 0; n < size; n += 50) {
        r.read(std::span(text).subspan(n, 50));
        r.draft(std::span(text).first(n + 51));
      }
      r.drop_to(static_cast<std::int64_t>(kept), text);
      r.read(std::span(text).subspan(kept, on));
      const auto got = r.draft(std::span(text).first(now + 1));
      Reader whole(m, 512);
      const std::size_t known = back < 128 ? 0 : std::min(kept, size - 128 - kDraftMax);
      if (known > 0) whole.read(std::span(text).first(known));
      whole.drafter.drop_to(0);
      whole.read(std::span(text).subspan(known, now - known));
      EXPECT_TRUE(got == whole.draft(std::span(text).first(now + 1)))
          << back << " back, " << on << " on";
    }
}

TEST(Dspark, SaysNothingAboutWhatItDidNotSee) {
  const Golden golden(kGolden);
  Model m(true);
  Reader r(m);
  EXPECT_TRUE(r.draft(std::span(golden.tokens).first(1)).tokens.empty());
  EXPECT_TRUE(r.draft(std::span(golden.tokens).first(3)).tokens.empty());
  r.read(std::span(golden.tokens).first(2));
  EXPECT_EQ(r.draft(std::span(golden.tokens).first(3), 2).tokens.size(), 2u);
  EXPECT_TRUE(r.draft(std::span(golden.tokens).first(4)).tokens.empty());
  EXPECT_TRUE(r.draft(std::span(golden.tokens).first(3), 0).tokens.empty());
  r.drafter.drop_to(0);
  EXPECT_TRUE(r.draft(std::span(golden.tokens).first(3)).tokens.empty());
}

std::string refusal(const CheckpointCopy& copy) {
  const auto weights = load_weights(copy.directory(), {});
  return weights ? "(loaded)" : weights.error().message;
}

// Whoever asks the configuration then hears what the tensors say.
TEST(Dspark, NumbersOfItBesideMtpsTensorsAreNotTaken) {
  const CheckpointCopy copy("micro-flash");
  copy.edit(
      "config.json", "{\n",
      "{\n \"dspark_block_size\": 5, \"dspark_markov_rank\": 64, \"dspark_noise_token_id\": 1, "
      "\"dspark_target_layer_ids\": [0, 1, 2],\n");
  const auto weights = load_weights(copy.directory(), {});
  ASSERT_TRUE(weights) << weights.error().message;
  EXPECT_FALSE((*weights)->dspark);
  EXPECT_EQ((*weights)->mtp.size(), 1u);
  EXPECT_EQ((*weights)->checkpoint.config().dspark_block_size, 0);
  EXPECT_THAT((*weights)->checkpoint.config().dspark_target_layer_ids, testing::IsEmpty());
}

TEST(Dspark, LoaderTakesTheStagesAndNamesWhatIsWrong) {
  {
    const auto weights = load_weights(golden_directory(kGolden), {});
    ASSERT_TRUE(weights) << weights.error().message;
    EXPECT_THAT((*weights)->notes, testing::IsEmpty());
    EXPECT_TRUE((*weights)->mtp.empty());
    ASSERT_TRUE((*weights)->dspark);
    EXPECT_EQ((*weights)->dspark->stages.size(), 3u);
    EXPECT_EQ((*weights)->draft_layers().size(), 3u);
  }
  const struct {
    const char *from, *to, *says;
  } cases[] = {
      {"\"dspark_block_size\": 5", "\"dspark_block_size\": 0",
       "dspark_block_size is 0, expected a whole number from 1 to"},
      {"\"dspark_markov_rank\": 64", "\"dspark_markov_rank\": 65",
       "dspark_markov_rank is 65, this engine needs a multiple of 32"},
      {"\"dspark_markov_rank\": 64", "\"dspark_markov_rank\": 32",
       "tensor mtp.2.markov_head.markov_w1.weight"},
      {"\"dspark_noise_token_id\": 255", "\"dspark_noise_token_id\": 256",
       "dspark_noise_token_id is 256"},
      {"\"dspark_target_layer_ids\"", "\"targets\"", "dspark_target_layer_ids must name 1 to"},
      {"    1,\n    2\n", "    2,\n    1\n",
       "dspark_target_layer_ids is [0,2,1], expected layers from 0 to 2 in ascending order"},
      {"    1,\n    2\n", "    1,\n    3\n",
       "dspark_target_layer_ids is [0,1,3], expected layers from 0 to 2 in ascending order"},
  };
  for (const auto& c : cases) {
    const CheckpointCopy copy(kGolden);
    copy.edit("config.json", c.from, c.to);
    EXPECT_THAT(refusal(copy), HasSubstr(c.says)) << c.to;
  }
  const CheckpointCopy copy(kGolden);
  copy.edit("config.json", "\"dspark_block_size\"", "\"block_size\"");
  const auto weights = load_weights(copy.directory(), {});
  ASSERT_TRUE(weights) << weights.error().message;
  EXPECT_FALSE((*weights)->dspark);
  EXPECT_THAT(
      (*weights)->notes,
      testing::ElementsAre(
          "DSpark draft stages are present and not run: config.json has no dspark_block_size"));
}

}  // namespace
}  // namespace lares::engine
