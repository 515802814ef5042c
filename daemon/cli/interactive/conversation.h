// One session with the daemon at a time, and the connection to it, across restarts of the daemon.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/cli/options.h"
#include "daemon/client/error.h"
#include "daemon/client/link.h"
#include "daemon/protocol/protocol.h"
#include "daemon/protocol/worktree_wire.h"

namespace lares::cli {

// A daemon that keeps dying is not started for ever: so many times in a row without a fact of the
// session in between.
inline constexpr int kReconnectsMax = 5;

class Conversation {
 public:
  struct Events {
    std::function<void(std::string_view what)> waiting;  // for the daemon to come up
    std::function<void(std::string line)> reconnected;   // and how that came
    std::function<void()> ended;               // the daemon, while it had nothing to do for this
    std::function<void(const Error&)> failed;  // something asked for did not happen
    std::function<void(const std::string& content)> not_sent;  // a prompt the daemon never took
    // It waited, and no turn begins with it.
    std::function<void(const protocol::PromptAccepted&)> taken_back;
    std::function<void(const protocol::WorktreeCreated&)> in_worktree;
    std::function<void()> left;  // the session: nothing that was open in it can be answered here
  };
  // `link` and `daemon` outlive it.
  Conversation(Link& link, const DaemonOptions& daemon, std::string root, Events events);

  // Reaches the daemon; the session itself is made with the first prompt.
  Result<> begin();
  void settings(protocol::SessionSettings settings) { settings_ = std::move(settings); }
  void in_own_worktree(bool yes) { in_own_worktree_ = yes; }  // each session that is begun

  // Goes on with a session: what has happened in it is not replayed, what is open comes as
  // snapshots.
  Result<> resume(const std::string& session_id);
  // Of this repository, newest first, without those nobody said anything in
  Result<std::vector<protocol::SessionInfo>> sessions();
  // Of the session, where there is one, and of those that are begun after it.
  Result<> policy(const std::string& name);
  const std::string& policy() const {
    return session_ ? session_->settings.policy : settings_.policy;
  }
  Result<> leave();  // the next prompt begins a new one

  void say(const std::string& content, std::string_view delivery, std::string_view mode);
  // Stops the running turn, and takes back what waits.
  void interrupt();
  void answer(const std::string& item_id, const std::string& text);
  void answer(protocol::ApprovalReply reply);

  // The link's happenings that are this class's business: answers, and what it needs to know of
  // notifications.
  void answered(const Happening& h);
  void notified(const Happening& h);
  void lost();    // the connection
  void rejoin();  // where it is lost: a daemon that runs again, and starts none

  // Asks how long the session's context is now: going back changes it without a turn.
  void measure();

  const protocol::SessionSettings& settings() const { return settings_; }  // of what is begun
  bool has_session() const { return session_.has_value(); }
  const protocol::SessionInfo& session() const { return *session_; }
  const std::string& root() const { return root_; }
  bool connected() const { return link_.connected(); }
  std::int64_t running_turn() const { return turn_id_; }
  std::int64_t last_seq() const { return last_seq_; }  // the facts behind it are notified
  bool busy() const { return turn_id_ != 0 || !unanswered_.empty() || !waiting_.empty(); }
  // Whether this process sent the prompt; and whether it did so while another turn than `turn_id`
  // ran.
  bool sent(const std::string& prompt_id) const { return sent_.contains(prompt_id); }
  bool sent_before(const std::string& prompt_id, std::int64_t turn_id) const;
  bool started_daemon() const { return started_; }

 private:
  Result<> reach();
  Result<> subscribe(std::int64_t after);
  Result<> ready_to_say(const std::string& prompt);
  Result<protocol::SessionInfo> create(const std::string& prompt);
  void send(const protocol::PromptSend& prompt);
  Result<> find_again();
  void give_back();
  void no_longer_waits(const std::string& prompt_id);

  Link& link_;
  const DaemonOptions& daemon_;
  std::string root_;
  Events events_;
  protocol::SessionSettings settings_;
  bool in_own_worktree_ = false;
  std::optional<protocol::SessionInfo> session_;
  std::int64_t last_seq_ = 0, turn_id_ = 0;
  bool started_ = false;
  int reconnects_ = 0;
  std::map<std::int64_t, std::string> asked_;  // what each request without an answer was for
  // Sent again after a reconnection: the daemon knows them by their id
  std::map<std::int64_t, protocol::PromptSend> unanswered_;
  std::map<std::string, std::int64_t> sent_;       // prompt id to the turn that ran, 0: none
  std::vector<protocol::PromptAccepted> waiting_;  // and no turn has begun with
};

}  // namespace lares::cli
