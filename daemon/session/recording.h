// A recorded session, step by step: what was sampled, from what, and how. Knows no engine.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/protocol/transfer.h"
#include "daemon/session/turn_log.h"
#include "daemon/turn/transcript.h"
#include "daemon/turn/turn.h"
#include "engine/chat.h"

namespace lares::daemon {

struct RecordedStep {
  std::int64_t turn_id = 0, step = 0;
  // Of the transcript: what it was sampled from, and the answer behind that
  std::size_t n_prompt = 0, n_answer = 0;
  std::string mode, policy;  // of the turn, of the session
  int n_redrawn = 0;         // answers before this one that were given up
  Drawn drawn;
  bool broken_off = false;  // its last tokens were not sampled, or some that were are not here
};

// What an answer said, piece after piece: "think", "text", or the name of a tool; with the text, or
// the arguments. "": a call that was none.
struct Piece {
  std::string kind, text;
  bool operator==(const Piece&) const = default;
};

// Fed with the session's frames in order.
class Recording {
 public:
  // Of the last turn that began, as its items tell it; in the order in which they were begun.
  std::vector<Piece> told() const;
  bool turn_ended() const { return turn_ended_; }  // with the last frame, and nothing broke it off

  // A public fact that is written otherwise than it was read: its seq; 0: none so far.
  std::int64_t first_unlike() const { return first_unlike_; }
  std::int64_t n_facts() const { return n_facts_; }

  // The step that this frame completes, if it does; its tokens are in transcript() until the next
  // frame.
  const RecordedStep* feed(std::string_view payload);
  std::string wrong() const { return wrong_; }  // a frame that makes no sense; empty: none

  const Transcript& transcript() const { return transcript_; }
  // As it was created, with the settings that hold now
  const protocol::SessionInfo& info() const { return info_; }

 private:
  template <class T>
  bool take(const std::string& method, const protocol::Json& params, const std::string& as_read);
  static std::vector<DrawnPart> drawn_parts(const protocol::Json& params);
  bool heard(const protocol::Json& frame);  // true: step_ is complete
  void apply(const protocol::SessionCreated& x);
  void apply(const protocol::SessionUpdated& x);
  void apply(const protocol::SessionRewound& x);
  void apply(const protocol::SessionUnrewound& x);
  void apply(const protocol::PromptAccepted& x);
  void apply(const protocol::TurnStarted& x);
  void apply(const protocol::ItemCompleted& x);
  void apply(const protocol::TurnStep& x);
  void apply(const protocol::TurnEnded& x);

  protocol::SessionInfo info_;
  Transcript transcript_;
  TurnLog turn_log_;
  std::map<std::string, std::string> modes_;  // of prompts
  RecordedStep step_;
  std::size_t n_before_ = 0;  // the transcript, before what was appended last
  int n_redrawn_ = 0;
  std::string policy_;
  Drawn drawn_;  // the answer that is appended next
  bool complete_ = false, turn_ended_ = false;
  bool appended_ = false;                // something, since the last answer that was drawn again
  std::map<std::int64_t, Piece> items_;  // of the turn, by their number
  std::string wrong_;
  std::int64_t first_unlike_ = 0, n_facts_ = 0;
};

// Of the text of a whole answer's tokens: what the parser says, and as pieces
std::vector<engine::Event> events_of(std::string_view answer);
std::vector<Piece> pieces_of(std::string_view answer);

// What one session's calls were, by turn and arguments: for the masks that hung on files.
std::map<std::pair<std::int64_t, std::string>, std::string> snapshots_of_calls(
    const std::vector<std::string>& frames);

}  // namespace lares::daemon
