#include "daemon/completions/effort.h"

#include <array>

namespace lares::daemon {
namespace {

struct Word {
  std::string_view word;
  Effort effort;
};
// The hosted API's present mapping.
constexpr std::array<Word, 8> kWords = {{{"none", {false, ""}},
                                         {"minimal", {true, "low"}},
                                         {"low", {true, "low"}},
                                         {"medium", {true, "high"}},
                                         {"high", {true, "high"}},
                                         {"xhigh", {true, "high"}},
                                         {"max", {true, "max"}},
                                         {"ultra", {true, "max"}}}};

struct Known {
  std::string_view generation, name, known;
};
// The texts are engine/chat.h's effort_text(). What is not here is known as it is.
constexpr std::array<Known, 1> kKnown = {{{"preview", "low", "high"}}};

}  // namespace

std::optional<Effort> effort_of(std::string_view word) {
  for (const Word& w : kWords) {
    if (w.word == word) return w.effort;
  }
  return std::nullopt;
}

std::string_view effort_known(std::string_view name, std::string_view generation) {
  for (const Known& k : kKnown) {
    if (k.generation == generation && k.name == name) return k.known;
  }
  return name;
}

}  // namespace lares::daemon
