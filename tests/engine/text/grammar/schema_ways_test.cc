// Schemas whose alternatives cannot be told apart for long: all of them stay open, however many,
// what a mask allows is always taken, and more than the bound is refused.
#include "engine/text/grammar/schema_ways.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "engine/chat.h"
#include "engine/grammar.h"
#include "engine/text/grammar/json_masks.h"
#include "tests/engine/text/grammar/bytes_tokenizer.h"
#include "tests/engine/text/grammar/schema_checker.h"
#include "tests/engine/text/grammar/schema_documents.h"

namespace lares::engine {
namespace {

using Json = nlohmann::ordered_json;
using Random = std::mt19937_64;
using test::Bytes;
using test::documents;
using test::said;

Json object_with(const std::string& key, const Json& value) {
  return {{"type", "object"},
          {"properties", {{key, value}}},
          {"required", {key}},
          {"additionalProperties", false}};
}
// `n` objects whose only member is one of `m` texts: n * m alternatives behind the quote of its
// value.
Json alike(int n, int m) {
  Json out = {{"anyOf", Json::array()}};
  for (int i = 0; i < n; ++i) {
    Json texts = Json::array();
    for (int j = 0; j < m; ++j)
      texts.push_back(
          {{"enum", {fmt::format("{}{:02}{}", i % 2 == 0 ? "a" : " z", i, char('a' + j))}}});
    out["anyOf"].push_back(object_with("k", {{"anyOf", texts}}));
  }
  return out;
}

JsonSchemaRef compiled(const Json& schema) {
  auto out = compile_schema(schema);
  EXPECT_TRUE(out) << schema << ": " << (out ? "" : out.error().path + " " + out.error().message);
  return out ? *out : nullptr;
}

bool blank_in(std::string_view bytes) {
  return bytes.find_first_of(" \n\t\r") != std::string_view::npos;
}

// Along the masks, at random, to the end of a document: whatever is allowed anywhere is taken, and
// what is not, is not.
void walk(const Tokenizer& t, const Json& schema, const JsonSchemaRef& enforced, Random& random) {
  const auto vocabulary = t.vocabulary();
  JsonMasks masks(vocabulary);
  JsonWalker walker(enforced, enforced->root, /*closes=*/false);
  std::string text;
  for (int step = 0; step < 400; ++step) {
    TokenMask mask(vocabulary->ordinary_mask().size(), 0);
    masks.add(walker, mask);
    std::vector<Token> allowed;
    for (Token id = 0; id < t.vocab_size(); ++id) {
      const std::string_view bytes = t.bytes(id);
      if (bytes.empty() || t.added(bytes)) continue;
      if (!allows(mask, id) &&
          (blank_in(bytes) ||
           blank_in(text.substr(text.size() - std::min<std::size_t>(text.size(), 1)))))
        continue;  // others' blanks are taken
      JsonWalker on = walker;
      ASSERT_EQ(on.accept(bytes), allows(mask, id)) << "'" << bytes << "' behind " << text;
      if (allows(mask, id) && (allowed.empty() || !blank_in(bytes) || random() % 8 == 0))
        allowed.push_back(id);
    }
    if (walker.complete() && (allowed.empty() || random() % 2 == 0)) {
      EXPECT_TRUE(test::SchemaChecker(schema).valid(text)) << text;
      return;
    }
    ASSERT_FALSE(allowed.empty()) << text;
    const Token pick = allowed[random() % allowed.size()];
    walker.accept(t.bytes(pick));
    text += t.bytes(pick);
  }
  ADD_FAILURE() << "it does not end: " << text;
}

TEST(SchemaWays, EveryAlternativeOfManyCanBeWritten) {
  const auto t = Tokenizer::from_file(LARES_SOURCE_DIR "/engine/nano/checkpoint/tokenizer.json");
  ASSERT_TRUE(t) << t.error().message;
  const Json schema = alike(64, 2);
  const JsonSchemaRef enforced = compiled(schema);
  const auto all = documents(schema);
  ASSERT_EQ(all.size(), 128u);
  for (const std::string& document : all)
    EXPECT_TRUE(said(**t, enforced, (*t)->encode(document, false))) << document;
}

const std::vector<std::string> kTokens = {
    "{\"", "\":",         "\":\"",  "{\"k\":\"a", "\"}",  "x\"}",        "\",\"",
    ":[",  "[1",          "],",     "}]",         "\"}}", "12",          "ab",
    "\"a", "ull",         "k\"",    ",\"kk\":",   "}}",   "{\"k\": \"a", "1]",
    "b\"", "[{\"k\":{\"", ":\"a50", ":\" z41b\"}"};

TEST(SchemaWays, WhatAMaskAllowsOfManyIsTaken) {
  const Bytes t(kTokens);
  Random random(1);
  const Json schema = alike(64, 8);
  const JsonSchemaRef enforced = compiled(schema);
  for (int n = 0; n < 3 && !HasFailure(); ++n) walk(t, schema, enforced, random);
}

Json any_of(Random& random, int depth, std::size_t n);

// Of few keys and texts, so that alternatives have much in common. It has finitely many documents.
Json generated(Random& random, int depth) {
  static const Json kValues = Json::parse(
      R"(["a", "ab", "abx", "aby", "b", 1, 12, 125, "1", null, {"k": "a"}, {"k": {"k": 1}}, [1], ["a", 12], [{"k": "a"}]])");
  const auto kind = depth == 0 ? 0 : random() % 5;
  if (kind == 1 || kind == 2) {
    Json out = object_with("k", generated(random, depth - 1));
    if (random() % 2 == 0) out["properties"]["kk"] = {{"enum", {1, "ab"}}};
    if (random() % 3 == 0) out["required"] = Json::array();
    return out;
  }
  if (kind == 3)
    return {{"type", "array"},
            {"items", generated(random, depth - 1)},
            {"maxItems", 1 + random() % 2 / depth}};
  if (kind == 4) return any_of(random, depth - 1, 2 + random() % 3);
  Json values = Json::array();
  for (std::size_t n = 1 + random() % 2; n-- > 0;)
    values.push_back(kValues[random() % kValues.size()]);
  return {{"enum", values}};
}
Json any_of(Random& random, int depth, std::size_t n) {
  Json out = {{"anyOf", Json::array()}};
  for (; n > 0; --n) out["anyOf"].push_back(generated(random, depth));
  return out;
}

TEST(SchemaWays, OfGeneratedSchemasEveryDocumentCanBeWrittenAndNothingElse) {
  const Bytes t(kTokens);
  std::size_t n_most = 0, n_documents = 0;
  for (unsigned seed = 0; seed < 90 && !HasFailure(); ++seed) {
    Random random(seed);
    Json schema = any_of(random, 3, 6);
    if (seed % 3 == 0) {  // and many that differ in the last bytes
      for (int n = 0; n < 50; ++n)
        schema["anyOf"].push_back(object_with("k", any_of(random, 0, 3)));
    }
    SCOPED_TRACE(schema.dump());
    const auto enforced = compile_schema(schema);
    if (!enforced) {  // generated alternatives within alternatives
      EXPECT_NE(enforced.error().message.find("alternatives"), std::string::npos)
          << enforced.error().message;
      continue;
    }
    std::size_t left = 400;  // of a schema's documents
    for (const std::string& document : documents(schema)) {
      if (left-- == 0) break;
      JsonWalker walker(*enforced, (*enforced)->root, /*closes=*/false);
      for (const char c : document) {
        ASSERT_TRUE(walker.accept(std::string_view(&c, 1))) << document;
        n_most = std::max(n_most, walker.ways().size());
      }
      EXPECT_TRUE(walker.complete()) << document;
      ++n_documents;
    }
    for (int n = 0; n < 4; ++n) walk(t, schema, *enforced, random);
  }
  EXPECT_GT(n_most, 80u);  // else nothing was hard
  EXPECT_GT(n_documents, 2'000u);
}

// Two kinds of objects that only their last member tells apart, in one another: 2^28 ways to write
// the beginning, and two to follow.
TEST(SchemaWays, AlternativesThatNestStayFew) {
  const Json schema = Json::parse(R"({"$defs":{"e":{"anyOf":[{"enum":[0]},
    {"type":"object","properties":{"in":{"$ref":"#/$defs/e"},"a":{"enum":[1]}},"required":["in","a"],"additionalProperties":false},
    {"type":"object","properties":{"in":{"$ref":"#/$defs/e"},"b":{"enum":[2]}},"required":["in","b"],"additionalProperties":false}]}},"$ref":"#/$defs/e"})");
  const JsonSchemaRef enforced = compiled(schema);
  ASSERT_TRUE(enforced);
  const Bytes t({"{\"in\":", "0,\"", "1}", "2},\"a\":", "},\"b"});
  Random random(2);
  for (int n = 0; n < 3; ++n) {
    std::string text;
    for (int depth = 0; depth < 28; ++depth) text += "{\"in\":";
    text += '0';
    for (int depth = 0; depth < 28; ++depth) text += random() % 2 == 0 ? ",\"a\":1}" : ",\"b\":2}";
    JsonWalker walker(enforced, enforced->root, /*closes=*/false);
    for (const char c : text) {
      ASSERT_TRUE(walker.accept(std::string_view(&c, 1)));
      ASSERT_LE(walker.ways().size(), 3u);
    }
    EXPECT_TRUE(walker.complete());
    JsonWalker wrong(enforced, enforced->root, /*closes=*/false);
    text[text.rfind("\":") + 2] ^= 3;  // "a" is 1 and "b" is 2
    EXPECT_FALSE(wrong.accept(text));
    walk(t, schema, enforced, random);
  }
}

// ... and a table that is full is emptied without losing any of them. Of the list it stays open
// which of two objects it is in.
TEST(SchemaWays, SetsOfContinuationsOutliveAFullTable) {
  const Json item = {
      {"anyOf", {object_with("k", {{"enum", {1, 2}}}), object_with("k", {{"enum", {1, 3}}})}}};
  const auto ends_with = [](const std::string& end) -> Json {
    return {{"type", "object"},
            {"properties", {{"l", {{"$ref", "#/$defs/l"}}}, {end, {{"enum", {0}}}}}},
            {"required", {"l", end}},
            {"additionalProperties", false}};
  };
  const JsonSchemaRef enforced =
      compiled({{"$defs", {{"l", {{"type", "array"}, {"minItems", 40'000}, {"items", item}}}}},
                {"anyOf", {ends_with("a"), ends_with("b")}}});
  ASSERT_TRUE(enforced);
  JsonWalker walker(enforced, enforced->root, /*closes=*/false);
  ASSERT_TRUE(walker.accept("{\"l\":[{\"k\":1}"));
  for (int n = 1; n < 40'000; ++n) ASSERT_TRUE(walker.accept(",{\"k\":1}")) << n;
  EXPECT_GT(walker.generation(), 0u);
  for (const char* const end :
       {"],\"a\":0}", "],\"b\":0}", ",{\"k\":2}],\"b\":0}", ",{\"k\":3}],\"a\":0}"}) {
    JsonWalker on = walker;
    EXPECT_TRUE(on.accept(end) && on.complete()) << end;
  }
  EXPECT_FALSE(JsonWalker(walker).accept(",{\"k\":4}"));
}

TEST(SchemaWays, MoreThanTheBoundIsRefusedByPath) {
  EXPECT_TRUE(compile_schema(alike(64, 8)));
  const auto wide = compile_schema(alike(64, 9));
  ASSERT_FALSE(wide);
  EXPECT_EQ(wide.error().path, ".anyOf[0].properties.k");
  EXPECT_NE(wide.error().message.find("576 alternatives"), std::string::npos)
      << wide.error().message;
  // A member before it tells the same alternatives apart no further, for what was written there is
  // not looked at; another key does.
  Json by_key = alike(64, 9);
  for (std::size_t i = 0; i < 64; ++i)
    by_key["anyOf"][i] = object_with(fmt::format("k{}", i % 2),
                                     by_key["anyOf"][i]["properties"]["k"]);
  EXPECT_TRUE(compile_schema(by_key));
  // Of a tool's parameter, too.
  const auto parameter =
      compile_parameters({{"type", "object"}, {"properties", {{"p", alike(64, 9)}}}});
  ASSERT_FALSE(parameter);
  EXPECT_EQ(parameter.error().path, ".properties.p.anyOf[0].properties.k");
}

// Whether the key kObjects - 1 levels up was "a": whoever reads from the top must remember all of
// them, so there are 2^16 places.
TEST(SchemaWays, TooManyCombinationsAreRefused) {
  constexpr int kObjects = 17;
  const auto to = [](int i) -> Json { return {{"$ref", fmt::format("#/$defs/o{}", i)}}; };
  Json schema = {{"$defs", Json::object()}, {"$ref", "#/$defs/o0"}};
  schema["$defs"]["o0"] = {{"type", "object"},
                           {"properties", {{"a", {{"anyOf", {to(0), to(1)}}}}, {"b", to(0)}}}};
  for (int i = 1; i < kObjects; ++i)
    schema["$defs"][fmt::format("o{}", i)] = {{"type", "object"},
                                              {"properties", {{"a", to(i + 1)}, {"b", to(i + 1)}}}};
  schema["$defs"][fmt::format("o{}", kObjects)] = {{"type", "object"},
                                                   {"properties", Json::object()}};
  const auto out = compile_schema(schema);
  ASSERT_FALSE(out);
  EXPECT_NE(out.error().message.find("too many combinations"), std::string::npos)
      << out.error().message;
}

// Texts listed beside a pattern: each can be written, and one that cannot be held to is refused.
TEST(SchemaWays, TextsBesideAPatternCanAllBeWritten) {
  const Bytes t;
  Json texts = Json::array();
  for (int i = 0; i < 200; ++i) texts.push_back(fmt::format("text {:03}", i));
  const auto parameters_with = [](const Json& listed) -> Json {
    return {
        {"type", "object"},
        {"properties",
         {{"p", {{"anyOf", {{{"enum", listed}}, {{"type", "string"}, {"pattern", "^[0-9]+$"}}}}}}}},
        {"required", {"p"}}};
  };
  const auto strict = compile_parameters(parameters_with(texts));
  ASSERT_TRUE(strict) << strict.error().message;
  for (const std::string value : {"text 000", "text 100", "text 199", "42"}) {
    const auto grammar = Grammar::make(
        t, {.tools = {{"tool", "", "", *strict}}, .thinking = false, .call_required = true});
    std::vector<Token> ids;
    const auto say = [&](const std::string& text) {
      for (const char c : text) ids.push_back(Token(std::uint8_t(c)));
    };
    const auto mark = [&] { ids.push_back(*t.added(kDsml)); };
    say("\n\n<"), mark(), say("tool_calls>\n<"), mark(), say("invoke name=\"tool\">\n<"), mark(),
        say("parameter name=\"p\" string=\"true\">" + value + "</"), mark();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      ASSERT_TRUE(allows(*grammar->mask(), ids[i])) << value << ", " << i;
      grammar->accept(ids[i]);
    }
  }
  const auto too_long =
      compile_parameters(parameters_with({"short", std::string(kPatternBytesMax, 'x')}));
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().path, ".properties.p");
  EXPECT_NE(too_long.error().message.find("\"xxxx"), std::string::npos) << too_long.error().message;
  EXPECT_LT(too_long.error().message.size(), 300u);
  Json many = Json::array();
  for (std::size_t i = 0; i < kSchemaWaysMax; ++i) many.push_back(fmt::format("t{}", i));
  const auto too_many = compile_parameters(parameters_with(many));
  ASSERT_FALSE(too_many);
  EXPECT_EQ(too_many.error().path, ".properties.p");
}

// A tokenizer that says one thing to the masks, and later another.
class Lying final : public Tokenizer {
 public:
  void encode(std::string_view, bool, std::vector<Token>&) const override {}
  std::vector<Token> encode(const std::vector<Segment>&) const override { return {}; }
  int vocab_size() const override { return honest_.vocab_size(); }
  std::string_view bytes(Token id) const override {
    return lies && id == Token('1') ? std::string_view("x") : honest_.bytes(id);
  }
  std::optional<Token> added(std::string_view text) const override { return honest_.added(text); }
  bool lies = false;

 private:
  Bytes honest_;
};

TEST(SchemaWays, AnOfferedTokenThatIsNotTakenEndsTheAnswer) {
  const JsonSchemaRef enforced = compiled(Json::parse(R"({"enum":[123]})"));
  Lying t;
  const auto grammar = Grammar::make(t, {.thinking = false, .json = true, .schema = enforced});
  ASSERT_TRUE(allows(*grammar->mask(), Token('1')));
  t.lies = true;
  grammar->accept(Token('1'));
  const TokenMask& mask = *grammar->mask();
  for (Token id = 0; id < t.vocab_size(); ++id)
    EXPECT_EQ(allows(mask, id), id == *t.added(kEos)) << id;
  EXPECT_FALSE(grammar->in_calls());
}

}  // namespace
}  // namespace lares::engine
