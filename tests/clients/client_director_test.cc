#include "tests/clients/client_director.h"

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/chat.h"

namespace lares::daemon {
namespace {

using Json = nlohmann::ordered_json;

Json tool(const std::string& name, Json properties, Json required) {
  return {{"name", name},
          {"description", "d"},
          {"parameters",
           {{"type", "object"},
            {"properties", std::move(properties)},
            {"required", std::move(required)}}}};
}

std::string prompt(const std::vector<Json>& tools, const std::string& rest) {
  std::string out = "### Available Tool Schemas\n\n";
  for (const Json& t : tools) out += t.dump() + "\n";
  return out + "\n" + std::string(engine::kUser) + rest + std::string(engine::kAssistant) +
         std::string(engine::kThink);
}

engine::ToolCall called(const std::vector<Json>& tools) {
  const Play play = writes_file(prompt(tools, "Create it. [[write /w/hello.txt]]"));
  const auto message = engine::parse_strict(play.text + std::string(engine::kEos),
                                            /*thinking=*/true);
  EXPECT_TRUE(message) << message.error().message << "\n" << play.text;
  return message && message->calls.size() == 1 ? message->calls[0] : engine::ToolCall{};
}

const Json kText = {{"type", "string"}};

TEST(ClientDirector, CallsTheToolThatIsMeantForWriting) {
  const auto call =
      called({tool("Bash", {{"command", kText}}, {"command"}),
              tool("Write", {{"file_path", kText}, {"content", kText}}, {"file_path", "content"})});
  EXPECT_EQ(call.name, "Write");
  EXPECT_EQ(Json::parse(call.arguments),
            (Json{{"file_path", "/w/hello.txt"}, {"content", "hello from Lares\n"}}));
}

TEST(ClientDirector, KnowsOtherNamesForAPathAndAText) {
  const auto call = called({tool("create", {{"path", kText}, {"file_text", kText}}, {"path"})});
  EXPECT_EQ(Json::parse(call.arguments),
            (Json{{"path", "/w/hello.txt"}, {"file_text", "hello from Lares\n"}}));
  const auto edit =
      called({tool("run_commands", {{"commands", {{"type", "array"}}}}, {"commands"}),
              tool("editor", {{"path", kText}, {"old_text", kText}, {"new_text", kText}},
                   {"path", "new_text"})});
  EXPECT_EQ(edit.name, "editor");
  EXPECT_EQ(Json::parse(edit.arguments),
            (Json{{"path", "/w/hello.txt"}, {"new_text", "hello from Lares\n"}}));
}

TEST(ClientDirector, FillsInWhatElseIsRequired) {
  const auto call =
      called({tool("exec_command", {{"cmd", kText}, {"tty", {{"type", "boolean"}}}, {"why", kText}},
                   {"cmd", "tty", "why"})});
  EXPECT_EQ(call.name, "exec_command");
  EXPECT_EQ(Json::parse(call.arguments),
            (Json{{"cmd", "printf '%s\\n' 'hello from Lares' > '/w/hello.txt'"},
                  {"tty", false},
                  {"why", "to write the file"}}));
}

TEST(ClientDirector, SaysThatItIsDoneBehindAResult) {
  const auto write = tool("write", {{"filePath", kText}, {"content", kText}},
                          {"filePath", "content"});
  EXPECT_EQ(writes_file(prompt({write}, "[[write /w/a]] ... <tool_result>ok</tool_result>")).text,
            "A file is wanted.</think>The file is written.");
}

TEST(ClientDirector, BreaksWithinTheFirstCalls) {
  const auto write = tool("write", {{"filePath", kText}, {"content", kText}},
                          {"filePath", "content"});
  const std::string asked = prompt({write}, "[[write /w/a]]"), title = "Give it a title</think>";
  const Director director = writes_file_with({.n_broken = 1});
  EXPECT_FALSE(director(title).fails_at_end);
  const Play broken = director(asked), whole = director(asked);
  EXPECT_TRUE(broken.fails_at_end);
  EXPECT_TRUE(broken.text.ends_with("string=\"true\">")) << broken.text;
  EXPECT_TRUE(whole.text.starts_with(broken.text));
  EXPECT_FALSE(whole.fails_at_end);
  EXPECT_EQ(whole.text, writes_file(asked).text);
}

TEST(ClientDirector, AnswersPlainlyWithoutMarkOrTools) {
  EXPECT_EQ(writes_file("Give it a title</think>").text, "Writing a file");
  EXPECT_EQ(writes_file(prompt({}, "[[write /w/a]]")).text,
            "A file is wanted.</think>There is no tool that writes files.");
}

}  // namespace
}  // namespace lares::daemon
