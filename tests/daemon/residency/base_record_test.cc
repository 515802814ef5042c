// A base through its bytes: whole, cut, damaged, and of others.
#include "daemon/residency/base_record.h"

#include "daemon/residency/compose.h"
#include "tests/daemon/residency/kept_bases.h"

namespace lares::daemon {
namespace {

using test::awkward_files;
using test::many;
using test::tokenizer;
using tools::Shown;

Base composed(const tools::Workspace& files, std::int64_t tokens_max) {
  TokenCache cache(tokenizer(), {});
  return compose(tokenizer().encode("You are.", true), files, {}, cache,
                 {.tokens_max = tokens_max});
}

std::vector<std::byte> sized(std::vector<std::byte> bytes, std::size_t n) {
  bytes.resize(n);
  return bytes;
}

TEST(BaseRecord, GivesBackTheBase) {
  tools::Workspace files = many(40, 60);
  awkward_files(files);
  for (const std::int64_t tokens_max : {8'000, 400'000, 100}) {
    const Base base = composed(files, tokens_max);
    const auto back = decode_base(encode_base(base, 42, "id"), tokenizer(), "id");
    ASSERT_TRUE(back) << back.error();
    EXPECT_EQ(back->epoch, 42u);
    test::expect_equal(*back->base, base);
  }
}

// Of what was written before a base knew its bound.
TEST(BaseRecord, TheFirstFormatIsReadToo) {
  tools::Workspace files;
  awkward_files(files);
  Base base = composed(files, 400'000);
  ASSERT_EQ(base.tokens_max, 400'000);
  auto bytes = encode_base(base, 42, "id");
  const std::size_t format = std::string_view("lares-base\n\x1a").size();
  bytes[format] = std::byte{1};
  const std::size_t behind_ids = format + 8 + 4 + 2 + 8 + 4 + 8 + 8 + 4 * base.tokens.size() + 8;
  bytes.erase(bytes.begin() + std::ptrdiff_t(behind_ids),
              bytes.begin() + std::ptrdiff_t(behind_ids) + 8);
  const auto back = decode_base(bytes, tokenizer(), "id");
  ASSERT_TRUE(back) << back.error();
  base.tokens_max = 0;
  test::expect_equal(*back->base, base);
}

TEST(BaseRecord, KnowsEveryTextExactly) {
  tools::Workspace files;
  awkward_files(files);
  const Base base = composed(files, 400'000);
  EXPECT_FALSE(base.has_tree);
  const auto back = decode_base(encode_base(base, 1, ""), tokenizer(), "");
  ASSERT_TRUE(back) << back.error();
  for (const auto& [path, file] : files) {
    const BaseFile* found = test::find(*back->base, path);
    ASSERT_TRUE(found) << path;
    ASSERT_EQ(found->source.text != nullptr, file.text != nullptr) << path;
    if (file.text) {
      EXPECT_EQ(*found->source.text, *file.text) << path;
    }
  }
}

TEST(BaseRecord, IsNothingWhenItIsCutOrLonger) {
  tools::Workspace files;
  awkward_files(files);
  const auto bytes = encode_base(composed(files, 400'000), 1, "id");
  for (std::size_t n = 0; n < bytes.size(); ++n)
    ASSERT_FALSE(decode_base(sized(bytes, n), tokenizer(), "id")) << n;
  EXPECT_FALSE(decode_base(sized(bytes, bytes.size() + 1), tokenizer(), "id"));
}

// The store sees damage; here it is enough that nothing crashes, and that no text is another than
// its blob says.
TEST(BaseRecord, NeverGivesAnotherTextForABlob) {
  tools::Workspace files;
  awkward_files(files);
  const Base base = composed(files, 400'000);
  const auto bytes = encode_base(base, 1, "id");
  std::size_t n_read = 0;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const int bit : {0, 4, 7}) {
      auto damaged = bytes;
      damaged[at] ^= static_cast<std::byte>(1 << bit);
      const auto back = decode_base(damaged, tokenizer(), "id");
      if (!back) continue;
      ++n_read;
      for (const BaseFile& file : back->base->files) {
        if (file.source.text) {
          ASSERT_EQ(tools::blob_sha(*file.source.text), file.source.blob) << at;
        }
      }
    }
  }
  EXPECT_GT(n_read, 0u);  // an epoch, say
  EXPECT_LT(n_read, bytes.size());
}

TEST(BaseRecord, OfAnotherTextRendererOrTokenizerIsRefused) {
  tools::Workspace files;
  awkward_files(files);
  Base base = composed(files, 400'000);
  const auto bytes = encode_base(base, 1, "id");
  EXPECT_EQ(decode_base(bytes, tokenizer(), "other").error(), "another tokenizer made it");
  auto other = bytes;
  other[12 + 4] = std::byte{9};
  EXPECT_EQ(decode_base(other, tokenizer(), "id").error(),
            "it was written as renderer 9 does and this daemon's is 1");
  const BaseFile* const file = test::find(base, "no-newline.txt");
  ++base.tokens[static_cast<std::size_t>(file->start + file->n_tokens / 2)];
  EXPECT_EQ(decode_base(encode_base(base, 1, "id"), tokenizer(), "id").error(),
            "the tokens of no-newline.txt are not its text");
}

}  // namespace
}  // namespace lares::daemon
