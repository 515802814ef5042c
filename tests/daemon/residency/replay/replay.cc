#include "tests/daemon/residency/replay/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "daemon/residency/line_diff.h"
#include "tests/daemon/residency/reconstruct.h"
#include "tests/daemon/residency/replay/counting_composer.h"
#include "tools/text.h"

namespace lares::daemon {
namespace {

Composer plain_composer(const History& history, const ReplayOptions& options) {
  return counting_composer(
      {.budget_tokens = options.budget_tokens,
       .changes = [&history](const std::string& path) { return history.changes(path); }});
}

double mean(const std::vector<std::int64_t>& values, std::size_t n) {
  const auto sum = std::accumulate(values.begin(), values.end(), std::int64_t{0});
  return n == 0 ? 0 : static_cast<double>(sum) / static_cast<double>(n);
}

void check(const Overlay& overlay, const tools::Workspace& now) {
  const auto reading = reconstruct(overlay.base(), overlay);
  const std::string wrong = reading ? reading->differs(now) : reading.error();
  if (wrong.empty()) return;
  fmt::print(stderr, "replay: base and overlay are not the workspace: {}\n", wrong);
  std::abort();
}

std::string in_k(double tokens) {
  return tokens < 1'000 ? fmt::format("{:.0f}", tokens) : fmt::format("{:.1f}k", tokens / 1'000);
}
std::string in_k(std::int64_t tokens) { return in_k(static_cast<double>(tokens)); }

// `text` with the first `n` of the hunks that lead to another.
std::string with_hunks(std::string_view text, const std::vector<Hunk>& hunks, std::size_t n) {
  const auto lines = lines_with_ends(text);
  std::string out;
  std::size_t from = 0;
  for (std::size_t h = 0; h < n; ++h) {
    for (; from < hunks[h].start; ++from) out += lines[from];
    for (const auto& line : hunks[h].lines) {
      if (line.mark != '-') out += line.text;
    }
    from += hunks[h].n_old;
  }
  for (; from < lines.size(); ++from) out += lines[from];
  return out;
}

}  // namespace

double ReplayResult::foreground_mean() const { return mean(foreground, foreground.size()); }
double ReplayResult::background_mean() const { return mean(rebases, foreground.size()); }
double ReplayResult::total_share() const {
  return (foreground_mean() + background_mean()) / base_mean;
}

std::int64_t quantile(std::vector<std::int64_t> values, double at) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1,
                         static_cast<std::size_t>(at * static_cast<double>(values.size())))];
}

ReplayResult replay(History& history, const ReplayOptions& options, int check_every) {
  const Composer compose = options.compose ? options.compose : plain_composer(history, options);
  auto base = std::make_shared<const Base>(compose(history.now(), nullptr, 0));
  const auto bound = [&](const Base& of) {
    const bool given = options.overlay_tokens_max > 0;
    return given ? options.overlay_tokens_max
                 : overlay_tokens_max(options.budget_tokens, of.files_end);
  };
  Overlay overlay(base, options.count, bound(*base));
  ReplayResult out{.base_tokens = base->files_end, .overlay_tokens_max = overlay.tokens_max()};
  while (history.next()) {
    const auto entries = overlay.advance(history.now());
    if (check_every > 0 && out.foreground.size() % static_cast<std::size_t>(check_every) == 0)
      check(overlay, history.now());
    std::int64_t foreground = 0;
    for (const Entry& entry : entries) {
      foreground += entry.n_tokens;
      ++out.n_entries;
      if (entry.kind == Notice::Kind::diff) out.diffs.push_back(entry.n_tokens);
      out.n_hidden += entry.kind == Notice::Kind::not_shown ? 1 : 0;
    }
    out.foreground.push_back(foreground);
    const auto n_lines = static_cast<double>(std::max<std::size_t>(1, overlay.n_base_lines()));
    out.stale_lines += static_cast<double>(overlay.n_stale_lines()) / n_lines;
    out.base_mean += static_cast<double>(overlay.base().files_end);
    const RebaseReason reason = rebase_reason(overlay, history.idle());
    if (reason == RebaseReason::none || (reason != RebaseReason::overlay && options.full_only))
      continue;
    const auto plan = plan_rebase(overlay, history.now());
    if (!plan) continue;
    Rebased next = rebase(overlay, *plan, history.now(), options.budget_tokens, compose);
    out.rebases.push_back(next.n_prefill);
    overlay = overlay.rebased(next.base, history.now(), bound(*next.base));
  }
  const auto n = static_cast<double>(std::max<std::size_t>(1, out.foreground.size()));
  out.stale_lines /= n;
  out.base_mean /= n;
  return out;
}

std::string replay_header() {
  return "| history | base | T | events | fg mean % of base | fg p50 | fg p95 | fg max | diff p50 "
         "| diff p95 | bg mean | total % of base "
         "| rebases/100 | tokens/rebase | stale lines % | hidden % |\n"
         "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";
}

std::string replay_row(const std::string& name, const ReplayResult& r) {
  const auto n = static_cast<double>(std::max<std::size_t>(1, r.foreground.size()));
  const auto n_entries = static_cast<double>(std::max<std::int64_t>(1, r.n_entries));
  std::string out = fmt::format("| {} | {} | {} | {} |", name, in_k(r.base_tokens),
                                in_k(r.overlay_tokens_max), r.foreground.size());
  out += fmt::format(" {:.3f} | {} | {} | {} |", 100 * r.foreground_mean() / r.base_mean,
                     in_k(quantile(r.foreground, 0.5)), in_k(quantile(r.foreground, 0.95)),
                     in_k(quantile(r.foreground, 1)));
  out += fmt::format(" {} | {} |", quantile(r.diffs, 0.5), quantile(r.diffs, 0.95));
  out += fmt::format(" {} | {:.2f} | {:.1f} | {} |", in_k(r.background_mean()),
                     100 * r.total_share(), 100 * static_cast<double>(r.rebases.size()) / n,
                     in_k(mean(r.rebases, r.rebases.size())));
  return out + fmt::format(" {:.1f} | {:.1f} |\n", 100 * r.stale_lines,
                           100 * static_cast<double>(r.n_hidden) / n_entries);
}

HunkByHunk::HunkByHunk(History& events) : events_(events), now_(events.now()) {}

bool HunkByHunk::next() {
  while (waiting_.empty()) {
    if (!events_.next()) return false;
    queue_changes();
  }
  waiting_.back()();
  waiting_.pop_back();
  return true;
}

void HunkByHunk::queue_changes() {
  const tools::Workspace& after = events_.now();
  std::vector<std::function<void()>> steps;
  for (const auto& [path, old] : now_) {
    if (!after.contains(path)) steps.push_back([this, path = path] { now_.erase(path); });
  }
  for (const auto& [path, file] : after) {
    const auto it = now_.find(path);
    if (it != now_.end() && it->second.blob == file.blob && it->second.shown == file.shown)
      continue;
    const auto put = [this](tools::SourceFile next) {
      now_.insert_or_assign(next.path, std::move(next));
    };
    const bool both = it != now_.end() && it->second.text && file.text;
    // Keeps the texts alive that the hunks point into.
    const auto before = both ? it->second.text : nullptr;
    const auto hunks = both ? find_hunks(*before, *file.text) : std::vector<Hunk>();
    for (std::size_t h = 1; h < hunks.size(); ++h) {
      steps.push_back([=, file = file] {
        tools::SourceFile partly = file;
        partly.text = std::make_shared<const std::string>(with_hunks(*before, hunks, h));
        partly.blob = tools::blob_sha(*partly.text);
        put(std::move(partly));
      });
    }
    steps.push_back([=, file = file] { put(file); });
  }
  waiting_.assign(std::make_move_iterator(steps.rbegin()), std::make_move_iterator(steps.rend()));
}

}  // namespace lares::daemon
