// A program on a terminal of its own (a pty) within the person's: what is typed goes to it, what it
// writes is shown, and Ctrl-C and the window's size reach it as from any shell.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/client/error.h"

namespace lares::cli {

// A program is looked after this often.
inline constexpr std::chrono::milliseconds kLookedAfterEvery{50};
// So many Ctrl-C within kInterruptsWithin kill the program and its jobs. One that fills the screen
// may know them for a key (vim, less), and has work to lose.
inline constexpr int kInterruptsMax = 2, kInterruptsOnOtherScreenMax = 4;
inline constexpr std::chrono::seconds kInterruptsWithin{1};

struct TerminalProgram {
  std::vector<std::string> argv;  // argv[0]: a path
  std::string directory;
  std::function<void(std::string_view)> written;  // to its first screen (alternate_screen.h); raw
};

// The person's terminal, while a program has it.
struct LentTerminal {
  int tty;
  std::function<bool()> given_up;  // the program must end now
  // Comes back: what was typed and it did not read, be it a whole line. Enter is '\r'.
  std::string unread;
};

// Runs it to its end within the terminal, which is in its usual modes and has them again
// afterwards; the program's terminal begins with the same. Gives its status, as waitpid(2); an
// error is an errno. One that is suspended is ended: there is no shell here to bring it back. Its
// jobs hold nothing up; the terminal is gone for them.
tl::expected<int, int> run_on_terminal(const TerminalProgram& program, LentTerminal& lent);

std::string ended_how(int status);  // "exit status 2", "killed by SIGINT"; empty: well

}  // namespace lares::cli
