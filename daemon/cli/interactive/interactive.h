// lares alone at a terminal: a conversation about this repository.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/cli/interactive/conversation.h"
#include "daemon/cli/interactive/history.h"
#include "daemon/cli/interactive/input.h"
#include "daemon/cli/interactive/own_command.h"
#include "daemon/cli/interactive/slash.h"
#include "daemon/cli/interactive/turns.h"
#include "daemon/cli/options.h"
#include "daemon/cli/terminal/screen.h"
#include "daemon/cli/transcript.h"
#include "daemon/cli/turn_view.h"
#include "daemon/protocol/job_wire.h"
#include "daemon/shown/changes.h"
#include "daemon/skills/skills.h"

namespace lares::cli {

inline constexpr std::chrono::seconds kAwayAfter{20};  // without a key

enum class Bell { away, always, never };

struct InteractiveOptions {
  // session: go on with this one; empty: begin one with the first prompt
  std::string root, session;
  bool newest = false, no_sandbox = false;
  Bell bell = Bell::away;
  bool worktree = false;               // each session that is begun works in one of its own
  protocol::SessionSettings settings;  // of a session that is begun
};

class Interactive {
 public:
  Interactive(const DaemonOptions& daemon, InteractiveOptions options);
  int run();  // the exit status

 private:
  Result<> begin();
  void greet();
  void say_how_to_go_on();
  std::string policy_told(const std::string& policy) const;  // where it is not the usual one

  // What happens: interactive.cc.
  void wait();
  void after_happenings();
  Happening next(std::chrono::steady_clock::time_point deadline);
  std::string unread();
  void show_prompt();
  void await_answer();
  void happened(const Happening& h);
  void suspend();
  void go_on_below();
  void notified(const Happening& h);
  void item_completed(const protocol::Item& item);
  void ask(const protocol::Item& item);
  void server_state(const protocol::ServerState& state);
  void turn_began(std::int64_t turn_id, std::int64_t unix_ms);  // 0: now
  Result<> join_turn();
  void turn_ended(const protocol::TurnEnded& ended);
  void reconnected(const std::string& how);
  void daemon_ended();
  void taken_back(const protocol::PromptAccepted& prompt);
  void left_session();
  void give_back();
  void complain(const Error& error);
  void ring();  // somebody is wanted here

  // What the person wants: requests.cc.
  void interrupt();
  void escaped();
  void submitted(const std::string& line);
  void remember(const std::string& line);
  void said(const std::string& line, std::string_view how);
  void say(const std::string& text, std::string_view delivery, std::string_view mode);
  std::string from_here(const std::string& line);
  void own_command(const std::string& line);
  std::optional<std::string> edit(const std::string& text);
  void lend_terminal(const std::function<void(LentTerminal&)>& use);  // until `use` comes back
  void command(const SlashLine& line, const std::string& typed);
  bool finds_daemon();
  void checked(const Result<>& result, std::string_view done);
  void help();
  Result<> resume(const std::string& id);
  void diff();
  void status();
  void prefix();
  void policy(const std::string& argument);
  void next_policy();
  void heard_policy(const std::string& policy);
  void go(const std::string& argument);
  void compact(const std::string& argument);
  void thinking(const std::string& argument);
  void output(const std::string& argument);
  void copy();
  void review(const std::string& range);

  // What is picked from a list, and going back: lists.cc.
  struct Rewinding {
    protocol::SessionRewind request;
    std::string prompt;  // of the turn before which it goes back
  };
  void offer(std::string_view what, std::function<void(std::int64_t)> pick);
  bool picked(const std::string& line);
  void pick_nothing();
  std::string row_of_list(std::string_view before, std::string_view text,
                          std::string_view behind) const;
  void offer_sessions();
  Completions completions(std::string_view before_cursor);
  bool show_turns(const std::vector<Turn>& turns);
  void rewind(const std::string& argument);
  void plan_rewinding(std::int64_t turn_id);
  void decide(const Rewinding& rewinding, const std::string& line);
  void undo();
  void fork(const std::string& argument);
  void fork_before(std::int64_t turn_id);
  Result<std::vector<protocol::JobInfo>> running_jobs();
  void jobs(const std::string& argument);

  const char* dot() const { return screen_.terminal().utf8 ? " · " : " - "; }
  std::string one_row(std::string_view text) const;
  const std::string& root() const;  // of the session, or of the one that the next prompt begins
  std::string directory() const;    // below the root, where the person stands; empty: at the root
  std::string where_person_stands() const;  // that, absolute
  daemon::Skills skills() const;
  bool calls_skill(std::string_view name) const;

  const InteractiveOptions options_;
  const std::string directory_;  // below options_.root
  const std::string state_dir_;  // the daemon's
  Link link_;
  Screen screen_;
  Transcript transcript_;
  TurnView view_;
  History history_;
  Conversation talk_;
  std::unique_ptr<Input> input_;
  shown::Changes changes_;       // of the running turn
  std::int64_t shown_turn_ = 0;  // whose beginning was seen
  // The latest one of the session that lets something change; empty: none that is known
  std::string working_policy_;
  std::string question_id_;                 // the item whose question is open
  std::optional<protocol::Item> asking_;    // that item, where it asks for permission
  bool doubted_ = false;                    // its answer: what is meant has been asked
  std::function<void(std::int64_t)> pick_;  // a list is shown; its entries have numbers
  std::optional<Rewinding> rewinding_;      // shown, to be done or not
  std::vector<OwnCommand> own_commands_;    // that the next prompt brings
  std::string last_answer_;                 // the last text of the session, as the model wrote it
  // What had happened when a question looked for what was typed, and what was typed at a program
  std::deque<Happening> later_;
  // Prompts of this process that were taken back, and are to be in the line again
  std::vector<protocol::PromptAccepted> held_;
  std::chrono::steady_clock::time_point status_due_;
  std::chrono::steady_clock::time_point typed_at_ = std::chrono::steady_clock::now();
  std::optional<std::chrono::steady_clock::time_point> patient_until_;  // with part of a key
  bool stopped_itself_ = false;  // and nothing has been heard since of its going on
  bool plain_ = false, loading_ = false, interrupting_ = false, leaving_ = false,
       told_how_to_stop_ = false, told_where_ = false, history_failed_ = false,
       planned_ = false;  // under /policy plan, and not carried out
  int exit_ = 0;
};

}  // namespace lares::cli
