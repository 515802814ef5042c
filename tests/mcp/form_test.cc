// Forms put to a person as questions: every kind of field, and every way to say no.
#include "mcp/form.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <deque>
#include <nlohmann/json.hpp>

namespace lares::mcp {
namespace {

using nlohmann::json;
using testing::HasSubstr;

struct Person {
  std::deque<std::string> answers;  // after the last nobody is there
  std::vector<std::string> questions;

  json fills(json params) {
    const Elicit ask =
        [this](std::string question) -> boost::asio::awaitable<std::optional<std::string>> {
      questions.push_back(std::move(question));
      std::optional<std::string> answer;
      if (!answers.empty()) answer = answers.front(), answers.pop_front();
      co_return answer;
    };
    boost::asio::io_context io;
    json result;
    boost::asio::co_spawn(io, elicit("db", std::move(params), ask),
                          [&](std::exception_ptr thrown, json r) {
                            if (thrown) std::rethrow_exception(thrown);
                            result = std::move(r);
                          });
    io.run();
    return result;
  }
};

json form(const std::string& properties, const std::string& required = "[]") {
  return json::parse(
      R"({"message": "Tell me", "requestedSchema": {"type": "object", "properties": )" +
      properties + R"(, "required": )" + required + "}}");
}

// The value of a field after this answer, or the action where it was not accepted.
json field(const std::string& schema, const std::string& answer) {
  Person person{{answer, answer, answer}, {}};
  const auto result = person.fills(form(R"({"f": )" + schema + "}"));
  return result["action"] == "accept" ? result["content"].value("f", json("nothing"))
                                      : result["action"];
}

TEST(Form, EveryKindOfFieldIsUnderstood) {
  EXPECT_EQ(field(R"({"type": "string"})", " Ada \n"), "Ada");
  EXPECT_EQ(field(R"({"type": "integer"})", "42"), 42);
  EXPECT_EQ(field(R"({"type": "integer"})", "4.5"), "cancel");
  EXPECT_EQ(field(R"({"type": "integer", "minimum": 1, "maximum": 9})", "0"), "cancel");
  EXPECT_EQ(field(R"({"type": "integer", "minimum": 1, "maximum": 9})", "9"), 9);
  EXPECT_EQ(field(R"({"type": "number"})", "4.5"), 4.5);
  for (const char* none : {"inf", "-Infinity", "nan", "1e999"})
    EXPECT_EQ(field(R"({"type": "number"})", none), "cancel") << none;
  EXPECT_EQ(field(R"({"type": "boolean"})", "Yes"), true);
  EXPECT_EQ(field(R"({"type": "boolean"})", "n"), false);
  EXPECT_EQ(field(R"({"type": "boolean"})", "maybe"), "cancel");
  EXPECT_EQ(field(R"({"type": "string", "enum": ["red", "blue"]})", "BLUE"), "blue");
  EXPECT_EQ(
      field(R"({"type": "string", "enum": ["r", "b"], "enumNames": ["Red", "Blue"]})", "blue"),
      "b");
  EXPECT_EQ(field(R"({"type": "string", "oneOf": [{"const": "r", "title": "Red"}]})", "Red"), "r");
  EXPECT_EQ(field(R"({"type": "string", "enum": ["red"]})", "green"), "cancel");
  EXPECT_EQ(field(R"({"type": "array", "items": {"enum": ["a", "b", "c"]}})", "c, a, c"),
            json::parse(R"(["c", "a"])"));
  EXPECT_EQ(
      field(
          R"({"type": "array", "items": {"anyOf": [{"const": "a", "title": "An A"}]}, "minItems": 1})",
          "an a"),
      json::parse(R"(["a"])"));
  EXPECT_EQ(field(R"({"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 1})", "a,b"),
            "cancel");
  EXPECT_EQ(field(R"({"type": "string", "minLength": 3})", "\xc3\xa9\xc3\xa9"), "cancel");
  EXPECT_EQ(field(R"({"type": "string", "maxLength": 2})", "\xc3\xa9\xc3\xa9"), "\xc3\xa9\xc3\xa9");
}

TEST(Form, AChoiceMayHaveCommas) {
  const char* const some =
      R"({"type": "array", "items": {"anyOf": [{"const": 1, "title": "Yes, always"}, {"const": 2, "title": "yes"},
                                    {"const": 3, "title": "No, never, not once"}, {"const": 4}]}})";
  EXPECT_EQ(field(some, "Yes, always"), json::parse("[1]"));
  EXPECT_EQ(field(some, "yes, 4, yes, always,"), json::parse("[2, 4, 1]"));
  EXPECT_EQ(field(some, " ,no, never, not once ,Yes"), json::parse("[3, 2]"));
  EXPECT_EQ(field(some, "yes, sometimes"), "cancel");
  EXPECT_EQ(field(some, "no, never"), "cancel");
}

TEST(Form, BoundsAreTheSchemas) {
  const char *const whole = R"({"type": "integer", "minimum": 1, "maximum": 9})",
                    *const text = R"({"type": "string", "minLength": 2, "maxLength": 3})",
                    *const list = R"({"type": "array", "items": {}, "minItems": 2, "maxItems": 3})";
  EXPECT_EQ(field(whole, "1"), 1);
  EXPECT_EQ(field(whole, "10"), "cancel");
  EXPECT_EQ(field(whole, "99999999999999999999"), "cancel");
  EXPECT_EQ(field(text, "a"), "cancel");
  EXPECT_EQ(field(text, "ab"), "ab");
  EXPECT_EQ(field(text, "\xc3\xa9\xc3\xa9\xc3\xa9"), "\xc3\xa9\xc3\xa9\xc3\xa9");
  EXPECT_EQ(field(text, "abcd"), "cancel");
  EXPECT_EQ(field(list, "a"), "cancel");
  EXPECT_EQ(field(list, "a,, b,"), json::parse(R"(["a", "b"])"));
  EXPECT_EQ(field(list, "a,b,c"), json::parse(R"(["a", "b", "c"])"));
  EXPECT_EQ(field(list, "a,b,c,d"), "cancel");
}

// With the next try.
TEST(Form, WhatDoesNotFitIsSaid) {
  const auto said = [](const std::string& schema, const std::string& answer) {
    Person person{{answer}, {}};
    person.fills(form(R"({"f": )" + schema + "}"));
    const std::string& again = person.questions.at(1);
    const auto begin = again.find('\n') + 1;
    return again.substr(begin, again.find('\n', begin) - begin);
  };
  EXPECT_EQ(said(R"({"type": "boolean"})", "maybe"), "That does not fit.");
  EXPECT_EQ(said(R"({"type": "integer", "minimum": 1})", "0"), "That does not fit: at least 1.");
  EXPECT_EQ(said(R"({"type": "number", "maximum": 1.5})", "2"), "That does not fit: at most 1.5.");
  EXPECT_EQ(said(R"({"type": "string", "minLength": 3})", "ab"),
            "That does not fit: at least 3 characters.");
  EXPECT_EQ(said(R"({"type": "string", "maxLength": 1})", "ab"),
            "That does not fit: at most 1 characters.");
  EXPECT_EQ(said(R"({"type": "array", "items": {"enum": ["a"]}})", "a, b"),
            "That does not fit: no choice is called b.");
  EXPECT_EQ(said(R"({"type": "array", "items": {}, "minItems": 2})", "a"),
            "That does not fit: at least 2.");
  EXPECT_EQ(said(R"({"type": "array", "items": {}, "maxItems": 1})", "a, b"),
            "That does not fit: at most 1.");
}

TEST(Form, EveryKindOfFieldSaysWhatItTakes) {
  const auto asked = [](const std::string& schema) {
    Person person;
    person.fills(form(R"({"f": )" + schema + "}"));
    const std::string& question = person.questions.at(0);
    const auto begin = question.find('\n') + 1;
    return question.substr(begin, question.rfind('\n') - begin);
  };
  EXPECT_EQ(asked(R"({"type": "boolean"})"), "f\nyes or no\nempty: left out");
  EXPECT_EQ(asked(R"({"type": "integer"})"), "f\na whole number\nempty: left out");
  EXPECT_EQ(asked(R"({"type": "number"})"), "f\na number\nempty: left out");
  EXPECT_EQ(asked(R"({"type": "string", "format": "email"})"), "f\nemail\nempty: left out");
  EXPECT_EQ(asked(R"({"type": "array", "items": {"enum": ["a", "b"]}})"),
            "f\nany of, with commas between them: a, b\nempty: left out");
  json many = json::array();
  for (int i = 0; i < 60; ++i) many.push_back(i);
  const std::string long_list = asked(json{{"enum", many}}.dump());
  EXPECT_THAT(long_list, HasSubstr(", 49 and 10 more\n"));
}

TEST(Form, AnEmptyAnswerIsTheDefaultOrLeavesOut) {
  EXPECT_EQ(field(R"({"type": "integer", "default": 7})", ""), 7);
  EXPECT_EQ(field(R"({"type": "integer"})", ""), "nothing");
  Person person{{"", "", ""}, {}};
  EXPECT_EQ(person.fills(form(R"({"f": {"type": "string"}})", R"(["f"])"))["action"], "cancel");
  EXPECT_EQ(person.questions.size(), static_cast<std::size_t>(kTriesMax));
  EXPECT_THAT(person.questions[1], HasSubstr("An answer is needed."));
  Person other{{"", "x"}, {}};  // goes on with the field behind one that is left out
  EXPECT_EQ(other.fills(form(R"({"f": {"type": "string"}, "g": {"type": "string"}})"))["content"],
            json::parse(R"({"g": "x"})"));
}

TEST(Form, ThePersonSeesWhoAsksAndForWhat) {
  Person person{{"b"}, {}};
  person.fills(form(
      R"({"color": {"type": "string", "title": "Colour", "description": "of the car", "enum": ["r", "b"], "enumNames": ["Red", "b"], "default": "b"}})"));
  EXPECT_EQ(person.questions.at(0),
            "The MCP server db asks: Tell me\nColour: of the car\none of: r (Red), b\nempty: "
            "b\n(or /decline, /cancel)");
}

TEST(Form, WhatIsNeededIsAskedFirst) {
  Person person{{"1", "2", "3"}, {}};
  person.fills(
      form(R"({"a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "string"}})",
           R"(["c", "b", "nothing", 5])"));
  ASSERT_EQ(person.questions.size(), 3u);
  EXPECT_THAT(person.questions[0], HasSubstr("\nc\n"));
  EXPECT_THAT(person.questions[1], HasSubstr("\nb\n"));
  EXPECT_THAT(person.questions[2], HasSubstr("\na\n"));
}

TEST(Form, APersonMayDeclineOrBeAbsent) {
  EXPECT_EQ(field(R"({"type": "string"})", "/decline"), "decline");
  EXPECT_EQ(field(R"({"type": "string"})", "/cancel"), "cancel");
  EXPECT_EQ(Person{}.fills(form(R"({"f": {"type": "string"}})")),
            json::parse(R"({"action": "cancel"})"));
  EXPECT_EQ((Person{{"yes"}, {}}.fills(form("{}"))),
            json::parse(R"({"action": "accept", "content": {}})"));
  EXPECT_EQ((Person{{"no"}, {}}.fills(form("{}")))["action"], "decline");
  Person leaving{{"a", "/decline", "c"}, {}};  // and is asked for nothing more
  EXPECT_EQ(leaving.fills(form(
                R"({"a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "string"}})")),
            json::parse(R"({"action": "decline"})"));
  EXPECT_EQ(leaving.questions.size(), 2u);
  Person visitor{{"yes"}, {}};
  EXPECT_EQ(visitor.fills(json::parse(
                R"({"mode": "url", "message": "Log in", "url": "https://example.org/login?x=1"})")),
            json::parse(R"({"action": "accept"})"));
  EXPECT_THAT(visitor.questions.at(0), HasSubstr("https://example.org/login?x=1"));
}

TEST(Form, FormsWithoutSenseAreCancelled) {
  for (const char* odd :
       {"{}", R"({"requestedSchema": 5})", R"({"requestedSchema": {"properties": 5}})", "[]", "5"})
    EXPECT_EQ(Person{}.fills(json::parse(odd))["action"], "cancel") << odd;
  json many = json::object();
  for (int i = 0; i < 100; ++i) many[std::to_string(i)] = {{"type", "string"}};
  Person person;
  EXPECT_EQ(person.fills(form(many.dump()))["action"], "cancel");
  EXPECT_TRUE(person.questions.empty());
}

}  // namespace
}  // namespace lares::mcp
