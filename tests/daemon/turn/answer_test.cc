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

}  // namespace
}  // namespace lares::daemon
