// The output of `lares model generate`: text or ids as they are drawn, their log-probabilities, and
// where the time went.
#pragma once

#include <chrono>
#include <cstdint>
#include <fstream>
#include <string>

#include "daemon/client/error.h"
#include "engine/engine.h"

namespace lares::cli {

// What is drawn, on stdout: its text or, without a tokenizer, a JSON array.
class DrawnTokens {
 public:
  explicit DrawnTokens(const engine::Tokenizer* tokenizer) : tokenizer_(tokenizer) {}
  void show(engine::Token token);
  void end();  // of the line; what is printed next begins on one of its own, on stderr too

 private:
  const engine::Tokenizer* tokenizer_;
  bool any_ = false;
};

// A JSON line for each token: its place, text and log-probability, and the likeliest others.
class LogprobsFile {
 public:
  Result<> open(const std::string& path);  // empty: nothing is written
  Result<> add(const engine::Timeline& timeline, engine::Token token, const std::string& text,
               int n);
  Result<> close();

 private:
  std::string path_;
  std::ofstream file_;
};

struct GenerateTimes {
  using Time = std::chrono::steady_clock::time_point;
  std::size_t n_prompt = 0;
  int n_drawn = 0;
  // first: the first token was drawn, for which nothing more had to be evaluated
  Time asked, read, first, last;
};
// On stderr.
void print_rates(const GenerateTimes& times);
void print_stats(const engine::Engine& engine, const engine::Timeline& timeline);
// Writes the trace and prints its table on stderr.
Result<> print_trace(const engine::Engine& engine, const std::string& path);

}  // namespace lares::cli
