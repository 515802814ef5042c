// Bytes that changed, files that were cut, exchanged, renamed or come from elsewhere: what comes
// back is never wrong, only shorter, and the report names what was left out.
#include <cerrno>

#include <algorithm>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chains.h"
#include "daemon/store/checksum.h"
#include "daemon/store/extent_format.h"

namespace lares::daemon::store::test {
namespace {

using ::testing::HasSubstr;

constexpr const char* kDir = "/store";
const Hash256 kFingerprint = fingerprint_of(1);
std::size_t g_faults = 0;

struct Corruption : ::testing::Test {
  static void TearDownTestSuite() { std::printf("%zu faults injected\n", g_faults); }
};

// Two commits: the first two extents, then all three. In the middle one, pages lie across blocks.
struct Written {
  Chain chain;
  Files files;
  std::string extent(std::size_t i) const {
    return fmt::format("{}/ext/{}/{}.ext", kDir, to_hex(chain[i].chain_out).substr(0, 2),
                       to_hex(chain[i].chain_out));
  }
};
Written write_store(const Hash256& fingerprint, unsigned seed, std::size_t page_bytes = 1000) {
  Written out;
  out.chain = make_chain(fingerprint, seed,
                         {.n_tokens = {512, 640, 256}, .page_bytes = page_bytes});
  auto disk = std::make_shared<CrashDisk>();
  auto store = Store::open(kDir, fingerprint, {.disk = disk});
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(put(**store, out.chain[i]));
    const std::byte payload[] = {static_cast<std::byte>(i), std::byte{7}};
    if (i > 0) {
      EXPECT_TRUE((*store)->commit(names(out.chain, i + 1), payload));
    }
  }
  out.files = disk->files();
  return out;
}
const Written& small() {
  static const Written w = write_store(kFingerprint, 5);
  return w;
}

struct Outcome {
  Seen seen;
  std::string wrong;  // empty when all that came back was written
  std::string lines;
  Files files;
};
// Opens these files, and holds what comes back against what was written.
Outcome reopen(const Files& files, const Chain& chain = small().chain,
               const Hash256& fingerprint = kFingerprint) {
  ++g_faults;
  Outcome out;
  auto disk = std::make_shared<CrashDisk>(files);
  auto store = Store::open(kDir, fingerprint, {.disk = disk});
  if (!store) return out.wrong = store.error().message, out;
  out.seen = restore_all(**store);
  out.wrong = unlike_prefix(out.seen, chain);
  for (const auto& line : out.seen.restored.lost) out.lines += line + "\n";
  if (out.wrong.empty() && out.seen.restored.manifest) {
    const auto& payload = out.seen.restored.manifest->payload;
    const std::size_t n = out.seen.restored.manifest->extents.size();
    if (payload.size() != 2 || payload[0] != static_cast<std::byte>(n - 1))
      out.wrong = "another payload";
  }
  // The damage is gone from where it could be read again, and the same can be committed anew.
  if (out.wrong.empty() && fingerprint == kFingerprint) {
    const std::byte payload[] = {std::byte{2}, std::byte{7}};
    for (const Piece& p : chain)
      if (auto done = put(**store, p); !done) out.wrong = "put again: " + done.error().message;
    if (auto done = (*store)->commit(names(chain, chain.size()), payload); !done)
      out.wrong = "commit again: " + done.error().message;
    store->reset();
    store = Store::open(kDir, fingerprint, {.disk = disk});
    const Seen again = restore_all(**store);
    if (out.wrong.empty() &&
        (again.restored.n_extents != chain.size() || !unlike_prefix(again, chain).empty()))
      out.wrong = "not whole after it was put again";
  }
  out.files = disk->files();
  return out;
}

Bytes& at(Files& files, const std::string& path) {
  EXPECT_TRUE(files.contains(path)) << path;
  return files[path];
}

bool quarantined(const Files& files, const std::string& name) {
  return std::any_of(files.begin(), files.end(), [&](const auto& f) {
    return f.first.find("/quarantine/") != std::string::npos && f.first.ends_with(name);
  });
}

TEST_F(Corruption, WithoutAnyAllComesBack) {
  const Outcome out = reopen(small().files);
  EXPECT_EQ(out.wrong, "");
  EXPECT_EQ(out.lines, "");
  EXPECT_EQ(out.seen.restored.n_extents, 3u);
}

TEST_F(Corruption, AFlippedBitAnywhereInAnExtentEndsTheChainBeforeIt) {
  const Written& w = small();
  for (std::size_t extent = 0; extent < 3; ++extent) {
    const Bytes& file = w.files.at(w.extent(extent));
    const ExtentHeader header = *decode_header(file);
    const ExtentLayout l = layout_of(header);
    std::vector<std::size_t> where;
    const auto every = [&](std::size_t begin, std::size_t end, std::size_t step) {
      for (std::size_t i = begin; i < end; i += step) where.push_back(i);
    };
    const bool all = extent == 1;           // every byte of every field once; samples in the others
    every(0, 224, all ? 1 : 37);            // the header's fields
    every(224, kExtentHeadBytes - 8, 401);  // zeros
    every(kExtentHeadBytes - 8, kExtentHeadBytes, 1);  // its checksum
    every(l.tokens_at, l.tokens_at + 4 * header.n_tokens, 211);
    every(l.pages_at, l.frontier_at, 307);
    every(l.frontier_at, l.sums_at, 173);
    every(l.sums_at, l.sums_at + 8 * l.n_blocks, 1);
    every(l.sums_at + 8 * l.n_blocks, l.footer_at, 509);  // zeros
    every(l.footer_at, l.footer_at + 56, all ? 1 : 13);
    every(l.footer_at + 56, l.total - 8, 499);
    every(l.total - 8, l.total, 1);
    for (const std::size_t i : where) {
      Files files = w.files;
      at(files, w.extent(extent))[i] ^= static_cast<std::byte>(1 << (i % 8));
      const Outcome out = reopen(files);
      ASSERT_EQ(out.wrong, "") << "extent " << extent << ", byte " << i << "\n" << out.lines;
      ASSERT_EQ(out.seen.restored.n_extents, extent) << "byte " << i;
      ASSERT_THAT(out.lines, HasSubstr(to_hex(w.chain[extent].chain_out))) << "byte " << i;
      ASSERT_TRUE(quarantined(out.files, to_hex(w.chain[extent].chain_out) + ".ext"))
          << "byte " << i;
    }
  }
}

TEST_F(Corruption, AFlippedBitInALargeExtentIsFoundInWhateverBlock) {
  const Written w = write_store(kFingerprint, 6, 700000);
  const std::size_t size = w.files.at(w.extent(1)).size();
  for (std::size_t i = 5000; i < size; i += size / 9) {
    Files files = w.files;
    at(files, w.extent(1))[i] ^= std::byte{16};
    const Outcome out = reopen(files, w.chain);
    ASSERT_EQ(out.wrong, "") << "byte " << i << "\n" << out.lines;
    ASSERT_EQ(out.seen.restored.n_extents, 1u) << "byte " << i;
    ASSERT_THAT(out.lines, HasSubstr("checksum")) << "byte " << i;
  }
}

TEST_F(Corruption, AFlippedBitInTheManifestFallsBackToTheOneBefore) {
  const Written& w = small();
  const std::string path = fmt::format("{}/epochs/{}", kDir, manifest_name(2));
  for (std::size_t i = 0; i < w.files.at(path).size(); ++i) {
    Files files = w.files;
    at(files, path)[i] ^= static_cast<std::byte>(1 << (i % 8));
    for (const bool with_current : {true, false}) {  // whose hash of the manifest finds it too
      if (!with_current) files.erase(fmt::format("{}/CURRENT", kDir));
      const Outcome out = reopen(files);
      ASSERT_EQ(out.wrong, "") << "byte " << i << "\n" << out.lines;
      ASSERT_EQ(out.seen.restored.n_extents, 2u) << "byte " << i;
      ASSERT_THAT(out.lines, HasSubstr("epoch-000002.man")) << "byte " << i;
      ASSERT_TRUE(quarantined(out.files, "epoch-000002.man"));
    }
  }
}

TEST_F(Corruption, AFlippedBitInCurrentFallsBackToTheNewestManifest) {
  const Written& w = small();
  const std::string path = fmt::format("{}/CURRENT", kDir);
  for (std::size_t i = 0; i < w.files.at(path).size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      Files files = w.files;
      at(files, path)[i] ^= static_cast<std::byte>(1 << bit);
      const Outcome out = reopen(files);
      ASSERT_EQ(out.wrong, "") << "byte " << i << "\n" << out.lines;
      ASSERT_EQ(out.seen.restored.n_extents, 3u) << "byte " << i;
      ASSERT_THAT(out.lines, HasSubstr("CURRENT: ")) << "byte " << i;
      ASSERT_THAT(out.lines, HasSubstr("epoch-000002.man is used instead")) << "byte " << i;
    }
}

TEST_F(Corruption, AFileCutOrGrownToAnyLengthShortensTheChain) {
  const Written& w = small();
  for (const auto& [path, bytes] : w.files) {
    if (path.ends_with("LOCK")) continue;
    std::vector<std::size_t> sizes{0,
                                   1,
                                   bytes.size() / 3,
                                   bytes.size() / 2,
                                   bytes.size() - 1,
                                   bytes.size() + 1,
                                   bytes.size() + 4096};
    for (std::size_t n = 0; n<bytes.size(); n += bytes.size()> 1000 ? 1789 : 17) sizes.push_back(n);
    for (std::size_t n = 4096; n < bytes.size(); n += 4096) sizes.push_back(n);
    for (const std::size_t n : sizes) {
      Files files = w.files;
      at(files, path).resize(n);
      const Outcome out = reopen(files);
      ASSERT_EQ(out.wrong, "") << path << " of " << n << " bytes\n" << out.lines;
      // Nobody asks for the epoch before while the last one is whole.
      if (!path.ends_with("epoch-000001.man")) {
        ASSERT_NE(out.lines, "") << path << " of " << n << " bytes";
      }
    }
  }
}

TEST_F(Corruption, AMissingFileShortensTheChain) {
  const Written& w = small();
  for (const auto& [path, bytes] : w.files) {
    Files files = w.files;
    files.erase(path);
    const Outcome out = reopen(files);
    ASSERT_EQ(out.wrong, "") << path << "\n" << out.lines;
    for (std::size_t i = 0; i < 3; ++i)
      if (path == w.extent(i)) {
        EXPECT_EQ(out.seen.restored.n_extents, i) << out.lines;
      }
  }
}

TEST_F(Corruption, ExchangedAndRenamedExtentsAreNotAccepted) {
  const Written& w = small();
  for (std::size_t a = 0; a < 3; ++a)
    for (std::size_t b = 0; b < 3; ++b) {
      if (a == b) continue;
      Files files = w.files;
      // Contents exchanged are names exchanged
      std::swap(at(files, w.extent(a)), at(files, w.extent(b)));
      Outcome out = reopen(files);
      ASSERT_EQ(out.wrong, "") << out.lines;
      ASSERT_EQ(out.seen.restored.n_extents, std::min(a, b));
      ASSERT_THAT(out.lines,
                  HasSubstr("it is extent " + to_hex(w.chain[std::max(a, b)].chain_out)));
      files = w.files;
      at(files, w.extent(a)) = w.files.at(w.extent(b));  // one in the place of the other
      out = reopen(files);
      ASSERT_EQ(out.wrong, "") << out.lines;
      ASSERT_EQ(out.seen.restored.n_extents, a);
    }
}

// Sound extents, each valid for itself, that are not the chain: what only the chain hash can tell.
TEST_F(Corruption, ASoundExtentOfAnotherChainIsNotAccepted) {
  const Written& w = small();
  const Written other = write_store(kFingerprint, 99);
  for (std::size_t i = 0; i < 3; ++i) {
    Files files = w.files;
    at(files, w.extent(i)) = other.files.at(other.extent(i));
    // And with a header that claims to be the right one: then its tokens are not those of the name.
    Bytes forged = other.files.at(other.extent(i));
    ExtentHeader header = *decode_header(forged);
    header.chain_in = w.chain[i].chain_in;
    header.chain_out = w.chain[i].chain_out;
    const ExtentLayout l = layout_of(header);
    encode_header(header, std::span<std::byte, kExtentHeadBytes>(forged.data(), kExtentHeadBytes));
    std::vector<std::uint64_t> sums;  // all smaller than a block
    sums.push_back(checksum(std::span(forged).first(l.sums_at)));
    const auto tail = encode_tail(l, std::span(forged).first(kExtentHeadBytes), sums);
    std::copy(tail.begin(), tail.end(), forged.begin() + static_cast<std::ptrdiff_t>(l.sums_at));
    Outcome out = reopen(files);
    ASSERT_EQ(out.wrong, "") << out.lines;
    ASSERT_EQ(out.seen.restored.n_extents, i);
    at(files, w.extent(i)) = forged;
    out = reopen(files);
    ASSERT_EQ(out.wrong, "") << out.lines;
    ASSERT_EQ(out.seen.restored.n_extents, i);
    ASSERT_THAT(out.lines, HasSubstr("its tokens are not those of its name"));
  }
}

TEST_F(Corruption, AForeignFingerprintGivesNothing) {
  const Written& w = small();
  const Outcome out = reopen(w.files, w.chain, fingerprint_of(2));
  EXPECT_EQ(out.wrong, "");
  EXPECT_FALSE(out.seen.restored.manifest);
  EXPECT_THAT(out.lines, HasSubstr("epoch-000002.man: another engine or checkpoint made it"));
  // A foreign extent in our chain.
  const Written foreign = write_store(fingerprint_of(2), 5);
  for (std::size_t i = 0; i < 3; ++i) {
    Files files = w.files;
    at(files, w.extent(i)) = foreign.files.at(foreign.extent(i));
    const Outcome mixed = reopen(files);
    ASSERT_EQ(mixed.wrong, "");
    ASSERT_EQ(mixed.seen.restored.n_extents, i);
    ASSERT_THAT(mixed.lines, HasSubstr("another engine or checkpoint made it"));
  }
  // And a foreign store's CURRENT and manifests over our extents.
  Files files = w.files;
  for (const auto& [path, bytes] : foreign.files)
    if (path.find("/ext/") == std::string::npos) files[path] = bytes;
  const Outcome mixed = reopen(files);
  EXPECT_EQ(mixed.wrong, "");
  EXPECT_EQ(mixed.seen.restored.n_extents, 0u);
}

TEST_F(Corruption, AReadThatFailsShortensTheChain) {
  for (std::size_t after = 0; after < 60; ++after) {
    ++g_faults;
    auto disk = std::make_shared<CrashDisk>(small().files);
    auto store = Store::open(kDir, kFingerprint, {.disk = disk});
    ASSERT_TRUE(store);
    disk->fail_reads(EIO, after);
    const Seen seen = restore_all(**store);
    ASSERT_EQ(unlike_prefix(seen, small().chain), "") << "after " << after << " reads";
    if (seen.restored.n_extents < 3) {
      ASSERT_FALSE(seen.restored.lost.empty()) << "after " << after << " reads";
    }
  }
}

// Too many open files say nothing about a file: it stays, and comes back when it can be read.
TEST_F(Corruption, AFileThatCannotBeReadForNowStaysWhereItIs) {
  for (std::size_t after = 0; after < 30; ++after) {
    ++g_faults;
    auto disk = std::make_shared<CrashDisk>(small().files);
    auto store = Store::open(kDir, kFingerprint, {.disk = disk});
    ASSERT_TRUE(store);
    disk->fail_reads(EMFILE, after);
    const Seen seen = restore_all(**store);
    ASSERT_EQ(unlike_prefix(seen, small().chain), "") << "after " << after << " reads";
    disk->fail_reads(0, 0);
    const Seen again = restore_all(**store);
    ASSERT_EQ(again.restored.n_extents, 3u) << "after " << after << " reads";
    ASSERT_EQ(disk->files(), small().files);
  }
}

}  // namespace
}  // namespace lares::daemon::store::test
