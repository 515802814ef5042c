#include "daemon/residency/rebase.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace lares::daemon {
namespace {

using tools::Shown;

// A changed file, and what becomes of it on either side of the cut.
struct Dirty {
  std::int64_t start = 0;    // in the base
  std::size_t index = 0;     // in Base::files
  std::int64_t n_entry = 0;  // tokens of its one entry, if it is kept
  std::int64_t n_more = 0;   // tokens by which the base grows, if it is not
  std::size_t n_stale = 0;   // lines
};

struct Survey {
  std::vector<Dirty> files;  // that the base shows, in its order
  std::int64_t n_all = 0;    // tokens of all entries, had they all been shown
  // Entry tokens about what stands in the tree alone: only a new head frees them
  std::int64_t n_listed = 0;
  std::int64_t n_new_files = 0;  // tokens by which the base grows wherever the cut is
};

std::int64_t n_rendered(const tools::SourceFile& file, const CountTokens& count) {
  return file.shown == Shown::full && file.text ? count(*file.text) + kFileHeaderTokens : 0;
}

// One entry per changed file, as a rebase that kept everything would leave them.
Survey survey(const Overlay& overlay, const tools::Workspace& now) {
  View view(overlay.view().shared_base());
  // Whatever they cost: what is too much to keep is a reason to cut before it.
  const Told told = tell(view, now, overlay.count(),
                         {.tokens_max = std::numeric_limits<std::int64_t>::max() / 1024});
  Survey out;
  std::map<std::string, std::int64_t> n_entry;
  for (const Entry& entry : told.entries) {
    n_entry[entry.path] = entry.n_tokens;
    out.n_all += entry.n_tokens;
  }
  for (const std::string& path : told.changed) {
    const auto entry = n_entry.find(path);
    const std::int64_t tokens = entry == n_entry.end() ? 0 : entry->second;
    const auto it = now.find(path);
    const BaseFile* file = view.base_file(path);
    if (file && file->n_tokens > 0) {
      const bool demoted = file->source.shown != Shown::full;
      const std::int64_t after = it == now.end() ? 0
                                 : demoted       ? file->n_tokens
                                                 : n_rendered(it->second, overlay.count());
      out.files.push_back({file->start, view.index_of(file), tokens, after - file->n_tokens,
                           overlay.stale_lines_of(path)});
    } else if (!file && it != now.end() && n_rendered(it->second, overlay.count()) > 0) {
      out.n_new_files += n_rendered(it->second, overlay.count());
    } else {
      out.n_listed += tokens;
    }
  }
  std::sort(out.files.begin(), out.files.end(),
            [](const Dirty& a, const Dirty& b) { return a.start < b.start; });
  return out;
}

double cost(std::int64_t from, std::int64_t to) {
  const auto a = static_cast<double>(from), b = static_cast<double>(std::max(to, from));
  return std::max(1.0, (b - a) + kDepthSlope * (b * b - a * a) / 2);
}

// The cut in front of `files[first]`; past the last of them, in front of nothing that changed.
RebasePlan plan_at(const Overlay& overlay, const Survey& survey, std::size_t first, bool whole) {
  const Base& base = overlay.base();
  RebasePlan out;
  out.n_kept = base.files.size();
  out.cut = base.files_end;
  if (whole) {
    out.n_kept = 0;
    out.cut = 0;
  } else if (first < survey.files.size()) {
    out.n_kept = survey.files[first].index;
    out.cut = survey.files[first].start;
  }
  out.n_retained = whole ? 0 : survey.n_listed;
  std::int64_t end = base.files_end + survey.n_new_files;
  for (std::size_t i = 0; i < survey.files.size(); ++i) {
    if (i < first && !whole) {
      out.n_retained += survey.files[i].n_entry;
    } else {
      end += survey.files[i].n_more;
    }
  }
  // Hidden files count as if shown: that is what they are after a rebase.
  out.n_freed = std::max(overlay.n_tokens(), survey.n_all) - out.n_retained;
  out.n_prefill = end - out.cut + out.n_retained;
  return out;
}

std::int64_t frontier_before(std::int64_t position, std::int64_t spacing) {
  return position / spacing * spacing;
}

}  // namespace

RebaseReason rebase_reason(const Overlay& overlay, std::chrono::seconds idle) {
  if (overlay.n_tokens() > overlay.tokens_max()) return RebaseReason::overlay;
  if (idle >= kHiddenIdle && overlay.n_hidden() > 0) return RebaseReason::hidden;
  const auto stale = static_cast<double>(overlay.n_stale_lines());
  if (stale > kStaleLinesMax * static_cast<double>(overlay.n_base_lines()))
    return RebaseReason::stale;
  return RebaseReason::none;
}

std::optional<RebasePlan> plan_rebase(const Overlay& overlay, const tools::Workspace& now,
                                      std::int64_t frontier_spacing) {
  if (overlay.entries().empty()) return std::nullopt;
  const Survey found = survey(overlay, now);
  const auto retained_max =
      static_cast<std::int64_t>(kRetainedShare * static_cast<double>(overlay.tokens_max()));
  const auto stale_max =
      static_cast<std::size_t>(kStaleLinesKept * static_cast<double>(overlay.n_base_lines()));
  // A new head is always possible; every other cut must be worth more.
  RebasePlan best = plan_at(overlay, found, 0, /*whole=*/true);
  const auto worth = [&](const RebasePlan& plan) {
    const std::int64_t from = frontier_before(plan.cut, frontier_spacing);
    return static_cast<double>(plan.n_freed) / cost(from, plan.cut + plan.n_prefill);
  };
  double best_worth = worth(best);
  std::size_t stale = 0;
  for (std::size_t first = 0; first <= found.files.size(); ++first) {
    const RebasePlan plan = plan_at(overlay, found, first, /*whole=*/false);
    if (plan.n_retained > retained_max || stale > stale_max) break;
    if (first < found.files.size()) stale += found.files[first].n_stale;
    if (plan.n_freed <= 0 || worth(plan) <= best_worth) continue;
    best = plan;
    best_worth = worth(plan);
  }
  best.n_prefill += best.cut - frontier_before(best.cut, frontier_spacing);
  return best;
}

std::optional<RebasePlan> worth_at_once(const Overlay& overlay, const tools::Workspace& now) {
  if (overlay.entries().empty()) return std::nullopt;
  const Survey found = survey(overlay, now);
  RebasePlan plan = plan_at(overlay, found, 0, /*whole=*/found.n_listed > 0);
  if (plan.n_prefill > kRebaseAtOnceTokens) return std::nullopt;
  return plan;
}

Rebased rebase(const Overlay& overlay, const RebasePlan& plan, const tools::Workspace& now,
               std::int64_t budget_tokens, const Composer& compose, std::int64_t frontier_spacing) {
  auto base = std::make_shared<const Base>(compose(now, &overlay.base(), plan.n_kept));
  Overlay over = overlay.rebased(base, now, overlay_tokens_max(budget_tokens, base->files_end));
  const std::int64_t from = frontier_before(plan.cut, frontier_spacing);
  const std::int64_t n_prefill = base->files_end - from + over.n_tokens();
  return {std::move(base), std::move(over), n_prefill};
}

}  // namespace lares::daemon
