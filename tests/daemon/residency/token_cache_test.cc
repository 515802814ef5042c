#include "daemon/residency/token_cache.h"

#include <filesystem>

#include "tests/daemon/residency/workspaces.h"
#include "tests/tools/scratch.h"

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;
using test::tokenizer;
using tools::test::Scratch;

std::vector<std::string> entries(const Scratch& dir) {
  std::vector<std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(dir.root())) {
    if (entry.is_regular_file()) out.push_back(fs::relative(entry.path(), dir.root()).string());
  }
  return out;
}

TEST(TokenCache, TokenisesATextOnce) {
  TokenCache cache(tokenizer(), {});
  const auto tokens = cache.tokens("int x; <\uff5cUser\uff5c>\n");
  EXPECT_EQ(*tokens, tokenizer().encode("int x; <\uff5cUser\uff5c>\n", false));
  EXPECT_EQ(cache.tokens("int x; <\uff5cUser\uff5c>\n"), tokens);
  EXPECT_EQ(cache.figures().n_tokenised, 1);
  EXPECT_EQ(cache.figures().n_asked, 2);
}

TEST(TokenCache, ForgetsTheLeastRecentlyUsed) {
  TokenCache cache(tokenizer(), {.tokens_max = 25});
  const auto n = [&](const std::string& text) {
    const auto before = cache.figures().n_tokenised;
    cache.tokens(text);
    return cache.figures().n_tokenised - before;
  };
  const std::string a = "a1 b2 c3\n", b = "d4 e5 f6\n", c = "g7 h8 i9\n";
  n(a), n(b), n(a), n(c), n(c);
  EXPECT_LE(cache.tokens_held(), 25);
  EXPECT_EQ(n(c), 0);
  EXPECT_EQ(n(b), 1);
}

TEST(TokenCache, OutlivesTheProcessForTheSameTokenizer) {
  Scratch dir;
  const TokenCacheOptions options{.tokenizer_id = "one", .directory = dir.at("tok")};
  const auto want = *TokenCache(tokenizer(), options).tokens("text one\n");
  TokenCache again(tokenizer(), options);
  EXPECT_EQ(*again.tokens("text one\n"), want);
  EXPECT_EQ(again.figures().n_from_disk, 1);
  TokenCache other(tokenizer(), {.tokenizer_id = "two", .directory = dir.at("tok")});
  EXPECT_EQ(*other.tokens("text one\n"), want);
  EXPECT_EQ(other.figures().n_from_disk, 0);
}

TEST(TokenCache, TakesNoEntryThatIsNotWholeAndRight) {
  Scratch dir;
  const TokenCacheOptions options{.tokenizer_id = "one", .directory = dir.root()};
  const auto want = *TokenCache(tokenizer(), options).tokens("text one\n");
  const auto files = entries(dir);
  ASSERT_EQ(files.size(), 1u);
  const std::string whole = dir.read(files[0]);
  const auto expect_missing = [&](const std::string& bytes, const std::string& what) {
    dir.write(files[0], bytes);
    TokenCache cache(tokenizer(), options);
    EXPECT_EQ(*cache.tokens("text one\n"), want) << what;
    EXPECT_EQ(cache.figures().n_from_disk, 0) << what;
    EXPECT_EQ(dir.read(files[0]), whole) << "and it is made again";
  };
  for (std::size_t i = 0; i < whole.size(); ++i) {
    expect_missing(whole.substr(0, i), "cut at " + std::to_string(i));
    std::string flipped = whole;
    flipped[i] ^= 4;
    expect_missing(flipped, "flipped at " + std::to_string(i));
  }
  expect_missing(whole + "x", "one byte more");
  // Another text's entry under this one's name.
  TokenCache(tokenizer(), options).tokens("text two\n");
  for (const auto& file : entries(dir)) {
    if (file != files[0]) expect_missing(dir.read(file), "another's");
  }
}

TEST(TokenCache, KeepsItsDirectoryWithinBounds) {
  Scratch dir;
  TokenCache cache(tokenizer(), {.directory = dir.at("tok"), .disk_bytes_max = 4'000});
  for (int i = 0; i < 100; ++i) {
    cache.tokens("text number " + std::to_string(i) + "\n");
    std::int64_t bytes = 0;
    for (const auto& file : entries(dir))
      bytes += static_cast<std::int64_t>(fs::file_size(dir.at(file)));
    EXPECT_LE(bytes, 4'000);
    EXPECT_EQ(bytes, cache.disk_bytes());
  }
  EXPECT_GT(entries(dir).size(), 5u);
}

TEST(TokenCache, WorksWithoutItsDirectory) {
  Scratch dir;
  dir.write("file", "");
  TokenCache cache(tokenizer(), {.directory = dir.at("file/tok")});
  EXPECT_EQ(*cache.tokens("text\n"), tokenizer().encode("text\n", false));
}

}  // namespace
}  // namespace lares::daemon
