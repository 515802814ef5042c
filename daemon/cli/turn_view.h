// Turns the daemon's notifications about one session into what a person sees.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/cli/terminal/progress.h"
#include "daemon/cli/terminal/screen.h"
#include "daemon/cli/transcript.h"
#include "daemon/protocol/protocol.h"
#include "daemon/protocol/snapshot_wire.h"
#include "daemon/protocol/wire.h"
#include "daemon/shown/changes.h"

namespace lares::cli {

namespace protocol = daemon::protocol;

inline constexpr std::size_t kCallsKept = 20;  // to be shown whole

// How a turn ended, in a person's words; the daemon's message, if any, says more.
std::string_view reason_text(std::string_view reason);

// Follows one turn. Deltas make it live; what they leave out (a slow client loses some, a new
// connection starts with a snapshot) is filled in from the item's snapshot or its final form, so
// nothing is shown twice and nothing is lost.
class TurnView {
 public:
  TurnView(Screen& screen, Transcript& transcript) : screen_(screen), transcript_(transcript) {}

  void model_state(const protocol::ServerState& state);
  void session_state(const protocol::SessionState& state);
  void prefill(const protocol::TurnPrefill& prefill);
  void snapshot(const protocol::TurnSnapshot& snapshot);
  // unix_ms: when it was; 0: now.
  void item_started(const protocol::Item& item, std::int64_t unix_ms = 0);
  void item_delta(const protocol::ItemDelta& delta);
  // The whole item so far, or complete; unix_ms: since when it is so.
  void item_snapshot(const protocol::Item& item, std::int64_t unix_ms = 0);
  void item_completed(const protocol::Item& item);
  void step(const protocol::TurnStep& step);
  // Shows a notification about an item or the progress of a turn, if it is of a turn that is
  // `followed`.
  void show(const protocol::Message& message,
            const std::function<bool(std::int64_t turn_id)>& followed);
  // A turn began, at unix_ms (0: now): the status shows its time, and how long the context is (0:
  // not known).
  void turn_began(std::int64_t context_tokens, std::int64_t unix_ms);
  // Forgets what was going on.
  void turn_ended();
  // Something of the CLI's own that is waited for.
  void waiting(std::string_view label);
  void think_limit(std::int64_t tokens) { think_limit_ = tokens; }
  void note(Style style, std::string_view line);

  // Redraws the status line. Where there is none, as in a pipe, a long wait is told in a line now
  // and then.
  void tick();
  void hide_status() { screen_.status(""); }

  // The one line at the end; without `session_id` it does not name the session.
  std::string summary(const protocol::TurnEnded& ended, const shown::Changes& changes,
                      const std::string& session_id) const;

  // The reasoning of the turn so far, or of the last one.
  const std::string& thinking() const { return thinking_; }
  // The last calls and all that came of each, the last one first.
  struct Called {
    std::string call, output;
  };
  const std::deque<Called>& called() const { return called_; }

 private:
  struct Seen {
    std::string kind, name;
    std::size_t text_bytes = 0;  // of the text, shown
    bool called = false, completed = false;
    Progress::Clock::time_point began{};
    std::string output_line;  // the last line of a running command
  };
  Seen& seen(const protocol::Item& item);
  void show_text(Seen& s, const std::string& text);
  void show_call(Seen& s, const protocol::Item& item);
  void folded_thinking(const Seen& s, const protocol::Item& item);
  void fresh_text(const Seen& s, std::string_view fresh);
  void waits_for(const protocol::Item& item, std::string_view label, std::int64_t unix_ms);
  std::string status_text() const;
  void tell_of_long_wait();

  Screen& screen_;
  Transcript& transcript_;
  Progress progress_;
  std::map<std::string, Seen> items_;
  std::int64_t think_limit_ = 0;
  std::optional<Progress::Clock::time_point> drawing_since_;  // while nothing has come of it
  std::string error_told_;                                    // the last
  std::string waited_for_;  // the call whose run or question the status shows
  std::optional<Progress::Clock::time_point> told_of_wait_;  // where there is no status line
  std::string thinking_;
  std::deque<Called> called_;
  // Of the turn, where somebody asked for them with turn_began().
  std::optional<Progress::Clock::time_point> turn_began_;
  protocol::Usage usage_;  // of the last step, and the turn's cached and prefilled tokens
};

}  // namespace lares::cli
