// What keeping a repository resident costs, over its own history: every event goes through the
// daemon's renderer, overlay and rebase, with an engine that only counts.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "daemon/residency/rebase.h"

namespace lares::daemon {

// A workspace that changes: a git repository's first-parent commits (git_history.h), or made up.
class History {
 public:
  virtual ~History() = default;
  virtual const tools::Workspace& now() const = 0;
  // The next event; false: there is none.
  virtual bool next() = 0;
  // From the last event to the one after it.
  virtual std::chrono::seconds idle() const = 0;
  // How often `path` changed of late, in any unit; only from before now().
  virtual double changes(const std::string& path) const = 0;
};

struct ReplayOptions {
  std::int64_t budget_tokens = kLargeBudget;  // for the repository; T follows from it
  std::int64_t overlay_tokens_max = 0;        // T itself; 0: from the budget and the base
  CountTokens count;
  Composer compose;  // none: the daemon's own (counting_composer.h)
  // Rebases when the overlay passes T, neither for hidden files nor for stale lines
  bool full_only = false;
};

struct ReplayResult {
  std::int64_t base_tokens = 0, overlay_tokens_max = 0;  // at the start
  std::vector<std::int64_t> foreground;      // tokens per event, before the next turn can begin
  std::vector<std::int64_t> rebases;         // tokens of each, in the background
  std::vector<std::int64_t> diffs;           // tokens of each entry that is a diff
  std::int64_t n_entries = 0, n_hidden = 0;  // files told; of those, as changed only
  double stale_lines = 0;                    // mean share of the base's lines, over all events
  double base_mean = 0;                      // mean tokens of the base, over all events

  double foreground_mean() const;
  double background_mean() const;
  double total_share() const;  // of the base, per event
};

std::int64_t quantile(std::vector<std::int64_t> values, double at);  // 0 of none

// Every `check_every` events (0: never) base and overlay are read back; should they not be the
// workspace, the program ends: the figures of such a run mean nothing.
ReplayResult replay(History& history, const ReplayOptions& options, int check_every = 0);

// One row per history, in markdown.
std::string replay_header();
std::string replay_row(const std::string& name, const ReplayResult& result);

// Every hunk of every event as an event of its own: how an agent edits.
class HunkByHunk final : public History {
 public:
  explicit HunkByHunk(History& events);
  const tools::Workspace& now() const override { return now_; }
  bool next() override;
  std::chrono::seconds idle() const override {
    return waiting_.empty() ? events_.idle() : std::chrono::seconds(0);
  }
  double changes(const std::string& path) const override { return events_.changes(path); }

 private:
  void queue_changes();

  History& events_;
  tools::Workspace now_;
  std::vector<std::function<void()>> waiting_;  // the last first
};

}  // namespace lares::daemon
