// lares import: a session from a file.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <utility>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/commands/passing_file.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/option_checks.h"
#include "daemon/cli/options.h"
#include "daemon/cli/reach.h"
#include "daemon/cli/terminal/output.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/protocol/transfer.h"

namespace lares::cli {
namespace {

constexpr std::chrono::minutes kReadTimeout{10};

}  // namespace

int import_command(int argc, const char* const* argv) {
  CLI::App app(
      "Makes a session from what `lares export` wrote, and prints its id: it can be read, forked "
      "and continued. Rules, rights and "
      "snapshots stay where they were; no file is touched.",
      "lares import");
  DaemonOptions daemon;
  std::string file, root;
  app.add_option("FILE", file, "what `lares export` wrote; -: standard input")
      ->required()
      ->check(not_empty("the file's name", "`lares export` writes one"));
  app.add_option("--root", root,
                 "the repository that it goes on in (default: the one it was about)")
      ->check(directory_name());
  daemon.add_to(app, /*starts_daemon=*/true);
  app.footer(kShortExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  protocol::SessionImport request;
  if (!root.empty()) {
    const auto top = repository_root(root);
    if (!top) return fail(top.error(), daemon.json);
    request.root = *top;
  }
  if (const auto usable = daemon.resolve(); !usable) return fail(usable.error(), daemon.json);
  tools::Fd passing;
  std::error_code ec;
  if (file == "-" || is_passage(file)) {
    auto read = drained(file);
    if (!read) return fail(read.error(), daemon.json);
    passing = std::move(*read);
    request.path = path_of(passing);
  } else {
    request.path = std::filesystem::absolute(file, ec).lexically_normal().string();
    if (ec)
      return fail(Error{fmt::format("find the current directory: {}", ec.message())}, daemon.json);
  }
  Link link;
  if (const auto there = reach(link, daemon); !there) return fail(there.error(), daemon.json);
  const auto made = link.call<protocol::SessionInfo>(request, kReadTimeout);
  if (!made) return fail(made.error(), daemon.json);
  if (daemon.json)
    print_line(protocol::dump(protocol::to_json(*made)));
  else
    print_out("{}\n", made->session_id);
  return kExitFinished;
}

}  // namespace lares::cli
