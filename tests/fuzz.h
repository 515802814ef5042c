// What fuzz tests have in common: for how long and from which seed, and how bytes are damaged.
// LARES_FUZZ_SECONDS and LARES_FUZZ_SEED say how long and from where; the same seed does the same
// things.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace lares::fuzz {

using Random = std::mt19937_64;
inline std::size_t below(std::size_t n, Random& random) {
  return static_cast<std::size_t>(random() % std::max<std::size_t>(n, 1));
}

// Without LARES_FUZZ_SECONDS: so many seconds from any seed, or as many rounds, the same ones every
// time.
struct Usually {
  std::uint64_t seconds = 0, rounds = 0;
};

// Does `once` again and again, until that is over or something has failed. How often it did.
inline std::size_t repeat(const Usually& usually, const std::function<void(Random&)>& once) {
  const auto from_environment = [](const char* name, std::uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text && *text ? std::strtoull(text, nullptr, 10) : otherwise;
  };
  const std::uint64_t seconds = from_environment("LARES_FUZZ_SECONDS", usually.seconds);
  const std::uint64_t seed = from_environment(
      "LARES_FUZZ_SEED", seconds > 0 ? static_cast<std::uint64_t>(std::random_device{}()) : 1);
  std::printf("LARES_FUZZ_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);  // a crash must not take it along
  Random random(seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  std::size_t n = 0;
  for (; (seconds > 0 ? std::chrono::steady_clock::now() < end : n < usually.rounds) &&
         !testing::Test::HasFailure();
       ++n)
    once(random);
  return n;
}

// ---- damage: to bytes that are not empty, at a place in them

using Mutation = std::function<void(std::string& bytes, std::size_t at, Random& random)>;
using Words = std::vector<std::string>;

inline void change_byte(std::string& bytes, std::size_t at, Random& random) {
  bytes[at] = static_cast<char>(random());
}
inline void flip_bit(std::string& bytes, std::size_t at, Random& random) {
  bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8, random)));
}
inline void erase_some(std::string& bytes, std::size_t at, Random& random) {
  bytes.erase(at, 1 + below(24, random));
}
inline void cut_off(std::string& bytes, std::size_t at, Random&) { bytes.resize(at); }
inline void open_brackets(std::string& bytes, std::size_t at, Random& random) {
  bytes.insert(at, 1 + below(2000, random), '[');
}
inline Mutation copy_up_to(std::size_t n_max) {
  return [n_max](std::string& bytes, std::size_t at, Random& random) {
    bytes.insert(at, bytes.substr(below(bytes.size(), random), 1 + below(n_max, random)));
  };
}
inline Mutation insert_one_of(Words words) {
  return [words = std::move(words)](std::string& bytes, std::size_t at, Random& random) {
    bytes.insert(at, words[below(words.size(), random)]);
  };
}
inline Mutation put_one_of(Words words) {  // where something else stood
  return [words = std::move(words)](std::string& bytes, std::size_t at, Random& random) {
    bytes.replace(at, std::min(bytes.size() - at, 1 + below(12, random)),
                  words[below(words.size(), random)]);
  };
}
inline Mutation replace_value_by(Words words) {  // of JSON: the next member's
  return [words = std::move(words)](std::string& bytes, std::size_t at, Random& random) {
    const auto colon = bytes.find(':', at);
    const auto end = colon == std::string::npos ? colon : bytes.find_first_of(",}]", colon);
    if (end != std::string::npos)
      bytes.replace(colon + 1, end - colon - 1, words[below(words.size(), random)]);
  };
}

// What one of a test's texts becomes: `least` to `most` of these happen to it, each as likely as
// the others.
struct Damage {
  std::vector<Mutation> mutations;
  std::size_t least = 0, most = 3;

  std::string operator()(std::string bytes, Random& random) const {
    for (std::size_t n = least + below(most - least + 1, random); n-- > 0 && !bytes.empty();) {
      const std::size_t at = below(bytes.size(), random);
      mutations[below(mutations.size(), random)](bytes, at, random);
    }
    return bytes;
  }
};

}  // namespace lares::fuzz
