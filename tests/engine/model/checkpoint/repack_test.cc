// Repacked weights change no bit of any result; their file is for one state of one checkpoint,
// complete or not there.
#include "engine/model/checkpoint/repack.h"
#include "engine/model/draft/dspark_drafter.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "engine/gpus.h"
#include "engine/inspect.h"
#include "tests/engine/model/golden.h"
#include "tests/temporary_directory.h"

namespace lares::engine {
namespace {

using namespace test;
using testing::HasSubstr;
namespace fs = std::filesystem;

class Repack : public testing::TestWithParam<const char*> {
 protected:
  // Logits of the golden's tokens, in chunks of `chunk`, and of what DSpark stages draft after
  // them.
  std::vector<float> logits(const Weights& weights, bool exact, int chunk) {
    const Golden golden(GetParam());
    const Config& c = weights.checkpoint.config();
    Forward forward(weights, exact, pool_, kernels::best());
    State state(weights, exact, chunk);
    const auto n = golden.tokens.size();
    std::optional<CpuDspark> drafter;
    if (weights.dspark) drafter.emplace(weights, forward);
    std::vector<float> x(n * c.hc_mult * c.hidden_size), out(n * c.vocab_size);
    for (std::size_t at = 0; at < n; at += static_cast<std::size_t>(chunk)) {
      const auto m = std::min<std::size_t>(chunk, n - at);
      forward.evaluate(
          state, std::span(golden.tokens).subspan(at, m), x.data(), [&](int layer, const float* y) {
            if (drafter) drafter->saw(layer, static_cast<std::int64_t>(at), static_cast<int>(m), y);
            return true;
          });
      forward.head(x.data(), static_cast<int>(m), out.data() + at * c.vocab_size);
    }
    if (drafter) {
      std::vector<Token> guesses;
      drafter->drop_to(static_cast<std::int64_t>(n) - 1);
      drafter->draft(golden.tokens, drafter->guesses_max(), guesses);
      EXPECT_FALSE(guesses.empty());
      out.insert(out.end(), drafter->block().logits.begin(), drafter->block().logits.end());
      out.insert(out.end(), drafter->block().confidence.begin(), drafter->block().confidence.end());
    }
    return out;
  }
  Result<> map(const std::string& checkpoint) {
    auto weights = golden_weights(checkpoint);
    Repacked repacked;
    return repacked.map(*weights, path_);
  }
  void write() {
    auto weights = golden_weights(GetParam());
    const auto written = write_tiles(*weights, path_, pool_, {}, {});
    ASSERT_TRUE(written) << written.error().message;
    EXPECT_EQ(*written, fs::file_size(path_));
    // Nothing is left of the draft
    EXPECT_EQ(std::distance(fs::directory_iterator(directory_), {}), 1);
  }

  kernels::ThreadPool pool_{2};
  const TemporaryDirectory made_;
  const fs::path directory_ = made_.path(), path_ = directory_ / kRepackFile;
};

TEST_P(Repack, ChangesNoBit) {
  auto plain = golden_weights(GetParam());
  for (const bool exact : {true, false})
    for (const int chunk : {1, 7, 256}) {
      const auto want = logits(*plain, exact, chunk);
      auto weights = golden_weights(GetParam());
      Repacked repacked;
      ASSERT_TRUE(repacked.build(*weights, pool_, {}));
      EXPECT_GT(repacked.count(), weights->matrices.size() / 2);  // or nothing was compared
      EXPECT_LE(repacked.memory_bytes(), repacked_bytes(*weights));
      EXPECT_EQ(logits(*weights, exact, chunk), want) << exact << " " << chunk;
    }
}

TEST_P(Repack, TheFileHoldsTheSame) {
  ASSERT_EQ(map(GetParam()).error().code, Errc::not_found);
  write();
  auto weights = golden_weights(GetParam()), built = golden_weights(GetParam());
  Repacked mapped, in_memory;
  const auto done = mapped.map(*weights, path_);
  ASSERT_TRUE(done) << done.error().message;
  ASSERT_TRUE(in_memory.build(*built, pool_, {}));
  EXPECT_EQ(mapped.count(), in_memory.count());
  EXPECT_EQ(mapped.memory_bytes(), 0u);
  EXPECT_EQ(logits(*weights, false, 64), logits(*built, false, 64));
}

TEST_P(Repack, AnotherCheckpointsFileIsRefused) {
  write();
  const auto other = map(std::string(GetParam()) == "micro-flash" ? "micro-pro" : "micro-flash");
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message, HasSubstr("made from other files"));
}

TEST_P(Repack, ADamagedFileIsRefusedWhereverItIsCut) {
  write();
  const auto size = fs::file_size(path_);
  for (const auto keep : {std::uintmax_t{0}, std::uintmax_t{7}, std::uintmax_t{8},
                          std::uintmax_t{100}, std::uintmax_t{4096}, size / 2, size - 1}) {
    fs::resize_file(path_, keep);
    const auto done = map(GetParam());
    ASSERT_FALSE(done) << keep;
    EXPECT_EQ(done.error().code, Errc::malformed) << keep << ": " << done.error().message;
    write();
  }
  // A header that lies: about its length, a name, a place.
  for (const auto& [from, to] : {std::pair<std::string, std::string>{"{\"bytes", "\xFF\"bytes"},
                                 {"\"version\":3", "\"version\":2"},
                                 {"head", "hEad"},
                                 {"layers.0.attn.wq_a\",", "layers.0.attn.wq_a\",9"}}) {
    std::string bytes;
    {
      std::ifstream in(path_, std::ios::binary);
      bytes.assign(std::istreambuf_iterator<char>(in), {});
    }
    const auto at = bytes.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    bytes.replace(at, to.size(), to);
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
    EXPECT_FALSE(map(GetParam())) << to;
    write();
  }
}

TEST_P(Repack, WhatCannotBeWrittenLeavesNothing) {
  auto weights = golden_weights(GetParam());
  const auto done = write_tiles(*weights, directory_ / "missing" / "file", pool_, {}, {});
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, HasSubstr("cannot be created: No such file or directory"));
  EXPECT_TRUE(fs::is_empty(directory_));
}

INSTANTIATE_TEST_SUITE_P(, Repack, testing::Values("micro-flash", "micro-pro", "tiny-dspark"),
                         [](const auto& which) { return std::string(which.param).substr(6); });

// ---- the file of a checkpoint that lies in a directory of its own

const std::string kNano = std::string(LARES_SOURCE_DIR) + "/engine/nano/checkpoint";
const std::string kLargeShard = "model-00002-of-00003.safetensors";
constexpr std::uint64_t kMemory = 130'000'000;  // bytes: nano's tiles are not built in memory then

class TilesFiles : public testing::Test {
 protected:
  void SetUp() override { fs::copy(kNano, checkpoint_); }

  std::unique_ptr<Weights> weights() const {
    auto out = load_weights(checkpoint_, {});
    EXPECT_TRUE(out);
    return std::move(*out);
  }
  Result<std::uint64_t> write(const Progress& progress = {}, std::stop_token stop = {}) {
    auto w = weights();
    return write_tiles(*w, tiles_, pool_, stop, progress);
  }
  std::string why_not() const {  // empty: the file would be used
    const auto opened = open_tiles(*weights(), tiles_);
    return opened ? "" : opened.error().message;
  }
  static void flip(const fs::path& file, std::streamoff at) {
    std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
    f.seekg(at);
    const char c = static_cast<char>(f.get() ^ 1);
    f.seekp(at);
    f.put(c);
  }
  std::size_t files_beside() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(checkpoint_), {}));
  }
  std::vector<std::string> notes() const {
    const auto engine = load_on(
        {.device = "cpu", .gpu_memory = 0, .tiles_directory = private_},
        {.directory = checkpoint_, .n_threads = 2, .n_context = 4096, .memory = kMemory}, {});
    EXPECT_TRUE(engine) << engine.error().message;
    return (*engine)->info().notes;
  }

  kernels::ThreadPool pool_{2};
  const TemporaryDirectory made_;
  const fs::path directory_ = made_.path(), checkpoint_ = directory_ / "nano",
                 private_ = directory_ / "cache" / "tiles", tiles_ = checkpoint_ / kRepackFile;
};

TEST_F(TilesFiles, AreNotUsedForWeightsThatChangedInOneBit) {
  ASSERT_TRUE(write());
  EXPECT_EQ(why_not(), "");
  const auto before = checkpoint_fingerprint(weights()->checkpoint);
  flip(checkpoint_ / kLargeShard, 1'500'000);
  // No sample lies there, so the times must tell
  EXPECT_EQ(checkpoint_fingerprint(weights()->checkpoint), before);
  EXPECT_THAT(why_not(), HasSubstr("made from other files"));
  ASSERT_TRUE(write());
  EXPECT_EQ(why_not(), "");
}

TEST_F(TilesFiles, AreUsedForACopyThatKeptTheTimesAndNoOther) {
  ASSERT_TRUE(write());
  const fs::path shard = checkpoint_ / kLargeShard;
  struct stat s {};
  ASSERT_EQ(::stat(shard.c_str(), &s), 0);
  for (const long more : {1L, 0L}) {  // one nanosecond is another state
    const timespec times[2] = {
        s.st_atim,
        {s.st_mtim.tv_sec,
         s.st_mtim.tv_nsec == 999'999'999 ? s.st_mtim.tv_nsec - more : s.st_mtim.tv_nsec + more}};
    ASSERT_EQ(::utimensat(AT_FDCWD, shard.c_str(), times, 0), 0);
    EXPECT_EQ(why_not().empty(), more == 0) << why_not();
  }
  for (const char* name : {"config.json", "model.safetensors.index.json"}) {
    std::ofstream(checkpoint_ / name, std::ios::app) << "\n";
    EXPECT_THAT(why_not(), HasSubstr("made from other files")) << name;
    ASSERT_TRUE(write());
    EXPECT_EQ(why_not(), "");
  }
}

TEST_F(TilesFiles, AreNotKeptWhenTheCheckpointChangesMeanwhile) {
  const std::size_t before = files_beside();
  const auto done = write([&](std::int64_t at, std::int64_t total) {
    if (at == total) flip(checkpoint_ / kLargeShard, 1'500'000);
  });
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, HasSubstr("changed meanwhile"));
  EXPECT_EQ(files_beside(), before);
}

TEST_F(TilesFiles, ACancelledWriterLeavesNothing) {
  const std::size_t before = files_beside();
  std::stop_source stop;
  const auto half = [&](std::int64_t at, std::int64_t total) {
    if (2 * at > total) stop.request_stop();
  };
  const auto done = write(half, stop.get_token());
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::cancelled);
  EXPECT_EQ(files_beside(), before);
}

TEST_F(TilesFiles, TwoWritersDoNotMeet) {
  std::string second;
  const auto first = write([&](std::int64_t, std::int64_t) {
    if (const auto done = write(); !done)
      second = done.error().message;
    else
      second = "written";
  });
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_THAT(second, testing::AllOf(HasSubstr(fmt::format("{}.{}.", kRepackFile, ::getpid())),
                                     HasSubstr("is writing in this directory")));
  EXPECT_EQ(why_not(), "");
  EXPECT_TRUE(check_tiles(*open_tiles(*weights(), tiles_), tiles_, pool_, {}));
}

TEST_F(TilesFiles, WhatAKilledWriterLeavesIsNotUsedAndGoesWithTheNext) {
  const std::size_t before = files_beside();
  const pid_t child = ::fork();
  if (child == 0) {
    kernels::ThreadPool pool(1);
    auto w = load_weights(checkpoint_, {});
    (void)write_tiles(**w, tiles_, pool, {}, [](std::int64_t done, std::int64_t total) {
      if (2 * done > total) ::raise(SIGKILL);
    });
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(files_beside(), before + 1);
  EXPECT_FALSE(fs::exists(tiles_));
  std::ofstream(tiles_.string() + ".part") << "of an earlier version";
  std::ofstream(tiles_.string() + ".mine.part") << "somebody's";
  ASSERT_TRUE(write());
  EXPECT_EQ(files_beside(), before + 2);
  EXPECT_TRUE(fs::exists(tiles_.string() + ".mine.part"));
}

TEST_F(TilesFiles, OneBitAnywhereIsFoundAndItsMatrixNamed) {
  ASSERT_TRUE(write());
  std::size_t last = 0;
  for (const double share : {0.0, 0.4, 0.999}) {
    const auto w = weights();
    auto opened = open_tiles(*w, tiles_);
    ASSERT_TRUE(opened);
    last = std::min(opened->slots.size() - 1,
                    static_cast<std::size_t>(share * static_cast<double>(opened->slots.size())));
    const Slot& slot = opened->slots[last];
    const auto at = static_cast<std::streamoff>(
        static_cast<std::uint64_t>(opened->data - opened->file.bytes().data()) + slot.end - 1);
    ASSERT_TRUE(check_tiles(*opened, tiles_, pool_, {}));
    flip(tiles_, at);
    EXPECT_EQ(why_not(), "");  // headers and sizes alone are looked at when a model is loaded
    const auto done = check_tiles(*open_tiles(*w, tiles_), tiles_, pool_, {});
    ASSERT_FALSE(done) << slot.of->name;
    EXPECT_THAT(done.error().message,
                testing::AllOf(HasSubstr(slot.of->name + " is not as it was written"),
                               HasSubstr("lares model repack")));
    flip(tiles_, at);
  }
}

TEST_F(TilesFiles, ALoadSaysWhyTilesThatAreThereAreNotUsed) {
  EXPECT_THAT(notes(), testing::Contains(HasSubstr("lares model repack")));
  ASSERT_TRUE(write());
  EXPECT_THAT(notes(), testing::Not(testing::Contains(HasSubstr("tiles"))));
  flip(checkpoint_ / kLargeShard, 1'500'000);
  EXPECT_THAT(notes(), testing::Contains(testing::AllOf(HasSubstr("tiles are not used"),
                                                        HasSubstr(tiles_.string()),
                                                        HasSubstr("made from other files"))));
  const auto engine = load({.directory = checkpoint_, .n_threads = 2}, {});
  ASSERT_TRUE(engine);
  EXPECT_THAT((*engine)->info().notes,
              testing::Contains(HasSubstr(tiles_.string() + " is not read: models of this size")));
}

// Not a number in the tiles, while the weights are whole: the message must not blame them alone.
TEST_F(TilesFiles, AreNamedWhereALogitIsNotANumber) {
  ASSERT_TRUE(write());
  {
    const auto w = weights();
    const auto opened = open_tiles(*w, tiles_);
    std::fstream f(tiles_, std::ios::in | std::ios::out | std::ios::binary);
    for (const Slot& slot : opened->slots) {
      if (slot.of->name.find("wq_a") == std::string::npos) continue;
      f.seekp(static_cast<std::streamoff>(
          static_cast<std::uint64_t>(opened->data - opened->file.bytes().data()) + slot.at));
      for (std::uint64_t i = slot.at; i < slot.end; ++i) f.put('\x7F');
    }
  }
  const auto engine = load(
      {.directory = checkpoint_, .n_threads = 2, .n_context = 4096, .memory = kMemory}, {});
  ASSERT_TRUE(engine) << engine.error().message;
  const auto timeline = (*engine)->timeline();
  ASSERT_TRUE(timeline->sync(std::vector<Token>{0, 5, 7}, {}, {}));
  const auto token = timeline->next({.temperature = 0}, nullptr);
  ASSERT_FALSE(token);
  EXPECT_THAT(token.error().message,
              testing::AllOf(HasSubstr("is not a number"), HasSubstr(tiles_.string())));
}

// Runs `f` as somebody who may not write what root owns; its result is the exit status.
template <class F>
int as_somebody(F f) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::getuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) ::_exit(100);
    ::_exit(f());
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(TilesFiles, GoToThePrivateDirectoryWhereTheCheckpointsIsReadOnlyAndAreFoundThere) {
  fs::permissions(directory_, fs::perms::all);
  fs::permissions(checkpoint_, fs::perms::owner_read | fs::perms::owner_exec |
                                   fs::perms::others_read | fs::perms::others_exec);
  const int status = as_somebody([&] {
    const auto done = repack_checkpoint(checkpoint_, private_, 1, {}, {});
    if (!done) return 1;
    if (done->path.find(private_.string() + "/") != 0 ||
        done->elsewhere.find("Permission denied") == std::string::npos)
      return 2;
    struct stat s {};
    if (::stat(private_.c_str(), &s) != 0 || (s.st_mode & 0777) != 0700) return 3;
    const auto w = load_weights(checkpoint_, {});
    Repacked repacked;
    std::vector<std::string> why;
    if (!repacked.map_first(**w, tiles_paths((*w)->checkpoint, private_), why)) return 4;
    return repacked.count() > 0 && (*w)->tiles_file == done->path ? 0 : 5;
  });
  EXPECT_EQ(status, 0);
  fs::permissions(checkpoint_, fs::perms::owner_all);
  EXPECT_FALSE(fs::exists(tiles_));
}

TEST_F(TilesFiles, ReplaceNothingButAFile) {
  fs::create_directory(tiles_);
  ASSERT_FALSE(write());
  EXPECT_TRUE(fs::is_directory(tiles_));
  fs::remove(tiles_);
  const fs::path elsewhere = directory_ / "elsewhere.bin";
  std::ofstream(elsewhere) << "";
  fs::create_symlink(elsewhere, tiles_);
  ASSERT_TRUE(write());
  EXPECT_TRUE(fs::is_symlink(tiles_));
  EXPECT_EQ(why_not(), "");
}

}  // namespace
}  // namespace lares::engine
