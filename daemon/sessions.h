// All sessions of a state directory.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/session.h"
#include "daemon/transfer.h"
#include "daemon/worktree_records.h"

namespace lares::daemon {

inline constexpr int kTimelinesMax = 32;  // KV caches kept between turns, as far as the engine has
                                          // room; the least recently used go first

std::string fresh_session_id();
std::string wrong_setting(const protocol::SessionSettings& settings);  // which one and why; empty:
                                                                       // all are possible

class Sessions {
 public:
  explicit Sessions(SessionWorld world);

  // Reads every journal; one that cannot be read is logged and left alone.
  void load();
  // Turns that were promised before the daemon died.
  void resume();

  Reply<std::shared_ptr<Session>> create(const protocol::SessionCreate& request);
  struct InWorktree {
    std::shared_ptr<Session> session;
    WorktreeRecord worktree;  // made for it
  };
  asio::awaitable<Reply<InWorktree>> create_in_worktree(protocol::SessionCreate request);
  asio::awaitable<Reply<std::shared_ptr<Session>>> fork(std::shared_ptr<Session> from,
                                                        std::int64_t before_turn,
                                                        std::int64_t after_step, std::string title);
  // session_import.cc. What an export holds, in a worktree of this machine: that of `root`, or the
  // one it was about.
  asio::awaitable<Reply<std::shared_ptr<Session>>> import(std::string path, std::string root);
  // session_verify.cc. Samples again what a session recorded, its journal's or an export's, and
  // compares.
  asio::awaitable<Reply<protocol::SessionReplayResult>> verify(protocol::SessionReplay request,
                                                               std::function<bool()> given_up);
  const SessionWorld& world() const { return world_; }
  // By id or an unambiguous beginning of one.
  Reply<std::shared_ptr<Session>> find(const std::string& id) const;
  std::vector<protocol::SessionInfo> list(const std::string& root, bool closed) const;  // newest
                                                                                        // first
  void for_each(const std::function<void(const protocol::SessionInfo&)>& look) const;   // by id,
                                                                                        // closed
                                                                                        // ones too
  void interrupt_all();
  asio::awaitable<void> all_ended();
  int n_sessions() const { return static_cast<int>(sessions_.size()); }
  int n_running() const;
  void forget(Subscriber* subscriber);

 private:
  Reply<std::shared_ptr<Session>> make(const protocol::SessionCreate& request,
                                       protocol::SessionInfo info);
  void limit_timelines();

  SessionWorld world_;
  std::map<std::string, std::shared_ptr<Session>> sessions_;
};

}  // namespace lares::daemon
