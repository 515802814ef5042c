#include "daemon/hooks/hook_config.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lares::daemon {
namespace {

using ::testing::HasSubstr;

TEST(HookConfig, IsReadWithItsDefaults) {
  const auto all = parse_hooks(R"({
    // the user's own remark
    "before_tool": [{"tools": ["bash", "test"], "command": "guard", "timeout_ms": 50}],
    "turn_end": [{"command": "make check"}, {"command": "say done"}]
  })");
  ASSERT_TRUE(all) << all.error();
  ASSERT_EQ(all->before_tool.size(), 1u);
  EXPECT_EQ(all->before_tool[0].timeout_ms, 50);
  EXPECT_TRUE(all->before_tool[0].is_for("test"));
  EXPECT_FALSE(all->before_tool[0].is_for("git"));
  EXPECT_TRUE(all->after_tool.empty());
  ASSERT_EQ(all->turn_end.size(), 2u);
  EXPECT_EQ(all->turn_end[1].command, "say done");
  EXPECT_EQ(all->turn_end[1].timeout_ms, kHookTimeoutMs);
}

TEST(HookConfig, OneForNoToolInParticularIsForAll) {
  EXPECT_TRUE(Hook{.command = "x"}.is_for("anything"));
}

TEST(HookConfig, WhatIsWrongIsNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {"[]", "not an object"},
      {"{\n\n\"before_tool\": [}", "line 3"},
      {R"({"before_tools": []})",
       "`before_tools` is not one of before_tool, after_tool and turn_end"},
      {R"({"turn_end": {}})", "`turn_end` is not a list"},
      {R"({"turn_end": ["make"]})", "hook 1 of turn_end: it is not an object"},
      {R"({"turn_end": [{"command": ""}]})", "hook 1 of turn_end: it has no command"},
      {R"({"turn_end": [{"command": "x", "tools": ["bash"]}]})",
       "`tools` is not one of: command, a string; timeout_ms"},
      {R"({"after_tool": [{"command": "x"}, {"command": "x", "tools": "bash"}]})",
       "hook 2 of after_tool: `tools`"},
      {R"({"after_tool": [{"command": "x", "timeout_ms": 0}]})", "`timeout_ms`"},
      {R"({"after_tool": [{"command": "x", "timeout_ms": 1.5}]})", "`timeout_ms`"},
  };
  for (const auto& [text, why] : cases) {
    const auto all = parse_hooks(text);
    ASSERT_FALSE(all) << text;
    EXPECT_THAT(all.error(), HasSubstr(why));
  }
}

TEST(HookConfig, NoFileIsNoHooksAndABrokenOneIsAnError) {
  EXPECT_TRUE(read_hooks(""));
  EXPECT_TRUE(read_hooks("/nonexistent/lares/hooks.json"));
  const std::string path = testing::TempDir() + "/lares-hooks-test.json";
  std::ofstream(path) << "{";
  const auto broken = read_hooks(path);
  ASSERT_FALSE(broken);
  EXPECT_THAT(broken.error(), HasSubstr(path + ": line 1 is not JSON; mend the file"));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace lares::daemon
