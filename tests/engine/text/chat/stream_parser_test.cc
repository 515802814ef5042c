// The streaming parser: what it says about an answer, and that it says the same however the answer
// was cut.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/chat.h"
#include "engine/grammar.h"

namespace lares::engine {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::vector<ToolSpec> kTools = {
    {"edit", "",
     R"({"type": "object", "properties": {"path": {"type": "string"}, "text": {"type": "string"}, "line": {"type": "integer"}}, "required": ["path"]})"},
    {"test", "", R"({"type": "object", "properties": {"filter": {"type": "string"}}})"},
    {"call", "",
     R"({"type": "object", "properties": {"arguments": {"type": "object"}}, "required": ["arguments"]})"},
};

// The events, neighbours of one kind joined, one a line.
struct Heard {
  std::vector<std::string> lines;
  std::map<int, std::string> arguments;

  void hear(const std::vector<Event>& events) {
    for (const Event& event : events) {
      if (auto* d = std::get_if<ReasoningDelta>(&event)) add("think ", d->text);
      if (auto* d = std::get_if<ContentDelta>(&event)) add("say ", d->text);
      if (auto* d = std::get_if<CallBegin>(&event))
        lines.push_back("begin " + std::to_string(d->index) + " " + d->name);
      if (auto* d = std::get_if<ArgumentsDelta>(&event)) arguments[d->index] += d->json;
      if (auto* d = std::get_if<CallEnd>(&event)) {
        EXPECT_EQ(arguments[d->index], d->arguments);
        EXPECT_TRUE(Json::accept(d->arguments)) << d->arguments;
        lines.push_back("call " + std::to_string(d->index) + " " + d->arguments);
      }
      if (auto* d = std::get_if<CallRejected>(&event))
        lines.push_back("rejected " + std::to_string(d->index) + " " + d->name + ": " + d->why);
    }
  }
  void add(const std::string& kind, const std::string& text) {
    if (!lines.empty() && lines.back().starts_with(kind))
      lines.back() += text;
    else
      lines.push_back(kind + text);
  }
};

Heard hear(const std::vector<std::string_view>& pieces, bool thinking,
           const std::vector<ToolSpec>& tools) {
  StreamParser parser({.thinking = thinking, .tools = tools});
  Heard heard;
  for (const auto piece : pieces) heard.hear(parser.feed(piece));
  heard.hear(parser.finish());
  return heard;
}

// What the parser makes of `text`, after every cut of it into two and into bytes has given the
// same.
std::vector<std::string> parsed(const std::string& text, bool thinking = true,
                                const std::vector<ToolSpec>& tools = kTools) {
  const Heard whole = hear({text}, thinking, tools);
  std::vector<std::string_view> bytes;
  for (std::size_t i = 0; i < text.size(); ++i)
    bytes.push_back(std::string_view(text).substr(i, 1));
  EXPECT_EQ(hear(bytes, thinking, tools).lines, whole.lines) << "byte by byte: " << text;
  for (std::size_t i = 1; i < text.size(); ++i) {
    const Heard cut = hear({std::string_view(text).substr(0, i), std::string_view(text).substr(i)},
                           thinking, tools);
    EXPECT_EQ(cut.lines, whole.lines) << "cut at " << i << ": " << text;
    EXPECT_EQ(cut.arguments, whole.arguments) << "cut at " << i;
    if (::testing::Test::HasFailure()) break;
  }
  return whole.lines;
}

std::string parameter(const std::string& name, const std::string& value,
                      const char* string = "true") {
  return "<｜DSML｜parameter name=\"" + name + "\" string=\"" + string + "\">" + value +
         "</｜DSML｜parameter>";
}
std::string invoke(const std::string& name, const std::string& body) {
  return "<｜DSML｜invoke name=\"" + name + "\">\n" + body + "\n</｜DSML｜invoke>";
}
std::string block(const std::string& body) {
  return "\n\n<｜DSML｜tool_calls>\n" + body + "\n</｜DSML｜tool_calls>";
}

TEST(StreamParser, ReasoningContentAndCalls) {
  EXPECT_THAT(parsed("Let me see.</think>I look." +
                     block(invoke("edit", parameter("path", "a.c") + "\n" +
                                              parameter("line", "3", "false")))),
              ElementsAre("think Let me see.", "say I look.", "begin 0 edit",
                          R"(call 0 {"path": "a.c", "line": 3})"));
}

TEST(StreamParser, SeveralCallsAndAnEmptyOne) {
  EXPECT_THAT(parsed("x</think>" +
                     block(invoke("test", "") + "\n" + invoke("edit", parameter("path", "b")))),
              ElementsAre("think x", "begin 0 test", "call 0 {}", "begin 1 edit",
                          R"(call 1 {"path": "b"})"));
}

TEST(StreamParser, ValuesAreRaw) {
  const std::string value =
      "if (a < b && \"c\\n\") {\n\t// </parameter> </｜DSML｜ para <｜DSML｜invoke name=\"x\"> é 😀 "
      "</think>\n}\n";
  const auto lines = parsed("x</think>" + block(invoke("edit", parameter("path", "p") + "\n" +
                                                                   parameter("text", value))));
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(Json::parse(lines[2].substr(7))["text"], value);
}

TEST(StreamParser, NewlinesAroundThePartsBelongToNobody) {
  EXPECT_THAT(parsed("\n\nHm.\n\n</think>\n\nHi.\n"), ElementsAre("think Hm.", "say Hi.\n"));
  EXPECT_THAT(parsed("a</think>b</think>c"), ElementsAre("think a", "say bc"));
}

TEST(StreamParser, WithoutToolsEverythingIsText) {
  const std::string calls = block(invoke("edit", parameter("path", "a")));
  EXPECT_THAT(parsed("x</think>Hm." + calls, true, {}), ElementsAre("think x", "say Hm." + calls));
}

TEST(StreamParser, NearMissesAreUnderstood) {
  const std::string call = invoke("edit", parameter("path", "a"));
  for (const std::string open : {"tool_call", "toolcalls", "function_calls"}) {
    EXPECT_THAT(
        parsed("x</think>\n\n<｜DSML｜" + open + ">\n" + call + "\n</｜DSML｜" + open + ">"),
        ElementsAre("think x", "begin 0 edit", R"(call 0 {"path": "a"})"));
  }
  EXPECT_THAT(parsed("x</think>Now:\n\n" + call),
              ElementsAre("think x", "say Now:", "begin 0 edit", R"(call 0 {"path": "a"})"));
  EXPECT_THAT(parsed("x</think>" + block("<｜DSML｜invoke name=\"test\"/>")),
              ElementsAre("think x", "begin 0 test", "call 0 {}"));
  // The type decides where the attribute is missing.
  EXPECT_THAT(
      parsed("x</think>" +
             block(invoke(
                 "edit",
                 "<｜DSML｜parameter name=\"path\">12</｜DSML｜parameter>\n<｜DSML｜parameter "
                 "name=\"line\">12</｜DSML｜parameter>"))),
      ElementsAre("think x", "begin 0 edit", R"(call 0 {"path": "12", "line": 12})"));
  // Not JSON where a string is wanted: it is the string.
  EXPECT_THAT(parsed("x</think>" + block(invoke("edit", parameter("path", "a b", "false")))),
              ElementsAre("think x", "begin 0 edit", R"(call 0 {"path": "a b"})"));
}

TEST(StreamParser, AnObjectForABodyIsUnderstood) {
  EXPECT_THAT(parsed("x</think>" + block(invoke("edit", R"({"path": "a", "line": 2})"))),
              ElementsAre("think x", "begin 0 edit", R"(call 0 {"path":"a","line":2})"));
  EXPECT_THAT(parsed("x</think>" + block(invoke("edit", R"({"arguments": {"path": "a"}})"))),
              ElementsAre("think x", "begin 0 edit", R"(call 0 {"path":"a"})"));
  EXPECT_THAT(parsed("x</think>" +
                     block(invoke("edit", parameter("arguments", R"({"path": "a"})", "false")))),
              ElementsAre("think x", "begin 0 edit", R"(call 0 {"path":"a"})"));
  // A tool that has such a parameter means it.
  EXPECT_THAT(parsed("x</think>" +
                     block(invoke("call", parameter("arguments", R"({"path": "a"})", "false")))),
              ElementsAre("think x", "begin 0 call", R"(call 0 {"arguments": {"path": "a"}})"));
}

// In whichever form the arguments come, an integer beyond 64 bits is the one that was written.
TEST(StreamParser, NumbersAreThoseThatWereWritten) {
  const std::string id = "12345678901234567890123";
  const auto called = [](const std::string& body) {
    return parsed("x</think>" + block(invoke("edit", parameter("path", "a") + "\n" + body))).back();
  };
  EXPECT_EQ(called(parameter("line", id, "false")),
            "call 0 {\"path\": \"a\", \"line\": " + id + "}");
  const std::string object = "{\"path\":\"a\",\"line\":" + id + "}";
  for (const std::string& body :
       {object, "{\"arguments\": " + object + "}", parameter("arguments", object, "false")})
    EXPECT_EQ(parsed("x</think>" + block(invoke("edit", body))).back(), "call 0 " + object);
}

TEST(StreamParser, WhatCannotRunIsRejectedWithTheReason) {
  const auto rejected = [](const std::string& call) {
    return parsed("x</think>" + block(call)).back();
  };
  EXPECT_THAT(rejected(invoke("erase", parameter("path", "a"))),
              HasSubstr("there are edit, test, call"));
  EXPECT_THAT(rejected(invoke("edit", parameter("text", "a"))),
              HasSubstr("the parameter path is missing"));
  EXPECT_THAT(rejected(invoke("edit", parameter("path", "a") + "\n" + parameter("path", "b"))),
              HasSubstr("given twice"));
  EXPECT_THAT(
      rejected(invoke("edit", parameter("path", "a") + "\n" + parameter("line", "tru", "false"))),
      HasSubstr("the value of line is not JSON"));
  EXPECT_THAT(rejected(invoke("edit", "[1, 2]")), HasSubstr("text between its parameters"));
}

// What damaged answers brought to light (dsml_fuzz_test.cc).
TEST(StreamParser, AnObjectAndMoreIsNoCall) {
  for (const std::string& more :
       {parameter("line", "2", "false"), parameter("text", "x"), std::string("{}")}) {
    EXPECT_THAT(parsed("x</think>" + block(invoke("edit", R"({"path": "a"})"
                                                          "</｜DSML｜parameter>" +
                                                              more)))
                    .back(),
                HasSubstr("did not run"))
        << more;
  }
  EXPECT_THAT(
      parsed("x</think>" + block(invoke("edit", "not {\"path\": 1}" + parameter("path", "a"))))
          .back(),
      HasSubstr("text between its parameters"));
  EXPECT_THAT(
      parsed("x</think>" +
             block(invoke("edit", parameter("path", "a") +
                                      parameter("line", std::string("2\0 and more", 11), "false"))))
          .back(),
      HasSubstr("not JSON"));
}

TEST(StreamParser, WhatWasCutOffNeverRuns) {
  const std::string all = "x</think>Hm." + block(invoke("edit", parameter("path", "a") + "\n" +
                                                                    parameter("text", "b")));
  const std::size_t name_known = all.find("edit\">") + 6,
                    end = all.rfind("\n</｜DSML｜tool_calls>");
  for (std::size_t n = 0; n < end; ++n) {
    const auto lines = hear({std::string_view(all).substr(0, n)}, true, kTools).lines;
    for (const auto& line : lines) EXPECT_FALSE(line.starts_with("call ")) << n;
    if (n >= name_known) {
      EXPECT_THAT(lines.back(), HasSubstr("cut off")) << n;
    }
  }
  EXPECT_EQ(hear({std::string_view(all).substr(0, end)}, true, kTools).lines.back(),
            R"(call 0 {"path": "a", "text": "b"})");
}

// As an interrupt or a limit stops it; no grammar ends an answer there.
TEST(StreamParser, UnderAGrammarABlockThatIsCutOffBeforeACallIsNobodysText) {
  const std::string calls = block(invoke("edit", parameter("path", "a")));
  const std::size_t marked = calls.find("tool_calls"), name_known = calls.find("edit\">") + 6;
  for (std::size_t n = marked; n < name_known; ++n) {
    for (const std::size_t piece : {std::size_t{1}, calls.size()}) {
      StreamParser parser({.thinking = false, .tools = kTools, .held_to_grammar = true});
      Heard heard;
      heard.hear(parser.feed("Hm."));
      for (std::size_t at = 0; at < n; at += piece)
        heard.hear(parser.feed(std::string_view(calls).substr(at, std::min(piece, n - at))));
      heard.hear(parser.finish());
      EXPECT_THAT(heard.lines, ElementsAre("say Hm.")) << n;
    }
  }
}

TEST(StreamParser, ABlockWithoutACallIsText) {
  EXPECT_THAT(
      parsed("x</think>See\n\n<｜DSML｜tool_calls>\nnothing\n</｜DSML｜tool_calls>"),
      ElementsAre("think x", "say See\n\n<｜DSML｜tool_calls>\nnothing\n</｜DSML｜tool_calls>"));
}

TEST(StreamParser, QuotedCallsAreText) {
  const std::string call = invoke("edit", parameter("path", "a"));
  EXPECT_THAT(parsed("x</think>Like this:\n```\n" + call + "\n```\nDone."),
              ElementsAre("think x", "say Like this:\n```\n" + call + "\n```\nDone."));
  // Drafted in the reasoning, which goes on.
  EXPECT_THAT(parsed("Maybe" + block(call) + " or not.</think>No."),
              ElementsAre("think Maybe" + block(call) + " or not.", "say No."));
}

// No grammar would let a block begin that is none, and the model is not asked whether it has closed
// its fence.
TEST(StreamParser, UnderAGrammarCallsBehindAnOpenFenceAreCalls) {
  const std::string calls = block(invoke("edit", parameter("path", "a")));
  for (const std::string said : {"Like this:\n```\nls\n", "```ls``` lists them."}) {
    StreamParser parser({.thinking = false, .tools = kTools, .held_to_grammar = true});
    Heard heard;
    heard.hear(parser.feed(said + calls));
    heard.hear(parser.finish());
    EXPECT_EQ(heard.lines.back(), R"(call 0 {"path": "a"})") << said;
  }
}

TEST(StreamParser, CallsOfAReasoningThatNeverEndsAreTaken) {
  const std::string calls = block(invoke("edit", parameter("path", "a")));
  EXPECT_THAT(parsed("Now." + calls),
              ElementsAre("think Now." + calls, "begin 0 edit", R"(call 0 {"path": "a"})"));
  EXPECT_THAT(parsed("Now." + block(invoke("edit", parameter("path", "a"))).substr(0, 60)).size(),
              1u);
}

// There a token ends it, and no grammar lets a call begin in it: what it quotes is text.
TEST(StreamParser, UnderAGrammarTheReasoningEndsWhereItIsSaidTo) {
  const std::string quoted = "It says </think>" + block(invoke("edit", parameter("path", "a")));
  for (const bool ends : {true, false}) {
    StreamParser parser({.thinking = true, .tools = kTools, .held_to_grammar = true});
    Heard heard;
    heard.hear(parser.feed(quoted + "\n\n"));
    if (ends) heard.hear(parser.end_thinking());
    if (ends) heard.hear(parser.feed("\n\nWrite </think> here."));
    heard.hear(parser.finish());
    std::vector<std::string> want = {"think " + quoted + (ends ? "" : "\n\n")};
    if (ends) want.push_back("say Write </think> here.");
    EXPECT_EQ(heard.lines, want);
  }
}

// A client's own beginning of an answer is not told to it again.
TEST(StreamParser, WhatIsSettledIsSaidOnce) {
  for (const bool thinking : {true, false}) {
    const std::string kind = thinking ? "think " : "say ";
    for (const std::string begun : {"```python\n", "Here:\n\n<", "a </", "a"}) {
      StreamParser parser({.thinking = thinking, .tools = kTools, .held_to_grammar = !thinking});
      Heard heard, more;
      heard.hear(parser.feed(begun));
      heard.hear(parser.settle());
      EXPECT_THAT(heard.lines, ElementsAre(kind + begun));
      more.hear(parser.settle());
      EXPECT_TRUE(more.lines.empty()) << begun;
      more.hear(parser.feed("\n"));
      more.hear(parser.feed("x = 1\n"));
      more.hear(parser.finish());
      EXPECT_THAT(more.lines, ElementsAre(kind + "\nx = 1\n")) << begun;
    }
  }
  StreamParser parser({.thinking = false, .tools = kTools, .held_to_grammar = true});
  Heard heard;
  parser.feed("So:\n\n<");
  parser.settle();
  heard.hear(parser.feed(block(invoke("edit", parameter("path", "a"))).substr(3)));
  heard.hear(parser.finish());
  EXPECT_EQ(heard.lines.back(), R"(call 0 {"path": "a"})");
}

TEST(StreamParser, NothingIsHeldBackForLong) {
  StreamParser parser({.thinking = false, .tools = kTools});
  Heard heard;
  heard.hear(parser.feed("A line <"));
  EXPECT_THAT(heard.lines, ElementsAre("say A line "));
  heard.hear(parser.feed("b> and more"));
  EXPECT_THAT(heard.lines, ElementsAre("say A line <b> and more"));
}

TEST(StreamParser, LongAnswersTakeLinearTime) {
  // 4 MB byte by byte would not end today if anything looked at the whole again.
  StreamParser parser({.thinking = false, .tools = kTools});
  std::string value(4 << 20, 'x');
  for (std::size_t i = 0; i < value.size(); i += 97) value[i] = '<';
  Heard heard;
  heard.hear(
      parser.feed("<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"edit\">\n<｜DSML｜parameter "
                  "name=\"path\" string=\"true\">"));
  for (std::size_t i = 0; i < value.size(); i += 16)
    heard.hear(parser.feed(std::string_view(value).substr(i, 16)));
  heard.hear(parser.feed("</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"));
  EXPECT_EQ(heard.lines.back().size(), value.size() + std::string(R"(call 0 {"path": ""})").size());
}

TEST(OfficialParser, StreamsAgreeWithTheStrictParser) {
  namespace fs = std::filesystem;
  const char* const named = std::getenv("LARES_SHARED");
  const fs::path path = (named ? fs::path(named) : fs::path(LARES_SOURCE_DIR) / ".." / "shared") /
                        "v4/encoding_tests/extra_parse_cases.json";
  if (!fs::exists(path)) GTEST_SKIP() << "the official cases are not there: " << path;
  std::ifstream in(path);
  const Json cases = Json::parse(in);
  int n = 0;
  for (const auto& c : cases) {
    if (!c.contains("parsed")) continue;
    SCOPED_TRACE(c["name"].get<std::string>());
    std::string text = c["text"].get<std::string>();
    if (text.ends_with(kEos)) text.resize(text.size() - kEos.size());
    const bool thinking = c["thinking_mode"] == "thinking";
    const auto strict = parse_strict(text + std::string(kEos), thinking);
    ASSERT_TRUE(strict);
    std::vector<ToolSpec> tools;
    for (const auto& call : strict->calls) tools.push_back({call.name, "", "{}"});
    if (tools.empty()) tools = kTools;
    std::string reasoning, content;
    std::vector<std::string> calls;
    for (const auto& line : parsed(text, thinking, tools)) {
      if (line.starts_with("think ")) reasoning += line.substr(6);
      if (line.starts_with("say ")) content += line.substr(4);
      if (line.starts_with("call ")) calls.push_back(line.substr(line.find(' ', 5) + 1));
    }
    const auto trimmed = [](std::string s) {
      while (s.starts_with('\n')) s.erase(0, 1);
      while (s.ends_with('\n')) s.pop_back();
      return s;
    };
    EXPECT_EQ(trimmed(reasoning), trimmed(strict->reasoning));
    EXPECT_EQ(trimmed(content), trimmed(strict->content));
    // The strict parser does not look into JSON values; here a call with a broken one is rejected.
    const auto sound = std::count_if(strict->calls.begin(), strict->calls.end(),
                                     [](const ToolCall& c2) { return Json::accept(c2.arguments); });
    ASSERT_EQ(static_cast<std::ptrdiff_t>(calls.size()), sound);
    if (calls.size() != strict->calls.size()) continue;
    for (std::size_t i = 0; i < calls.size(); ++i)
      EXPECT_EQ(Json::parse(calls[i]), Json::parse(strict->calls[i].arguments));
    ++n;
  }
  EXPECT_GT(n, 5);
}

}  // namespace
}  // namespace lares::engine
