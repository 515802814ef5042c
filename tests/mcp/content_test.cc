// What the model reads of a result: every kind of block, and structured content once.
#include "mcp/content.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace lares::mcp {
namespace {

std::string text(const std::string& result) { return result_text(nlohmann::json::parse(result)); }

TEST(Content, EveryKindOfBlockIsText) {
  EXPECT_EQ(
      text(
          R"({"content": [{"type": "text", "text": "a\n"}, {"type": "text", "text": "b"}, {"type": "image", "mimeType": "image/png", "data": "AAAA"},
                     {"type": "audio", "mimeType": "audio/wav", "data": "AA"}]})"),
      "a\nb\n[image image/png, 4 bytes in base64]\n[audio audio/wav, 2 bytes in base64]");
  EXPECT_EQ(
      text(
          R"({"content": [{"type": "resource", "resource": {"uri": "file:///x", "text": "inner"}}]})"),
      "inner");
  EXPECT_EQ(
      text(
          R"({"content": [{"type": "resource", "resource": {"uri": "file:///x", "mimeType": "a/b", "blob": "AAAA"}}]})"),
      "[resource file:///x a/b, 4 bytes in base64]");
  EXPECT_EQ(
      text(
          R"({"content": [{"type": "resource_link", "uri": "file:///x", "name": "X", "description": "the X"}]})"),
      "[resource file:///x; X; the X; resources/read gets it]");
  EXPECT_EQ(text(R"({"contents": [{"uri": "a", "text": "one"}, {"uri": "b", "blob": "AAAA"}]})"),
            "one\n[resource b, 4 bytes in base64]");
  EXPECT_EQ(
      text(
          R"({"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}, {"role": "assistant", "content": {"type": "text", "text": "ho"}}]})"),
      "user: hi\nassistant: ho");
}

TEST(Content, StructuredContentIsReadOnce) {
  EXPECT_EQ(
      text(
          R"({"content": [{"type": "text", "text": "{\"a\": [1, \"q\\\"\"]}"}], "structuredContent": {"a": [1, "q\""]}})"),
      R"({"a": [1, "q\""]})");
  EXPECT_EQ(
      text(
          R"({"content": [{"type": "text", "text": "It is 5 degrees in Rome"}], "structuredContent": {"degrees": 5, "city": "Rome"}})"),
      "It is 5 degrees in Rome");
  EXPECT_EQ(
      text(R"({"content": [{"type": "text", "text": "Found it"}], "structuredContent": {"t": 5}})"),
      "Found it\n{\"t\":5}");
  EXPECT_EQ(text(R"({"content": [], "structuredContent": [true, null]})"), "[true,null]");
  EXPECT_EQ(
      text(
          R"({"content": [{"type": "text", "text": "ok: true"}], "structuredContent": {"ok": true, "why": null}})"),
      "ok: true");
  EXPECT_EQ(
      text(
          R"({"content": [{"type": "text", "text": "ok: true"}], "structuredContent": {"ok": [{"x": false}]}})"),
      "ok: true\n{\"ok\":[{\"x\":false}]}");
}

// A number is said where it stands for itself beside what it is of, not where its digits happen to
// stand; lost, nobody would miss it.
TEST(Content, WhatTheTextOnlySeemsToSayIsNotLost) {
  const auto read = [](const std::string& said, const nlohmann::json& structured) {
    return result_text(
        {{"content", {{{"type", "text"}, {"text", said}}}}, {"structuredContent", structured}});
  };
  const auto lost = [&](const std::string& said, const nlohmann::json& structured) {
    return read(said, structured) != said + "\n" + structured.dump();
  };
  EXPECT_FALSE(lost("Failed on 2025-12-13", {{"failed", 13}}));
  EXPECT_FALSE(lost("Done in 1 s", {{"n_failed", 1}}));
  EXPECT_FALSE(lost("failed: 13.5, 1,134, 213, -13", {{"failed", 13}}));
  EXPECT_FALSE(lost("untrue", {{"true", true}}));
  EXPECT_FALSE(lost("Romeo", {{"city", "Rome"}}));
  EXPECT_FALSE(lost("It is 5 degrees in Rome", {{"t", 5}, {"city", "Rome"}}));
  EXPECT_EQ(read("Failed: 13, passed: 20.", {{"failed", 13}, {"passed", 20}}),
            "Failed: 13, passed: 20.");
  EXPECT_EQ(read("N failed: 13 of 20", {{"n_failed", 13}}), "N failed: 13 of 20");
  EXPECT_EQ(read("Distance 5km, at 22\u00b0C", {{"distance", 5}, {"at", 22}}),
            "Distance 5km, at 22\u00b0C");
  EXPECT_EQ(read("-13", {{"result", -13}}), "-13");  // as servers wrap what is no object
  EXPECT_EQ(read("1\n2\n3", {{"result", {1, 2, 3}}}), "1\n2\n3");
}

TEST(Content, OfTooManyBlocksTheFirstAreRead) {
  nlohmann::json result;
  for (int i = 0; i < 10'001; ++i)
    result["content"].push_back({{"type", "text"}, {"text", i == 10'000 ? "z" : "a"}});
  const std::string read = result_text(result);
  EXPECT_TRUE(read.starts_with("a\na\n"));
  EXPECT_TRUE(read.ends_with("a\n[1 more blocks; no more than 10000 are read]"));
  EXPECT_EQ(std::ranges::count(read, '\n'), 10'000);
}

// Behind a text as long as the model reads, it would be cut away; and too much is not looked for.
TEST(Content, StructuredContentBehindALongTextIsLeftOut) {
  nlohmann::json result{{"content", {{{"type", "text"}, {"text", std::string(16'000, 'x')}}}},
                        {"structuredContent", {{"t", 5}}}};
  EXPECT_EQ(result_text(result), std::string(16'000, 'x'));
  result["content"][0]["text"] = std::string(15'999, 'x');
  EXPECT_TRUE(result_text(result).ends_with("x\n{\"t\":5}"));
  result["content"][0]["text"] = "1";
  result["structuredContent"] = std::vector<int>(999, 1);
  EXPECT_EQ(result_text(result), "1");
  result["structuredContent"] = std::vector<int>(1000, 1);
  EXPECT_EQ(result_text(result), "1\n" + result["structuredContent"].dump());
}

TEST(Content, ResultsWithoutSenseAreNothing) {
  for (const char* odd : {"{}", R"({"content": 5})", R"({"content": [5, null, []]})",
                          R"({"contents": {}, "messages": "x"})"})
    EXPECT_EQ(text(odd), "") << odd;
  EXPECT_EQ(text(R"({"content": [{}]})"), "[, 0 bytes in base64]");
  EXPECT_EQ(
      text(
          R"({"content": [{"type": "resource", "resource": 5}], "messages": [5, {"content": 5}]})"),
      "[resource ]\n: [, 0 bytes in base64]");
}

}  // namespace
}  // namespace lares::mcp
