// Random walks: whatever the model prefers, what the grammar lets through is a well-formed answer.
#include "engine/grammar.h"

#include <algorithm>
#include <map>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/chat.h"
#include "engine/text/grammar/json_walker.h"
#include "engine/text/grammar/mask_store.h"
#include "engine/text/grammar/schema_nodes.h"
#include "engine/text/tokenizer/vocabulary.h"
#include "tests/engine/text/grammar/bytes_tokenizer.h"
#include "tests/engine/text/grammar/schema_checker.h"

namespace lares::engine {
namespace {

using test::Bytes;

const std::vector<ToolSpec> kTools = {
    {"edit", "",
     R"({"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace"]},
      "path":{"type":"string"},"old_str":{"type":"string"},"line":{"type":"integer"},"range":{"type":"array"},
      "extra":{"type":"object"}},"required":["command","path"]})"},
    {"test", "", R"({"type":"object","properties":{"deep":{"type":"boolean"}}})"}};
const std::string kText = "a = b\nreturn a</x>\nb = a\nreturn b\n";
const std::vector<std::string> kPaths = {"/r/a.py", "/r/ab.py", "/r/src/<x>.c"};

std::optional<ArgumentChoices> oracle(const std::string&, const std::string& key,
                                      const Arguments&) {
  if (key == "path") return ArgumentChoices{.one_of = kPaths};
  if (key == "old_str") return ArgumentChoices{.substring_of = kText, .unique = true};
  return std::nullopt;
}

// A walk that picks allowed tokens at random, but hurries through free text: the marks that end it
// come up often.
std::string walk(const Tokenizer& t, unsigned seed, bool thinking) {
  std::mt19937 random(seed);
  auto grammar = Grammar::make(
      t, {.tools = kTools, .thinking = thinking, .oracle = oracle, .calls_max = 3});
  std::string text;
  const std::vector<Token> wanted = {*t.added(kThinkEnd), *t.added(kDsml)};
  const std::string opener = "\n\n<";
  for (int i = 0; i < 20000 && !grammar->done(); ++i) {
    const TokenMask& mask = *grammar->mask();
    std::vector<Token> allowed;
    for (Token id = 0; id < t.vocab_size(); ++id) {
      if (allows(mask, id)) allowed.push_back(id);
    }
    Token pick = allowed[random() % allowed.size()];
    for (Token id : wanted) {
      if (allows(mask, id) && random() % 2) pick = id;
    }
    if (!grammar->thinking() && !grammar->in_calls() && random() % 2) {
      for (std::size_t n = opener.size(); n-- > 0;) {  // head for the opener
        if (!text.ends_with(opener.substr(0, n)) && n > 0) continue;
        if (allows(mask, Token(std::uint8_t(opener[n])))) pick = Token(std::uint8_t(opener[n]));
        break;
      }
    } else if (grammar->in_calls() && random() % 3 == 0) {
      const char close = text.ends_with("<") ? '/' : '<';
      if (allows(mask, Token(close))) pick = Token(close);
    }
    grammar->accept(pick);
    text += t.bytes(pick);
  }
  EXPECT_TRUE(grammar->done()) << text.substr(0, 300);
  return text;
}

void check(const Message& message) {
  for (const ToolCall& call : message.calls) {
    const auto args = nlohmann::json::parse(call.arguments, nullptr, false);
    ASSERT_TRUE(args.is_object()) << call.arguments;
    if (call.name == "test") {
      if (args.contains("deep")) {
        EXPECT_TRUE(args["deep"].is_boolean()) << call.arguments;
      }
      continue;
    }
    ASSERT_EQ(call.name, "edit");
    EXPECT_TRUE(args.at("command") == "view" || args.at("command") == "create" ||
                args.at("command") == "str_replace");
    EXPECT_NE(std::find(kPaths.begin(), kPaths.end(), args.at("path").get<std::string>()),
              kPaths.end())
        << call.arguments;
    if (args.contains("line")) {
      EXPECT_TRUE(args["line"].is_number_integer()) << call.arguments;
    }
    if (args.contains("range")) {
      EXPECT_TRUE(args["range"].is_array()) << call.arguments;
    }
    if (args.contains("extra")) {
      EXPECT_TRUE(args["extra"].is_object()) << call.arguments;
    }
    if (args.contains("old_str")) {
      const auto old = args["old_str"].get<std::string>();
      const std::size_t at = kText.find(old);
      EXPECT_NE(at, std::string::npos) << old;
      EXPECT_EQ(kText.find(old, at + 1), std::string::npos) << old;
    }
  }
}

Token id_of(const Tokenizer& t, std::string_view bytes) {
  for (Token id = 0; id < t.vocab_size(); ++id) {
    if (t.bytes(id) == bytes) return id;
  }
  ADD_FAILURE() << "no token " << bytes;
  return 0;
}

TEST(Grammar, AnAnswerNeverSpellsTheTagOfAToolResult) {
  const Bytes t;
  const Token whole = id_of(t, "</tool_result>"), rest = id_of(t, "tool_result>\n"),
              angle = id_of(t, ">"), slash = id_of(t, "</");
  const auto grammar = Grammar::make(t, {.tools = kTools, .thinking = true});
  const auto say = [&](std::string_view text) {
    for (const char c : text) grammar->accept(Token(std::uint8_t(c)));
  };
  EXPECT_TRUE(allows(*grammar->mask(), whole));  // a thought is no answer
  grammar->accept(*t.added(kThinkEnd));
  EXPECT_FALSE(allows(*grammar->mask(), whole));
  EXPECT_TRUE(allows(*grammar->mask(), rest));
  grammar->accept(slash);
  EXPECT_FALSE(allows(*grammar->mask(), rest));
  say("x <tool_result");
  EXPECT_FALSE(allows(*grammar->mask(), angle));
  say("s");
  EXPECT_TRUE(allows(*grammar->mask(), angle));
  say("> tool_result");
  EXPECT_TRUE(allows(*grammar->mask(), angle));
  say("\n\n<");
  grammar->accept(*t.added(kDsml));
  say("tool_calls>\n<");
  grammar->accept(*t.added(kDsml));
  say("invoke name=\"edit\">\n<");
  grammar->accept(*t.added(kDsml));
  say("parameter name=\"old_str\" string=\"true\">");
  EXPECT_TRUE(allows(*grammar->mask(), whole));  // nor is a file
}

TEST(Grammar, EveryRandomWalkIsAWellFormedAnswer) {
  const Bytes tokenizer;
  int n_calls = 0;
  for (unsigned seed = 0; seed < 600; ++seed) {
    SCOPED_TRACE(seed);
    const bool thinking = seed % 2;
    const std::string text = walk(tokenizer, seed, thinking);
    // Random bytes are rarely UTF-8, and values with them no JSON: the parser is asked about
    // structure, so map them away.
    std::string ascii;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const bool marker = text.compare(i, kDsml.size(), kDsml) == 0 ||
                          text.compare(i, kEos.size(), kEos) == 0;
      const std::size_t n =
          marker ? (text.compare(i, kDsml.size(), kDsml) == 0 ? kDsml.size() : kEos.size()) : 1;
      if (marker)
        ascii += text.substr(i, n), i += n - 1;
      else
        ascii += std::uint8_t(text[i]) < 0x80 ? text[i] : '?';
    }
    const auto message = parse_strict(ascii, thinking);
    ASSERT_TRUE(message) << message.error().message << "\n" << ascii;
    n_calls += int(message->calls.size());
    check(*message);
  }
  EXPECT_GT(n_calls, 300);
}

// In a text of many places a token is allowed exactly when its bytes follow somewhere, however long
// it is.
TEST(Grammar, EveryStretchOfALongTextIsAllowedAndNothingElse) {
  const Bytes t;
  std::mt19937 random(5);
  const std::vector<std::string> pieces = {
      "return ", "retur", "tool_result>\n", "tool_result>x", "</tool_resulx", "</tool_result>",
      "name=\"", "para",  "parameter",      "12, ",          "\n\n",          "\xc3\xa4"};
  std::string text;
  while (text.size() < 9000)
    text += pieces[random() % (text.size() < 6000 ? 5 : pieces.size())] +
            std::string(1, char('a' + random() % 3));
  const auto check = [&](const std::string& value) {
    auto grammar = Grammar::make(
        t, {.tools = kTools,
            .oracle = [&](const std::string&, const std::string& key,
                          const Arguments&) -> std::optional<ArgumentChoices> {
              if (key == "old_str") return ArgumentChoices{.substring_of = text, .unique = true};
              return std::nullopt;
            }});
    const auto say = [&](std::string_view bytes) {
      for (const char c : bytes) grammar->accept(Token(std::uint8_t(c)));
    };
    grammar->accept(*t.added(kThinkEnd));
    const auto tag = [&](std::string_view bytes) {
      say("<");
      grammar->accept(*t.added(kDsml));
      say(bytes);
    };
    say("\n\n");
    tag("tool_calls>\n"), tag("invoke name=\"edit\">\n"),
        tag("parameter name=\"old_str\" string=\"true\">");
    say(value);
    const TokenMask mask = *grammar->mask();
    for (Token id = 0; id < t.vocab_size(); ++id) {
      const std::string bytes(t.bytes(id));
      const bool closes = text.find(value) == text.rfind(value) && !value.empty() &&
                          (bytes == "<" || bytes == "</");
      const bool follows = id != *t.added(kDsml) && text.find(value + bytes) != std::string::npos;
      EXPECT_EQ(allows(mask, id), follows || closes)
          << "token " << bytes << " after '" << value << "'";
    }
  };
  for (const std::string value : {"", "r", "too", "</", "a"}) check(value);
}

// A tokenizer that keeps its vocabulary, so that what masks need can be waited for.
class Keeping final : public Tokenizer {
 public:
  explicit Keeping(const Tokenizer& of) : of_(of), vocabulary_(of.vocabulary()) {}
  void encode(std::string_view text, bool added, std::vector<Token>& out) const override {
    of_.encode(text, added, out);
  }
  std::vector<Token> encode(const std::vector<Segment>& segments) const override {
    return of_.encode(segments);
  }
  int vocab_size() const override { return of_.vocab_size(); }
  std::string_view bytes(Token id) const override { return of_.bytes(id); }
  std::optional<Token> added(std::string_view text) const override { return of_.added(text); }
  std::shared_ptr<const Vocabulary> vocabulary() const override { return vocabulary_; }

 private:
  const Tokenizer& of_;
  std::shared_ptr<const Vocabulary> vocabulary_;
};

// Of many choices, and of a text, a mask is the same whether what it needs is made beforehand or
// not; and both are asked for before they begin.
TEST(Grammar, WhatIsMadeBeforehandMakesNoDifference) {
  const Bytes bytes;
  const Keeping waits(bytes), begins(bytes);
  std::vector<std::string> names;
  for (int n = 0; n < 200; ++n)
    names.push_back("name/" + std::to_string(n * 7 % 500) + (n % 3 == 0 ? "</in" : "return "));
  bool asked = false;
  const auto oracle_of = [&](const std::string&, const std::string& key,
                             const Arguments&) -> std::optional<ArgumentChoices> {
    asked = asked || key == "path";
    if (key == "path") return ArgumentChoices{.one_of = names};
    if (key == "old_str") return ArgumentChoices{.substring_of = kText, .unique = true};
    return std::nullopt;
  };
  for (unsigned seed = 0; seed < 12; ++seed) {
    std::mt19937 random(seed);
    const auto a = Grammar::make(waits, {.tools = {kTools[0]},
                                         .thinking = false,
                                         .oracle = oracle_of,
                                         .calls_max = 1,
                                         .call_required = true});
    const auto b = Grammar::make(begins, {.tools = {kTools[0]},
                                          .thinking = false,
                                          .oracle = oracle_of,
                                          .calls_max = 1,
                                          .call_required = true});
    std::string text;
    for (int i = 0; i < 3000 && !a->done(); ++i) {
      waits.vocabulary()->store().finish();
      const TokenMask mask = *a->mask();
      ASSERT_EQ(mask, *b->mask()) << text;
      std::vector<Token> allowed;
      for (Token id = 0; id < waits.vocab_size(); ++id) {
        if (allows(mask, id)) allowed.push_back(id);
      }
      Token pick = allowed.at(random() % allowed.size());
      for (const Token id : {*waits.added(kDsml), *waits.added(kEos)}) {
        if (allows(mask, id)) pick = id;
      }
      if (allows(mask, Token('<')) && random() % 4 == 0) pick = Token('<');
      a->accept(pick), b->accept(pick);
      text += waits.bytes(pick);
      EXPECT_TRUE(asked || !text.ends_with("parameter name=\"pa")) << "its tag is certain";
    }
    const auto at = text.find("name=\"path\" string=\"true\">");
    ASSERT_NE(at, std::string::npos);
    const std::string path = text.substr(at + 26, text.find("</｜DSML｜", at) - at - 26);
    EXPECT_NE(std::ranges::find(names, path), names.end()) << path;
  }
}

// What a walk at random says that prefers `wanted` tokens where it may, as the parser reads it.
// Random bytes are no UTF-8: ASCII alone.
Message random_answer(const Tokenizer& t, GrammarOptions options, unsigned seed) {
  std::mt19937 random(seed);
  const bool thinking = options.thinking;
  const auto grammar = Grammar::make(t, std::move(options));
  std::string text;
  for (int i = 0; i < 20'000 && !grammar->done(); ++i) {
    const TokenMask& mask = *grammar->mask();
    std::vector<Token> allowed;
    for (Token id = 0; id < t.vocab_size(); ++id) {
      if (allows(mask, id) && (id >= 256 || id < 128)) allowed.push_back(id);
    }
    Token pick = allowed.at(random() % allowed.size());
    for (const char c : {'"', '}', ']', '/', '<'}) {  // what ends things
      if (allows(mask, Token(c)) && random() % 3 == 0) pick = Token(c);
    }
    for (const Token id : {*t.added(kThinkEnd), *t.added(kDsml), *t.added(kEos)}) {
      if (allows(mask, id) && random() % 2) pick = id;
    }
    grammar->accept(pick);
    text += t.bytes(pick);
  }
  EXPECT_TRUE(grammar->done()) << text.substr(0, 300);
  const auto message = parse_strict(text, thinking);
  EXPECT_TRUE(message) << text;
  return message.value_or(Message{});
}

TEST(Grammar, WhereACallIsRequiredNothingElseIsSaid) {
  const Bytes t;
  for (unsigned seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    const Message m = random_answer(t,
                                    {.tools = kTools,
                                     .thinking = seed % 2 == 0,
                                     .oracle = oracle,
                                     .calls_max = 2,
                                     .call_required = true},
                                    seed);
    EXPECT_EQ(m.content, "");
    EXPECT_GE(m.calls.size(), 1u);
    check(m);
  }
}

TEST(Grammar, ACallCannotBeRequiredOfNoTools) {
  const Bytes t;
  const auto grammar = Grammar::make(t, {.thinking = false, .call_required = true});
  EXPECT_TRUE(allows(*grammar->mask(), *t.added(kEos)));
}

TEST(Grammar, JsonIsOneObjectAndNothingElse) {
  const Bytes t;
  for (unsigned seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    const Message m = random_answer(t, {.thinking = seed % 2 == 0, .json = true}, seed);
    EXPECT_TRUE(nlohmann::json::parse(m.content, nullptr, false).is_object()) << m.content;
  }
}

TEST(Grammar, JsonOrCallsWhereThereAreTools) {
  const Bytes t;
  int n_calls = 0, n_objects = 0;
  for (unsigned seed = 0; seed < 120; ++seed) {
    SCOPED_TRACE(seed);
    const Message m = random_answer(
        t, {.tools = kTools, .thinking = false, .oracle = oracle, .calls_max = 1, .json = true},
        seed);
    n_calls += m.calls.empty() ? 0 : 1;
    if (m.calls.empty()) {
      EXPECT_TRUE(nlohmann::json::parse(m.content, nullptr, false).is_object()) << m.content;
      ++n_objects;
    } else {
      EXPECT_EQ(m.content, "");
    }
  }
  EXPECT_GT(n_calls, 10);
  EXPECT_GT(n_objects, 10);
}

TEST(Grammar, JsonGoesOnWhereItWasBegunAndIsFreeBehindWhatIsNone) {
  const Bytes t;
  const auto grammar = Grammar::make(t, {.thinking = false, .json = true});
  for (const char c : std::string("{\"a\": ")) grammar->accept(Token(c));
  EXPECT_TRUE(allows(*grammar->mask(), Token('1')));
  EXPECT_FALSE(allows(*grammar->mask(), Token('}')));
  EXPECT_FALSE(allows(*grammar->mask(), *t.added(kEos)));
  const auto other = Grammar::make(t, {.thinking = false, .json = true});
  for (const char c : std::string("Here it is: ")) other->accept(Token(c));
  EXPECT_TRUE(allows(*other->mask(), Token('x')));
  EXPECT_TRUE(allows(*other->mask(), *t.added(kEos)));
}

// Clients' schemas are not always right.
TEST(Grammar, AChoiceThatIsGivenTwiceCanBeMade) {
  const Bytes t;
  const std::vector<ToolSpec> tools = {
      {"f", "",
       R"({"type":"object","properties":{"k":{"type":"string","enum":["a","a"]}},"required":["k"]})"}};
  for (unsigned seed = 0; seed < 10; ++seed) {
    const Message m = random_answer(
        t, {.tools = tools, .thinking = false, .calls_max = 1, .call_required = true}, seed);
    ASSERT_EQ(m.calls.size(), 1u);
    EXPECT_EQ(nlohmann::json::parse(m.calls[0].arguments), nlohmann::json({{"k", "a"}}));
  }
}

TEST(Grammar, ThinkingAllowsNoEndAndNoCall) {
  const Bytes t;
  auto grammar = Grammar::make(t, {.tools = kTools});
  for (const char c : std::string("\n\n<")) grammar->accept(Token(c));
  const TokenMask& mask = *grammar->mask();
  EXPECT_FALSE(allows(mask, *t.added(kEos)));
  EXPECT_FALSE(allows(mask, *t.added(kDsml)));
  EXPECT_FALSE(allows(mask, *t.added(kUser)));
  EXPECT_TRUE(allows(mask, *t.added(kThinkEnd)));
  EXPECT_TRUE(grammar->thinking());
}

TEST(Grammar, WithoutToolsTheMarkerIsOutOfReach) {
  const Bytes t;
  auto grammar = Grammar::make(t, {.thinking = false});
  for (const char c : std::string("\n\n<")) grammar->accept(Token(c));
  EXPECT_FALSE(allows(*grammar->mask(), *t.added(kDsml)));
}

TEST(Grammar, TheMarkerCannotBeSpeltInOrdinaryTokens) {
  const Bytes t;
  auto grammar = Grammar::make(t, {.tools = kTools, .thinking = false});
  for (const char c : std::string("｜DSML")) grammar->accept(Token(std::uint8_t(c)));
  EXPECT_FALSE(allows(*grammar->mask(), Token(0xEF)));
  EXPECT_TRUE(allows(*grammar->mask(), Token('x')));
}

const char* const kStrict = R"x({"type":"object","properties":{
  "edits":{"type":"array","items":{"$ref":"#/$defs/edit"},"minItems":1,"maxItems":3},
  "mode":{"type":"string","enum":["all","one","all of it"]},
  "note":{"type":["string","null"]},
  "id":{"anyOf":[{"type":"string","pattern":"^[A-Z]{1,2}-[0-9]$"},{"type":"integer","minimum":0,"maximum":99},{"const":"none"}]},
  "when":{"type":"string","format":"date"},
  "options":{"type":"object","properties":{"deep":{"type":"boolean"},"filter":{"anyOf":[{"type":"null"},{"type":"string"}]}},"required":["deep","filter"],"additionalProperties":false}},
  "required":["edits","mode","note","id","when","options"],"additionalProperties":false,
  "$defs":{"edit":{"type":"object","properties":{"line":{"type":"integer","minimum":1},"inner":{"anyOf":[{"$ref":"#/$defs/edit"},{"type":"null"}]}},"required":["line","inner"],"additionalProperties":false}}})x";

TEST(Grammar, CallsOfAStrictToolObeyItsSchema) {
  const Bytes t;
  const auto schema = nlohmann::ordered_json::parse(kStrict);
  const auto strict = compile_parameters(schema);
  ASSERT_TRUE(strict) << strict.error().path << " " << strict.error().message;
  const std::vector<ToolSpec> tools = {{"change", "", kStrict, *strict}, kTools[1]};
  const test::SchemaChecker checker(schema);
  std::map<std::string, int> ids, notes;
  int n_checked = 0;
  for (unsigned seed = 0; seed < 80; ++seed) {
    SCOPED_TRACE(seed);
    const Message m = random_answer(
        t, {.tools = tools, .thinking = seed % 2 == 0, .calls_max = 2, .call_required = true},
        seed);
    for (const ToolCall& call : m.calls) {
      if (call.name != "change") continue;
      const auto arguments = nlohmann::ordered_json::parse(call.arguments, nullptr,
                                                           /*allow_exceptions=*/false);
      EXPECT_TRUE(checker.valid(call.arguments)) << call.arguments;
      ++n_checked;
      ++ids[arguments["id"].type_name()];
      ++notes[arguments["note"].type_name()];
    }
  }
  EXPECT_GT(n_checked, 25);
  EXPECT_EQ(ids.size(), 2u);  // texts as they are, numbers as JSON
  EXPECT_EQ(notes.size(), 2u);
}

TEST(Grammar, AToolThatIsNotStrictIsHeldToItsTypesAlone) {
  const Bytes t;
  const auto grammar = Grammar::make(t, {.tools = {{"change", "", kStrict}}, .thinking = false});
  const auto say = [&](std::string_view text) {
    for (const char c : text) grammar->accept(Token(std::uint8_t(c)));
  };
  say("\n\n<"), grammar->accept(*t.added(kDsml));
  say("tool_calls>\n<"), grammar->accept(*t.added(kDsml));
  say("invoke name=\"change\">\n<"), grammar->accept(*t.added(kDsml));
  say("parameter name=\"edits\" string=\"false\">");
  EXPECT_FALSE(allows(*grammar->mask(), Token('{')));
  say("[");
  EXPECT_TRUE(allows(*grammar->mask(), Token('1')));
}

// A call's only parameter, from its name on.
bool can_be_written(const Bytes& t, const std::string& property, std::string_view form,
                    std::string_view value) {
  const std::string schema = R"({"type":"object","properties":{"p":)" + property +
                             R"(},"$defs":{"text":{"type":"string"},"a":{"$ref":"#/$defs/a"}}})";
  const auto grammar = Grammar::make(t, {.tools = {{"change", "", schema}}, .thinking = false});
  bool can = true;
  const auto say = [&](std::string_view text) {
    for (const char c : text) {
      can = can && allows(*grammar->mask(), Token(std::uint8_t(c)));
      if (can) grammar->accept(Token(std::uint8_t(c)));
    }
  };
  const auto mark = [&] {
    can = can && allows(*grammar->mask(), *t.added(kDsml));
    if (can) grammar->accept(*t.added(kDsml));
  };
  say("\n\n<"), mark();
  say("tool_calls>\n<"), mark();
  say("invoke name=\"change\">\n<"), mark();
  say(fmt::format("parameter name=\"p\" string=\"{}\">{}</", form, value)), mark();
  return can;
}

TEST(Grammar, TypesOfAToolThatIsNotStrictAreThoseOfItsAlternativesAndReferences) {
  const Bytes t;
  struct Row {
    const char *property, *form, *value;
    bool can;
  };
  const std::string nines(81, '9');
  const char* const nullable = R"({"type":["string","null"],"minLength":3})";
  const char* const optional = R"({"anyOf":[{"type":"string"},{"type":"null"}],"default":null})";
  const char* const listed = R"({"enum":["x","y",3]})";
  const char* const anything = R"({"description":"whatever"})";
  const Row rows[] = {
      {nullable, "true", "hello", true},
      {nullable, "false", "null", true},
      {nullable, "false", "10", false},
      {optional, "true", "hello", true},
      {optional, "false", "null", true},
      {optional, "false", "[1]", false},
      {R"({"oneOf":[{"type":"integer"},{"type":"array","items":{"type":"string"}}]})", "false", "7",
       true},
      {R"({"oneOf":[{"type":"integer"},{"type":"array","items":{"type":"string"}}]})", "false",
       "[7]", true},  // types alone
      {R"({"oneOf":[{"type":"integer"},{"type":"array"}]})", "true", "hello", false},
      {R"({"oneOf":[{"type":"integer"},{"type":"array"}]})", "false", "true", false},
      {listed, "true", "x", true},
      {listed, "true", "z", false},
      {listed, "false", "3", true},
      {listed, "false", "4", false},
      {R"({"$ref":"#/$defs/text"})", "true", "hello", true},
      {R"({"$ref":"#/$defs/text"})", "false", "1", false},
      {R"({"allOf":[{"$ref":"#/$defs/text"}]})", "true", "hello", true},
      {anything, "true", "hello", true},
      {anything, "false", R"({"a": [1]})", true},
      {R"({"$ref":"#/$defs/a"})", "true", "hello", true},        // names itself
      {R"({"$ref":"#/$defs/missing"})", "false", "[1]", true},   // or nothing
      {R"({"$ref":"https://x.y/z"})", "true", "hello", true},    // or what is not here
      {R"({"type":["string","color"]})", "false", "1.5", true},  // no type
      {R"(true)", "true", "hello", true},
      {R"({"type":"integer"})", "false", "1234567890123456789", true},
      {R"({"type":"integer"})", "false", "12345678901234567890123", true},
      {R"({"type":"integer"})", "false", nines.c_str(), false},
      {R"({"type":"array"})", "false", "[-1234567890123456789]", true},
  };
  for (const Row& row : rows)
    EXPECT_EQ(can_be_written(t, row.property, row.form, row.value), row.can)
        << row.property << ' ' << row.form << ' ' << row.value;
}

// Each alternative is looked at once, not once for every way that leads to it.
TEST(Grammar, AUnionThatNamesItselfMayBeWhatItsOthersAre) {
  const Bytes t;
  constexpr int kAlternatives = 1000;
  nlohmann::ordered_json itself = {{"anyOf", nlohmann::ordered_json::array()}};
  for (int i = 0; i < kAlternatives; ++i) itself["anyOf"].push_back({{"$ref", "#/properties/p"}});
  itself["anyOf"].push_back({{"type", "string"}});
  EXPECT_TRUE(can_be_written(t, itself.dump(), "true", "hello"));
  EXPECT_FALSE(can_be_written(t, itself.dump(), "false", "1"));
}

TEST(Grammar, AnAnswerObeysItsSchema) {
  const Bytes t;
  const auto schema = nlohmann::ordered_json::parse(
      R"({"type":"object","properties":{"n":{"type":"integer","minimum":2,"maximum":11},"tags":{"type":"array","items":{"enum":["a","b"]}}},"required":["n","tags"]})");
  const JsonSchemaRef compiled = *compile_schema(schema);
  int n_calls = 0;
  for (unsigned seed = 0; seed < 80; ++seed) {
    SCOPED_TRACE(seed);
    const bool with_tools = seed % 2 == 0;
    const Message m = random_answer(t,
                                    {.tools = with_tools ? kTools : std::vector<ToolSpec>(),
                                     .thinking = seed % 4 < 2,
                                     .oracle = oracle,
                                     .calls_max = 1,
                                     .json = true,
                                     .schema = compiled},
                                    seed);
    n_calls += m.calls.empty() ? 0 : 1;
    if (!m.calls.empty()) continue;
    EXPECT_TRUE(test::SchemaChecker(schema).valid(m.content)) << m.content;
  }
  EXPECT_GT(n_calls, 5);
}

// A vocabulary without an l, and null is wanted: the end is offered, for something must be, and it
// is no end.
TEST(Grammar, WhatCannotBeSaidInTheseTokensIsNotAnEnd) {
  const Bytes t({}, 'l');
  const auto grammar = Grammar::make(
      t, {.thinking = false,
          .json = true,
          .schema = *compile_schema(nlohmann::ordered_json::parse(
              R"({"type":"object","properties":{"a":{"type":"null"}},"required":["a"]})"))});
  for (const char c : std::string("{\"a\":nu")) {
    ASSERT_TRUE(allows(*grammar->mask(), Token(c))) << c;
    EXPECT_FALSE(grammar->stuck());
    grammar->accept(Token(c));
  }
  ASSERT_TRUE(allows(*grammar->mask(), *t.added(kEos)));
  grammar->accept(*t.added(kEos));
  EXPECT_TRUE(grammar->done() && grammar->stuck());
}

// What others wrote before, with more blanks than would be written here, is gone on with.
TEST(Grammar, ADocumentGoesOnBehindAnyBlanks) {
  const Bytes t;
  const auto grammar = Grammar::make(
      t, {.thinking = false,
          .json = true,
          .schema = *compile_schema(nlohmann::ordered_json::parse(
              R"({"type":"object","properties":{"a":{"type":"boolean"},"b":{"type":"null"}}})"))});
  for (const char c : std::string("\n{\t \"a\" :\r\n  tr")) grammar->accept(Token(std::uint8_t(c)));
  EXPECT_TRUE(allows(*grammar->mask(), Token('u')));
  EXPECT_FALSE(allows(*grammar->mask(), Token('x')));
  for (const char c : std::string("ue , ")) grammar->accept(Token(std::uint8_t(c)));
  EXPECT_TRUE(allows(*grammar->mask(), Token('"')));
  EXPECT_FALSE(allows(*grammar->mask(), Token('}')));
}

// Readers of the text could not tell it from the real one.
TEST(Grammar, TheMarkerIsNotSpeltInAValueEither) {
  const Bytes t;
  const auto grammar = Grammar::make(t, {.tools = kTools, .thinking = false});
  const auto say = [&](std::string_view text) {
    for (const char c : text) grammar->accept(Token(std::uint8_t(c)));
  };
  say("\n\n<"), grammar->accept(*t.added(kDsml));
  say("tool_calls>\n<"), grammar->accept(*t.added(kDsml));
  say("invoke name=\"edit\">\n<"), grammar->accept(*t.added(kDsml));
  say("parameter name=\"extra\" string=\"false\">{\"a\": \"</｜DSML");
  EXPECT_FALSE(allows(*grammar->mask(), Token(0xEF)));
  EXPECT_TRUE(allows(*grammar->mask(), Token('x')));
}

// A value that must occur in a text with the marker in it could run into that; so it may be any.
TEST(Grammar, NoValueIsHeldToATextThatSpellsTheMarker) {
  const Bytes t;
  for (const std::string text : {"a line\n", "a line\nwith </｜DSML｜parameter> in it\n"}) {
    const auto grammar = Grammar::make(
        t, {.tools = kTools,
            .thinking = false,
            .oracle = [&](const std::string&, const std::string& key,
                          const Arguments&) -> std::optional<ArgumentChoices> {
              if (key != "old_str") return std::nullopt;
              return ArgumentChoices{.substring_of = text, .unique = true};
            }});
    const auto say = [&](std::string_view bytes) {
      for (const char c : bytes) grammar->accept(Token(std::uint8_t(c)));
    };
    say("\n\n<"), grammar->accept(*t.added(kDsml));
    say("tool_calls>\n<"), grammar->accept(*t.added(kDsml));
    say("invoke name=\"edit\">\n<"), grammar->accept(*t.added(kDsml));
    say("parameter name=\"old_str\" string=\"true\">a line\n");
    const bool spells = text.find("DSML") != std::string::npos;
    EXPECT_EQ(allows(*grammar->mask(), Token('x')), spells) << text;
    if (!spells) continue;
    say("with </｜DSML");
    EXPECT_FALSE(allows(*grammar->mask(), Token(0xEF)));
  }
}

TEST(JsonWalker, AgreesWithAParserOnEveryPrefixAndOneWrongByte) {
  const JsonSchemaRef any = *compile_schema(nlohmann::ordered_json::object());
  const auto begin = [&] { return JsonWalker(any, any->root, /*closes=*/false); };
  std::mt19937 random(1);
  for (const std::string good : {R"({"a": [1, -2.5e+3, true, null, "x\"\u00e9é"], "b": {}})", "[]",
                                 "[[0], {}]", "\"q\"", "false", "-0.1E-7"}) {
    JsonWalker a = begin();
    for (std::size_t i = 0; i < good.size(); ++i)
      ASSERT_TRUE(a.accept(good.substr(i, 1))) << good.substr(0, i + 1);
    EXPECT_TRUE(a.complete()) << good;
    for (int n = 0; n < 500; ++n) {
      std::string bad = good;
      bad[random() % bad.size()] = "{}[]\",:0x e.-\\"[random() % 14];
      JsonWalker b = begin();
      if (bad.front() == ' ' || bad.back() == ' ')
        continue;  // the walker takes documents without space around them
      EXPECT_EQ(b.accept(bad) && b.complete(), nlohmann::json::accept(bad)) << bad;
    }
  }
}

}  // namespace
}  // namespace lares::engine
