// lares export: a session as one file.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/exit_status.h"
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

// A directory of our own, for what goes on to standard output.
class Passing {
 public:
  Result<> make() {
    std::string name = (fs::temp_directory_path() / "lares-export-XXXXXX").string();
    if (!::mkdtemp(name.data()))
      return tl::unexpected(
          Error{fmt::format("make a temporary directory in {}: {}",
                            fs::temp_directory_path().string(), std::strerror(errno))});
    directory_ = name;
    return {};
  }
  ~Passing() {
    std::error_code ignored;
    if (!directory_.empty()) fs::remove_all(directory_, ignored);
  }
  std::string file() const { return directory_ + "/session"; }

 private:
  std::string directory_;
};

Result<> print_file(const std::string& path) {
  std::FILE* const in = std::fopen(path.c_str(), "re");
  if (!in) return tl::unexpected(Error{fmt::format("read {}: {}", path, std::strerror(errno))});
  std::array<char, 1 << 16> piece;
  for (std::size_t n; (n = std::fread(piece.data(), 1, piece.size(), in)) > 0;)
    if (std::fwrite(piece.data(), 1, n, stdout) != n) {
      note_write_error(errno);
      break;
    }
  std::fclose(in);
  return {};
}

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
  app.add_option("-o,--output", output, "a new file; default: standard output");
  which.add_named_to(app);
  if (const auto over = parse(app, argc, argv)) return *over;
  if (output.empty() && ::isatty(STDOUT_FILENO) == 1)
    return fail(Error{"export a session: it is no text for a terminal; give a file with -o, or "
                      "redirect the output"},
                which.daemon.json);
  Link link;
  const auto session = which.find(link);
  if (!session) return fail(session.error(), which.daemon.json);
  Passing passing;
  if (output.empty())
    if (const auto made = passing.make(); !made) return fail(made.error(), which.daemon.json);
  std::error_code ec;
  protocol::SessionExport request;
  request.session_id = session->session_id;
  request.path = output.empty() ? passing.file()
                                : fs::absolute(output, ec).lexically_normal().string();
  if (ec)
    return fail(Error{fmt::format("find the current directory: {}", ec.message())},
                which.daemon.json);
  const auto done = link.call<protocol::SessionExportResult>(request, kWriteTimeout);
  if (!done) return fail(done.error(), which.daemon.json);
  if (output.empty()) {
    const auto printed = print_file(passing.file());
    return printed ? kExitFinished : fail(printed.error(), which.daemon.json);
  }
  if (which.daemon.json)
    print_line(protocol::dump(protocol::to_json(*done)));
  else
    print_err("session {} ({}) is in {}: {} bytes. It holds what the session saw, secrets too\n",
              session->session_id, printable(session->title), printable(done->path), done->bytes);
  return kExitFinished;
}

}  // namespace lares::cli
