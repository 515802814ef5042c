// A program on a pty, below a process of this one's that only waits for it and leads their session.
// When the leader of a session ends, its terminal hangs up, and what was typed there and not read
// is gone: this leader ends when it is told to.
#pragma once

#include <sys/ioctl.h>
#include <sys/types.h>
#include <termios.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "tools/fd.h"

namespace lares::cli {

class PtyProgram {
 public:
  // argv[0]: a path. The terminal begins with these modes and this size, where they are known. An
  // error is an errno.
  static tl::expected<PtyProgram, int> begin(const std::vector<std::string>& argv,
                                             const std::string& directory, const termios* modes,
                                             const winsize* size);
  PtyProgram(PtyProgram&&) = default;
  PtyProgram& operator=(PtyProgram&&) = delete;
  ~PtyProgram();  // kills it where it still runs

  int outer() const { return outer_.get(); }      // who relays reads and writes here
  int reports() const { return reports_.get(); }  // readable: changed() has something to say
  pid_t pid() const { return pid_; }              // of the program, and of its process group
  // How it has stopped or ended since it was asked last, as waitpid(2) tells it.
  std::optional<int> changed();

  // Of a program that has ended: what it and its jobs wrote until now ends in `mark`, for whoever
  // reads outer(). As many bytes of it as there is room for, 0 or more.
  std::size_t mark_end(std::string_view mark);
  // Of a program that has ended: what was written to outer() and nobody has read. No program hears
  // of it any more.
  std::string take_unread();

 private:
  PtyProgram() = default;

  tools::Fd outer_, inner_;  // the side of who relays; the program's
  // From the leader, how the program does; closed, and it ends
  tools::Fd reports_, holds_;
  pid_t leader_ = 0, pid_ = 0;
  bool ended_ = false;
};

}  // namespace lares::cli
