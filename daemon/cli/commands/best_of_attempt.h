// One attempt of several, how attempts are ranked, and how they are shown while they run and in the
// end.
#pragma once

#include <string>
#include <vector>

#include "daemon/cli/terminal/screen.h"
#include "daemon/protocol/worktree_wire.h"

namespace lares::cli {

struct Attempt {
  int number = 0;  // from 1
  daemon::protocol::SessionInfo session;
  std::string branch, prompt_id;
  bool sent = false;
  std::int64_t turn_id = 0, step = 0;
  // Sampled in the steps that ended, and in the one that runs
  std::int64_t tokens = 0, tokens_in_step = 0;
  std::string state = "waiting";  // see protocol::SessionState; ended: how
  bool ended = false;
  std::string reason, message;  // see protocol::TurnEnded
  daemon::protocol::SessionTestResult test;
  std::string untested;  // why the tests say nothing of it; empty: they do
  daemon::protocol::WorktreeDiffResult diff;

  bool passes() const { return untested.empty() && test.passed; }
};

// The best first: one that passes, that did something, whose turn came to its end, with the fewest
// failures, with the smallest diff, the first. One that changed nothing may pass tests that passed
// before.
std::vector<const Attempt*> ranked(const std::vector<Attempt>& attempts);

// One line: state, step, tokens.
std::string live_line(const Attempt& attempt);
// The table, the best first, marked.
std::string best_of_table(const std::vector<const Attempt*>& ranked, const Terminal& terminal);
daemon::protocol::Json best_of_json(const std::vector<const Attempt*>& ranked, bool applied);

// A line for each attempt, redrawn in place on a terminal; elsewhere a line when one begins a
// step or ends.
class AttemptLines {
 public:
  AttemptLines(int fd, Terminal terminal) : fd_(fd), terminal_(terminal) {}
  void show(const std::vector<Attempt>& attempts);
  void resized() { terminal_.width = Terminal::detect(fd_).width; }
  void end();  // what is written next stands below them

 private:
  int fd_;
  Terminal terminal_;
  std::size_t n_drawn_ = 0;  // lines, the cursor below them
  std::vector<std::string> said_;
};

}  // namespace lares::cli
