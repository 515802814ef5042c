// What a daemon asks of a base of a million tokens, for a status and for a session that begins:
// medians. Exit status 1 where a session's share of it takes over a millisecond.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <vector>

#include "daemon/resident/beginnings.h"

namespace lares::daemon {
namespace {

constexpr std::int64_t kTokens = 1'000'000;
constexpr double kForkMsMax = 1;
constexpr int kRounds = 51;

// The tokens of a prefix; its pages are as many as they would be, and of no size.
class Bare final : public engine::Prefix {
 public:
  explicit Bare(std::vector<engine::Token> tokens)
      : tokens_(std::move(tokens)), pages_(tokens_.size() / 256 + 1) {}
  std::span<const engine::Token> tokens() const override { return tokens_; }
  std::int64_t n_pages() const override { return static_cast<std::int64_t>(pages_.size()); }
  std::span<const std::uint8_t> page(std::int64_t i) const override {
    return std::span(pages_).subspan(static_cast<std::size_t>(i), 1);
  }
  std::span<const std::uint8_t> frontier() const override { return {}; }

 private:
  std::vector<engine::Token> tokens_;
  std::vector<std::uint8_t> pages_;
};

double median_ms(const std::function<void()>& work) {
  std::vector<double> times;
  for (int i = 0; i < kRounds; ++i) {
    const auto began = std::chrono::steady_clock::now();
    work();
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
            .count());
  }
  std::ranges::nth_element(times, times.begin() + kRounds / 2);
  return times[kRounds / 2];
}

int run() {
  const auto base = std::make_shared<Base>();
  for (std::int64_t i = 0; i < kTokens; ++i)
    base->tokens.push_back(static_cast<engine::Token>(i * 2654435761 % 129'280));
  Beginnings all(nullptr);
  all.keep({base});
  std::size_t n = 0;
  for (std::int64_t at = 0; (at = next_mark_of(kTokens, at)) != SharedBeginning::kNowhere; ++n)
    all.offer(std::make_shared<Bare>(
        std::vector<engine::Token>(base->tokens.begin(), base->tokens.begin() + at)));
  std::vector<engine::Token> ids = base->tokens;
  for (int i = 0; i < 100; ++i) ids.push_back(i);
  const double fork = median_ms([&] { (void)all.longest(ids); });
  const double mark = median_ms([&] { (void)all.next_mark(ids, kTokens - 1); });
  const double status = median_ms([&] {
    (void)all.evaluated(*base), (void)all.pages(), (void)all.unfinished(), (void)all.use();
  });
  std::printf(
      "a base of %lld tokens, %zu places: a session finds its share in %.3f ms (at most %.0f), a "
      "step its next place in %.3f ms; a status takes %.3f ms\n",
      static_cast<long long>(kTokens), n, fork, kForkMsMax, mark, status);
  return fork <= kForkMsMax ? 0 : 1;
}

}  // namespace
}  // namespace lares::daemon

int main() { return lares::daemon::run(); }
