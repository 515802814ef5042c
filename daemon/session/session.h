// One conversation about one repository: its facts on disk, its turns, its subscribers. The
// journal's frames are the session's events as they were notified, {"method", "params"}, and
// between them the daemon's own ones (method "lares/..."), which clients do not see. An event's seq
// is its frame's number, from 1.
#pragma once

#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <tl/expected.hpp>

#include "daemon/engine_host.h"
#include "daemon/gate.h"
#include "daemon/hooks/hook_config.h"
#include "daemon/log.h"
#include "daemon/permissions/permissions.h"
#include "daemon/protocol/protocol.h"
#include "daemon/protocol/wire.h"
#include "daemon/protocol/worktree_wire.h"
#include "daemon/resident/residents.h"
#include "daemon/session/asked.h"
#include "daemon/session/call_outputs.h"
#include "daemon/session/checkpoints.h"
#include "daemon/session/journal.h"
#include "daemon/session/overlays.h"
#include "daemon/session/turn_log.h"
#include "daemon/skills/skills.h"
#include "daemon/turn/toolbox.h"
#include "daemon/turn/transcript.h"
#include "daemon/turn/turn.h"

namespace lares::daemon {

class Worktrees;
namespace protocol {
struct SessionJobsResult;
struct SessionStopJobResult;
}  // namespace protocol

// A connection that follows a session. Called on the io executor; lines end with their newline.
class Subscriber {
 public:
  enum class Weight {
    fact,
    state,
    delta
  };  // what a slow client may lose: nothing, nothing, deltas (it then gets snapshots)
  virtual ~Subscriber() = default;
  virtual void notify(const std::string& session_id, const std::string& line, Weight weight) = 0;
  virtual bool interactive(const std::string& session_id) const = 0;
};

// Whether an idle session begins a turn by itself when a background job of its shell ends.
enum class Wake {
  never,
  attended,  // while somebody is there who sees it
  always,
};
inline constexpr int kWakesMax = 3;  // in a row, until somebody writes
// The delivery of such a prompt, which no client sends
inline constexpr std::string_view kWake = "wake";

// What every session of this daemon is made with.
struct SessionWorld {
  asio::any_io_executor io;
  asio::thread_pool* disk = nullptr;          // blocking file work
  asio::thread_pool* tool_threads = nullptr;  // tools::BuiltinOptions::threads
  EngineHost* host = nullptr;
  Residents* residents = nullptr;
  Checkpoints* checkpoints = nullptr;
  Worktrees* worktrees = nullptr;
  const Log* log = nullptr;
  std::string state_dir, sandbox_launcher, mcp_config;
  std::string config_dir;  // the user's own hooks.json and AGENTS.md; empty: neither
  std::string home;        // where the user's own skills are (skills.h); empty: none
  std::vector<std::string> network_allow;
  TurnSettings defaults;
  Wake wake = Wake::attended;
  int command_timeout_ms = 0;     // tools::BuiltinOptions; 0: its own
  std::function<void()> changed;  // some session's state changed
};

// What a turn in this mode is sampled with.
TurnSettings turn_settings(TurnSettings defaults, const protocol::SessionSettings& given,
                           std::string_view mode);

// Of a fork: where it looks for a place that the other's caches can be shared at, and how far back.
inline constexpr std::int64_t kForkStep = 128, kForkLooksBack = 8192;

// Where an answer is refused: what the client is told.
template <class T = void>
using Reply = tl::expected<T, protocol::Error>;

class Session final : public std::enable_shared_from_this<Session>, private TurnEvents {
 public:
  static Reply<std::shared_ptr<Session>> create(const SessionWorld& world,
                                                protocol::SessionInfo info);
  // A journal that cannot be read at all is an error; a torn tail is cut off and logged.
  static tl::expected<std::shared_ptr<Session>, std::string> open(const SessionWorld& world,
                                                                  const std::string& path);
  ~Session() override;

  const protocol::SessionInfo& info() const { return info_; }
  bool running() const { return turn_ != nullptr; }
  bool testing() const { return testing_ != nullptr; }  // for somebody else than the model
  bool followed() const { return !subscribers_.empty(); }
  const std::string& failure() const { return failure_; }
  Reply<> use_servers(std::vector<mcp::ServerConfig> servers);  // of MCP, beside the user's own
  bool awake() const { return timeline_ != nullptr; }
  bool ended_well() const;        // nothing runs, waits, or could not be written
  bool journal_says_all() const;  // and nothing else is known that it could go on with
  void sleep();  // gives its KV cache back; the next turn evaluates the transcript again

  asio::awaitable<Reply<protocol::PromptSendResult>> send(protocol::PromptSend prompt);
  asio::awaitable<Reply<protocol::PromptWithdrawResult>> withdraw(std::string prompt_id);
  void withdraw_all();                           // that waits
  std::int64_t interrupt(std::int64_t turn_id);  // the turn that is stopped, 0 when none
  asio::awaitable<Reply<>> reply(std::string item_id, std::string text);
  asio::awaitable<Reply<>> approve(protocol::ApprovalReply reply);
  asio::awaitable<Reply<>> set_policy(std::string policy);
  asio::awaitable<Reply<>> set_title(std::string title);  // its first line, bounded
  const Journal& journal() const { return journal_; }

  // jobs.cc
  protocol::SessionJobsResult jobs() const;
  asio::awaitable<Reply<protocol::SessionStopJobResult>> stop_job(std::int64_t host_pid);

  // rewind.cc
  asio::awaitable<Reply<protocol::SessionRewindResult>> rewind(protocol::SessionRewind request);
  asio::awaitable<Reply<protocol::SessionRewindResult>> unrewind();
  const TurnLog& turn_log() const { return turn_log_; }
  const Transcript& transcript() const { return transcript_; }
  // fork.cc. What it knew after so many steps of the turn.
  asio::awaitable<Reply<Transcript>> after_step(TurnLog::Turn turn, std::int64_t step);
  // Of a session just made: knows what the other's transcript `was`, and shares what is evaluated
  // of it.
  struct Forebear {
    std::vector<std::string> words;  // that the user wrote
    bool had_shell = false;          // in which the model ran commands
  };
  asio::awaitable<void> become_fork_of(std::shared_ptr<Session> parent, Transcript was,
                                       Forebear known);
  Forebear forebear(std::int64_t before_turn, bool and_its_first_steps) const;
  std::vector<std::string> words_of_turn() const;
  std::vector<std::string> words(std::int64_t before_turn, bool and_its_prompt = false) const;
  asio::awaitable<Reply<protocol::SessionTestResult>> test(std::string command);  // tests_run.cc
  void close();
  // When this turn is over, 0: now. Closed, but for whoever writes to it after all; not where
  // somebody has already, or something runs.
  asio::awaitable<void> put_away(std::int64_t turn_id);
  asio::awaitable<void> ended();              // when no turn runs
  asio::awaitable<Reply<>> close_and_keep();  // both, and it is on disk that it is closed

  // False: it still cannot be written. Where it could not be, this reads it back first; what was
  // true of the session may not be any more.
  asio::awaitable<bool> writable();
  protocol::Error unwritten() const { return unwritten(failure_); }
  static protocol::Error unwritten(const std::string& why);

  // Prompts that were on disk and had not been answered when the daemon died.
  void resume() { start_next(); }

  // Live from now on; begins with snapshots of what is open
  void subscribe(Subscriber* subscriber);
  // It hears what was first, and subscribes then, also where it does once more
  void comes(Subscriber* subscriber);
  void unsubscribe(Subscriber* subscriber);
  // It may hold text that is not saved, and says so when it is asked
  void editor_is(Subscriber* subscriber);
  // What its editor holds of a file
  Reply<> overlay(const std::string& path, std::optional<std::string> text, bool told);
  std::vector<std::string> snapshots(bool resync) const;  // notification lines

  // The first public event with seq > after, or nullopt. `seq` is set to it.
  std::optional<std::string> event_after(std::int64_t after, std::int64_t& seq) const;

 private:
  Session(const SessionWorld& world, Journal journal)
      : world_(world),
        journal_(std::move(journal)),
        overlays_(std::make_shared<Overlays>(world.io)),
        permissions_(world.io, *world.disk, world.state_dir + "/rules"),
        idle_(world.io) {}

  struct Prompt {
    protocol::PromptSend send;
    std::int64_t seq = 0, turn_id = 0;
    bool delivered = false;  // or withdrawn: nothing is left to begin
  };
  // While it lives no turn begins.
  struct Rewinding {
    explicit Rewinding(Session& s) : session(s) {
      session.rewinding_ = true;
      session.idle_.close();
    }
    ~Rewinding() {
      session.rewinding_ = false;
      if (!session.world_.host->stopping()) session.start_next();
      if (!session.turn_) session.idle_.open();
      session.watch_jobs();
    }
    Rewinding(const Rewinding&) = delete;
    Session& session;
  };
  struct Running {
    std::int64_t id = 0;
    std::string mode;
    bool woken = false;    // it began by itself
    bool sums_up = false;  // the conversation, and does nothing else
    bool reading = false;  // it changes nothing, whatever the policy becomes
    TurnStop stop;
  };

  // That waits for somebody's answer: ask_user's, or an MCP server's.
  struct Question {
    std::string item_id;
    Gate settled;  // answered, or given up
    std::optional<std::string> answer = {};
  };

  // TurnEvents
  void state(std::string_view state) override;
  void prefill(std::int64_t step, std::int64_t done, std::int64_t total) override;
  void item_started(const protocol::Item& item) override;
  void item_delta(const std::string& item_id, std::string_view field, const std::string& text,
                  std::int64_t tokens) override;
  void item_updated(const protocol::Item& item) override;
  void item_completed(const protocol::Item& item) override;
  void step(std::int64_t step, const std::string& reason, const protocol::Usage& usage) override;
  void appended(const std::vector<engine::Token>& ids,
                const std::vector<std::string>& results) override;
  void drawn(const Drawn& how) override;
  void shortened(Transcript before, const std::vector<engine::Token>& ids) override;
  void unread(Unread what) override;
  asio::awaitable<std::vector<Said>> steering() override;

  template <class T>
  void fact(T notification);
  template <class T>
  void ephemeral(T notification, Subscriber::Weight weight);
  // False: it is not on disk, and nobody may hear of it.
  bool record(std::string_view method, const protocol::Json& params);
  void fail(const std::string& why);  // the journal does

  // recovery.cc
  void restore(std::string_view payload, std::int64_t seq);
  void mend(const std::string& why);  // after a crash
  // After a record that could not be written: what this object knows is what is on disk again, of
  // which these are the frames.
  void recover(const std::vector<std::string>& frames);
  void withdraw_refused();
  // Of one whose sender is told that it cannot be written: also where this daemon dies before it
  // can.
  void refuse(const std::string& prompt_id);
  void forget();
  void tell_known_results();

  asio::awaitable<bool> synced();  // the journal is on disk, or the log says why not
  void sync_soon();  // one after the other, and one for all that was written meanwhile
  asio::awaitable<void> sync_while_wanted();
  void tell_repair();
  void start_next();
  asio::awaitable<void> run(std::int64_t turn_id, Prompt* prompt);
  asio::awaitable<TurnResult> work(std::int64_t turn_id, Prompt* prompt);  // up to its end
  asio::awaitable<std::string> retell(TurnInput& input);
  void hear_of_the_loop(TurnInput& input);
  void turn_lost(std::exception_ptr thrown);

  // wake.cc
  int n_wakes() const;
  bool may_wake() const;
  void watch_jobs();
  static asio::awaitable<void> look_for_ends(std::weak_ptr<Session> session,
                                             asio::any_io_executor io);
  asio::awaitable<std::string> news_of_jobs();
  void wake(const std::string& news);
  Said woken_by(const std::string& news, std::vector<std::string>& notes) const;
  void drop_tools();

  asio::awaitable<std::optional<std::string>> ask(std::string question);
  void complete_question(protocol::Item item, const std::optional<std::string>& answer);
  void give_up_questions();  // the turn ends
  bool somebody_is_there() const;
  void leaves_off(Subscriber* subscriber);
  void go_on_if_unattended();
  asio::awaitable<void> before_changes(protocol::Item& item, const nlohmann::json& arguments);
  asio::awaitable<void> save_overlay(const protocol::Item& item, const nlohmann::json& arguments);
  asio::awaitable<void> checkpoint(protocol::Item& item, std::string protocol::Item::*into);
  asio::awaitable<void> after_changes(protocol::Item& item);
  struct WayBack {
    std::map<std::string, tools::Selection> steps;  // files by the snapshot that they go back to
    std::vector<protocol::SkippedFile> not_done;
    struct Edit {
      std::string path, found;  // the name of its content then
      std::string snapshot;     // that it goes back to
    };
    std::vector<Edit> edits;  // by calls that say what they found, the first of each file
  };
  // going_back.cc. The files, once the journal says what takes that back.
  asio::awaitable<Reply<tools::Restored>> go_back(std::int64_t turn_id,
                                                  std::vector<tools::RestoreStep> steps, bool dry);
  // What people are told of those that stay; empty: none do.
  asio::awaitable<std::string> come_back(tools::Restored restored);
  // Of a rewinding that was cut off on the way; nothing to do where none was.
  // Where files could not be written it stays to be taken back, and they are the last not done.
  asio::awaitable<Reply<>> take_back_cut_off(protocol::SessionRewindResult& result);
  void tell_cut_off(const std::vector<std::string>& frames);  // once, after a restart
  // Before a turn does anything. Why its files cannot come back; empty: nothing is left to settle.
  asio::awaitable<std::string> settle_cut_off();
  // `all`: but for those that somebody changed since
  asio::awaitable<Reply<std::string>> take_back(TurnLog::Undo undo,
                                                protocol::SessionRewindResult& result,
                                                bool* all = nullptr);
  asio::awaitable<WayBack> way_back(std::vector<TurnLog::Turn> turns);
  // Which of them stay, because no snapshot holds the file.
  asio::awaitable<void> tell_unheld(std::vector<WayBack::Edit> edits,
                                    protocol::SessionRewindResult& result);
  // Marks what others changed since these turns left it. `now`: the names of the contents that go,
  // by path.
  asio::awaitable<void> mark_others(std::vector<TurnLog::Turn> turns,
                                    std::map<std::string, std::string> now,
                                    std::vector<protocol::RewindChange>& changes);
  void forget_what_was_shown();
  void doubt_what_was_shown();  // of the files alone
  void wait_again(const std::string& prompt_id);
  void forked();
  asio::awaitable<std::optional<std::string>> permit(protocol::Item& item,
                                                     const nlohmann::json& arguments, bool reading);
  tools::BuiltinOptions builtin_options() const;
  void make_toolbox();
  ToolboxOptions toolbox_options() const;
  Ask asker();
  void with_hooks(TurnInput& input, HookConfig config);
  void note_shown(const View& view, const tools::Workspace& files);
  std::optional<tools::KnownText> was_shown(const std::string& path) const;
  void record_shown();
  asio::awaitable<void> pin_again();
  asio::awaitable<Skills> skills() const;
  asio::awaitable<CalledSkill> skill_called_by(std::string prompt) const;
  Beginning begin_with(const Resident::Beginning& beginning, const Skills& skills,
                       const std::string& task, std::vector<std::string>& notes) const;
  void adopt(Resident::Beginning beginning);
  asio::awaitable<std::optional<Beginning>> begin_anew(std::string summary, std::string next);
  asio::awaitable<Checked> check_work();  // tests_run.cc
  asio::awaitable<std::string> changes_of_others();
  std::size_t n_waiting() const;
  Prompt* prompt_of(const std::string& id);  // the last of this id; null: there is none
  const std::string& mode_of(const protocol::PromptSend& prompt) const;
  bool steers(const Prompt& prompt) const;
  TurnSettings settings(std::string_view mode) const;

  const SessionWorld& world_;
  Journal journal_;
  protocol::SessionInfo info_;
  Transcript transcript_;
  Tools tools_;
  Tools dropped_tools_;  // while one of them is asked for its news
  bool asks_tools_ = false, watches_jobs_ = false;
  std::string last_reason_;                 // for which a turn ended, in this daemon
  std::string vocabulary_;                  // the model's, which the session goes on with
  std::vector<mcp::ServerConfig> servers_;  // that a client brought
  std::shared_ptr<Overlays> overlays_;
  Subscriber* editor_ = nullptr;  // whom they are asked of
  std::unique_ptr<engine::Timeline> timeline_;
  // What the model was shown of the repository; null: the daemon that knew has died
  std::shared_ptr<Pinned> pinned_;
  std::shared_ptr<Resident> resident_;  // while a turn runs
  // By its tools, and not yet taken into account in what it was shown
  std::vector<Written> written_;
  ShownRecord shown_;
  WasShown was_shown_;  // read back
  // What the transcript will begin with, if it is begun anew
  std::optional<Resident::Beginning> anew_;
  std::vector<std::string> words_before_;  // a fork's: what the user wrote in the other before it
  bool had_shell_ = false;                 // and its model ran commands in the other's shell
  // It was rewound or is a fork: what the model was shown is not known, but by this daemon
  bool unsure_ = false;
  bool all_may_have_changed_ = false;     // and the model has not been told
  std::vector<std::string> unread_news_;  // of tools: a prompt had no room for it
  std::deque<Prompt> prompts_;            // all there ever were, in order of acceptance
  // Ids of those that the journal has as accepted, whose senders were told that it cannot be
  // written: they are not to run unless they are sent again.
  std::set<std::string> refused_;
  std::unique_ptr<Running> turn_;
  CallOutputs call_outputs_;  // read back
  bool sync_wanted_ = false, syncing_ = false;
  std::map<std::string, protocol::Item> open_;  // items begun and not completed, by id
  std::shared_ptr<Question> question_;
  AskedItems asked_;
  Permissions permissions_;
  TurnLog turn_log_;
  LeftByRewinding left_by_rewinding_;  // read back, of the rewinding that is read next
  bool put_away_ = false;              // what closed it
  bool rewinding_ = false;
  std::unique_ptr<TurnStop> testing_;  // while its tests run for somebody else than the model
  std::string no_checkpoint_;          // why, as people were told last
  std::set<Subscriber*> subscribers_, coming_;
  std::string repair_;   // what the journal lost, until a turn tells it
  std::string failure_;  // the journal could not be written: the turn must end
  Gate idle_;
};

}  // namespace lares::daemon
