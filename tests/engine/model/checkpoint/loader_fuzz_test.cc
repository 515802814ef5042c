// Damaged headers, configs and indexes: every mutation gives an error or a model, never a crash.
#include <cstring>

#include "engine/model/timeline.h"
#include "tests/engine/model/checkpoint/loader_files.h"
#include "tests/fuzz.h"

namespace lares::engine {
namespace {

using namespace test;

constexpr std::string_view kDigits = "0123456789";
const fuzz::Words kNumbers = {"0", "-1", "1e308", "18446744073709551616", "4294967296"};
const fuzz::Words kWords = {"0",
                            "-1",
                            "1e308",
                            "18446744073709551616",
                            "4294967296",
                            "null",
                            "[]",
                            "{}",
                            "\"\"",
                            "F32",
                            "I8",
                            "F8_E8M0",
                            "F8_E4M3",
                            "I64",
                            "[[",
                            "\\u0000",
                            "data_offsets",
                            "shape",
                            "4611686018427387904",
                            "2147483647"};

// The length stays
void write_word_over(std::string& bytes, std::size_t at, fuzz::Random& random) {
  const std::string& word = kWords[fuzz::below(kWords.size(), random)];
  bytes.replace(at, std::min(word.size(), bytes.size() - at), word);
}
void change_digit(std::string& bytes, std::size_t at, fuzz::Random& random) {
  const auto digit = bytes.find_first_of(kDigits, at);
  if (digit != std::string::npos) bytes[digit] = static_cast<char>('0' + fuzz::below(10, random));
}
void change_number(std::string& bytes, std::size_t at, fuzz::Random& random) {  // the next one
  const auto digit = bytes.find_first_of(kDigits, at),
             stop = bytes.find_first_not_of(kDigits, digit);
  if (digit != std::string::npos && stop != std::string::npos)
    bytes.replace(digit, stop - digit, kNumbers[fuzz::below(kNumbers.size(), random)]);
}
const fuzz::Damage kDamage{
    .mutations = {fuzz::change_byte, fuzz::flip_bit, fuzz::erase_some, fuzz::copy_up_to(32),
                  write_word_over, change_digit, change_number},
    .least = 1,
    .most = 3};

TEST(LoaderFuzz, DamageGivesAnErrorOrAModel) {
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
  const auto once = [&](fuzz::Random& random) {
    const auto which = random() % 3;
    const auto& [copy, good, header] = wholes[random() % 2];
    // What follows are tensors
    const std::size_t n_read = which == 2 ? 8 + header : good[which].size();
    std::string bytes = kDamage(good[which].substr(0, n_read), random) + good[which].substr(n_read);
    if (which == 2 && random() % 4 == 0) bytes.resize(random() % (bytes.size() + 1));
    // Let the damage inside the header be seen
    if (which == 2 && bytes.size() >= 8 && random() % 2) {
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
      // What loads must run, whatever the damage made of its numbers. A wide window would only cost
      // memory.
      if ((*weights)->checkpoint.config().sliding_window <= 4096 &&
          (*weights)->checkpoint.config().hc_sinkhorn_iters <= 100) {
        Forward forward(**weights, random() % 2 == 0, pool, kernels::best());
        ModelTimeline timeline(**weights, forward, 64, 8,
                               {.mode = Drafting::always, .copy = false});
        const std::vector<Token> tokens{1, 2, 3, 4, 5, 6, 7, 8, 9};
        ran += timeline.sync(tokens, {}, {}) && timeline.next({}, nullptr) &&
               timeline.next({}, nullptr);
      }
    }
    write_all(copy.file(files[which]), good[which]);
  };
  fuzz::repeat({.seconds = 3}, once);
  std::printf("%d refused, %d loaded, %d of those evaluated tokens\n", refused, loaded, ran);
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace lares::engine
