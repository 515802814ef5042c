// Damaged answers of a model, cut anywhere: the parser never crashes, what it says does not depend
// on the cuts, and what it lets through can be executed.
#include <map>
#include <string>
#include <variant>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/chat.h"
#include "engine/grammar.h"
#include "tests/fuzz.h"

namespace lares::engine {
namespace {

constexpr std::size_t kTexts = 20'000;

std::vector<ToolSpec> tools() {
  return {
      {"edit", "d",
       R"({"type":"object","properties":{"path":{"type":"string"},"line":{"type":"integer"},"all":{"type":"boolean"}},"required":["path"]})"},
      {"run", "d",
       R"({"type":"object","properties":{"command":{"type":"string"},"env":{"type":"object"},"args":{"type":"array"}}})"}};
}

std::vector<std::string> seeds() {
  const std::string d(kDsml);
  const auto call = [&](const std::string& name, const std::string& parameters) {
    return "<" + d + "invoke name=\"" + name + "\">\n" + parameters + "\n</" + d + "invoke>\n";
  };
  const auto parameter = [&](const std::string& key, bool string, const std::string& value) {
    return "<" + d + "parameter name=\"" + key + "\" string=\"" + (string ? "true" : "false") +
           "\">" + value + "</" + d + "parameter>";
  };
  const auto block = [&](const std::string& calls) {
    return "\n\n<" + d + "tool_calls>\n" + calls + "</" + d + "tool_calls>";
  };
  return {
      "thought</think>plain text, < and > and </ in it",
      "a</think>I edit." + block(call("edit", parameter("path", true, "/a \"b\"\\c\n") + "\n" +
                                                  parameter("line", false, "12") + "\n" +
                                                  parameter("all", false, "true"))),
      "b</think>" +
          block(
              call("run", parameter("command", true, "echo '</think>' \xc3\xa9 \xf0\x9f\x98\x80")) +
              call("run",
                   parameter("env", false, R"({"A": [1, 2.5e3, null], "B": {"c": "\u00e9"}})") +
                       parameter("args", false, R"(["x", "y\\"])"))),
      "never closed " + block(call("run", parameter("command", true, "ls"))),
      "c</think>" + block(call("nobody", parameter("x", true, "1"))) + "after it",
      "d</think>" + block(call("run", "{\"command\": \"ls -l\"}")),
  };
}

fuzz::Damage damage(const std::vector<std::string>& all) {
  return {{fuzz::change_byte, fuzz::erase_some, fuzz::copy_up_to(64), fuzz::cut_off,
           fuzz::insert_one_of(all),
           fuzz::insert_one_of({"<｜DSML｜",
                                "</｜DSML｜",
                                "tool_calls>",
                                "invoke name=\"",
                                "parameter name=\"",
                                "\" string=\"true\">",
                                "\" string=\"false\">",
                                "</think>",
                                "<think>",
                                "<｜end▁of▁sentence｜>",
                                "\n\n",
                                "\"",
                                "{",
                                "}",
                                "[",
                                "\\",
                                "\xff",
                                "\xe2",
                                "1e999",
                                "null",
                                "<",
                                ">",
                                "｜"})}};
}

// Everything that was said, its pieces joined.
struct Heard {
  std::string reasoning, content;
  std::vector<std::string> calls;  // how each went, in words
  bool operator==(const Heard&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const Heard& heard) {
    out << "\n  reasoning " << testing::PrintToString(heard.reasoning) << "\n  content "
        << testing::PrintToString(heard.content);
    for (const auto& call : heard.calls) out << "\n  " << testing::PrintToString(call);
    return out;
  }
};

Heard hear(const std::string& text, bool thinking, const std::vector<std::size_t>& cuts) {
  StreamParser parser({.thinking = thinking, .tools = tools()});
  std::vector<Event> events;
  const auto take = [&](std::vector<Event> some) {
    events.insert(events.end(), some.begin(), some.end());
  };
  std::size_t at = 0;
  for (const std::size_t cut : cuts) {
    take(parser.feed(std::string_view(text).substr(at, cut - at)));
    at = cut;
  }
  take(parser.feed(std::string_view(text).substr(at)));
  take(parser.finish());
  Heard out;
  struct Call {
    std::string name, arguments;  // so far
  };
  std::map<int, Call> open;
  for (const Event& event : events) {
    if (const auto* e = std::get_if<ReasoningDelta>(&event)) out.reasoning += e->text;
    if (const auto* e = std::get_if<ContentDelta>(&event)) out.content += e->text;
    if (const auto* e = std::get_if<CallBegin>(&event)) {
      EXPECT_TRUE(open.emplace(e->index, Call{e->name, ""}).second)
          << "call " << e->index << " begins twice";
      out.calls.push_back("begin " + e->name);
    }
    if (const auto* e = std::get_if<ArgumentsDelta>(&event)) {
      EXPECT_TRUE(open.contains(e->index));
      open[e->index].arguments += e->json;
    }
    if (const auto* e = std::get_if<CallEnd>(&event)) {
      const Call call = open[e->index];
      EXPECT_EQ(open.erase(e->index), 1u);
      EXPECT_TRUE(call.name == "edit" || call.name == "run")
          << "of " << call.name << ", which is no tool";
      EXPECT_EQ(call.arguments, e->arguments);
      EXPECT_TRUE(nlohmann::json::parse(e->arguments, nullptr, false).is_object()) << e->arguments;
      out.calls.push_back("end " + e->arguments);
    }
    if (const auto* e = std::get_if<CallRejected>(&event)) {
      open.erase(e->index);
      EXPECT_FALSE(e->why.empty());
      out.calls.push_back("rejected " + e->name + ": " + e->why);
    }
  }
  EXPECT_TRUE(open.empty()) << "a call neither ended nor was rejected";
  return out;
}

TEST(DsmlFuzz, WhatIsHeardDoesNotDependOnTheCuts) {
  const auto all = seeds();
  const fuzz::Damage damaged = damage(all);
  std::size_t n_calls = 0, n_strict = 0;
  const auto one_text = [&](fuzz::Random& random) {
    const std::string text = damaged(all[random() % all.size()], random);
    const bool thinking = random() % 4 != 0;
    std::vector<std::size_t> each, some;
    for (std::size_t i = 1; i < text.size(); ++i) {
      each.push_back(i);
      if (random() % 8 == 0) some.push_back(i);
    }
    const Heard whole = hear(text, thinking, {});
    EXPECT_EQ(whole, hear(text, thinking, each)) << testing::PrintToString(text);
    EXPECT_EQ(whole, hear(text, thinking, some)) << testing::PrintToString(text);
    n_strict += parse_strict(text + std::string(kEos), thinking).has_value();
    n_calls += whole.calls.size();
  };
  const std::size_t n_texts = fuzz::repeat({.rounds = kTexts}, one_text);
  std::printf("%zu texts, %zu calls, %zu of the texts as the strict parser wants them\n", n_texts,
              n_calls, n_strict);
  EXPECT_GT(n_calls, 0u);
}

}  // namespace
}  // namespace lares::engine
