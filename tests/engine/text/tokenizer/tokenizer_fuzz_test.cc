// Damaged tokenizers: each is refused in one line or loads, and what loads gives every text back,
// and masks that hold.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "engine/text/grammar/json_masks.h"
#include "engine/text/grammar/mask_store.h"
#include "engine/tokenizer.h"
#include "tests/fuzz.h"

namespace lares::engine {
namespace {

using Json = nlohmann::json;
using fuzz::below;
using fuzz::Random;

const fuzz::Words kWords = {"0",
                            "-1",
                            "1e308",
                            "1269",
                            "1048575",
                            "1048576",
                            "18446744073709551616",
                            "null",
                            "true",
                            "[]",
                            "{}",
                            "\"\"",
                            "\"Ġ\"",
                            "\"a b\"",
                            "\"\\n\"",
                            "\"\\u0000\"",
                            "[[",
                            "\"Regex\"",
                            "\"Split\"",
                            "\"ByteLevel\"",
                            "\"content\"",
                            "\"(?=\""};
const fuzz::Damage kDamage{
    .mutations = {fuzz::change_byte, fuzz::flip_bit, fuzz::erase_some, fuzz::copy_up_to(64),
                  fuzz::cut_off, fuzz::open_brackets, fuzz::insert_one_of(kWords),
                  fuzz::put_one_of(kWords), fuzz::replace_value_by(kWords)},
    .least = 1,
    .most = 3};
const char* const kRegexes[] = {"\\s+",    "(",  "[^\\p{L}]+|\\p{L}", "(a|aa)+$", "\\p{N}{1,3}",
                                "(?<=a)b", "x*", "(?:\\K)",           "\n"};
const std::string kLetters = "eta \"\\1</";  // of the byte alphabet, the blank aside

Json& some(Json& array, Random& random) { return array[below(array.size(), random)]; }

// One thing of a tokenizer that its text's damage would seldom hit, and that stays JSON.
void change(Json& json, Random& random) {
  Json& vocab = json["model"]["vocab"];
  const auto any_token = [&] {
    return std::next(vocab.begin(), std::ptrdiff_t(below(vocab.size(), random)));
  };
  Json& merges = json["model"]["merges"];
  Json& added = json["added_tokens"];
  switch (below(13, random)) {
    case 0:
      any_token().value() = any_token().value();
      return;
    case 10:
      vocab[any_token().key() + "\n"] = any_token().value();
      return;
    case 1:
      any_token().value() = random() % 2 == 0 ? std::int64_t(below(1 << 21, random)) - 10
                                              : std::int64_t(random());
      return;
    case 2:
      vocab.erase(any_token());
      return;
    case 3:
      some(added, random)["content"] = random() % 2 == 0
                                           ? any_token().key()
                                           : some(added, random)["content"].get<std::string>();
      return;
    case 4:
      some(added, random)["id"] = any_token().value();
      return;
    case 5:
      std::swap(any_token().value(), any_token().value());
      return;
    case 6:
      std::swap(some(merges, random), some(merges, random));
      return;
    case 7:
      merges.erase(below(merges.size(), random));
      return;
    case 8:
      some(merges, random) = some(merges, random);
      return;
    case 9: {
      const Json split = {{"type", "Split"},
                          {"pattern", {{"Regex", kRegexes[below(std::size(kRegexes), random)]}}},
                          {"behavior", "Isolated"},
                          {"invert", false}};
      json["pre_tokenizer"] = {{"type", "Sequence"},
                               {"pretokenizers",
                                {split,
                                 {{"type", "ByteLevel"},
                                  {"add_prefix_space", false},
                                  {"use_regex", random() % 2 == 0}}}}};
      return;
    }
    default: {  // a long token
      const std::string name(1 + below(random() % 4 == 0 ? 5'000 : 300, random),
                             kLetters[below(3, random)]);
      vocab[name] = 2'000 + below(1'000, random);
    }
  }
}

std::string some_text(const Tokenizer& t, Random& random) {
  std::string text;
  for (std::size_t n = below(12, random); n > 0; --n) {
    switch (below(3, random)) {
      case 0:
        text += char(random());
        break;
      case 1:
        text += std::string(below(80, random), kLetters[below(kLetters.size(), random)]);
        break;
      default:
        text += t.bytes(Token(below(std::size_t(t.vocab_size()), random)));
    }
  }
  return text;
}

// A document is written along the masks, with a pattern's made beforehand: each token that is
// allowed is taken.
void writes_along_masks(const Tokenizer& t, const JsonSchemaRef& schema, Random& random) {
  const auto vocabulary = t.vocabulary();
  for (const SchemaNode& node : schema->nodes) {
    if (node.pattern) vocabulary->store().pattern_masks(node.pattern, TextKind::json_string);
  }
  vocabulary->store().finish();
  JsonMasks masks(vocabulary);
  JsonWalker walker(schema, schema->root, /*closes=*/true);
  for (int step = 0; step < 12 && !walker.closed(); ++step) {
    TokenMask mask(vocabulary->ordinary_mask().size(), 0);
    masks.add(walker, mask);
    Token pick = -1;
    std::uint64_t n = 0;
    for (std::size_t w = 0; w < mask.size(); ++w) {
      for (std::uint64_t bits = mask[w]; bits != 0; bits &= bits - 1) {
        if (random() % ++n == 0) pick = Token(w * 64 + std::size_t(__builtin_ctzll(bits)));
      }
    }
    ASSERT_GE(pick, 0);  // every byte is a token, so something can come
    ASSERT_LT(pick, t.vocab_size());
    ASSERT_FALSE(t.bytes(pick).empty());
    ASSERT_TRUE(walker.accept(t.bytes(pick))) << t.bytes(pick);
  }
}

TEST(TokenizerFuzz, DamageGivesAnErrorOrATokenizerThatHolds) {
  std::ifstream in(LARES_SOURCE_DIR "/engine/nano/checkpoint/tokenizer.json", std::ios::binary);
  const std::string good(std::istreambuf_iterator<char>(in), {});
  ASSERT_FALSE(good.empty());
  const Json whole = Json::parse(good);
  const JsonSchemaRef schema = *compile_schema(nlohmann::ordered_json::parse(
      R"({"anyOf":[{"type":"string","pattern":"^[a-z]+(?: [a-z\"]+)*$"},{"type":"array","items":{}},{"type":"number","maximum":99999},{"type":"object","properties":{"name":{"type":"string"},"t":{"enum":["tt","te","\\"]}}}]})"));
  std::string path =
      (std::filesystem::temp_directory_path() / "lares-tokenizer-fuzz-XXXXXX").string();
  const int fd = mkstemp(path.data());
  ASSERT_GE(fd, 0);
  close(fd);
  int refused = 0, loaded = 0;
  const auto once = [&](Random& random) {
    std::string text;
    if (random() % 3 == 0) {
      text = kDamage(good, random);
    } else {
      Json json = whole;
      for (std::size_t n = 1 + below(2, random); n > 0; --n) change(json, random);
      text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
    }
    std::ofstream(path, std::ios::binary) << text;
    const auto t = Tokenizer::from_file(path);
    if (!t) {
      ++refused;
      EXPECT_EQ(t.error().message.find('\n'), std::string::npos) << t.error().message;
      EXPECT_NE(t.error().message.find(path), std::string::npos) << t.error().message;
      EXPECT_LT(t.error().message.size(), path.size() + 400) << t.error().message;
      return;
    }
    ++loaded;
    for (const bool added : {false, true}) {
      const std::string said = some_text(**t, random);
      EXPECT_EQ((*t)->decode((*t)->encode(said, added)), said);
    }
    writes_along_masks(**t, schema, random);
  };
  fuzz::repeat({.seconds = 3}, once);
  std::filesystem::remove(path);
  std::printf("%d refused, %d loaded\n", refused, loaded);
  EXPECT_GT(refused, 0);
  EXPECT_GT(loaded, 0);
}

}  // namespace
}  // namespace lares::engine
