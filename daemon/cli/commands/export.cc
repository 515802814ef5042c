// lares export: a session as one file.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/commands/passing_file.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/option_checks.h"
#include "daemon/cli/options.h"
#include "daemon/cli/terminal/output.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/cli/which_session.h"
#include "daemon/protocol/transfer.h"
#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

constexpr std::chrono::minutes kWriteTimeout{10};  // of sessions of gigabytes

namespace fs = std::filesystem;

}  // namespace

int export_command(int argc, const char* const* argv) {
  CLI::App app(
      "Writes a session to one file: all that was said and done in it, token ids included, with a "
      "checksum. `lares import` takes it "
      "back, here or on another machine. The file holds what the session saw: secrets that were in "
      "it are in there too.",
      "lares export");
  WhichSession which;
  std::string output;
  app.add_option("-o,--output", output, "a new file; default, and -: standard output")
      ->check(not_empty("the file's name", "leave -o out for standard output"));
  which.add_named_to(app);
  if (const auto over = parse(app, argc, argv)) return *over;
  if ((output.empty() || output == "-") && ::isatty(STDOUT_FILENO) == 1)
    return fail(Error{"export a session: it is no text for a terminal; give a file with -o, or "
                      "redirect the output"},
                which.daemon.json);
  Link link;
  const auto session = which.find(link);
  if (!session) return fail(session.error(), which.daemon.json);
  const bool passes_on = output.empty() || output == "-" || is_passage(output);
  PassingFile passing;
  if (passes_on)
    if (const auto made = passing.make(); !made) return fail(made.error(), which.daemon.json);
  std::error_code ec;
  protocol::SessionExport request;
  request.session_id = session->session_id;
  request.path = passes_on ? passing.path() : fs::absolute(output, ec).lexically_normal().string();
  if (ec)
    return fail(Error{fmt::format("find the current directory: {}", ec.message())},
                which.daemon.json);
  auto done = link.call<protocol::SessionExportResult>(request, kWriteTimeout);
  if (!done) {
    if (done.error().message.ends_with(std::strerror(ENOSPC)))
      done.error().message += passes_on
                                  ? "; free some, or set TMPDIR to a directory on another disk"
                                  : "; free some, or name a file on another disk";
    return fail(done.error(), which.daemon.json);
  }
  if (passes_on) {
    const auto poured = passing.pour(output == "-" ? "" : output);
    return poured ? kExitFinished : fail(poured.error(), which.daemon.json);
  }
  if (which.daemon.json)
    print_line(protocol::dump(protocol::to_json(*done)));
  else
    print_err("session {} ({}) is in {}: {} bytes. It holds what the session saw, secrets too\n",
              session->session_id, printable(session->title), printable(done->path), done->bytes);
  return kExitFinished;
}

}  // namespace lares::cli
