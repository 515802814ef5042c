// What is typed at the terminal while nothing is asked there: it is not shown in the midst of what
// is written, and it answers no question that is asked later.
#pragma once

namespace lares::cli {

// What waits in the terminal `fd` to be read, lines and the beginning of one, is gone. In the
// background nothing is: there it is typed for another program.
void forget_typed(int fd);

// Whether the terminal shows what is typed at it; Ctrl-C and Ctrl-Z work either way. It is put back
// when this goes, and by the signals that end a process without a word, but SIGKILL. One at a time.
class Echo {
 public:
  Echo();
  ~Echo();
  Echo(const Echo&) = delete;
  Echo& operator=(const Echo&) = delete;

  // Nothing, where the terminal may be another program's: in the background, beside a program in a
  // pipe (a pager finds the modes and puts back what it found), or where nothing is shown on it.
  void off();
  void on();

 private:
  bool may_ = false, off_ = false;
};

// Stops the process as Ctrl-Z does where nobody watches for it, and returns when it goes on: at
// once, where no shell is there that could let it.
void stop_process();

}  // namespace lares::cli
