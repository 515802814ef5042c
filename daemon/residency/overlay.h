// What changed since a base: notices appended after it, so that base and overlay together are the
// workspace as it is.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/residency/tell.h"
#include "daemon/residency/view.h"

namespace lares::daemon {

// How many tokens an overlay may reach before a rebase is due, T. Bounded by what the model bears,
// not by cost: twice the tokens, half the rebases. `budget_tokens` is the window for the
// repository; between the two given points T grows linearly.
inline constexpr std::int64_t kSmallBudget = 384'000, kSmallOverlay = 32'000;
inline constexpr std::int64_t kLargeBudget = 1'000'000, kLargeOverlay = 64'000;
// a quarter of the base at most
std::int64_t overlay_tokens_max(std::int64_t budget_tokens, std::int64_t base_tokens);

struct Freshness {
  enum class State {
    resident,   // the base shows its text as it is
    dirty,      // the overlay does
    hidden,     // it changed, or may have: to be read before it is relied on
    outline,    // the base shows its definitions as they are
    path_only,  // its name is known, and why no more
    absent,
  };
  State state = State::absent;
  std::string sha;  // of resident and dirty: the text's blob, 40 hex digits
};

class Overlay {
 public:
  // `tokens_max`: T. `version`: what the one before, over another base, had reached.
  Overlay(std::shared_ptr<const Base> base, CountTokens count, std::int64_t tokens_max,
          std::uint64_t version = 0);

  // What to append now, in path order; the version grows by one if anything changed, told or
  // hidden. At most kEventTokensMax tokens, and never past T + kEventTokensMax in all: what does
  // not fit is marked as changed, not shown.
  // `among`: nothing else changed since it was last called; null: anything may have.
  std::vector<Entry> advance(const tools::Workspace& now,
                             const std::vector<std::string>* among = nullptr);

  // The same workspace over another base: one entry per file that this base does not show as it is.
  // Same version.
  Overlay rebased(std::shared_ptr<const Base> base, const tools::Workspace& now,
                  std::int64_t tokens_max) const;

  std::uint64_t version() const { return version_; }
  std::int64_t n_tokens() const { return n_tokens_; }
  std::int64_t tokens_max() const { return tokens_max_; }
  const std::vector<Entry>& entries() const { return entries_; }
  const View& view() const { return view_; }  // a session that begins now takes a copy
  const Base& base() const { return view_.base(); }
  const CountTokens& count() const { return count_; }
  Freshness freshness(std::string_view path) const;

  std::size_t n_hidden() const { return view_.n_hidden(); }  // files whose text a rebase would show
  std::size_t n_stale_lines() const;  // of the base's text, that are no longer so
  std::size_t n_base_lines() const { return n_base_lines_; }
  std::size_t stale_lines_of(const std::string& path) const;

 private:
  void append(Told told, const tools::Workspace& now);

  View view_;
  CountTokens count_;
  std::int64_t tokens_max_;
  std::uint64_t version_;
  std::int64_t n_tokens_ = 0;
  std::vector<Entry> entries_;
  std::map<std::string, std::size_t> stale_lines_;
  std::size_t n_base_lines_ = 0;
};

}  // namespace lares::daemon
