#include "daemon/turn/argument_choices.h"

#include "daemon/turn/small_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace lares::daemon {
namespace {

using ::testing::ElementsAre;

struct Knowing final : tools::Tool {
  const tools::Spec& spec() const override { return spec_; }
  bool mutates(const nlohmann::json&) const override { return false; }
  std::optional<tools::Choices> choices(
      const std::string& key,
      const std::vector<std::pair<std::string, std::string>>&) const override {
    ++n_asked_;
    if (key == "path") return tools::Choices{{"/r/a", "/r/b"}, "", false};
    if (key == "old_str") return tools::Choices{{}, "text", true};
    return std::nullopt;
  }
  asio::awaitable<tools::Result<tools::Outcome>> run(nlohmann::json, tools::OnOutput) override {
    co_return tools::Outcome{};
  }
  tools::Spec spec_{"knowing", "", ""};
  mutable int n_asked_ = 0;
};

TEST(ArgumentChoices, OnlyASmallModelIsHeldToNames) {
  Tools tools;
  tools.push_back(std::make_unique<Knowing>());
  const int& n_asked = static_cast<Knowing&>(*tools.back()).n_asked_;
  engine::ModelInfo small, large, unknown;
  small.n_parameters = kSmallModelParameters - 1;
  large.n_parameters = kSmallModelParameters;
  const auto of = [&](const engine::ModelInfo& model, const std::string& key) {
    return argument_choices(tools, model, "knowing", key, {});
  };
  ASSERT_TRUE(of(small, "path"));
  EXPECT_THAT(of(small, "path")->one_of, ElementsAre("/r/a", "/r/b"));
  const int n_before = n_asked;
  EXPECT_FALSE(of(large, "path"));
  EXPECT_FALSE(of(unknown, "path"));
  EXPECT_EQ(n_asked, n_before);  // looking takes long, and the engine waits
  for (const engine::ModelInfo& model : {small, large}) {
    ASSERT_TRUE(of(model, "old_str"));
    EXPECT_EQ(of(model, "old_str")->substring_of, "text");
    EXPECT_TRUE(of(model, "old_str")->unique);
    EXPECT_FALSE(of(model, "new_str"));
  }
  EXPECT_FALSE(argument_choices(tools, small, "another", "path", {}));
}

}  // namespace
}  // namespace lares::daemon
