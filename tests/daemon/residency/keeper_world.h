// nano, a directory whose base it has evaluated before and after a change, and what a Keeper makes
// of that.
#pragma once

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "daemon/residency/compose.h"
#include "daemon/residency/keeper.h"
#include "daemon/store/extent_format.h"
#include "tests/daemon/residency/kept_bases.h"
#include "tests/tools/scratch.h"
#include "tools/workspace/scanner.h"

namespace lares::daemon::test {

namespace fs = std::filesystem;
using engine::PrefixRef;
using engine::Token;

inline constexpr std::int64_t kCut = 1024;
inline const ComposeOptions kOptions{.tokens_max = 8'000};

inline std::unique_ptr<engine::Engine> load(bool exact) {
  auto loaded = engine::load(
      {.directory = LARES_SOURCE_DIR "/engine/nano/checkpoint", .n_threads = 2, .exact = exact},
      {});
  if (!loaded) std::abort();
  return std::move(*loaded);
}
inline engine::Engine& nano() {
  static const auto kEngine = load(false);
  return *kEngine;
}

// A base and its prefixes, as its caller has them.
struct Evaluated {
  std::shared_ptr<const Base> base;
  std::vector<PrefixRef> prefixes;
};
inline Evaluated evaluated(std::shared_ptr<const Base> base, const PrefixRef& from = nullptr) {
  Evaluated out{base, {}};
  const auto timeline = nano().timeline(from);
  const auto n = static_cast<std::int64_t>(base->tokens.size()), last = n / kKeptStep * kKeptStep;
  for (std::int64_t end = from ? static_cast<std::int64_t>(from->tokens().size()) : 0;
       end < last;) {
    end = std::min(end + kCut, last);
    EXPECT_TRUE(
        timeline->sync(std::span(base->tokens).first(static_cast<std::size_t>(end)), {}, {}));
    out.prefixes.push_back(timeline->prefix(end));
  }
  return out;
}

// A directory of some files, more than fit in the base.
struct World {
  tools::test::Scratch dir;
  const std::vector<Token> head = nano().tokenizer().encode("You are.", true);
  // `second`: a file behind the first third changed, and from there on all is written anew
  Evaluated first, second;
  std::size_t cut = 0;  // its place in first.base->files
  std::int64_t n_common = 0;
  std::size_t n_shared = 0;  // prefixes of both

  World() {
    for (const auto& [path, file] : many(40, 60))
      if (file.text) dir.write(path, *file.text);
    dir.write("crlf.txt", "on disk\r\nwith more\r\n");
    dir.write("no-newline.txt", "the last line has none");
    dir.write("empty.txt", "");
    dir.write(".env", "A=q7Hk2LmX9vTz4RbYc8WnJ5sDgF1pA6uEoQ3x\n");
    dir.write("logo.png", std::string("\x89PNG\0\0", 6));
    TokenCache cache(nano().tokenizer(), {});
    first = evaluated(std::make_shared<const Base>(compose(head, scanned(), {}, cache, kOptions)));
    const auto& files = first.base->files;
    while (files[cut].source.shown != tools::Shown::full ||
           files[cut].start < first.base->files_end / 3 || files[cut].n_tokens < 100)
      ++cut;
    dir.write(files[cut].source.path, dir.read(files[cut].source.path) + "// one line more\n");
    const auto second_base = std::make_shared<const Base>(
        recompose(head, *first.base, cut, scanned(), {}, cache, kOptions));
    n_common = std::ranges::mismatch(first.base->tokens, second_base->tokens).in1 -
               first.base->tokens.begin();
    n_shared = static_cast<std::size_t>(n_common / kCut);
    second = evaluated(second_base, first.prefixes[n_shared - 1]);
    second.prefixes.insert(second.prefixes.begin(), first.prefixes.begin(),
                           first.prefixes.begin() + static_cast<std::ptrdiff_t>(n_shared));
  }
  tools::Workspace scanned() const {
    tools::Scanner scanner({dir.root(), {}});
    if (!scanner.scan()) std::abort();
    return scanner.files();
  }
};
inline const World& world() {
  static const World kWorld;
  return kWorld;
}

inline std::unique_ptr<Keeper> open(const std::string& directory, Keeper::Options options = {}) {
  options.tokenizer_id = "nano";
  auto opened = Keeper::open(directory, nano(), std::move(options));
  EXPECT_TRUE(opened) << opened.error();
  return opened ? std::move(*opened) : nullptr;
}
// All lines it said.
inline std::vector<std::string> keep(Keeper& keeper, const Evaluated& e, std::uint64_t epoch,
                                     std::size_t n = SIZE_MAX) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < std::min(n, e.prefixes.size()); ++i)
    if (auto kept = keeper.keep(e.prefixes[i], e.base, epoch); !kept) out.push_back(kept.error());
  return out;
}

inline void expect_equal(const engine::Prefix& back, const engine::Prefix& prefix) {
  ASSERT_TRUE(std::ranges::equal(back.tokens(), prefix.tokens()));
  ASSERT_EQ(back.n_pages(), prefix.n_pages());
  for (std::int64_t i = 0; i < prefix.n_pages(); ++i)
    ASSERT_TRUE(std::ranges::equal(back.page(i), prefix.page(i))) << "page " << i;
  ASSERT_TRUE(std::ranges::equal(back.frontier(), prefix.frontier()));
}
inline void expect_restored(const std::optional<Keeper::Restored>& back, const Evaluated& e,
                            std::uint64_t epoch, std::size_t n_prefixes) {
  ASSERT_TRUE(back);
  EXPECT_EQ(back->epoch, epoch);
  expect_equal(*back->base, *e.base);
  ASSERT_EQ(back->prefixes.size(), n_prefixes);
  for (std::size_t i = 0; i < n_prefixes; ++i) {
    SCOPED_TRACE(i);
    expect_equal(*back->prefixes[i], *e.prefixes[i]);
  }
}

// What a turn on the base draws, with the twenty likeliest and their log-probabilities each time.
inline std::pair<std::vector<Token>, std::vector<std::pair<Token, float>>> drawn(
    const PrefixRef& from, const Base& base) {
  const auto timeline = nano().timeline(from);
  std::vector<Token> prompt = base.tokens;
  const auto turn = nano().tokenizer().encode("What does f3 return?", false);
  prompt.insert(prompt.end(), turn.begin(), turn.end());
  EXPECT_EQ(timeline->sync(prompt, {}, {}).value(),
            static_cast<std::int64_t>(prompt.size() - from->tokens().size()));
  std::pair<std::vector<Token>, std::vector<std::pair<Token, float>>> out;
  for (int i = 0; i < 16; ++i) {
    out.first.push_back(timeline->next({.temperature = 0}, nullptr).value());
    const auto top = timeline->logprobs(engine::kLogprobsMax).top;
    out.second.insert(out.second.end(), top.begin(), top.end());
  }
  return out;
}

struct ExtentFile {
  fs::path path;
  std::uint64_t pos0;
};
// In the order of their tokens.
inline std::vector<ExtentFile> extent_files(const std::string& directory) {
  std::vector<ExtentFile> out;
  for (const auto& entry : fs::recursive_directory_iterator(directory + "/ext")) {
    if (!entry.is_regular_file()) continue;
    std::vector<std::byte> head(store::kExtentHeadBytes);
    std::ifstream(entry.path(), std::ios::binary)
        .read(reinterpret_cast<char*>(head.data()), static_cast<std::streamsize>(head.size()));
    out.push_back({entry.path(), store::decode_header(head).value().pos0});
  }
  std::ranges::sort(out, {}, &ExtentFile::pos0);
  return out;
}
inline void flip(const fs::path& path) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  const auto at = static_cast<std::streamoff>(fs::file_size(path) / 2);
  file.seekg(at);
  const char was = static_cast<char>(file.get());
  file.seekp(at);
  file.put(static_cast<char>(was ^ 1));
}

}  // namespace lares::daemon::test
