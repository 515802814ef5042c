// Follows turns of one session until they end, across restarts of the daemon: what lares run,
// review and attach have in common.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "daemon/cli/options.h"
#include "daemon/cli/terminal/screen.h"
#include "daemon/cli/terminal/typing.h"
#include "daemon/cli/transcript.h"
#include "daemon/cli/turn_view.h"
#include "daemon/client/link.h"
#include "daemon/shown/changes.h"

namespace lares::cli {

class Follower {
 public:
  Follower(const DaemonOptions& daemon, bool hide_thinking);  // `daemon` outlives it
  virtual ~Follower() = default;
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  int run();  // the exit status

 protected:
  // Reaches the daemon and subscribes to the session.
  virtual Result<> begin() = 0;
  // Again, on a new connection, behind last_seq_.
  virtual Result<> go_on() = 0;
  // Whether a notification is about a turn that is followed.
  virtual bool ours(std::int64_t turn_id) const = 0;
  // Whether a turn of it runs, or is to run: then a daemon that died is started again.
  virtual bool works() const { return true; }
  // Ctrl-C or SIGTERM.
  virtual void interrupt() = 0;
  // Of every notification, before anything is shown of it.
  virtual void noticed(const protocol::Message&) {}
  // A turn that is followed is over: says so and leaves.
  virtual void ended(const protocol::TurnEnded& ended) { conclude(ended); }

  Result<> reach_daemon();                               // starts one where none runs
  Result<protocol::SessionSubscribeResult> subscribe();  // to session_, behind last_seq_
  void conclude(const protocol::TurnEnded& ended);
  void sum_up(const protocol::TurnEnded& ended);
  void leave(int status) { exit_ = status; }
  bool can_answer() const;

  const DaemonOptions& daemon_;
  Link link_;
  Screen screen_;
  Transcript transcript_;
  TurnView view_;
  protocol::SessionInfo session_;
  shown::Changes changes_;  // of the turn
  std::string answer_;      // of the turn: the last text that is complete
  std::int64_t last_seq_ = 0;
  bool started_ = false;      // the daemon, by this command
  bool interrupted_ = false;  // the turn, by this command

 private:
  Result<> reconnect();
  Happening next();
  void step(const Happening& h);
  void suspend();
  void go_on_below();
  void notified(const Happening& h);
  void shown(const Happening& h);
  void server_state(const protocol::ServerState& state);

  // Questions and calls that ask for permission, at a terminal.
  void asks(const protocol::Item& item);
  void ask_line(const std::string& item_id);
  void forget_typed();
  void typed(const std::string& bytes);
  void reply(const std::string& line);
  void answered_elsewhere();

  // Facts up to here are the past: what they asked has been answered, or comes again as a snapshot
  std::int64_t replay_to_ = 0;
  std::string question_id_;
  protocol::Item asking_;        // the call that asks for permission
  Echo echo_;                    // off while no question is open
  std::string typed_;            // of a line that answers it, where a part of it was sent
  std::deque<Happening> later_;  // the first that next() has
  bool stopped_itself_ = false;  // and nothing has been heard since of its going on
  bool doubted_ = false;         // the last answer: what is meant by it has been asked
  bool question_open_ = false, lost_ = false;
  int reconnects_ = 0;  // in a turn
  std::optional<int> exit_;
};

}  // namespace lares::cli
