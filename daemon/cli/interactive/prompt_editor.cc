#include "daemon/cli/interactive/prompt_editor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "daemon/cli/terminal/output.h"
#include "daemon/protocol/protocol.h"
#include "tools/atomic_file.h"
#include "tools/clip.h"
#include "tools/fd.h"

namespace lares::cli {
namespace {

namespace fs = std::filesystem;
namespace protocol = daemon::protocol;

constexpr const char* kEditorDefault = "vi";
constexpr const char* kFileName = "prompt.md";
constexpr int kNotExecutable = 126, kNotFound = 127;  // a shell's exit status of what it cannot run

Error failed(std::string_view what, const std::string& path, const std::string& why) {
  return Error{fmt::format("edit the line: {} {}: {}", what, path, why)};
}

std::string editor() {
  for (const char* name : {"VISUAL", "EDITOR"})
    if (const char* set = std::getenv(name); set && *set) return set;
  return kEditorDefault;
}

class PrivateDirectory {
 public:
  PrivateDirectory() {
    std::error_code ec;
    std::string name = (fs::temp_directory_path(ec) / "lares-prompt-XXXXXX").string();
    if (ec)
      why_ = ec.message() + "; set TMPDIR to a directory that is there";
    else if (::mkdtemp(name.data()))
      path_ = name;
    else
      why_ = std::strerror(errno);
  }
  ~PrivateDirectory() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);  // and what the editor left there
  }
  PrivateDirectory(const PrivateDirectory&) = delete;
  PrivateDirectory& operator=(const PrivateDirectory&) = delete;

  const std::string& path() const { return path_; }  // empty: there is none
  const std::string& why() const { return why_; }

 private:
  std::string path_, why_;
};

Result<> write_file(const std::string& path, const std::string& text) {
  const tools::Fd to(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!to || tools::write_all(to.get(), text + "\n") != 0)
    return tl::unexpected(failed("write", path, std::strerror(errno)));
  return {};
}

Result<std::string> read_file(const std::string& path) {
  const tools::Fd from(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!from) return tl::unexpected(failed("read", path, std::strerror(errno)));
  std::string text;
  std::array<char, 65536> block;
  for (;;) {
    const ssize_t n = ::read(from.get(), block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return tl::unexpected(failed("read", path, std::strerror(errno)));
    if (n == 0) break;
    text.append(block.data(), static_cast<std::size_t>(n));
    if (text.size() > protocol::kPromptBytesMax)
      return tl::unexpected(
          failed("read", path,
                 fmt::format("it has more than {} bytes; put them into a file of the repository "
                             "and name that",
                             protocol::kPromptBytesMax)));
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

}  // namespace

Result<std::string> edited_by_person(const std::string& text, const std::string& directory,
                                     LentTerminal& lent) {
  const PrivateDirectory own;
  if (own.path().empty())
    return tl::unexpected(Error{"edit the line: make a directory for it: " + own.why()});
  const std::string path = own.path() + "/" + kFileName;
  if (auto written = write_file(path, text); !written) return tl::unexpected(written.error());
  const std::string command = editor();
  tools::OutputCleaner cleaner;
  const auto status = run_on_terminal(
      {.argv = {"/bin/sh", "-c", command + " \"$1\"", "sh", path},
       .directory = directory,
       .written = [&](std::string_view bytes) { (void)cleaner.feed(bytes); }},
      lent);
  if (!status) return tl::unexpected(failed("run", command, std::strerror(status.error())));
  if (!cleaner.finish().empty()) write_whole(STDOUT_FILENO, "\n");
  if (const int exited = WIFEXITED(*status) ? WEXITSTATUS(*status) : 0;
      exited == kNotFound || exited == kNotExecutable)
    return tl::unexpected(
        failed("run", command, "it cannot be run; set VISUAL or EDITOR to an editor that can"));
  if (const std::string how = ended_how(*status); !how.empty())
    return tl::unexpected(failed("run", command, how + "; the line is as it was"));
  return read_file(path);
}

}  // namespace lares::cli
