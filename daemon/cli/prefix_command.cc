// lares prefix: what of the repository the model has before it, by directory or by file, and what is still being computed.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "daemon/cli/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/link.h"
#include "daemon/cli/options.h"
#include "daemon/cli/report.h"
#include "daemon/cli/start.h"

namespace lares::cli {

int prefix_command(int argc, const char* const* argv) {
  CLI::App app("Shows what of the repository the model has before it in every session: tokens by directory, what changed since, what is being computed.",
               "lares prefix");
  DaemonOptions options;
  std::string root;
  bool files = false;
  app.add_option("--root", root, "of this repository (default: the current one)");
  app.add_flag("--files", files, "file by file");
  options.add_to(app, /*starts_daemon=*/true);
  app.footer(kExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  if (auto usable = options.resolve(); !usable) return fail(usable.error(), options.json);
  const auto top = repository_root(root);
  if (!top) return fail(top.error(), options.json);
  Link link;
  const auto there = reach(link, options);
  if (!there) return fail(there.error(), options.json);
  const auto prefix = link.call<protocol::RepoPrefixResult>(protocol::RepoPrefix{.root = *top, .files = true});
  if (!prefix) return fail(prefix.error(), options.json);
  if (options.json) fmt::print("{}\n", protocol::dump(protocol::to_json(*prefix)));
  else fmt::print("{}", prefix_text(*prefix, files));
  return kExitFinished;
}

}  // namespace lares::cli
