// How fast text becomes tokens on one core: lares_tokenizer_bench TOKENIZER.json FILE...
// Encodes the files' text again and again, and prints the median and the best rate. Exit status 1
// below the floor of 5 MB/s.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "engine/tokenizer.h"

int main(int argc, char** argv) {
  using namespace lares::engine;
  using Clock = std::chrono::steady_clock;
  constexpr double kFloor = 5.0;  // MB/s
  constexpr std::size_t kTextBytes = 4 << 20;
  if (argc < 3) return std::fprintf(stderr, "usage: %s TOKENIZER.json FILE...\n", argv[0]), 2;
  const auto tokenizer = Tokenizer::from_file(argv[1]);
  if (!tokenizer) return std::fprintf(stderr, "%s\n", tokenizer.error().message.c_str()), 1;
  std::string files, text;
  for (int i = 2; i < argc; ++i) {
    std::ifstream in(argv[i], std::ios::binary);
    if (!in) return std::fprintf(stderr, "read %s: cannot open it\n", argv[i]), 1;
    files.append(std::istreambuf_iterator<char>(in), {});
  }
  if (files.empty()) return std::fprintf(stderr, "the files are empty\n"), 2;
  while (text.size() < kTextBytes) text += files;

  std::vector<double> rates;
  std::vector<Token> ids;
  for (int round = 0; round < 9; ++round) {
    ids.clear();
    const auto begin = Clock::now();
    (*tokenizer)->encode(text, /*added=*/false, ids);
    rates.push_back(static_cast<double>(text.size()) / 1e6 /
                    std::chrono::duration<double>(Clock::now() - begin).count());
  }
  if ((*tokenizer)->decode(ids) != text)
    return std::fprintf(stderr, "the tokens do not spell the text\n"), 1;
  std::sort(rates.begin(), rates.end());
  std::printf(
      "vocabulary %d, %.1f MB of text (%.1f MB of files repeated), %zu tokens, one thread: median "
      "%.1f MB/s, best %.1f (floor %.0f)\n",
      (*tokenizer)->vocab_size(), static_cast<double>(text.size()) / 1e6,
      static_cast<double>(files.size()) / 1e6, ids.size(), rates[rates.size() / 2], rates.back(),
      kFloor);
  return rates[rates.size() / 2] >= kFloor ? 0 : 1;
}
