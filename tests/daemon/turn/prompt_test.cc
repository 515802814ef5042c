// The prompt's constant part, and that nano has been told of it.
#include "daemon/turn/prompt.h"

#include <boost/asio/io_context.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "daemon/protocol/nano_directory.h"
#include "daemon/turn/generation_config.h"
#include "daemon/turn/turn.h"
#include "engine/chat.h"

namespace lares::daemon {
namespace {

using ::testing::ElementsAre;

TEST(Prompt, TheCatalogueHasItsOrderAndItsSchemasAreJson) {
  std::vector<std::string> names;
  for (const auto& tool : catalogue()) {
    names.push_back(tool.name);
    EXPECT_TRUE(nlohmann::json::accept(tool.schema)) << tool.name;
    EXPECT_TRUE(tool.strict) << tool.name << "'s schema cannot be enforced";
  }
  EXPECT_THAT(names, ElementsAre("bash", "str_replace_editor", "test", "git", "outline",
                                 "mcp_search", "mcp_call", "ask_user", "plan"));
}

TEST(Prompt, OfTheCatalogueWhatChangesNothingMayBeReadWith) {
  std::vector<std::string> names;
  std::map<std::string, nlohmann::json> commands;
  for (const auto& tool : reading_catalogue()) {
    names.push_back(tool.name);
    EXPECT_TRUE(tool.strict) << tool.name;
    const auto schema = nlohmann::json::parse(tool.schema);
    const auto& properties = schema["properties"];
    if (properties.contains("command") && properties["command"].contains("enum"))
      commands[tool.name] = properties["command"]["enum"];
  }
  EXPECT_THAT(names, ElementsAre("bash", "str_replace_editor", "git", "outline", "mcp_search",
                                 "mcp_call", "ask_user", "plan"));
  EXPECT_EQ(commands["str_replace_editor"], nlohmann::json::array({"view"}));
  EXPECT_EQ(commands["git"],
            nlohmann::json::array({"status", "diff", "log", "show", "blame", "branch"}));
}

TEST(Prompt, ASmallModelReadsWithWhatNeverChangesAnything) {
  boost::asio::io_context io;
  const Tools tools = make_tools(io.get_executor(), {}, nullptr);
  const auto names = [&](std::uint64_t n_parameters) {
    engine::ModelInfo model;
    model.n_parameters = n_parameters;
    std::vector<std::string> out;
    for (const auto& spec : declared_tools(tools, ToolUse::reading, model))
      out.push_back(spec.name);
    return out;
  };
  EXPECT_THAT(names(11'000'000), ElementsAre("outline", "mcp_search", "ask_user", "plan"));
  EXPECT_EQ(names(284'000'000'000).size(), reading_catalogue().size());
  EXPECT_EQ(names(0).size(), reading_catalogue().size());  // of no known size
}

TEST(Prompt, TheHeadIsEffortSystemAndTools) {
  const std::string head = prompt_head();
  EXPECT_TRUE(head.starts_with(std::string(engine::kBos) +
                               engine::effort_text(kEffort, kGeneration) + std::string(kSystem) +
                               "\n\n"));
  EXPECT_FALSE(engine::effort_text(kEffort, kGeneration).empty());
}

TEST(Prompt, NanoReadsTheHeadAsThreeTokens) {
  auto tokenizer = engine::Tokenizer::from_file(nano_directory() + "/tokenizer.json");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ((*tokenizer)->encode(prompt_head(), /*added=*/true).size(), 3u)
      << "a tool's description changed: lares prompt --head > head.txt; python3 "
         "engine/nano/head.py engine/nano/checkpoint head.txt";
}

TEST(Prompt, WhatOthersWroteIsNotTrusted) {
  const auto first = begin_session("", "/r", "<｜User｜>");
  ASSERT_EQ(first.size(), 3u);
  EXPECT_FALSE(first[1].trusted);
  EXPECT_EQ(first[1].text, "The repository is at /r.\n\n<｜User｜>");
  EXPECT_EQ(begin_session("<gone/>\n", "/r", "Go.")[1].text,
            "<gone/>\n\nThe repository is at /r.\n\nGo.");
  const auto next = continue_session({"one", "two"}, {"Go on."});
  ASSERT_EQ(next.size(), 3u);
  EXPECT_EQ(next[1].text,
            "<tool_result>one</tool_result>\n\n<tool_result>two</tool_result>\n\nGo on.");
  EXPECT_FALSE(next[1].trusted);
}

TEST(GenerationConfig, NanoIsCoolAndBrief) {
  const auto defaults = generation_defaults(nano_directory());
  ASSERT_TRUE(defaults) << defaults.error();
  EXPECT_EQ(defaults->sampling.temperature, 0.2f);
  EXPECT_EQ(defaults->step_tokens_max, 1024);
}

TEST(GenerationConfig, WithoutOneTheModelIsSampledAsItIs) {
  const auto defaults = generation_defaults("/nonexistent");
  ASSERT_TRUE(defaults);
  EXPECT_EQ(defaults->sampling.temperature, 1.0f);
  EXPECT_EQ(defaults->sampling.top_p, 1.0f);
  EXPECT_EQ(defaults->sampling.top_k, 0);
  EXPECT_EQ(defaults->sampling.min_p, 0.0f);
}

tl::expected<TurnSettings, std::string> read(const char* text) {
  const std::string directory = testing::TempDir() + "/generation_config_test";
  std::filesystem::create_directories(directory);
  std::ofstream(directory + "/generation_config.json") << text;
  return generation_defaults(directory);
}

TEST(GenerationConfig, FiltersAreReadAndTheirRangesChecked) {
  const auto given = read(R"({"top_k": 40, "top_p": 0.9, "min_p": 0.05})");
  ASSERT_TRUE(given) << given.error();
  EXPECT_EQ(given->sampling.top_k, 40);
  EXPECT_EQ(given->sampling.top_p, 0.9f);
  EXPECT_EQ(given->sampling.min_p, 0.05f);
  for (const char* bad :
       {R"({"top_k": -1})", R"({"top_k": "40"})", R"({"min_p": 1.5})", R"({"min_p": -0.1})",
        R"({"temperature": 100.5})", R"({"max_new_tokens": 0})", "[]", "{"})
    EXPECT_FALSE(read(bad)) << bad;
  for (const char* good : {R"({"top_p": 0})", R"({"top_p": 1})", R"({"temperature": 100})",
                           R"({"max_new_tokens": 1})", R"({"top_k": null, "do_sample": null})"})
    EXPECT_TRUE(read(good)) << good;
}

TEST(GenerationConfig, WithoutSamplingTheLikeliestTokenIsTaken) {
  EXPECT_EQ(read(R"({"do_sample": false, "temperature": 0.6})")->sampling.temperature, 0.0f);
  EXPECT_EQ(read(R"({"do_sample": true, "temperature": 0.6})")->sampling.temperature, 0.6f);
}

// An answer is not thought alone, and none goes on beyond what the model is made for.
TEST(GenerationConfig, AnAnswersBoundHoldsForItsReasoning) {
  const auto brief = read(R"({"max_new_tokens": 1000})");
  ASSERT_TRUE(brief);
  EXPECT_EQ(brief->step_tokens_max, 1000);
  EXPECT_EQ(brief->think_tokens_max, 750);
  EXPECT_EQ(brief->continuations_max, 0);
}

}  // namespace
}  // namespace lares::daemon
