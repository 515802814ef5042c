// The official vectors need tokenizer.json and its test file, which belong to others: they are read
// where they lie.
#include "engine/tokenizer.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include <unistd.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/text/grammar/pattern_masks.h"

namespace lares::engine {
namespace {

namespace fs = std::filesystem;

fs::path shared() {
  const char* named = std::getenv("LARES_SHARED");
  return named ? fs::path(named) : fs::path(LARES_SOURCE_DIR) / ".." / "shared";
}

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A tokenizer.json of bytes, a few merges and added tokens, in the shape Hugging Face writes.
nlohmann::json small() {
  nlohmann::json vocab, merges = nlohmann::json::array();
  int n = 3;
  // The byte alphabet: printable bytes stand for themselves, the others from U+0100 on.
  int next = 256;
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    const int cp = printable ? b : next++;
    std::string name;
    if (cp < 128) {
      name = char(cp);
    } else {
      name += char(0xC0 | cp >> 6);
      name += char(0x80 | (cp & 63));
    }
    vocab[name] = n++;
  }
  for (const auto& [left, right] :
       {std::pair<std::string, std::string>{"a", "b"}, {"ab", "c"}, {"b", "c"}}) {
    merges.push_back(left + " " + right);
    vocab[left + right] = n++;
  }
  const auto added = [](int id, const char* content) {
    return nlohmann::json{
        {"id", id},        {"content", content}, {"special", true},     {"normalized", false},
        {"lstrip", false}, {"rstrip", false},    {"single_word", false}};
  };
  return {{"version", "1.0"},
          {"added_tokens", {added(0, "<s>"), added(1, "</s>"), added(2, "<s>long")}},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers",
             {{{"type", "Split"},
               {"pattern", {{"Regex", "\\s+"}}},
               {"behavior", "Isolated"},
               {"invert", false}},
              {{"type", "ByteLevel"},
               {"add_prefix_space", false},
               {"trim_offsets", true},
               {"use_regex", false}}}}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
}

struct Written {
  fs::path path;
  ~Written() { fs::remove(path); }
};
Written write(const std::string& text) {
  std::string name = (fs::temp_directory_path() / "lares-tokenizer-XXXXXX").string();
  const int fd = mkstemp(name.data());
  if (fd >= 0) close(fd);
  std::ofstream(name, std::ios::binary) << text;
  return {name};
}

TEST(Tokenizer, MergesByRankAndMatchesAddedTokensOnlyWhenTold) {
  const Written file = write(small().dump());
  auto loaded = Tokenizer::from_file(file.path);
  ASSERT_TRUE(loaded) << loaded.error().message;
  const Tokenizer& t = **loaded;
  const auto text_of = [&](const std::vector<Token>& ids) {
    std::vector<std::string> out;
    for (Token id : ids) out.emplace_back(t.bytes(id));
    return out;
  };
  using Pieces = std::vector<std::string>;
  EXPECT_EQ(text_of(t.encode("abc bc", false)), (Pieces{"abc", " ", "bc"}));
  EXPECT_EQ(t.encode("<s>", true), (std::vector<Token>{0}));
  EXPECT_EQ(text_of(t.encode("<s>", false)), (Pieces{"<", "s", ">"}));
  // The longest at the leftmost place
  EXPECT_EQ(t.encode("<s>long</s>", true), (std::vector<Token>{2, 1}));
  EXPECT_EQ(t.added("</s>"), std::optional<Token>(1));
  EXPECT_EQ(t.added("x"), std::nullopt);
}

TEST(Tokenizer, JoinsPlainStretchesAcrossSegments) {
  const Written file = write(small().dump());
  auto loaded = Tokenizer::from_file(file.path);
  ASSERT_TRUE(loaded) << loaded.error().message;
  const Tokenizer& t = **loaded;
  EXPECT_EQ(t.encode(std::vector<Segment>{{"a", true}, {"bc<s>", false}}),
            t.encode("abc<s>", false));
  EXPECT_EQ(t.encode(std::vector<Segment>{{"a<s>", true}, {"<s>", false}}).size(),
            5u);  // a, 0, and three characters
}

TEST(Tokenizer, AnyBytesComeBackUnchanged) {
  const Written file = write(small().dump());
  auto loaded = Tokenizer::from_file(file.path);
  ASSERT_TRUE(loaded) << loaded.error().message;
  std::string bytes;
  for (int i = 0; i < 4096; ++i) bytes += char(i * 7919 >> 3);
  EXPECT_EQ((*loaded)->decode((*loaded)->encode(bytes, true)), bytes);
}

TEST(Tokenizer, DamagedFilesGiveOneLineThatNamesTheFile) {
  const std::string good = small().dump();
  for (std::string text : {std::string(), good.substr(0, good.size() / 2), std::string("[]"),
                           std::string("{\"model\": {}}")}) {
    const Written file = write(text);
    const auto loaded = Tokenizer::from_file(file.path);
    ASSERT_FALSE(loaded);
    EXPECT_NE(loaded.error().message.find(file.path), std::string::npos) << loaded.error().message;
    EXPECT_EQ(loaded.error().message.find('\n'), std::string::npos) << loaded.error().message;
  }
  const auto missing = Tokenizer::from_file("/nonexistent/tokenizer.json");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::not_found);
  const auto directory = Tokenizer::from_file(LARES_SOURCE_DIR);
  ASSERT_FALSE(directory);
  EXPECT_NE(directory.error().message.find("it is a directory"), std::string::npos)
      << directory.error().message;
}

TEST(Tokenizer, WhatContradictsItselfOrIsTooLongIsRefusedByName) {
  using Change = std::function<void(nlohmann::json&)>;
  const std::string long_name(kTokenBytesMax + 1, 'z'), most(kTokenBytesMax, 'z');
  const auto why = [](const Change& change) {
    nlohmann::json json = small();
    change(json);
    const Written file = write(json.dump());
    const auto loaded = Tokenizer::from_file(file.path);
    const std::string all = loaded ? "" : loaded.error().message;
    return loaded ? all : all.substr(all.find(": ") + 2);
  };
  EXPECT_EQ(why([&](auto& json) { json["model"]["vocab"][most] = 300; }), "");
  EXPECT_EQ(why([&](auto& json) { json["model"]["vocab"][long_name] = 300; }),
            "token \"" + std::string(40, 'z') + "\"... (id 300) has 256 bytes, the limit is 255");
  EXPECT_EQ(why([](auto& json) { json["model"]["vocab"]["z\nz"] = json["model"]["vocab"]["a"]; }),
            "tokens \"a\" and \"z\\nz\" have the same id, 100");
  EXPECT_EQ(why([](auto& json) { json["model"]["vocab"]["z\nz"] = -1; }),
            "token \"z\\nz\" has id -1, outside 0..1048575");
  EXPECT_EQ(why([](auto& json) { json["added_tokens"][1]["content"] = "<s>"; }),
            "added token \"<s>\" is there twice");
  EXPECT_EQ(why([](auto& json) { json["added_tokens"][1]["id"] = 0; }),
            "tokens \"<s>\" and \"</s>\" have the same id, 0");
  EXPECT_EQ(why([](auto& json) { json["added_tokens"][1]["content"] = "a"; }),
            "added token \"a\" has id 1, and 100 in model.vocab");
  // One that is in the vocabulary too is one token, by whichever name.
  EXPECT_EQ(why([](auto& json) { json["model"]["vocab"]["</s>"] = 1; }), "");
  EXPECT_EQ(why([](auto& json) {
              json["added_tokens"][1]["content"] = " ",
              json["added_tokens"][1]["id"] = json["model"]["vocab"]["\u0120"];
            }),
            "");
}

// The longest that is allowed, through all that walks a vocabulary.
TEST(Tokenizer, TheLongestTokenIsMaskedLikeAnyOther) {
  nlohmann::json json = small();
  json["model"]["vocab"][std::string(kTokenBytesMax, 'z')] = 300;
  const Written file = write(json.dump());
  const auto t = Tokenizer::from_file(file.path);
  ASSERT_TRUE(t) << t.error().message;
  for (const std::string expression : {"^z*$", "^z{255}$", "^z{254}$"}) {
    const auto pattern = std::make_shared<const Pattern>(*Pattern::compile(expression));
    PatternMasks masks(pattern, TextKind::plain);
    masks.build(*(*t)->vocabulary(), {});
    TokenMask mask((*t)->vocabulary()->ordinary_mask().size(), 0);
    masks.add(*(*t)->vocabulary(), Pattern::kStart, /*escaped=*/false, mask);
    EXPECT_EQ(allows(mask, 300), expression != "^z{254}$") << expression;
  }
}

TEST(OfficialTokenizer, EveryVectorIsExact) {
  const fs::path vectors = shared() / "v4/tokenizer_tests/tokenizer_vectors.json";
  if (!fs::exists(vectors)) GTEST_SKIP() << "the official vectors are not there: " << vectors;
  auto loaded = Tokenizer::from_file(shared() / "v4/tokenizer.json");
  ASSERT_TRUE(loaded) << loaded.error().message;
  const auto cases = nlohmann::json::parse(read(vectors));
  std::size_t n = 0, wrong = 0;
  for (const auto& c : cases) {
    ++n;
    const auto text = c.at("t").get<std::string>();
    const auto want = c.at("ids").get<std::vector<Token>>();
    if ((*loaded)->encode(text, true) == want && (*loaded)->decode(want) == text) continue;
    if (++wrong <= 5) ADD_FAILURE() << "case " << n << ": " << text.substr(0, 80);
  }
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(n, 2118u);
}

}  // namespace
}  // namespace lares::engine
