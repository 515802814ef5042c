// All sessions of a state directory.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/protocol/transfer.h"
#include "daemon/session/session.h"
#include "daemon/session/worktree_records.h"

namespace lares::daemon {

// KV caches kept between turns, as far as the engine has room; the least recently used go first
inline constexpr int kTimelinesMax = 32;
// An open one that nobody worked with for so long is put away
inline constexpr std::chrono::days kIdleMax{90};
// Kept on the disk; those used longest ago go first, with their outputs
inline constexpr int kClosedSessionsMax = 10'000;
inline constexpr std::uint64_t kClosedBytesMax = 4'000'000'000;  // that they may take there
inline constexpr std::chrono::milliseconds kRestEvery{1000};  // looks for what can leave the memory

// A shorter beginning of an id names none: it is rather a number that slipped into its place.
inline constexpr std::size_t kIdBeginningMin = 4;

struct KeptLimits {
  std::chrono::milliseconds idle = kIdleMax;
  std::int64_t closed_sessions = kClosedSessionsMax;
  std::uint64_t closed_bytes = kClosedBytesMax;
};

std::string fresh_session_id();
// Which one and why; empty: all are possible
std::string wrong_setting(const protocol::SessionSettings& settings);

// A session that nobody works with, and of which the journal says all there is to know, is at rest:
// in memory is what is listed of it, and it is read back when somebody opens it. So is every closed
// one, and every other that was not worked with since the daemon began.
class Sessions {
 public:
  explicit Sessions(SessionWorld world, KeptLimits limits = {});

  // What is known of every session: those that were at rest are, and of the others the journals are
  // read; one that cannot be is logged and left alone.
  void load();
  // Turns that were promised before the daemon died.
  void resume();
  // When nothing runs any more: the next daemon needs to read no journal that ended well.
  void leave();

  Reply<std::shared_ptr<Session>> create(const protocol::SessionCreate& request);
  // in_worktree.cc
  struct InWorktree {
    std::shared_ptr<Session> session;
    WorktreeRecord worktree;  // made for it
  };
  // Where `given_up` says when it is made that nobody waits for it any more, it goes again.
  asio::awaitable<Reply<InWorktree>> create_in_worktree(protocol::SessionCreate request,
                                                        std::function<bool()> given_up = nullptr);
  // Closes the session and removes its worktree and branch: nothing was done there yet.
  asio::awaitable<void> take_back(InWorktree made);
  // Of those that were known when the daemon began: where the one before died over the making of a
  // session, its worktree goes, unless it holds something of its own.
  asio::awaitable<void> take_back_unfinished(std::vector<WorktreeRecord> known);
  // By the id of a session that works there, or, where there is none, of the one that it was made
  // for; or by an unambiguous beginning.
  asio::awaitable<Reply<WorktreeRecord>> worktree(std::string id);
  // While it lives no turn begins in the sessions of a root, whoever makes one or writes to one
  // there; then what waits begins.
  class Still {
   public:
    Still(Sessions& sessions, std::string root);
    ~Still();
    Still(const Still&) = delete;
    void keep(std::shared_ptr<Session> session) { kept_.push_back(std::move(session)); }
    void close_all();  // what waits is withdrawn

   private:
    Sessions& sessions_;
    const std::string root_;
    std::vector<std::shared_ptr<Session>> kept_;  // in memory
  };
  // Busy where something runs, but with `force`: it closes them and waits for what runs to end.
  asio::awaitable<Reply<std::unique_ptr<Still>>> hold_still(std::string root, bool force);
  asio::awaitable<Reply<std::shared_ptr<Session>>> fork(std::shared_ptr<Session> from,
                                                        std::int64_t before_turn,
                                                        std::int64_t after_step, std::string title);
  // import.cc. What an export holds, in a worktree of this machine: that of `root`, or the
  // one it was about.
  asio::awaitable<Reply<std::shared_ptr<Session>>> import(std::string path, std::string root);
  // replay.cc. Samples again what a session recorded, its journal's or an export's, and
  // compares.
  asio::awaitable<Reply<protocol::SessionReplayResult>> replay(protocol::SessionReplay request,
                                                               std::function<bool()> given_up);
  const SessionWorld& world() const { return world_; }
  // By id or an unambiguous beginning of one.
  asio::awaitable<Reply<std::shared_ptr<Session>>> open(std::string id);
  Reply<protocol::SessionInfo> look(const std::string& id) const;  // without reading it
  // Newest first. `roots`: only those about one of them; empty: all.
  std::vector<protocol::SessionInfo> list(const std::vector<std::string>& roots, bool closed) const;
  // By id, closed ones too
  void for_each(const std::function<void(const protocol::SessionInfo&)>& look) const;
  void interrupt_all();
  void begin_no_turns() { world_.wake = Wake::never; }  // by themselves
  asio::awaitable<void> all_ended();
  int n_sessions() const { return static_cast<int>(sessions_.size()); }
  int n_running() const;
  void forget(Subscriber* subscriber);

 private:
  Reply<std::shared_ptr<Session>> make(const protocol::SessionCreate& request,
                                       protocol::SessionInfo info);
  void limit_timelines();

  struct Kept {
    std::shared_ptr<Session> session;  // null: it is at rest
    protocol::SessionInfo info;        // of one at rest
    std::uint64_t bytes = 0;           // of one at rest, on the disk; 0: not measured yet
    bool unreadable = false;           // when it was to be read back last
    std::shared_ptr<Gate> opening;     // while somebody reads it back
    const protocol::SessionInfo& about() const { return session ? session->info() : info; }
  };
  using Map = std::map<std::string, Kept>;
  Reply<Map::const_iterator> named(const std::string& id) const;
  std::string journal_of(const std::string& id) const;
  bool may_rest(const Map::value_type& each) const;
  void rest(Kept& kept);

  // at_rest.cc
  void rest_soon();
  asio::awaitable<void> rest_while_some_can();
  bool rest_those_that_can();  // true: some could, and somebody holds them
  asio::awaitable<bool> put_away_idle();
  bool idle(const Kept& kept) const;
  asio::awaitable<void> limit_closed();
  std::vector<std::string> too_many_closed() const;
  bool may_go(const Kept& kept) const;

  SessionWorld world_;
  const KeptLimits limits_;
  bool rests_ = false;
  Map sessions_;
};

}  // namespace lares::daemon
