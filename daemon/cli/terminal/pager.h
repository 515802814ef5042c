// Where long output goes: at a terminal through the user's pager, else to stdout.
#pragma once

#include <sys/types.h>

namespace lares::cli {

class Pager {
 public:
  // $PAGER, else less, with colours and only for what is longer than the screen; an empty one or
  // `cat`: none. One that is not there leaves its text to be printed.
  Pager();
  ~Pager();  // waits until the reader has left it
  Pager(const Pager&) = delete;
  Pager& operator=(const Pager&) = delete;

  int fd() const { return fd_; }

 private:
  int fd_;
  pid_t pid_ = 0;
};

}  // namespace lares::cli
