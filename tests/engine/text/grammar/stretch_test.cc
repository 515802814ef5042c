// A value of a text, or of a list, goes on with exactly those tokens that follow it somewhere,
// whatever of its index is built.
#include "engine/text/grammar/stretch.h"

#include <algorithm>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "engine/text/grammar/mask_store.h"
#include "tests/engine/text/grammar/bytes_tokenizer.h"

namespace lares::engine {
namespace {

using test::Bytes;

const std::vector<std::string> kTokens = {"ab",        "abc",      "bc",    "ca",  "aaaa", "a\n",
                                          "\n  ",      "  ",       "</",    "c</", "<a",   "/a",
                                          "abcabcabc", "\xc3\xa4", "b\xc3", "ab"};

std::string random_text(std::mt19937& random, std::size_t n_bytes) {
  const std::vector<std::string> pieces = {"a", "b", "c", "abc", "aaaa",     "\n  ",
                                           " ", "<", "/", "</",  "\xc3\xa4", "abcabcabcabc"};
  std::string out;
  const std::size_t n_pieces = 2 + random() % (pieces.size() - 1);
  while (out.size() < n_bytes) out += pieces[random() % n_pieces];
  return out;
}
std::size_t n_places(const std::string& text, const std::string& value) {
  std::size_t n = 0;
  for (std::size_t at = text.find(value); at != std::string::npos; at = text.find(value, at + 1))
    ++n;
  return n;
}
// By looking for the value with the token behind it in the text.
bool may_follow(const std::string& text, const std::string& value, const std::string& token,
                bool unique) {
  const auto whole = [&](const std::string& v) {
    return !v.empty() && n_places(text, v) > 0 && (!unique || n_places(text, v) == 1);
  };
  if (n_places(text, value + token) > 0) return true;
  if ((token == "<" || token == "</") && whole(value)) return true;
  return token == "/" && value.ends_with("<") && whole(value.substr(0, value.size() - 1));
}

void follow(const Bytes& t, const std::string& text, const std::shared_ptr<StretchIndex>& index,
            bool unique, std::mt19937& random, int build_at) {
  const auto vocabulary = t.vocabulary();
  Stretch stretch(vocabulary, index, unique);
  std::string value;
  for (int step = 0; step < 12; ++step) {
    if (step == build_at) index->build(*vocabulary, {});
    TokenMask mask(vocabulary->ordinary_mask().size(), 0);
    stretch.add(mask);
    std::vector<Token> allowed;
    for (Token id = 0; id < t.vocab_size(); ++id) {
      const std::string bytes(t.bytes(id));
      const bool follows = !t.added(bytes) && may_follow(text, value, bytes, unique);
      ASSERT_EQ(allows(mask, id), follows)
          << "'" << bytes << "' behind '" << value << "' of " << text.substr(0, 200);
      if (follows) allowed.push_back(id);
    }
    const std::string before = value.size() < 2 ? "" : value.substr(0, value.size() - 2);
    ASSERT_EQ(stretch.closed(), value.ends_with("</") && !before.empty() &&
                                    n_places(text, before) > 0 &&
                                    (!unique || n_places(text, before) == 1))
        << value;
    if (allowed.empty()) return;
    const std::string token(t.bytes(allowed[random() % allowed.size()]));
    stretch.extend(token);
    value += token;
  }
}

TEST(Stretch, GoesOnWithWhatFollowsInTheText) {
  const Bytes t(kTokens);
  std::mt19937 random(7);
  for (int n = 0; n < 160; ++n) {
    const std::string text = random_text(random, 1 + random() % 300);
    const int build_at = int(random() % 4) - 1;  // before the first token, after some, or never
    follow(t, text, std::make_shared<StretchIndex>(text), n % 2 == 0, random,
           n % 3 == 0 ? 0 : build_at);
    if (HasFailure()) return;
  }
}

// Values with more places than are looked at: their masks are kept, or, where the text repeats
// itself, the pieces are walked.
TEST(Stretch, ManyPlacesAreAsExactAsFew) {
  const Bytes t(kTokens);
  std::mt19937 random(8);
  std::string words;
  while (words.size() < 12 * kStretchPlacesMax)
    words += std::string("ab ") + char('a' + random() % 3) + (random() % 50 == 0 ? "<x" : " ");
  const std::string letters = std::string(3 * kStretchPlacesMax, 'a') + "b";
  for (const std::string& text : {words, letters}) {
    const auto index = std::make_shared<StretchIndex>(text);
    index->build(*t.vocabulary(), {});
    for (int n = 0; n < 3 && !HasFailure(); ++n) follow(t, text, index, n == 0, random, -1);
  }
}

// A mask that is kept is the one that is found by walking.
TEST(Stretch, KeptMasksAreThoseThatAreWalked) {
  const Bytes t(kTokens);
  const auto vocabulary = t.vocabulary();
  std::mt19937 random(9);
  const std::string text = random_text(random, 40 * kStretchPlacesMax);
  StretchIndex index(text);
  index.build(*vocabulary, {});
  int n_many = 0;
  for (const std::string value : {"a", "b", "ab", "abc", "c", " ", "abca", "aa"}) {
    const auto range = index.find(value);
    ASSERT_EQ(range.size(), n_places(text, value)) << value;
    n_many += range.size() > kStretchPlacesMax ? 1 : 0;
    TokenMask mask(vocabulary->ordinary_mask().size(), 0);
    index.add(*vocabulary, range, mask);
    for (Token id = 0; id < t.vocab_size(); ++id) {
      const std::string bytes(t.bytes(id));
      ASSERT_EQ(allows(mask, id), !t.added(bytes) && text.find(value + bytes) != std::string::npos)
          << "'" << bytes << "' behind " << value;
    }
  }
  EXPECT_GT(n_many, 2);
}

TEST(Stretch, OfAListNothingIsAllowedButItsTexts) {
  const Bytes t(kTokens);
  const auto vocabulary = t.vocabulary();
  std::mt19937 random(10);
  for (int n = 0; n < 40; ++n) {
    std::vector<std::string> texts;
    std::string list;
    for (std::size_t i = 0; i < 1 + random() % 200; ++i)
      texts.push_back(random_text(random, random() % 12));
    if (n == 0)
      texts.insert(texts.end(), 2 * kStretchPlacesMax, "abcb"),
          texts.insert(texts.end(), kStretchPlacesMax, "abca");
    for (const std::string& text : texts) list += text + kListEnd;
    StretchIndex index(list, StretchIndex::Of::list);
    index.build(*vocabulary, {});
    for (int walk = 0; walk < 5; ++walk) {
      std::string value = walk == 0 ? "" : texts[random() % texts.size()];
      value.resize(random() % (value.size() + 1));
      TokenMask mask(vocabulary->ordinary_mask().size(), 0);
      index.add(*vocabulary, index.find(value), mask);
      for (Token id = 0; id < t.vocab_size(); ++id) {
        const std::string bytes(t.bytes(id));
        const bool goes_on = !t.added(bytes) &&
                             std::ranges::any_of(texts, [&](const std::string& text) {
                               return text.starts_with(value + bytes);
                             });
        ASSERT_EQ(allows(mask, id), goes_on) << "'" << bytes << "' behind '" << value << "'";
      }
    }
  }
}

TEST(TokenScan, FindsTheLongestTokenAtEachPlace) {
  auto tokens = kTokens;
  // Without its first byte it leads no further than "a", and not on to "ab"
  tokens.push_back("<a/b<a");
  const Bytes t(tokens);
  const auto vocabulary = t.vocabulary();
  std::mt19937 random(11);
  for (int n = 0; n < 300; ++n) {
    std::string text = random_text(random, 1 + random() % 200);
    for (std::size_t at = random() % 30; at + 6 < text.size(); at += 6 + random() % 60)
      text.replace(at, 6, "<a/b<a");
    const std::size_t from = random() % text.size(),
                      to = from + random() % (text.size() - from + 1);
    std::vector<Token> found(to - from);
    vocabulary->scan().longest(text, from, to, found.data());
    for (std::size_t i = from; i < to; ++i)
      ASSERT_EQ(found[i - from],
                vocabulary->ordinary().longest(std::string_view(text).substr(i)).id)
          << i << " in " << text;
  }
}

TEST(MaskStore, KeepsTheLastTextsByTheirContent) {
  const Bytes t(kTokens);
  const auto vocabulary = t.vocabulary();
  MaskStore& store = vocabulary->store();
  const auto first = store.stretch_index("abc");
  EXPECT_EQ(store.stretch_index("abc"), first);
  EXPECT_NE(store.stretch_index("abc", StretchIndex::Of::list), first);
  EXPECT_NE(store.stretch_index("abd"), first);
  store.finish();
  EXPECT_TRUE(first->sorted());
  for (std::size_t n = 0; n < kStretchIndexesMax; ++n) store.stretch_index(std::to_string(n));
  EXPECT_NE(store.stretch_index("abc"), first);  // there were others since
}

// Whoever leaves does not wait for what nobody needs any more.
TEST(MaskStore, CanEndBeforeItsWorkDoes) {
  const Bytes t(kTokens);
  std::mt19937 random(12);
  for (int n = 0; n < 5; ++n) {
    const auto vocabulary = t.vocabulary();
    for (int i = 0; i < 4; ++i) vocabulary->store().stretch_index(random_text(random, 200'000));
  }
}

}  // namespace
}  // namespace lares::engine
