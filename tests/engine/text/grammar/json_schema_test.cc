// Schemas that are enforced token by token: what is valid can be written, what is written is valid,
// and a mask is exactly what can go on.
#include "engine/json_schema.h"

#include <filesystem>
#include <functional>
#include <random>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/chat.h"
#include "engine/grammar.h"
#include "engine/text/grammar/json_masks.h"
#include "tests/engine/text/grammar/bytes_tokenizer.h"
#include "tests/engine/text/grammar/schema_checker.h"
#include "tests/engine/text/grammar/schema_documents.h"

namespace lares::engine {
namespace {

using Json = nlohmann::ordered_json;
using test::Bytes;
using test::documents;
using test::said;
using test::SchemaChecker;

struct Case {
  const char* name;
  const char* schema;
  std::vector<std::string> good, bad;  // documents
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"object",
       R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"}},"required":["name","age"],"additionalProperties":false})",
       {R"({"name":"x","age":3})", R"({"name": "déjà \"vu\" \\ \u00e9 \n", "age": -12})",
        "{\n  \"name\": \"\",\n  \"age\": 0\n}"},
       {R"({"age":3,"name":"x"})", R"({"name":"x"})", R"({"name":"x","age":3.5})",
        R"({"name":"x","age":3,"more":1})", R"({"name":1,"age":1})", "[]",
        R"({"name":"\ud800","age":1})", R"({"name":"x","age":01})"}},
      {"optional",
       R"({"type":"object","properties":{"a":{"type":"boolean"},"ab":{"type":"null"},"b":{"type":"boolean"},"c":{"type":"integer"}},"required":["b"]})",
       {R"({"b":true})", R"({"a":false,"ab":null,"b":true,"c":1})", R"({"ab":null,"b":true})",
        R"({"b":false,"c":9})"},
       {"{}", R"({"a":true})", R"({"a":true,"c":1})", R"({"b":true,"a":true})",
        R"({"a":true,"a":true,"b":true})"}},
      {"nothing",
       R"({"type":"object","properties":{},"additionalProperties":false})",
       {"{}", "{ }"},
       {R"({"a":1})", "[]"}},
      {"array",
       R"({"type":"array","items":{"type":"number"},"minItems":1,"maxItems":3})",
       {"[1]", "[1, -2.5e+3, 0.125]", "[\n  1,\n  2\n]"},
       {"[]", "[1,2,3,4]", R"(["1"])", "[1,]", "[1 ,2]", "[01]", "[1.]", "[.5]", "[1e]"}},
      {"nested",
       R"({"type":"array","items":{"type":"array","items":{"type":"array","items":{"enum":["x","xy",1,12,null,true,{"a":[1]}]}}}})",
       {"[]", R"([[["x", "xy"], []], [[1, 12, null, true, {"a": [1]}]]])"},
       {"[1]", R"([[["xyz"]]])", "[[[122]]]", "[[[2]]]", "[[[nul]]]", R"([[[{"a":[1]}]]])"}},
      {"enum",
       R"({"type":"string","enum":["red","green","red green","r\"d","é"]})",
       {R"("red")", R"("red green")", R"("r\"d")", R"("é")"},
       {R"("re")", R"("blue")", "red", R"("\u00e9")"}},
      {"const",
       R"({"type":"object","properties":{"kind":{"const":"a"},"n":{"const":1.5}},"required":["kind","n"]})",
       {R"({"kind":"a","n":1.5})"},
       {R"({"kind":"b","n":1.5})", R"({"kind":"a","n":1.50})"}},
      {"enum of types",
       R"({"type":["integer","null"],"enum":[1,"a",2,null,2.5]})",
       {"1", "2", "null"},
       {R"("a")", "2.5", "3"}},
      {"types",
       R"({"type":["string","null","boolean"]})",
       {R"("a")", "null", "true", "false"},
       {"1", "{}", "tru"}},
      {"bounds",
       R"({"type":"integer","minimum":-3,"maximum":120})",
       {"-3", "0", "9", "12", "120"},
       {"-4", "121", "200", "1200", "-30", "1.0"}},
      {"open bounds",
       R"({"type":"integer","exclusiveMinimum":10,"exclusiveMaximum":13})",
       {"11", "12"},
       {"10", "13", "1", "111"}},
      {"decimals",
       R"({"type":"number","minimum":0.25,"exclusiveMaximum":1.5})",
       {"0.25", "0.3", "1", "1.0", "1.499", "0.250"},
       {"0.2", "0.24999", "1.5", "1.50", "2", "-1", "1e0", "0", "15"}},
      {"negative",
       R"({"type":"number","minimum":-1.75,"maximum":-0.5})",
       {"-1.75", "-1", "-0.5", "-0.50001"},
       {"-1.76", "-2", "-0.4", "0", "1", "-0.49"}},
      {"steps",
       R"({"type":"number","multipleOf":25,"minimum":1,"maximum":1000})",
       {"25", "50", "1000", "75"},
       {"0", "5", "1025", "26", "250000", "25.0"}},
      {"wide bounds",
       R"({"type":"integer","minimum":-9007199254740991,"maximum":9007199254740991})",
       {"0", "-999999999999999", "123", "1796004684123456", "9007199254740991"},
       {"1.5", "9007199254740992", "-9007199254740992", "12345678901234567"}},
      {"bounds of 64 bits",
       R"({"type":"integer","minimum":-9223372036854775808,"maximum":9223372036854775807})",
       {"1234567890123456789", "9223372036854775807", "-9223372036854775808", "-7"},
       {"9223372036854775808", "-9223372036854775809", "12345678901234567890"}},
      {"one bound",
       R"({"type":"integer","minimum":9223372036854775807})",
       {"9223372036854775807", "9999999999999999999"},
       {"9223372036854775806", "7", "-9223372036854775807"}},
      {"a step of many digits",
       R"({"type":"integer","minimum":0,"multipleOf":1000000000000000003})",
       {"0", "1000000000000000003", "9000000000000000027"},
       {"1000000000000000002", "3"}},
      {"a bound of too many digits",
       R"({"type":"number","minimum":0.5,"maximum":1e25})",
       {"0.5", "9999999999999999999", "12.25"},
       {"59e56", "1e2", "0.4", "-1"}},
      {"anyOf",
       R"({"anyOf":[{"type":"object","properties":{"kind":{"const":"point"},"x":{"type":"number"}},"required":["kind","x"]},
        {"type":"object","properties":{"kind":{"const":"poly"},"n":{"type":"integer"}},"required":["kind","n"]},{"type":"array","items":{"type":"string"}},{"type":"null"}]})",
       {R"({"kind":"point","x":1.5})", R"({"kind": "poly", "n": 3})", R"(["a"])", "null"},
       {R"({"kind":"point","n":3})", R"({"kind":"poly","n":1.5})", R"({"kind":"line"})", "[1]",
        "true"}},
      {"anyOf of numbers",
       R"({"anyOf":[{"type":"integer","maximum":5},{"type":"number","minimum":100.5,"maximum":101}]})",
       {"5", "-7", "100.5", "101"},
       {"6", "100.2", "4.5"}},
      {"reference",
       R"({"$defs":{"node":{"type":"object","properties":{"value":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["value","next"]}},"$ref":"#/$defs/node"})",
       {R"({"value":1,"next":null})", R"({"value":1,"next":{"value":2,"next":null}})"},
       {R"({"value":1})", R"({"value":1,"next":{}})"}},
      {"recursion",
       R"({"type":"array","items":{"$ref":"#"}})",
       {"[]", "[[], [[]]]"},
       {"[1]", "{}"}},
      {"definitions",
       R"({"type":"object","properties":{"a":{"allOf":[{"$ref":"#/definitions/a~1b"}],"description":"d","default":1}},"required":["a"],"definitions":{"a/b":{"type":"boolean"}}})",
       {R"({"a":true})"},
       {R"({"a":1})"}},
      {"map",
       R"({"type":"object","additionalProperties":{"type":"integer"}})",
       {"{}", R"({"a":1, "b\n":2})"},
       {R"({"a":"1"})", R"({a:1})"}},
      {"anything",
       R"({"type":"object","properties":{"any":{},"list":{"type":"array"},"open":{"type":"object"}},"required":["any"]})",
       {R"({"any":[1,{"a":null}],"list":[1,"a"],"open":{"x":[{}]}})", R"({"any":"x"})"},
       {"{}", R"({"any":nul})", R"({"any":1,"list":{}})"}},
      {"pattern",
       R"({"type":"string","pattern":"^[a-z]{2,4}-\\d+(?:\\.(?:x|\"y\"))?$"})",
       {R"("ab-1")", R"("abcd-123.x")", R"("abc-0.\"y\"")"},
       {R"("a-1")", R"("abcde-1")", R"("ab-")", R"("ab-1.z")", R"("ab-1.")", R"("\u0061b-1")"}},
      {"loose pattern",
       R"({"type":"string","pattern":"é.b|^z"})",
       {R"("xxéabyy")", R"("z")", R"("zoo")", R"("é\"b")"},
       {R"("az")", R"("éb")", R"("")"}},
      {"date",
       R"({"type":"string","format":"date"})",
       {R"("2024-02-29")", R"("2000-02-29")", R"("1999-12-31")"},
       {R"("2023-02-29")", R"("1900-02-29")", R"("2024-13-01")", R"("2024-04-31")",
        R"("0000-01-01")"}},
      {"formats",
       R"({"type":"object","properties":{"t":{"type":"string","format":"date-time"},"e":{"type":"string","format":"email"},"u":{"type":"string","format":"uuid"},"i":{"type":"string","format":"ipv4"},"j":{"type":"string","format":"ipv6"},"d":{"type":"string","format":"duration"},"h":{"type":"string","format":"hostname"},"w":{"type":"string","format":"uri"}}})",
       {R"({"t":"2024-02-29T23:59:59.5+01:00","e":"a.b@c.de","u":"123e4567-e89b-12d3-a456-426614174000","i":"255.0.10.1","j":"fe80::1:a","d":"P1DT2H","h":"a-b.example","w":"https://x.y/z?q=%20#f"})",
        R"({"j":"::","d":"P3W"})", R"({"j":"1:2:3:4:5:6:7:8"})", R"({"j":"::ffff:1.2.3.4"})"},
       {R"({"t":"2024-02-29"})", R"({"e":"a@"})", R"({"i":"256.1.1.1"})", R"({"j":"1::2::3"})",
        R"({"d":"P"})", R"({"h":"-a"})", R"({"w":"x"})"}},
      {"similar keys",
       R"({"type":"object","properties":{"a\"b":{"type":"integer"},"a":{"type":"integer"},"aa":{"type":"integer"},"é":{"type":"integer"}}})",
       {R"({"a\"b":1,"a":2,"aa":3,"é":4})", R"({"aa":1})"},
       {R"({"aaa":1})", R"({"aa":1,"a":1})"}},
  };
  return all;
}

JsonSchemaRef compiled(const std::string& schema) {
  auto out = compile_schema(Json::parse(schema));
  EXPECT_TRUE(out) << schema << ": " << (out ? "" : out.error().path + " " + out.error().message);
  return out ? *out : nullptr;
}

std::vector<Token> bytes_of(const std::string& text) {
  std::vector<Token> out;
  for (const char c : text) out.push_back(Token(std::uint8_t(c)));
  return out;
}

TEST(JsonSchema, ValidDocumentsCanBeWrittenAndOthersCannot) {
  const Bytes t;
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const Json schema = Json::parse(c.schema);
    const SchemaChecker checker(schema);
    const JsonSchemaRef enforced = compiled(c.schema);
    ASSERT_TRUE(enforced);
    for (const std::string& document : c.good) {
      EXPECT_TRUE(said(t, enforced, bytes_of(document))) << document;
      EXPECT_TRUE(checker.valid(document)) << document;  // no worse than the walker
    }
    for (const std::string& document : c.bad)
      EXPECT_FALSE(said(t, enforced, bytes_of(document))) << document;
  }
}

void in_its_tokens(const std::string& path) {
  const auto t = Tokenizer::from_file(path);
  ASSERT_TRUE(t) << t.error().message;
  for (const Case& c : cases()) {
    for (const std::string& document : c.good)
      EXPECT_TRUE(said(**t, compiled(c.schema), (*t)->encode(document, false)))
          << c.name << ": " << document;
    for (const std::string& document : c.bad)
      EXPECT_FALSE(said(**t, compiled(c.schema), (*t)->encode(document, false)))
          << c.name << ": " << document;
  }
}
TEST(JsonSchema, ValidDocumentsCanBeWrittenInNanosTokens) {
  in_its_tokens(LARES_SOURCE_DIR "/engine/nano/checkpoint/tokenizer.json");
}
TEST(JsonSchema, ValidDocumentsCanBeWrittenInTheReleasesTokens) {
  const std::string path = LARES_SOURCE_DIR "/../shared/v4/tokenizer.json";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not here";
  in_its_tokens(path);
}

// What a walk says that prefers, where it may, what ends things.
std::string walk(const Tokenizer& t, const JsonSchemaRef& schema, std::mt19937& random) {
  const auto grammar = Grammar::make(t, {.thinking = false, .json = true, .schema = schema});
  std::string text;
  for (int i = 0; i < 20'000; ++i) {
    const TokenMask& mask = *grammar->mask();
    std::vector<Token> allowed;
    for (Token id = 0; id < t.vocab_size(); ++id) {
      if (allows(mask, id)) allowed.push_back(id);
    }
    Token pick = allowed.at(random() % allowed.size());
    if (random() % 4 == 0)
      pick = allowed.back() == *t.added(kEos) ? pick : allowed.back();  // the last of the longer
                                                                        // tokens
    for (const char c : {'"', ']', '}'}) {
      if (allows(mask, Token(c)) && random() % 3 == 0) pick = Token(c);
    }
    if (allows(mask, *t.added(kEos)) && (allowed.size() == 1 || random() % 4 == 0)) return text;
    if (pick == *t.added(kEos)) continue;
    grammar->accept(pick);
    text += t.bytes(pick);
  }
  ADD_FAILURE() << "it does not end: " << text.substr(0, 300);
  return text;
}

TEST(JsonSchema, EveryRandomWalkEndsInAValidDocument) {
  const Bytes t({"true", "12", ", ", "\": ", "[1", "éxb"});  // with the last of them the loose
                                                             // pattern is found
  std::mt19937 random(7);
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const Json schema = Json::parse(c.schema);
    const JsonSchemaRef enforced = compiled(c.schema);
    for (int n = 0; n < 40 && !testing::Test::HasFailure(); ++n) {
      const std::string text = walk(t, enforced, random);
      EXPECT_TRUE(SchemaChecker(schema).valid(text)) << text;
    }
  }
}

// Of every beginning of every document, every byte and every longer token is allowed exactly when
// some document goes on so.
TEST(JsonSchema, AMaskIsExactlyWhatSomeDocumentGoesOnWith) {
  const Bytes t({"{\"", "\":",   ",\"", "\"}", "a\":",  "1,",      "12", "],", "]]",        "[[",
                 "}]",  "true,", "rue", "e}",  "\",\"", "a\",\"b", "-1", "0]", "\"b\":{\"", "1}}"});
  const std::vector<const char*> schemas = {
      R"({"type":"array","items":{"enum":[1,12,"a",null]},"minItems":1,"maxItems":3})",
      R"({"type":"object","properties":{"a":{"type":"boolean"},"ab":{"enum":["a","b"]},"b":{"enum":[1,12]}},"required":["ab"]})",
      R"({"type":"object","properties":{"a":{"enum":[1]},"b":{"type":"object","properties":{"a":{"enum":[2]},"c":{"type":"boolean"}},"required":[]}},"required":[]})",
      R"({"type":"array","items":{"type":"integer","minimum":-12,"maximum":11},"maxItems":1})",
      R"({"type":"array","items":{"type":"integer","minimum":-120,"maximum":1300,"multipleOf":35},"maxItems":1})",
      R"({"anyOf":[{"type":"array","items":{"type":"array","items":{"enum":[1,"1"]},"maxItems":1},"maxItems":2},{"type":"array","items":{"anyOf":[{"type":"boolean"},{"enum":["a","a\",\"b"]}]},"maxItems":2},{"enum":["[",{"b":{"a":1}},-1]}]})",
      R"({"anyOf":[{"type":"object","properties":{"a":{"enum":["a"]},"b":{"enum":[1]}},"required":["a","b"]},{"type":"object","properties":{"a":{"enum":["b"]},"c":{"type":"boolean"}},"required":["a","c"]}]})"};
  for (const char* const text : schemas) {
    SCOPED_TRACE(text);
    const auto all = documents(Json::parse(text));
    const JsonSchemaRef schema = compiled(text);
    std::set<std::string> beginnings;
    for (const std::string& document : all) {
      for (std::size_t n = 0; n <= document.size(); ++n) beginnings.insert(document.substr(0, n));
    }
    const auto vocabulary = t.vocabulary();
    JsonMasks masks(vocabulary);
    for (const std::string& beginning : beginnings) {
      JsonWalker walker(schema, schema->root, /*closes=*/false);
      ASSERT_TRUE(walker.accept(beginning)) << beginning;
      EXPECT_EQ(walker.complete(), all.contains(beginning)) << beginning;
      TokenMask mask(vocabulary->ordinary_mask().size(), 0);
      masks.reset();
      masks.add(walker, mask);
      for (Token id = 0; id < t.vocab_size(); ++id) {
        const std::string_view bytes = t.bytes(id);
        if (t.added(bytes) || bytes == " " || bytes == "\n" || bytes == "\t")
          continue;  // blanks: documents() has none
        ASSERT_EQ(allows(mask, id), beginnings.contains(beginning + std::string(bytes)))
            << "'" << bytes << "' behind " << beginning;
      }
    }
  }
}

// The short ways to a mask (what a free string goes on with, masks that are kept) say what trying
// every token on says.
TEST(JsonSchema, AMaskIsWhatTryingEveryTokenOnSays) {
  const Bytes t({"\"",     "a\"",   "a\":",    "\":\"",   "\\\"",  "\\u00", "é\"",    "\xc3",
                 "\xa9\"", "\",\"", "\"}",     "\"},{\"", "\": [", "1]",    "\n  \"", "  ",
                 "\n\n",   "\"]",   "x\", \"", "</",      "\"</",  "}</",   "12",     ".5",
                 "00",     "99",    "007",     "100",     "1234",  "5e",    "0,"});
  std::mt19937 random(3);
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const JsonSchemaRef schema = compiled(c.schema);
    const auto vocabulary = t.vocabulary();
    JsonMasks masks(vocabulary);
    for (int n = 0; n < 3; ++n) {
      JsonWalker walker(schema, schema->root, /*closes=*/true);
      masks.reset();
      std::string text;
      for (int step = 0; step < 40 && !walker.closed(); ++step) {
        TokenMask mask(vocabulary->ordinary_mask().size(), 0);
        masks.add(walker, mask);
        std::vector<Token> allowed;
        for (Token id = 0; id < t.vocab_size(); ++id) {
          if (t.added(t.bytes(id))) continue;
          JsonWays ways = walker.ways();
          for (const char byte : t.bytes(id)) {
            JsonWays next;
            for (const JsonWay& way : ways) walker.step(way, std::uint8_t(byte), next);
            ways = std::move(next);
          }
          ASSERT_EQ(allows(mask, id), !ways.empty()) << "'" << t.bytes(id) << "' behind " << text;
          if (!ways.empty()) allowed.push_back(id);
        }
        ASSERT_FALSE(allowed.empty()) << text;
        const Token pick = allowed[random() % allowed.size()];
        ASSERT_TRUE(walker.accept(t.bytes(pick)));
        text += t.bytes(pick);
      }
    }
  }
}

// Many listed texts have an index: before it is there and with it, a mask is the same.
TEST(JsonSchema, ManyListedTextsAreAllowedAndNothingElse) {
  const Bytes t({"na", "name", "_1", "12", "1\"", "\",", "\", \"na", "2\"]", "e_", "]"});
  Json choices = Json::array();
  for (int n = 0; n < 300; ++n) choices.push_back("name_" + std::to_string(n * 7 % 1000));
  const JsonSchemaRef schema =
      compiled(Json{{"type", "array"}, {"items", {{"enum", choices}}}}.dump());
  const auto vocabulary = t.vocabulary();
  std::string listed;
  for (const SchemaNode& node : schema->nodes) listed += node.listed;
  ASSERT_FALSE(listed.empty());
  ASSERT_TRUE(vocabulary->store().stretch_index(listed, StretchIndex::Of::list));
  vocabulary->store().finish();
  std::mt19937 random(5);
  for (int n = 0; n < 20; ++n) {
    JsonWalker walker(schema, schema->root, /*closes=*/false);
    JsonMasks masks(vocabulary);
    std::string text;
    for (int step = 0; step < 15 && !walker.complete(); ++step) {
      TokenMask mask(vocabulary->ordinary_mask().size(), 0);
      masks.add(walker, mask);
      std::vector<Token> allowed;
      for (Token id = 0; id < t.vocab_size(); ++id) {
        if (t.added(t.bytes(id))) continue;
        JsonWays ways = walker.ways();
        for (const char byte : t.bytes(id)) {
          JsonWays next;
          for (const JsonWay& way : ways) walker.step(way, std::uint8_t(byte), next);
          ways = std::move(next);
        }
        ASSERT_EQ(allows(mask, id), !ways.empty()) << "'" << t.bytes(id) << "' behind " << text;
        if (!ways.empty()) allowed.push_back(id);
      }
      const Token pick = allowed.at(random() % allowed.size());
      ASSERT_TRUE(walker.accept(t.bytes(pick)));
      text += t.bytes(pick);
    }
  }
}

TEST(JsonSchema, RecursionEndsWhereDocumentsAreDeepest) {
  const JsonSchemaRef schema = compiled(
      R"({"type":"array","items":{"anyOf":[{"$ref":"#"},{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}]}})");
  JsonWalker walker(schema, schema->root, /*closes=*/false);
  ASSERT_TRUE(walker.accept(std::string(kDocumentDepthMax - 1, '[')));
  EXPECT_FALSE(JsonWalker(walker).accept("{"));  // within it comes another array
  EXPECT_TRUE(JsonWalker(walker).accept("[]"));
  EXPECT_FALSE(JsonWalker(walker).accept("[["));
  EXPECT_TRUE(walker.accept(std::string(kDocumentDepthMax - 1, ']')) && walker.complete());
}

// A table of continuations that is full is emptied of what nobody needs.
TEST(JsonSchema, LongArraysWithBoundsAreWrittenInBoundedMemory) {
  const JsonSchemaRef schema = compiled(
      R"({"type":"array","items":{"type":"array","items":{"type":"integer"}},"minItems":70000,"maxItems":70001})");
  JsonWalker walker(schema, schema->root, false);
  ASSERT_TRUE(walker.accept("[[1]"));
  for (int n = 1; n < 70'000; ++n) ASSERT_TRUE(walker.accept(",[1]")) << n;
  EXPECT_GT(walker.generation(), 0u);
  JsonWalker one_more = walker;
  EXPECT_TRUE(walker.accept("]") && walker.complete());
  EXPECT_TRUE(one_more.accept(",[1]"));
  EXPECT_FALSE(one_more.accept(","));
}

TEST(JsonSchema, WhatCannotBeEnforcedIsRefusedByPath) {
  struct Refused {
    const char* schema;
    const char* path;
  };
  const Refused rows[] = {
      {R"({"type":"object","properties":{"a":{"type":"string","minLength":1}}})",
       ".properties.a.minLength"},
      {R"({"type":"array","items":{"type":"object","properties":{"b":{"not":{}}}}})",
       ".items.properties.b.not"},
      {R"({"oneOf":[{"type":"string"}]})", ".oneOf"},
      {R"({"allOf":[{"type":"string"},{"type":"string"}]})", ".allOf"},
      {R"({"anyOf":[{"type":"string"}],"type":"string"})", ".type"},
      {R"x({"anyOf":[{"type":"string"},{"type":"string","pattern":"(?=a)"}]})x",
       ".anyOf[1].pattern"},
      {R"({"anyOf":[]})", ".anyOf"},
      {R"({"type":"string","pattern":"(a"})", ".pattern"},
      {R"({"type":"string","pattern":"a\\b"})", ".pattern"},
      {R"({"type":"string","pattern":"(a)\\1"})", ".pattern"},
      {R"({"type":"string","pattern":"[b-a]"})", ".pattern"},
      {R"({"type":"string","pattern":"^(?:a{900}){900}$"})", ".pattern"},
      {R"({"type":"string","pattern":"(?:a|b)*a(?:a|b){14}$"})", ".pattern"},
      {R"({"type":"string","format":"color"})", ".format"},
      {R"({"type":"object","properties":{"a":{}},"additionalProperties":true})",
       ".additionalProperties"},
      {R"({"type":"object","properties":{"a":{}},"required":["b"]})", ".required"},
      {R"({"type":"object","properties":{"a":{}},"patternProperties":{}})", ".patternProperties"},
      {R"({"type":"array","uniqueItems":true})", ".uniqueItems"},
      {R"({"type":"array","prefixItems":[]})", ".prefixItems"},
      {R"({"type":"array","minItems":3,"maxItems":2})", ".minItems"},
      {R"({"type":"array","maxItems":-1})", ".maxItems"},
      {R"({"type":"number","multipleOf":0.1})", ".multipleOf"},
      {R"({"type":"number","minimum":1e-20})", ".minimum"},
      {R"({"type":"integer","minimum":3,"maximum":2})", ""},
      {R"({"type":"integer","exclusiveMinimum":3,"exclusiveMaximum":4})", ""},
      {R"({"type":"text"})", ".type"},
      {R"({"type":"string","enum":[1]})", ".enum"},
      {R"({"enum":["a"],"pattern":"a"})", ".pattern"},
      {R"({"enum":[]})", ".enum"},
      {R"({"$ref":"#/$defs/a"})", ".$ref"},
      {R"({"$ref":"https://x.y/z"})", ".$ref"},
      {R"({"$ref":"#"})", ""},
      {R"({"anyOf":[{"$ref":"#"}]})", ""},
      {R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})", ""},
      {R"({"type":"string","if":{}})", ".if"},
      {R"({"properties":{"a":false}})", ".properties.a"},
      {R"([])", ""},
      {R"({"type":"string","minlength":1})", ".minlength"},
  };
  for (const Refused& row : rows) {
    const auto out = compile_schema(Json::parse(row.schema));
    ASSERT_FALSE(out) << row.schema;
    EXPECT_EQ(out.error().path, row.path) << row.schema << ": " << out.error().message;
    EXPECT_FALSE(out.error().message.empty());
  }
}

TEST(JsonSchema, SchemasHaveBounds) {
  Json deep = Json::object();
  for (int n = 0; n < kSchemaDepthMax + 2; ++n) deep = {{"type", "array"}, {"items", deep}};
  EXPECT_FALSE(compile_schema(deep));
  Json wide = {{"type", "object"}, {"properties", Json::object()}};
  auto& properties = wide["properties"].get_ref<Json::object_t&>();
  for (std::size_t n = 0; n <= kSchemaPropertiesMax; ++n)
    properties.emplace_back(std::to_string(n), Json{{"type", "null"}});
  EXPECT_FALSE(compile_schema(wide));
  properties.pop_back();
  EXPECT_TRUE(compile_schema(wide));
  Json either = {{"anyOf", Json::array()}};
  for (std::size_t n = 0; n <= kSchemaAlternativesMax; ++n)
    either["anyOf"].push_back({{"type", "array"}, {"maxItems", n}});
  EXPECT_FALSE(compile_schema(either));
  either["anyOf"].erase(0);
  EXPECT_TRUE(compile_schema(either));
  Json listed = {{"enum", Json::array()}};
  for (std::size_t n = 0; n <= kSchemaChoicesMax; ++n) listed["enum"].push_back(n);
  EXPECT_FALSE(compile_schema(listed));
}

// Each of many alternatives leads to all of them.
TEST(JsonSchema, AlternativesAreNotFollowedForEver) {
  Json all = Json::array();
  all.push_back({{"type", "string"}});
  for (int n = 0; n < 10'000; ++n) all.push_back({{"$ref", "#"}});
  const auto out = compile_schema({{"anyOf", all}});
  ASSERT_FALSE(out);
  EXPECT_NE(out.error().message.find("too many ways"), std::string::npos) << out.error().message;
  all.erase(all.begin() + 30, all.end());
  EXPECT_TRUE(compile_schema({{"anyOf", all}}));
}

// Of many parts within others of long names each would have all of these.
TEST(JsonSchema, WhereAPartStandsIsToldInBoundedText) {
  Json schema = {{"anyOf", Json::array()}};
  for (std::size_t n = 0; n <= kSchemaAlternativesMax; ++n)
    schema["anyOf"].push_back({{"type", "array"}, {"maxItems", n}});
  for (int n = 0; n < 20; ++n)
    schema = {{"type", "object"}, {"properties", {{std::string(1000, 'n'), schema}}}};
  const auto out = compile_schema(schema);
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().path.size(), 1024u);
}

// Each is well within what one may cost, with few states; it is their number that takes long.
TEST(JsonSchema, PatternsHaveABoundTogether) {
  Json schema = {{"type", "object"}, {"properties", Json::object()}};
  const auto with = [&schema](int n) {
    for (int i = 0; i < n; ++i)
      schema["properties"][fmt::format("{}", i)] = {
          {"type", "string"}, {"pattern", fmt::format("^((a*){{1000}}){{10}}b{}$", i)}};
    return compile_schema(schema);
  };
  EXPECT_TRUE(with(10));
  const auto refused = with(200);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("steps"), std::string::npos) << refused.error().message;
}

// What is forbidden its next digit is another number, which nobody would notice.
TEST(JsonSchema, NumbersWithoutBoundsHaveTheDigitsOfIdentifiers) {
  const auto reaches = [](const char* text, std::string_view number) {
    const JsonSchemaRef schema = *compile_schema(Json::parse(text));
    return JsonWalker(schema, schema->root, /*closes=*/false).accept(number);
  };
  EXPECT_TRUE(reaches(R"({"type":"integer"})", "1234567890123456789"));
  EXPECT_TRUE(reaches(R"({"type":"integer"})", fmt::format("-{:9>80}", "")));  // 256 bits: 78
  EXPECT_FALSE(reaches(R"({"type":"integer"})", std::string(81, '9')));
  EXPECT_TRUE(reaches(R"({"type":"number"})", "1.234567890123456789e-300"));
  EXPECT_FALSE(reaches(R"({"type":"number"})", "1.2345678901234567890"));
  EXPECT_FALSE(reaches(R"({"type":"number"})", "1234567890123456789."));
  for (const char* number : {"1e307", "-9.9e-307", "0.1e307", "12e306", "1e007"})
    EXPECT_TRUE(reaches(R"({"type":"number"})", number)) << number;
  for (const char* number : {"1e308", "12e307", "1e1000", "1e0000"})
    EXPECT_FALSE(reaches(R"({"type":"number"})", number)) << number;
  EXPECT_TRUE(reaches(R"({"type":"integer","minimum":0})", "1234567890123456789"));
  EXPECT_FALSE(reaches(R"({"type":"integer","minimum":0})", "12345678901234567890"));
}

}  // namespace
}  // namespace lares::engine
