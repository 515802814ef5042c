// Damaged schemas: each is refused in one line or enforced, in bounded time; what is then written
// at random is a document of it. LARES_FUZZ_SECONDS and LARES_FUZZ_SEED say how long and from
// where; the same seed does the same things.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/grammar.h"
#include "engine/json_schema.h"
#include "engine/text/tokenizer/vocabulary.h"
#include "tests/engine/text/grammar/bytes_tokenizer.h"
#include "tests/engine/text/grammar/schema_checker.h"

namespace lares::engine {
namespace {

using Json = nlohmann::ordered_json;
using Random = std::mt19937_64;

std::uint64_t from_environment(const char* name, std::uint64_t fallback) {
  const char* text = std::getenv(name);
  return text && *text ? std::strtoull(text, nullptr, 10) : fallback;
}

const char* const kSeeds[] = {
    R"({"type":"object","properties":{"a":{"type":"string","pattern":"^[a-f]{1,3}(?:-\\d)?$"},"b":{"type":["integer","null"],"minimum":-5,"maximum":1200},"c":{"enum":["x","y",1,null]}},"required":["a","b"],"additionalProperties":false})",
    R"({"$defs":{"t":{"type":"object","properties":{"v":{"type":"number","minimum":0.25,"exclusiveMaximum":9.5},"k":{"type":"array","items":{"$ref":"#/$defs/t"},"maxItems":2}},"required":["v"]}},"$ref":"#/$defs/t"})",
    R"({"anyOf":[{"type":"array","items":{"anyOf":[{"type":"boolean"},{"type":"integer","multipleOf":7,"maximum":100}]},"minItems":1,"maxItems":4},{"type":"object","additionalProperties":{"const":"v"}},{"type":"string","format":"date"}]})",
    R"({"type":"object","properties":{"x":{"allOf":[{"$ref":"#/definitions/d"}]},"y":{"type":"array","items":{"type":"array","items":{"type":"string","enum":["p","pq"]}}}},"definitions":{"d":{"type":"string","format":"uuid"}}})"};
const char* const kValues[] = {"null",
                               "true",
                               "false",
                               "0",
                               "-1",
                               "3",
                               "0.5",
                               "1e300",
                               "9007199254740993",
                               "\"\"",
                               "\"object\"",
                               "\"array\"",
                               "\"string\"",
                               "\"integer\"",
                               "\"number\"",
                               "[]",
                               "{}",
                               "\"#\"",
                               "\"#/$defs/t\"",
                               "\"date\"",
                               "\"^(a|b){2,5}$\"",
                               "\"[^a]*\"",
                               "\"(a\"",
                               "[\"integer\",\"null\"]",
                               "[1,\"a\",{\"b\":[]}]",
                               "[\"a\",\"v\"]",
                               "{\"type\":\"string\"}",
                               "{\"type\":\"array\"}",
                               "{\"$ref\":\"#\"}",
                               "{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}"};
const char* const kKeywords[] = {"type",
                                 "properties",
                                 "required",
                                 "items",
                                 "enum",
                                 "const",
                                 "anyOf",
                                 "allOf",
                                 "$ref",
                                 "minimum",
                                 "maximum",
                                 "exclusiveMinimum",
                                 "exclusiveMaximum",
                                 "multipleOf",
                                 "minItems",
                                 "maxItems",
                                 "pattern",
                                 "format",
                                 "additionalProperties",
                                 "description",
                                 "minLength",
                                 "not",
                                 "a",
                                 "v"};

void mutate(Json& json, Random& random, int depth) {
  const auto below = [&](std::size_t n) { return std::size_t(random() % n); };
  if (depth > 12 || below(6) == 0 || !json.is_structured()) {
    json = Json::parse(kValues[below(std::size(kValues))]);
    return;
  }
  if (json.is_object() && (json.empty() || below(4) == 0)) {
    json[kKeywords[below(std::size(kKeywords))]] = Json::parse(kValues[below(std::size(kValues))]);
    return;
  }
  if (json.empty()) return json.push_back(Json::parse(kValues[below(std::size(kValues))]));
  auto at = json.begin();
  std::advance(at, std::ptrdiff_t(below(json.size())));
  if (below(8) == 0) {
    json.erase(at);
    return;
  }
  mutate(*at, random, depth + 1);
}

void writes_what_is_valid(const Tokenizer& t, const Json& schema, const JsonSchemaRef& compiled,
                          Random& random) {
  const auto grammar = Grammar::make(t, {.thinking = false, .json = true, .schema = compiled});
  std::string text;
  for (int i = 0; i < 600; ++i) {
    const TokenMask& mask = *grammar->mask();
    std::vector<Token> allowed;
    for (Token id = 0; id < t.vocab_size(); ++id) {
      if (allows(mask, id) && id < 128) allowed.push_back(id);
    }
    const bool may_end = allows(mask, *t.added(kEos));
    ASSERT_TRUE(may_end || !allowed.empty()) << text;
    if (may_end) {
      ASSERT_TRUE(test::SchemaChecker(schema).valid(text)) << text;
      if (allowed.empty() || random() % 3 == 0) return;
    }
    Token pick = allowed.at(random() % allowed.size());
    for (const char c : {'"', ']', '}'}) {
      if (allows(mask, Token(c)) && random() % 3 == 0) pick = Token(c);
    }
    grammar->accept(pick);
    text += t.bytes(pick);
  }
}

TEST(SchemaFuzz, EverySchemaIsRefusedOrEnforced) {
  const char* const given = std::getenv("LARES_FUZZ_SEED");
  const auto seed = given && *given ? std::strtoull(given, nullptr, 10)
                                    : std::uint64_t(std::random_device{}());
  std::printf("LARES_FUZZ_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  Random random(seed);
  const test::Bytes t;
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::seconds(from_environment("LARES_FUZZ_SECONDS", 2));
  int n = 0, n_compiled = 0;
  for (; std::chrono::steady_clock::now() < end && !HasFailure(); ++n) {
    Json schema = Json::parse(kSeeds[random() % std::size(kSeeds)]);
    for (std::size_t times = random() % 5; times-- > 0;) mutate(schema, random, 0);
    SCOPED_TRACE(schema.dump());
    const auto as_parameters = compile_parameters(schema);
    const auto compiled = compile_schema(schema);
    if (!compiled) {
      EXPECT_FALSE(compiled.error().message.empty());
      EXPECT_EQ(compiled.error().message.find('\n'), std::string::npos);
      EXPECT_FALSE(as_parameters);
      continue;
    }
    ++n_compiled;
    writes_what_is_valid(t, schema, *compiled, random);
  }
  std::printf("%d schemas, %d enforced\n", n, n_compiled);
  EXPECT_GT(n_compiled, 0);
}

// Expressions at random: never more than a moment.
TEST(SchemaFuzz, EveryPatternIsRefusedOrATable) {
  Random random(from_environment("LARES_FUZZ_SEED", 11));
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::seconds(from_environment("LARES_FUZZ_SECONDS", 2));
  const std::string_view pieces[] = {"a",   "b",   "(",    ")",      "(?:",   "|",    "*", "+",
                                     "?",   "{2}", "{3,}", "{0,90}", "[a-f]", "[^x]", ".", "\\d",
                                     "\\W", "^",   "$",    "\\",     "é",     "[",    "]", "-"};
  int n_tables = 0;
  while (std::chrono::steady_clock::now() < end) {
    std::string expression;
    for (std::size_t n = random() % 14; n-- > 0;)
      expression += pieces[random() % std::size(pieces)];
    n_tables += compile_schema({{"type", "string"}, {"pattern", expression}}) ? 1 : 0;
  }
  EXPECT_GT(n_tables, 0);
}

}  // namespace
}  // namespace lares::engine
