// Where each turn of a session began, and what its calls may have changed: what going back needs to
// know. Fed with the session's facts, live and when they are read back.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/protocol/protocol.h"
#include "daemon/turn/transcript.h"

namespace lares::daemon {

// The names of the contents that files went back to, by path.
using LeftByRewinding = std::map<std::string, std::string>;

class TurnLog {
 public:
  // That changed something, or may have.
  struct Call {
    std::string name;
    // Snapshots of the worktree; empty: none was taken. after: of an untold one
    std::string before, after;
    std::vector<std::string> paths;  // that it says it changed
    // The names of their contents before and then; empty: not told
    std::vector<std::string> found, left;
    bool untold = false;  // and perhaps others
  };
  struct Turn {
    std::int64_t id = 0;
    std::size_t frame = 0;             // of the journal: its first
    std::size_t n_ids = 0;             // of the transcript, when it began
    std::size_t n_shortened = 0;       // how often the transcript had been begun anew by then
    std::vector<std::string> results;  // that were unread then
    std::string root;                  // the transcript's, then
    std::vector<Call> calls;
  };

  void begin(std::int64_t turn_id, const Transcript& transcript, std::size_t frame = 0);
  void completed(const protocol::Item& item);

  // The transcript was begun anew, with a summary for what was said: `before` is what it was.
  void shortened(Transcript before) { shortened_.push_back(std::move(before)); }
  // What is here so far was said there: of what does not know its root yet.
  void was_at(const std::string& root);
  // As it was when the turn began. `now`: as it is.
  Transcript before(const Turn& turn, const Transcript& now) const;

  const std::vector<Turn>& turns() const { return turns_; }
  // Whether a turn up to this one did, and it may have changed something.
  bool called(std::string_view tool,
              std::int64_t up_to = std::numeric_limits<std::int64_t>::max()) const;
  // The turns from this one on; none: there is no such turn.
  std::vector<Turn> from(std::int64_t turn_id) const;

  // Of the files that went back: the snapshot of the moment before, and which they are.
  struct Undo {
    std::string snapshot;
    std::vector<std::string> paths;
    LeftByRewinding left = {};  // journals of earlier versions do not say it
  };
  // A rewinding whose files go back, or would have: what takes it back where it was cut off on the
  // way.
  struct GoingBack {
    std::int64_t turn_id = 0;
    Undo undo;
    std::vector<protocol::RewindChange> changes;
  };
  void going_back(GoingBack now) { going_back_ = std::move(now); }
  void not_going_back() { going_back_.reset(); }  // the files are as before it
  // Until the turns are cut, or the files are as before it.
  const std::optional<GoingBack>& going_back() const { return going_back_; }

  // The turns from this one on go, with what the transcript had of them; they come back with the
  // last of them that went.
  void cut(std::int64_t turn_id, Transcript& transcript, Undo undo);
  const Undo* undo() const {
    return cuts_.empty() ? nullptr : &cuts_.back().undo;
  }                                            // of the last cut; null: none since a turn began
  std::int64_t uncut(Transcript& transcript);  // the turn that it went back before

 private:
  struct Cut {
    std::vector<Turn> turns;
    Transcript transcript;              // as it was
    std::vector<Transcript> shortened;  // and those before it
    Undo undo;
  };
  std::vector<Turn> turns_;
  std::vector<Transcript> shortened_;  // each as it was when the next began
  std::vector<Cut> cuts_;              // since the last turn began
  std::optional<GoingBack> going_back_;
};

}  // namespace lares::daemon
