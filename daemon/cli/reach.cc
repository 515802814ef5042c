#include "daemon/cli/reach.h"

#include <unistd.h>

#include <chrono>

#include "daemon/cli/terminal/progress.h"
#include "daemon/cli/terminal/screen.h"

namespace lares::cli {

Result<Reached> reach(Link& link, const DaemonAddress& address) {
  using Clock = std::chrono::steady_clock;
  Screen screen(STDERR_FILENO, Terminal::detect(STDERR_FILENO));
  Progress progress;
  auto reached = reach(link, address, [&](double) {
    progress.begin("starting the daemon", Clock::now());
    screen.status(progress.text(Clock::now(), screen.terminal().utf8));
  });
  screen.status("");
  return reached;
}

}  // namespace lares::cli
