// `verify` finds what is wrong with a checkpoint, and nothing wrong with a good one.
#include "engine/verify.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "engine/chat.h"
#include "engine/inspect.h"
#include "engine/model/checkpoint/tiles_file.h"
#include "engine/model/checkpoint/values.h"
#include "engine/model/checkpoint/verify_engine.h"
#include "engine/model/forward.h"
#include "engine/tokenizer.h"
#include "tests/engine/model/golden.h"
#include "tests/temporary_directory.h"

namespace lares::engine {
namespace {

using namespace test;
using testing::HasSubstr;
namespace fs = std::filesystem;

const std::string kNano = std::string(LARES_SOURCE_DIR) + "/engine/nano/checkpoint";

std::map<std::string, Check> checks_of(const VerifyRequest& request, bool expected) {
  std::map<std::string, Check> out;
  const auto all = verify(request, {}, [&](const Check& c) { out[c.name] = c; });
  EXPECT_TRUE(all) << all.error().message;
  EXPECT_EQ(all.value_or(!expected), expected);
  return out;
}

// Says the next token later with each timeline that is asked for.
class WaveringEngine : public Engine {
 public:
  explicit WaveringEngine(Engine& engine) : engine_(engine) {}
  const ModelInfo& info() const override { return engine_.info(); }
  const Tokenizer& tokenizer() const override { return engine_.tokenizer(); }
  std::unique_ptr<Timeline> timeline() override {
    class Later : public Timeline {
     public:
      Later(std::unique_ptr<Timeline> t, int seed)
          : t_(std::move(t)), seed_(static_cast<std::uint64_t>(seed)) {}
      std::span<const Token> tokens() const override { return t_->tokens(); }
      Result<std::int64_t> sync(std::span<const Token> prompt, std::stop_token stop,
                                const Progress& progress) override {
        return t_->sync(prompt, stop, progress);
      }
      Result<Token> next(const Sampling& sampling, const TokenMask*) override {
        return t_->next({.temperature = 1 + sampling.temperature, .seed = seed_}, nullptr);
      }
      Logprobs logprobs(int n) const override { return t_->logprobs(n); }

     private:
      std::unique_ptr<Timeline> t_;
      std::uint64_t seed_;
    };
    return std::make_unique<Later>(engine_.timeline(), ++asked_);
  }

 private:
  Engine& engine_;
  int asked_ = 0;
};

class Verify : public testing::Test {
 protected:
  // What nano says after a prompt, as the official files tell it.
  nlohmann::json vector_of_nano() {
    const auto engine = load({.directory = kNano}, {});
    EXPECT_TRUE(engine);
    const Tokenizer& tokenizer = (*engine)->tokenizer();
    const auto prompt = tokenizer.encode(std::vector<Segment>{{std::string(kBos), true},
                                                              {std::string(kUser), true},
                                                              {"Where is f defined?", false},
                                                              {std::string(kAssistant), true},
                                                              {std::string(kThinkEnd), true}});
    auto timeline = (*engine)->timeline();
    EXPECT_TRUE(timeline->sync(prompt, {}, {}));
    const auto bytes = [&](Token token) {
      nlohmann::json out{{"bytes", nlohmann::json::array()}};
      for (const char c : tokenizer.bytes(token))
        out["bytes"].push_back(static_cast<std::uint8_t>(c));
      return out;
    };
    nlohmann::json json{{"id", "nano"},
                        {"prompt", "Where is f defined?"},
                        {"usage", {{"prompt_tokens", prompt.size()}}},
                        {"steps", nlohmann::json::array()}};
    for (int i = 0; i < 5; ++i) {
      const auto token = timeline->next({.temperature = 0}, nullptr);
      const auto p = timeline->logprobs(3);
      nlohmann::json top = nlohmann::json::array();
      for (const auto& [id, logprob] : p.top)
        top.push_back({{"token", bytes(id)}, {"logprob", logprob}});
      json["steps"].push_back({{"token", bytes(*token)}, {"top_logprobs", top}});
    }
    return json;
  }
  std::map<std::string, Check> with_vector(const nlohmann::json& json, bool expected) {
    std::ofstream(directory_ / "a.official.json") << json.dump();
    return checks_of({.directory = kNano, .n_tokens = 8, .vectors = directory_}, expected);
  }

  const TemporaryDirectory made_;
  const fs::path directory_ = made_.path();
};

TEST_F(Verify, GoodCheckpointsPassEveryCheck) {
  for (const std::string& directory :
       {golden_directory("micro-flash"), golden_directory("micro-pro"), kNano}) {
    const auto checks = checks_of({.directory = directory, .n_tokens = 70}, true);
    for (const char* name : {"values", "logits", "in chunks of 7", "token by token",
                             "on one thread", "repacked", "drafted"}) {
      ASSERT_TRUE(checks.contains(name)) << directory << ": " << name;
      EXPECT_TRUE(checks.at(name).passed)
          << directory << ": " << name << ": " << checks.at(name).detail;
    }
  }
}

// Whatever computes it, through the engine's interface: here the CPU itself, which is near itself
// to the bit.
TEST_F(Verify, AnEngineIsHeldAgainstItselfAndTheCpu) {
  for (const std::string& directory : {golden_directory("micro-flash"), kNano}) {
    const auto checks = checks_of({.directory = directory, .n_tokens = 70, .device = "cpu"}, true);
    EXPECT_THAT(checks.at("cpu: near the CPU").detail, HasSubstr("within 0 of the CPU's"));
    for (const char* name : {"cpu: in chunks of 7", "cpu: token by token", "cpu: once more"})
      EXPECT_THAT(checks.at(name).detail,
                  HasSubstr("48 tokens and their log-probabilities equal to the bit"))
          << name;
  }
}

// An engine that says something else with each run, and what is far from the CPU.
TEST_F(Verify, AnEngineThatWaversOrStraysIsFound) {
  const auto engine = load({.directory = kNano, .text = false}, {});
  ASSERT_TRUE(engine);
  WaveringEngine wavering(**engine);
  std::vector<Token> prompt(30);
  std::iota(prompt.begin(), prompt.end(), 5);
  const auto vocab = static_cast<std::size_t>((*engine)->info().vocab_size);
  std::map<std::string, Check> checks;
  check_engine(wavering, "it", prompt, std::vector<float>(prompt.size() * vocab),
               [&](const Check& c) { checks[c.name] = c; });
  EXPECT_FALSE(checks.at("it: near the CPU").passed);
  EXPECT_THAT(checks.at("it: token by token").detail, HasSubstr("token 0 after the prompt"));
  EXPECT_FALSE(checks.at("it: once more").passed);
}

// Of the likeliest token after one of the beginnings that are compared, the log-probability that
// the CPU is said to have.
TEST_F(Verify, NearTheCpuHasABound) {
  const auto engine = load({.directory = kNano, .text = false}, {});
  ASSERT_TRUE(engine);
  const auto weights = load_weights(kNano, {});
  ASSERT_TRUE(weights);
  std::vector<Token> prompt(32);
  std::iota(prompt.begin(), prompt.end(), 5);
  const Config& c = (*weights)->checkpoint.config();
  const auto vocab = static_cast<std::size_t>(c.vocab_size);
  kernels::ThreadPool pool(2);
  Forward forward(**weights, /*exact=*/false, pool, kernels::best());
  State state(**weights, /*exact=*/false, 32);
  std::vector<float> x(prompt.size() * static_cast<std::size_t>(c.hc_mult * c.hidden_size)),
      logits(prompt.size() * vocab);
  forward.evaluate(state, prompt, x.data());
  forward.head(x.data(), 32, logits.data());
  const auto passed = [&] {
    bool out = false;
    check_engine(**engine, "it", prompt, logits, [&](const Check& check) {
      if (check.name == "it: near the CPU") out = check.passed;
    });
    return out;
  };
  EXPECT_TRUE(passed());
  // The last row. Taking `by` off the likeliest token's logit moves all others' log-probabilities
  // up, and its own down by less than `by`.
  const auto row = std::span(logits).last(vocab);
  const auto best = std::ranges::max_element(row);
  *best -= 0.3f;
  EXPECT_TRUE(passed());
  *best -= 3.0f;
  EXPECT_FALSE(passed());
  *best += 3.3f;
  // Each row a token late
  std::ranges::rotate(logits, logits.begin() + static_cast<std::ptrdiff_t>(vocab));
  EXPECT_FALSE(passed());
}

TEST_F(Verify, ADeviceThatIsNotThereIsSaidBeforeAnythingIsRead) {
  const auto refused = verify({.directory = "/nonexistent", .device = "cuda:0,0"}, {},
                              [](const Check&) {});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("GPU 0 is there twice"));
}

TEST_F(Verify, AValueThatIsNoNumberIsNamed) {
  fs::copy(golden_directory("micro-flash"), directory_, fs::copy_options::recursive);
  auto weights = load_weights(directory_, {});
  ASSERT_TRUE(weights);
  const Entry& entry = (*weights)->checkpoint.entries().find("layers.1.attn.wq_b.weight")->second;
  const auto shard = open_shard(directory_ / entry.file);
  ASSERT_TRUE(shard);
  const auto offset = entry.tensor->data - [&] {
    for (std::size_t i = 0; i < (*weights)->checkpoint.shards().size(); ++i)
      if ((*weights)->checkpoint.shards()[i] == entry.file)
        return (*weights)->checkpoint.shard(i).data();
    return static_cast<const std::uint8_t*>(nullptr);
  }();
  std::fstream file(directory_ / entry.file, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(offset + 5);
  file.put('\x7F');
  file.close();
  const auto checks = checks_of({.directory = directory_, .n_tokens = 4}, false);
  EXPECT_FALSE(checks.at("values").passed);
  EXPECT_THAT(checks.at("values").detail,
              HasSubstr("layers.1.attn.wq_b.weight in " + entry.file + ": F8_E4M3 value 5"));
}

TEST_F(Verify, TheDigestIsOfEveryByte) {
  fs::copy(golden_directory("micro-flash"), directory_, fs::copy_options::recursive);
  kernels::ThreadPool pool(2);
  const auto digest = [&] {
    auto weights = load_weights(directory_, {});
    EXPECT_TRUE(weights);
    return read_values((*weights)->checkpoint, pool, {}).digest;
  };
  const std::uint64_t before = digest();
  EXPECT_EQ(digest(), before);
  for (const auto& file : fs::directory_iterator(directory_)) {
    if (!file.path().string().ends_with(".safetensors") ||
        file.path().filename() == "goldens.safetensors")
      continue;
    std::fstream shard(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    shard.seekg(-1, std::ios::end);
    const char last = static_cast<char>(shard.get() ^ 1);
    shard.seekp(-1, std::ios::end);
    shard.put(last);
    shard.close();
    EXPECT_NE(digest(), before) << file.path();
    break;
  }
}

TEST_F(Verify, TilesAreReadWhereverTheyLie) {
  const fs::path checkpoint = directory_ / "nano", elsewhere = directory_ / "tiles";
  fs::copy(kNano, checkpoint);
  const auto done = repack_checkpoint(checkpoint, elsewhere, 2, {}, {});
  ASSERT_TRUE(done) << done.error().message;
  const VerifyRequest request{.directory = checkpoint, .tiles_directory = elsewhere, .n_tokens = 4};
  EXPECT_THAT(checks_of(request, true).at("tiles").detail, HasSubstr("each as it was written"));
  {
    std::fstream file(done->path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-1, std::ios::end);
    const char last = static_cast<char>(file.get() ^ 1);
    file.seekp(-1, std::ios::end);
    file.put(last);
  }
  EXPECT_THAT(checks_of(request, false).at("tiles").detail,
              HasSubstr("is not as it was written; delete the file, or write it again with `lares "
                        "model repack`"));
  auto weights = load_weights(checkpoint, {});
  fs::create_directory(elsewhere);
  fs::rename(done->path, tiles_paths((*weights)->checkpoint, elsewhere)[1]);
  EXPECT_THAT(checks_of(request, false).at("tiles").detail, HasSubstr(elsewhere.string() + "/"));
}

TEST_F(Verify, OfficialAnswersAreComparedTokenByToken) {
  const nlohmann::json good = vector_of_nano();
  EXPECT_THAT(with_vector(good, true).at("official: nano").detail, HasSubstr("5 tokens after"));
  nlohmann::json bad = good;
  bad["steps"][2]["token"]["bytes"] = {1};
  EXPECT_THAT(with_vector(bad, false).at("official: nano").detail, HasSubstr("token 2 is"));
  bad = good;
  bad["steps"][1]["top_logprobs"][0]["logprob"] =
      good["steps"][1]["top_logprobs"][0]["logprob"].get<double>() - 1;
  EXPECT_THAT(with_vector(bad, false).at("official: nano").detail, HasSubstr("within 1.00"));
  bad = good;
  bad["usage"]["prompt_tokens"] = 3;
  EXPECT_THAT(with_vector(bad, false).at("official: nano").detail, HasSubstr("another tokenizer"));
}

TEST_F(Verify, BadInputIsOneLine) {
  const auto refused = [](const VerifyRequest& r) {
    const auto done = verify(r, {}, [](const Check&) {});
    EXPECT_FALSE(done);
    return done ? "" : done.error().message;
  };
  EXPECT_THAT(refused({.directory = directory_}), HasSubstr("config.json"));
  EXPECT_THAT(refused({.directory = kNano, .n_tokens = 1}),
              HasSubstr(fmt::format("not within 2 to {}", kVerifyTokensMax)));
  EXPECT_THAT(refused({.directory = kNano, .vectors = directory_}),
              HasSubstr("holds no *.official.json"));
  std::ofstream(directory_ / "a.official.json") << "{";
  EXPECT_THAT(refused({.directory = kNano, .vectors = directory_}), HasSubstr("not a JSON object"));
}

}  // namespace
}  // namespace lares::engine
