// lares replay: whether a session's answers come out the same again.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <limits>
#include <string>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/option_checks.h"
#include "daemon/cli/options.h"
#include "daemon/cli/reach.h"
#include "daemon/cli/terminal/output.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/cli/which_session.h"
#include "daemon/protocol/transfer.h"
#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

constexpr std::chrono::hours kReplayTimeout{24 * 7};  // Ctrl-C ends it sooner

std::string count(std::int64_t n, std::string_view what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
}

void tell(const protocol::SessionReplayResult& r) {
  const std::string compared = fmt::format("{}, {}", count(r.steps, "step"),
                                           count(r.tokens, "token"));
  if (r.equal)
    print_out("{}, all equal\n", compared);
  else if (r.expected < 0)
    print_out("after {}: {}\n", compared, printable(r.difference));
  else
    print_out("after {}: {} differs: expected {} {}, got {} {}\n", compared,
              printable(r.difference), r.expected, protocol::dump(r.expected_text), r.got,
              protocol::dump(r.got_text));
  if (!r.note.empty()) print_out("{}\n", printable(r.note));
}

}  // namespace

int replay_command(int argc, const char* const* argv) {
  CLI::App app(
      "Samples every answer of a session again, from the same prompts with the same settings and "
      "seeds, and compares token by token. "
      "No tool runs, and the session stays as it is. Exit status 1: something differs.",
      "lares replay");
  WhichSession which;
  std::string what;
  protocol::SessionReplay request;
  app.add_option("SESSION", what,
                 "an id, or a file that `lares export` wrote (default: the newest session of this "
                 "repository)")
      ->check(session_id());
  app.add_option("--seed", request.seed,
                 "another seed than the recorded one, to see where the answers part")
      ->check(whole_number_in(0, std::numeric_limits<std::uint64_t>::max()));
  which.add_to(app);
  if (const auto over = parse(app, argc, argv)) return *over;
  Link link;
  std::error_code ec;
  const bool file = std::filesystem::exists(what, ec);
  if (file) {
    request.path = std::filesystem::absolute(what, ec).lexically_normal().string();
    if (const auto usable = which.daemon.resolve(); !usable)
      return fail(usable.error(), which.daemon.json);
    if (const auto there = reach(link, which.daemon); !there)
      return fail(there.error(), which.daemon.json);
  } else {
    if (!what.empty()) which.session = what;
    const auto session = which.find(link);
    if (!session) return fail(session.error(), which.daemon.json);
    request.session_id = session->session_id;
  }
  const auto result = link.call<protocol::SessionReplayResult>(request, kReplayTimeout);
  if (!result) return fail(result.error(), which.daemon.json);
  if (which.daemon.json)
    print_line(protocol::dump(protocol::to_json(*result)));
  else
    tell(*result);
  return result->equal ? kExitFinished : kExitError;
}

}  // namespace lares::cli
