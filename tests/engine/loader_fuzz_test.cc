// Damaged headers, configs and indexes: every mutation gives an error or a model, never a crash. LARES_FUZZ_SECONDS and
// LARES_FUZZ_SEED say how long and from where; the same seed does the same things.
#include <chrono>
#include <cstdlib>
#include <random>

#include "engine/model/timeline.h"
#include "tests/engine/loader_files.h"

namespace lares::engine {
namespace {

using namespace test;

std::uint64_t from_environment(const char* name, std::uint64_t fallback) {
  const char* text = std::getenv(name);
  return text && *text ? std::strtoull(text, nullptr, 10) : fallback;
}

std::string mutated(std::string bytes, std::size_t begin, std::size_t end, std::mt19937_64& random) {
  static const char* const kWords[] = {"0", "-1", "1e308", "18446744073709551616", "4294967296", "null", "[]", "{}", "\"\"", "F32", "I8",
                                       "F8_E8M0", "F8_E4M3", "I64", "[[", "\\u0000", "data_offsets", "shape", "4611686018427387904", "2147483647"};
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % std::max<std::size_t>(n, 1)); };
  for (std::size_t n = 1 + below(3); n-- > 0;) {
    end = std::min(end, bytes.size());
    if (begin >= end) break;
    const std::size_t at = begin + below(end - begin);
    switch (below(7)) {
      case 0: bytes[at] = static_cast<char>(random()); break;
      case 1: bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8))); break;
      case 2: bytes.erase(at, 1 + below(16)); break;
      case 3: bytes.insert(at, bytes.substr(begin + below(end - begin), 1 + below(32))); break;
      case 4: {
        const std::string word = kWords[below(std::size(kWords))];
        bytes.replace(at, std::min(word.size(), bytes.size() - at), word);
        break;
      }
      case 5: {  // a digit of some number
        const auto digit = bytes.find_first_of("0123456789", at);
        if (digit != std::string::npos && digit < end) bytes[digit] = static_cast<char>('0' + below(10));
        break;
      }
      default: {  // a whole number, wherever the next one is
        const auto digit = bytes.find_first_of("0123456789", at);
        if (digit == std::string::npos || digit >= end) break;
        const auto stop = bytes.find_first_not_of("0123456789", digit);
        if (stop != std::string::npos) bytes.replace(digit, stop - digit, kWords[below(5)]);
      }
    }
  }
  return bytes;
}

TEST(LoaderFuzz, DamageGivesAnErrorOrAModel) {
  const auto seconds = from_environment("LARES_FUZZ_SECONDS", 3);
  const auto seed = from_environment("LARES_FUZZ_SEED", static_cast<std::uint64_t>(std::random_device{}()));
  std::printf("LARES_FUZZ_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  std::mt19937_64 random(seed);
  const char* const files[] = {"config.json", kIndex, kShard1};
  struct Whole {
    explicit Whole(const char* golden) : copy(golden) {}
    CheckpointCopy copy;
    std::string good[3];
    std::uint64_t header = 0;
  } wholes[] = {Whole("micro-flash"), Whole("tiny-dspark")};
  for (Whole& w : wholes) {
    for (int i = 0; i < 3; ++i) w.good[i] = read_all(w.copy.file(files[i]));
    std::memcpy(&w.header, w.good[2].data(), 8);
  }
  kernels::ThreadPool pool(1);
  int loaded = 0, refused = 0, ran = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (std::chrono::steady_clock::now() < end) {
    const auto which = random() % 3;
    const auto& [copy, good, header] = wholes[random() % 2];
    std::string bytes = mutated(good[which], 0, which == 2 ? 8 + header : good[which].size(), random);
    if (which == 2 && random() % 4 == 0) bytes.resize(random() % (bytes.size() + 1));
    if (which == 2 && bytes.size() >= 8 && random() % 2) {  // let the damage inside the header be seen
      const std::uint64_t n = header + bytes.size() - good[2].size();
      if (n <= bytes.size() - 8) std::memcpy(bytes.data(), &n, 8);
    }
    write_all(copy.file(files[which]), bytes);
    const auto weights = load_weights(copy.directory(), {});
    if (!weights) {
      ++refused;
      EXPECT_FALSE(weights.error().message.empty());
      EXPECT_EQ(weights.error().message.find('\n'), std::string::npos) << weights.error().message;
    } else {
      ++loaded;
      // What loads must run, whatever the damage made of its numbers. A wide window would only cost memory.
      if ((*weights)->checkpoint.config().sliding_window <= 4096 && (*weights)->checkpoint.config().hc_sinkhorn_iters <= 100) {
        Forward forward(**weights, random() % 2 == 0, pool, kernels::best());
        ModelTimeline timeline(**weights, forward, 64, 8, {.mode = Drafting::always, .copy = false});
        const std::vector<Token> tokens{1, 2, 3, 4, 5, 6, 7, 8, 9};
        ran += timeline.sync(tokens, {}, {}) && timeline.next({}, nullptr) && timeline.next({}, nullptr);
      }
    }
    write_all(copy.file(files[which]), good[which]);
  }
  std::printf("%d refused, %d loaded, %d of those evaluated tokens\n", refused, loaded, ran);
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace lares::engine
