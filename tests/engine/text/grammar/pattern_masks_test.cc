// A pattern's masks are what trying every token on says, made beforehand or not.
#include "engine/text/grammar/pattern_masks.h"

#include <algorithm>
#include <random>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/text/grammar/json_masks.h"
#include "tests/engine/text/grammar/bytes_tokenizer.h"

namespace lares::engine {
namespace {

using test::Bytes;

const std::vector<std::string> kTokens = {
    "er",  "err",    "error", "ror\"", "or",       "n\"",  "\\n",    "\\\"", "\\",
    "a\\", "bc",     "nbc",   "tt",    "\xc3\xa4", "\xc3", "\xa4\"", "12",   "-1",
    "\"]", "\", \"", "</",    "a</",   "x<",       "\n",   "\t",     "  ",   "er"};
const std::vector<std::string> kPatterns = {".*",
                                            "error",
                                            "^[a-z]+( [a-z]+)*$",
                                            "^[ -~]{1,300}$",
                                            "^[A-Z]{2,6}-[0-9]+$",
                                            "\xc3\xa4|\\n",
                                            "^(?:\\\\|\"|\t|a){0,3}$",
                                            "^$"};

bool goes_on(const Pattern& pattern, TextKind kind, Pattern::State state, bool escaped,
             std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = std::uint8_t(bytes[i]);
    if (escaped && i == 0) {
      if (kEscapes.find(char(byte)) == std::string_view::npos) return false;
      state = pattern.step(state, unescaped(byte));
    } else {
      state = pattern.step(state, byte);
    }
    if (state == Pattern::kDead) return false;
  }
  return std::ranges::none_of(bytes, [&](char c) { return is_special(kind, std::uint8_t(c)); });
}

TEST(PatternMasks, AreWhatTryingEveryTokenOnSays) {
  const Bytes t(kTokens);
  const auto vocabulary = t.vocabulary();
  for (const std::string& expression : kPatterns) {
    const auto pattern = std::make_shared<const Pattern>(*Pattern::compile(expression));
    for (const TextKind kind : {TextKind::json_string, TextKind::plain}) {
      PatternMasks masks(pattern, kind);
      masks.build(*vocabulary, {});
      ASSERT_TRUE(masks.ready());
      for (const bool escaped : {false, true}) {
        if (escaped && kind == TextKind::plain) continue;
        for (std::size_t state = Pattern::kStart; state < pattern->n_states(); ++state) {
          TokenMask mask(vocabulary->ordinary_mask().size(), 0);
          masks.add(*vocabulary, Pattern::State(state), escaped, mask);
          const TokenMask* const made = masks.made(Pattern::State(state), escaped);
          EXPECT_TRUE(!made || *made == mask) << expression;
          for (Token id = 0; id < t.vocab_size(); ++id) {
            const bool wanted = !t.added(t.bytes(id)) &&
                                goes_on(*pattern, kind, Pattern::State(state), escaped,
                                        t.bytes(id));
            ASSERT_EQ(allows(mask, id), wanted)
                << expression << ": '" << t.bytes(id) << "' in state " << state
                << (escaped ? ", escaped" : "");
          }
        }
      }
    }
  }
}

TEST(PatternMasks, OfManyStatesTheFirstAreMade) {
  const Bytes t(kTokens);
  const auto pattern = std::make_shared<const Pattern>(*Pattern::compile("^(?:a|b[ab]){0,700}$"));
  ASSERT_GT(pattern->n_states(), 2 * kPatternMasksMax);
  PatternMasks masks(pattern, TextKind::plain);
  masks.build(*t.vocabulary(), {});
  EXPECT_TRUE(masks.made(Pattern::kStart, false));
  EXPECT_LE(masks.bytes(), 1u << 20);
}

// As a document is written, and as a plain text is: with the pattern's masks there and without.
TEST(PatternMasks, MakeNoDifferenceToADocument) {
  const Bytes t(kTokens);
  for (const std::string& expression : kPatterns) {
    const auto schema = *compile_schema(
        {{"type", "array"}, {"items", {{"type", "string"}, {"pattern", expression}}}});
    const auto pattern = std::make_shared<const Pattern>(*Pattern::compile(expression));
    for (const bool plain : {false, true}) {
      const auto with = t.vocabulary(), without = t.vocabulary();
      with->store().pattern_masks(pattern, plain ? TextKind::plain : TextKind::json_string);
      with->store().finish();
      for (unsigned seed = 0; seed < 8; ++seed) {
        std::mt19937 random(seed);
        JsonWalker walker = plain ? JsonWalker({pattern})
                                  : JsonWalker(schema, schema->root, /*closes=*/true);
        std::string text;
        JsonMasks masks(with);
        for (int step = 0; step < 20 && !walker.closed(); ++step) {
          JsonMasks slow(t.vocabulary());
          TokenMask mask(with->ordinary_mask().size(), 0), expected = mask;
          masks.add(walker, mask);
          slow.add(walker, expected);  // begins to make them, and does not wait
          ASSERT_EQ(mask, expected) << expression << " behind " << text;
          std::vector<Token> allowed;
          for (Token id = 0; id < t.vocab_size(); ++id) {
            if (allows(mask, id)) allowed.push_back(id);
          }
          ASSERT_FALSE(allowed.empty()) << expression << " behind " << text;
          const std::string token(t.bytes(allowed[random() % allowed.size()]));
          ASSERT_TRUE(walker.accept(token));
          text += token;
        }
      }
    }
  }
}

}  // namespace
}  // namespace lares::engine
