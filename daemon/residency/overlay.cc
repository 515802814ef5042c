#include "daemon/residency/overlay.h"

#include <algorithm>
#include <utility>

#include "daemon/residency/line_diff.h"

namespace lares::daemon {
namespace {

bool is_text(const BaseFile* file) {
  return file && file->source.shown == tools::Shown::full && file->source.text;
}

std::size_t n_lines(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

std::size_t n_removed(const std::string& before, const std::string& after) {
  std::size_t n = 0;
  for (const Hunk& hunk : find_hunks(before, after)) {
    for (const auto& line : hunk.lines) n += line.mark == '-' ? 1 : 0;
  }
  return n;
}

}  // namespace

std::int64_t overlay_tokens_max(std::int64_t budget_tokens, std::int64_t base_tokens) {
  const std::int64_t budget = std::clamp(budget_tokens, kSmallBudget, kLargeBudget);
  const std::int64_t by_budget = kSmallOverlay + (kLargeOverlay - kSmallOverlay) *
                                                     (budget - kSmallBudget) /
                                                     (kLargeBudget - kSmallBudget);
  return std::min(by_budget, base_tokens / 4);
}

Overlay::Overlay(std::shared_ptr<const Base> base, CountTokens count, std::int64_t tokens_max,
                 std::uint64_t version)
    : view_(std::move(base)), count_(std::move(count)), tokens_max_(tokens_max), version_(version) {
  for (const BaseFile& file : view_.base().files) {
    if (is_text(&file)) n_base_lines_ += n_lines(*file.source.text);
  }
}

std::vector<Entry> Overlay::advance(const tools::Workspace& now,
                                    const std::vector<std::string>* among) {
  const std::int64_t left = tokens_max_ + kEventTokensMax - n_tokens_;
  // The last marker's tokens are kept back, so that the bound holds whatever happens.
  const TellOptions options{
      .tokens_max = std::max<std::int64_t>(0, std::min(kEventTokensMax, left) - kLastMarkerTokens),
      .among = among};
  Told told = tell(view_, now, count_, options);
  if (!told.changed.empty()) ++version_;
  const std::size_t n_before = entries_.size();
  append(std::move(told), now);
  return {entries_.begin() + static_cast<std::ptrdiff_t>(n_before), entries_.end()};
}

Overlay Overlay::rebased(std::shared_ptr<const Base> base, const tools::Workspace& now,
                         std::int64_t tokens_max) const {
  Overlay out(std::move(base), count_, tokens_max, version_);
  // Not an event: nobody waits for it, and the plan has seen to it that it fits.
  out.append(tell(out.view_, now, count_,
                  {.tokens_max = tokens_max + kEventTokensMax - kLastMarkerTokens}),
             now);
  return out;
}

void Overlay::append(Told told, const tools::Workspace& now) {
  for (const std::string& path : told.changed) {
    const BaseFile* file = view_.base_file(path);
    if (!is_text(file)) continue;
    const auto it = now.find(path);
    const bool known = it != now.end() && it->second.text;
    const std::size_t n = known ? n_removed(*file->source.text, *it->second.text)
                                : n_lines(*file->source.text);
    if (n > 0) {
      stale_lines_[path] = n;
    } else {
      stale_lines_.erase(path);
    }
  }
  for (Entry& entry : told.entries) {
    entry.version = version_;
    n_tokens_ += entry.n_tokens;
    entries_.push_back(std::move(entry));
  }
}

Freshness Overlay::freshness(std::string_view path) const {
  using State = Freshness::State;
  const Seen seen = view_.seen(path);
  switch (seen.state) {
    case Seen::State::absent:
      return {State::absent, ""};
    case Seen::State::hidden:
      return {State::hidden, ""};
    case Seen::State::listed:
      return {seen.shown == tools::Shown::outline ? State::outline : State::path_only, ""};
    case Seen::State::text:
      return {view_.is_clean(path) ? State::resident : State::dirty, seen.blob};
  }
  return {};
}

std::size_t Overlay::n_stale_lines() const {
  std::size_t n = 0;
  for (const auto& [path, lines] : stale_lines_) n += lines;
  return n;
}

std::size_t Overlay::stale_lines_of(const std::string& path) const {
  const auto it = stale_lines_.find(path);
  return it == stale_lines_.end() ? 0 : it->second;
}

}  // namespace lares::daemon
