#include "daemon/residency/selection.h"

#include <algorithm>
#include <tuple>

#include "tools/outline/text.h"
#include "tools/workspace/workspace.h"

namespace lares::daemon {
namespace {

// Of a file that never changed: between two of those, the shorter one
constexpr double kPriorRate = 0.02;
// An eighth of the tokens is kept for outlines, as far as there are any
constexpr std::int64_t kOutlineShare = 8;
constexpr std::int64_t kRestMin = 64;  // with fewer left there is nothing to place
// Of a whole file on average: a longer one is not even tokenised
constexpr std::size_t kTokenBytesMax = 16;
constexpr int kOutlinesMax = 5'000;  // made in one selection, 5 ms each

bool is_pinned(const std::string& path, const std::vector<std::string>& pins) {
  return std::ranges::any_of(pins, [&](const std::string& pin) {
    return path == pin || (pin.ends_with('/') && path.starts_with(pin));
  });
}

int rank(const std::string& path, const std::vector<std::string>& pins) {
  if (is_pinned(path, pins)) return 0;
  if (path == "README" || path == "README.md" || path == "README.rst" || path == "README.txt" ||
      path == "AGENTS.md")
    return 1;
  return path.ends_with("/AGENTS.md") ? 1 : 2;
}

std::vector<Candidate*> by_worth(std::vector<Candidate>& candidates,
                                 const std::vector<std::string>& pins) {
  struct Ranked {
    int rank;
    double worth;
    Candidate* candidate;
  };
  std::vector<Ranked> order;
  for (Candidate& c : candidates) {
    const auto n_bytes = static_cast<double>(c.source.text->size() + 1);
    order.push_back({rank(c.source.path, pins), (c.rate + kPriorRate) / n_bytes, &c});
  }
  std::ranges::sort(order, [](const Ranked& a, const Ranked& b) {
    if (a.rank != b.rank) return a.rank < b.rank;
    return a.worth != b.worth ? a.worth > b.worth
                              : a.candidate->source.path < b.candidate->source.path;
  });
  std::vector<Candidate*> out;
  for (const Ranked& r : order) out.push_back(r.candidate);
  return out;
}

std::string full_text(const Candidate& c) {
  auto full = c.source;
  full.shown = tools::Shown::full;
  return tools::render_file(full);
}

// Too many bytes for that many tokens, whatever they are: such a text is not even tokenised.
bool is_hopeless(std::size_t n_bytes, std::int64_t n_tokens) {
  return static_cast<std::int64_t>(n_bytes / kTokenBytesMax) > n_tokens;
}

bool all_fit(const std::vector<Candidate*>& order, std::int64_t rest, TokenCache& cache) {
  for (const Candidate* c : order) {
    rest += c->n_if_path;
    if (is_hopeless(c->source.text->size(), rest)) return false;
    rest -= static_cast<std::int64_t>(cache.tokens(full_text(*c))->size());
    if (rest < 0) return false;
  }
  return true;
}

void place(Candidate& c, tools::Shown shown, const std::string& text, std::int64_t& rest,
           TokenCache& cache) {
  const std::int64_t allowed = rest + c.n_if_path;
  if (is_hopeless(text.size(), allowed)) return;
  Tokens tokens = cache.tokens(text);
  const auto n = static_cast<std::int64_t>(tokens->size());
  if (n > allowed) return;
  rest = allowed - n;
  c.tokens = std::move(tokens);
  c.source.shown = shown;
  c.source.reason = shown == tools::Shown::full ? "" : kOverBudget;
}

void place_outlines(const std::vector<Candidate*>& order, std::int64_t& rest, TokenCache& cache) {
  int n_made = 0;
  for (Candidate* c : order) {
    if (rest < kRestMin || n_made >= kOutlinesMax) return;
    if (c->tokens) continue;
    const auto outline = tools::outline_text(c->source.path, *c->source.text);
    if (!outline) continue;
    ++n_made;
    auto outlined = c->source;
    outlined.shown = tools::Shown::outline;
    place(*c, tools::Shown::outline, tools::render_file(outlined, *outline), rest, cache);
  }
}

}  // namespace

std::int64_t select_shown(std::vector<Candidate>& candidates, std::int64_t n_tokens,
                          const std::vector<std::string>& pins, TokenCache& cache) {
  std::int64_t rest = n_tokens;
  for (Candidate& c : candidates) {
    rest -= c.n_if_path;
    c.source.shown = tools::Shown::path;
    c.source.reason = kOverBudget;
    c.tokens = nullptr;
  }
  const auto order = by_worth(candidates, pins);
  const std::int64_t reserved = all_fit(order, rest, cache)
                                    ? 0
                                    : std::max<std::int64_t>(0, rest) / kOutlineShare;
  rest -= reserved;
  for (Candidate* c : order) {
    if (rest < kRestMin && reserved > 0) break;
    place(*c, tools::Shown::full, full_text(*c), rest, cache);
  }
  rest += reserved;
  if (reserved > 0) place_outlines(order, rest, cache);
  return n_tokens - rest;
}

}  // namespace lares::daemon
