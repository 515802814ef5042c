// lares prefix: what of the repository the model has before it, by directory or by file, and what
// is still being computed.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/option_checks.h"
#include "daemon/cli/options.h"
#include "daemon/cli/reach.h"
#include "daemon/cli/report.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/cli/terminal/progress.h"
#include "daemon/cli/terminal/screen.h"
#include "daemon/cli/terminal/wrap.h"
#include "daemon/client/link.h"

namespace lares::cli {
namespace {

constexpr std::chrono::milliseconds kLookAgain{200};

// Until all that is kept has been held against the engine. The error: what differs, too.
Result<> scrub(Link& link, const std::string& root) {
  if (auto asked = link.call<protocol::Nothing>(protocol::RepoScrub{.root = root}); !asked)
    return tl::unexpected(asked.error());
  Screen screen(STDERR_FILENO, Terminal::detect(STDERR_FILENO));
  Progress progress;
  progress.begin("scrub", Progress::Clock::now());
  for (;;) {
    const auto prefix = link.call<protocol::RepoPrefixResult>(protocol::RepoPrefix{.root = root});
    if (!prefix) return tl::unexpected(prefix.error());
    if (!prefix->scrubbing) {
      if (prefix->scrub_found.empty()) return {};
      return tl::unexpected(Error{prefix->scrub_found});
    }
    const auto now = Progress::Clock::now();
    progress.count(prefix->scrubbed, prefix->disk_tokens, "tokens", now);
    screen.status(progress.text(now, screen.terminal().utf8));
    std::this_thread::sleep_for(kLookAgain);
  }
}

}  // namespace

int prefix_command(int argc, const char* const* argv) {
  CLI::App app(
      "Shows what of the repository the model has before it in every session: tokens by directory, "
      "what changed since, what is being computed.",
      "lares prefix");
  DaemonOptions options;
  std::string root;
  bool files = false, scrubs = false;
  app.add_option("--root", root, "the repository (default: the one you are in)")
      ->type_name("DIR")
      ->check(directory_name());
  app.add_flag("--files", files, "file by file");
  app.add_flag(
      "--scrub", scrubs,
      "evaluate again what is kept on disk, and compare every byte; exit status 1 if one differs");
  options.add_to(app, /*starts_daemon=*/true);
  app.footer(kShortExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  if (auto usable = options.resolve(); !usable) return fail(usable.error(), options.json);
  const auto top = repository_root(root);
  if (!top) return fail(top.error(), options.json);
  Link link;
  const auto there = reach(link, options);
  if (!there) return fail(there.error(), options.json);
  if (scrubs)
    if (const auto equal = scrub(link, *top); !equal) return fail(equal.error(), options.json);
  const auto prefix =
      link.call<protocol::RepoPrefixResult>(protocol::RepoPrefix{.root = *top, .files = true});
  if (!prefix) return fail(prefix.error(), options.json);
  if (options.json)
    print_out("{}\n", protocol::dump(protocol::to_json(*prefix)));
  else
    print_out("{}",
              hanging_lines(prefix_text(*prefix, files), Terminal::detect(STDOUT_FILENO).width));
  return kExitFinished;
}

}  // namespace lares::cli
