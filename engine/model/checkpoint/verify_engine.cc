#include "engine/model/checkpoint/verify_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "engine/model/sampler.h"

namespace lares::engine {
namespace {

constexpr std::size_t kPlaces = 8;  // of the prompt, where the CPU is asked too

struct Said {
  std::vector<Token> tokens;
  std::vector<std::uint32_t> logprobs;  // their bits
};

// What follows the prompt, synced `chunk` tokens further at a time.
Result<Said> say(Engine& engine, std::span<const Token> prompt, std::size_t chunk) {
  const auto timeline = engine.timeline();
  for (std::size_t at = 0; at < prompt.size();) {
    at = std::min(prompt.size(), at + chunk);
    if (const auto done = timeline->sync(prompt.first(at), {}, {}); !done)
      return tl::unexpected(done.error());
  }
  Said said;
  for (int i = 0; i < kDrawn; ++i) {
    const auto token = timeline->next({.temperature = i % 2 ? 1.0f : 0.0f, .seed = 1}, nullptr);
    if (!token) return tl::unexpected(token.error());
    said.tokens.push_back(*token);
    said.logprobs.push_back(std::bit_cast<std::uint32_t>(timeline->logprobs(1).drawn));
  }
  return said;
}

Check same(std::string name, const Said& first, const Result<Said>& other) {
  if (!other) return {std::move(name), other.error().message, false};
  for (std::size_t i = 0; i < first.tokens.size(); ++i)
    if (first.tokens[i] != other->tokens[i] || first.logprobs[i] != other->logprobs[i])
      return {std::move(name),
              fmt::format("token {} after the prompt, or its log-probability, is another one", i),
              false};
  return {
      std::move(name),
      fmt::format("{} tokens and their log-probabilities equal to the bit", first.tokens.size()),
      true};
}

// The tokens that the CPU finds likely, the likeliest in any case, after the prompt's beginnings.
Check near_cpu(std::string name, Engine& engine, std::span<const Token> prompt,
               std::span<const float> logits) {
  Check check{std::move(name), "", false};
  const std::size_t vocab = logits.size() / prompt.size(),
                    places = std::min(kPlaces, prompt.size());
  const auto timeline = engine.timeline();
  double worst = 0;
  for (std::size_t i = 1; i <= places; ++i) {
    const std::size_t n = prompt.size() * i / places;
    if (const auto done = timeline->sync(prompt.first(n), {}, {}); !done) {
      check.detail = done.error().message;
      return check;
    }
    const auto token = timeline->next({.temperature = 0}, nullptr);
    if (!token) {
      check.detail = token.error().message;
      return check;
    }
    const Logprobs ours = timeline->logprobs(kLogprobsMax),
                   theirs = logprobs(logits.subspan((n - 1) * vocab, vocab), *token, kLogprobsMax);
    for (const auto& [id, logprob] : theirs.top) {
      if (logprob < kLogprobFloor && id != theirs.top.front().first) continue;
      const auto at = std::ranges::find(ours.top, id, [](const auto& p) { return p.first; });
      worst = std::max(worst, at == ours.top.end()
                                  ? -kLogprobFloor
                                  : std::abs(static_cast<double>(at->second) - logprob));
    }
  }
  check.passed = worst <= kLogprobNear;
  check.detail = fmt::format(
      "log-probabilities after {} beginnings of the prompt within {:.2g} of the CPU's (may be "
      "{:.1f})",
      places, worst, kLogprobNear);
  return check;
}

}  // namespace

void check_engine(Engine& engine, const std::string& on, std::span<const Token> prompt,
                  std::span<const float> logits, const std::function<void(const Check&)>& report) {
  const auto name = [&](const std::string& what) { return on + ": " + what; };
  report(near_cpu(name("near the CPU"), engine, prompt, logits));
  const auto whole = say(engine, prompt, prompt.size());
  if (!whole) return report({name("the prompt at once"), whole.error().message, false});
  report(same(name(fmt::format("in chunks of {}", kOddChunk)), *whole,
              say(engine, prompt, kOddChunk)));
  report(same(name("token by token"), *whole, say(engine, prompt, 1)));
  report(same(name("once more"), *whole, say(engine, prompt, prompt.size())));
}

}  // namespace lares::engine
