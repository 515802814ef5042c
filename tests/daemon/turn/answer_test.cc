// An answer that its form does not let go on, and one whose calls its grammar knows better.
#include "daemon/turn/answer.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/json_schema.h"
#include "tests/daemon/scripted/scripted_engine.h"

namespace lares::daemon {
namespace {

// A scripted engine whose vocabulary has no l.
class Mute final : public engine::Engine {
 public:
  explicit Mute(std::deque<Play> plays) : engine_(std::move(plays)) {}
  const engine::ModelInfo& info() const override { return engine_.info(); }
  const engine::Tokenizer& tokenizer() const override { return tokenizer_; }
  std::unique_ptr<engine::Timeline> timeline() override { return engine_.timeline(); }

 private:
  class Words final : public engine::Tokenizer {
   public:
    explicit Words(const engine::Tokenizer& all) : all_(all) {}
    void encode(std::string_view text, bool added, std::vector<engine::Token>& out) const override {
      all_.encode(text, added, out);
    }
    std::vector<engine::Token> encode(const std::vector<engine::Segment>& segments) const override {
      return all_.encode(segments);
    }
    int vocab_size() const override { return all_.vocab_size(); }
    std::string_view bytes(engine::Token id) const override {
      return all_.bytes(id == 'l' ? 0 : id);
    }
    std::optional<engine::Token> added(std::string_view text) const override {
      return all_.added(text);
    }

   private:
    const engine::Tokenizer& all_;
  };
  ScriptedEngine engine_;
  Words tokenizer_{engine_.tokenizer()};
};

TEST(Answer, OneThatCannotBeSaidFailsAndDoesNotEnd) {
  Mute engine({{.text = "{\"a\":null}"}});
  const auto timeline = engine.timeline();
  ASSERT_TRUE(timeline->sync(std::vector<engine::Token>{'?'}, {}, {}));
  const auto schema = engine::compile_schema(nlohmann::ordered_json::parse(
      R"({"type":"object","properties":{"a":{"type":"null"}},"required":["a"]})"));
  ASSERT_TRUE(schema);
  Answer answer(engine, *timeline, {.thinking = false, .json = true, .schema = *schema}, {},
                {.tokens_max = 50, .think_tokens_max = 0, .context_max = 1000});
  for (int i = 0; i < 50 && answer.end() == Answer::End::open; ++i) answer.draw({});
  EXPECT_EQ(answer.end(), Answer::End::error);
  EXPECT_NE(answer.error().find("its form allowed no token to come next"), std::string::npos)
      << answer.error();
  const auto tokens = answer.tokens();
  ASSERT_EQ(tokens.size(), std::string_view("{\"a\":nu").size() + 1);
  EXPECT_EQ(tokens.back(), *engine.tokenizer().added(engine::kEos));  // closed, and once
}

// The grammar let the block begin, and held the model to a whole call: as text it would be lost.
TEST(Answer, ACallBehindAFenceThatWasNeverClosedIsACall) {
  const std::string said = "Run:\n```sh\nls\n";
  ScriptedEngine engine({{.text = said + "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n\n"
                                         "</｜DSML｜invoke>\n</｜DSML｜tool_calls>"}});
  const auto timeline = engine.timeline();
  ASSERT_TRUE(timeline->sync(std::vector<engine::Token>{'?'}, {}, {}));
  Answer answer(
      engine, *timeline,
      {.tools = {{"f", "", R"({"type": "object", "properties": {}})"}}, .thinking = false}, {},
      {.tokens_max = 500, .think_tokens_max = 0, .context_max = 1000});
  for (int i = 0; i < 500 && answer.end() == Answer::End::open; ++i) answer.draw({});
  EXPECT_EQ(answer.end(), Answer::End::end);
  EXPECT_EQ(engine.n_masked(), 0);
  std::string content;
  int n_calls = 0;
  for (const engine::Event& event : answer.events()) {
    if (const auto* const delta = std::get_if<engine::ContentDelta>(&event)) content += delta->text;
    n_calls += std::holds_alternative<engine::CallEnd>(event) ? 1 : 0;
  }
  EXPECT_EQ(n_calls, 1);
  EXPECT_EQ(content + "\n", said);
}

// Its tokens are bytes; looked at behind each.
TEST(Answer, IsToldInWholeCharacters) {
  const std::string said = "Grüße: 漢字, 🦀";
  ScriptedEngine engine({{.text = said}});
  const auto timeline = engine.timeline();
  ASSERT_TRUE(timeline->sync(std::vector<engine::Token>{'?'}, {}, {}));
  Answer answer(engine, *timeline, {.thinking = false}, {},
                {.tokens_max = 100, .think_tokens_max = 0, .context_max = 1000});
  std::string content;
  while (answer.end() == Answer::End::open) {
    answer.draw({});
    for (const engine::Event& event : answer.events())
      if (const auto* const delta = std::get_if<engine::ContentDelta>(&event))
        content += delta->text;
  }
  EXPECT_EQ(content, said);
}

// What an engine elsewhere must know before it draws: how much will be asked of the draws, and what
// ends a wait.
class Told final : public engine::Timeline {
 public:
  explicit Told(std::unique_ptr<engine::Timeline> of) : of_(std::move(of)) {}
  std::span<const engine::Token> tokens() const override { return of_->tokens(); }
  engine::Result<std::int64_t> sync(std::span<const engine::Token> prompt, std::stop_token stop,
                                    const engine::Progress& progress) override {
    return of_->sync(prompt, stop, progress);
  }
  engine::Result<engine::Token> next(const engine::Sampling& sampling,
                                     const engine::TokenMask* mask) override {
    waits_until = end;
    return of_->next(sampling, mask);
  }
  void end_waits_at(std::stop_token stop) override { end = std::move(stop); }
  void expect_logprobs(int n) override { n_logprobs = n; }

  std::stop_token end, waits_until;  // told; of the last draw
  int n_logprobs = -1;

 private:
  const std::unique_ptr<engine::Timeline> of_;
};

TEST(Answer, TellsTheEngineWhatItWillAskForAndWhatEndsItsWaits) {
  ScriptedEngine engine({{.text = "Yes."}});
  Told timeline(engine.timeline());
  ASSERT_TRUE(timeline.sync(std::vector<engine::Token>{'?'}, {}, {}));
  const Answer::Limits limits{.tokens_max = 50, .think_tokens_max = 0, .context_max = 1000};
  const Answer plain(engine, timeline, {.thinking = false}, {}, limits);
  EXPECT_EQ(timeline.n_logprobs, 0);
  Answer::Limits with_choices = limits;
  with_choices.choices_max = 1;
  Answer answer(engine, timeline, {.thinking = false}, {}, with_choices);
  EXPECT_EQ(timeline.n_logprobs, kBranchWidth);
  std::stop_source stop;
  answer.draw(stop.get_token());
  stop.request_stop();
  EXPECT_TRUE(timeline.waits_until.stop_requested());
}

// Else the same tokens would come again.
TEST(Answer, IsDrawnOtherwiseWithAnotherSeedAndMoreHeat) {
  engine::Sampling sampling{.temperature = 0};
  const std::uint64_t seed = sampling.seed;
  draw_otherwise(sampling, 1);
  EXPECT_EQ(sampling.seed, seed + 1);
  EXPECT_FLOAT_EQ(sampling.temperature, kResampleTemperature);
  EXPECT_FLOAT_EQ(sampling.min_p, kResampleMinP);
  sampling.temperature = 0;
  draw_otherwise(sampling, 2);
  EXPECT_FLOAT_EQ(sampling.temperature, kResampleTemperature + kResampleTemperatureStep);
  draw_otherwise(sampling, 9);
  EXPECT_FLOAT_EQ(sampling.temperature, 1);
  engine::Sampling own{.temperature = 1.5f, .min_p = 0.3f};
  draw_otherwise(own, 1);
  EXPECT_FLOAT_EQ(own.temperature, 1.5f);
  EXPECT_FLOAT_EQ(own.min_p, 0.3f);
  const std::uint64_t before = own.seed;
  draw_branch(own, 3);
  EXPECT_EQ(own.seed, before + 3);
}

TEST(Masks, LeaveOutOneTokenOfTheVocabularyAndAllowNoneBeyondIt) {
  const ScriptedEngine engine(std::deque<Play>{});
  const engine::Tokenizer& tokenizer = engine.tokenizer();
  const int n = tokenizer.vocab_size();
  ASSERT_NE(n % 64, 0);
  const auto allowed = [](const engine::TokenMask& mask) {
    std::vector<int> out;
    for (int id = 0; id < static_cast<int>(64 * mask.size()); ++id)
      if (mask[static_cast<std::size_t>(id / 64)] >> (id % 64) & 1) out.push_back(id);
    return out;
  };
  const engine::TokenMask only = only_token(tokenizer, 130);
  EXPECT_EQ(allowed(only), std::vector<int>{130});
  engine::TokenMask room;
  const engine::TokenMask* const all_but = without_token(tokenizer, 130, nullptr, room);
  ASSERT_NE(all_but, nullptr);
  std::vector<int> others;
  for (int id = 0; id < n; ++id)
    if (id != 130) others.push_back(id);
  EXPECT_EQ(allowed(*all_but), others);
  engine::TokenMask two = only;
  two[0] |= 2;
  EXPECT_EQ(allowed(*without_token(tokenizer, 130, &two, room)), std::vector<int>{1});
  EXPECT_EQ(without_token(tokenizer, 130, &only, room), &only) << "nothing else is left";
}

}  // namespace
}  // namespace lares::daemon
