#include "daemon/cli/commands/passing_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include "daemon/cli/terminal/output.h"
#include "tools/atomic_file.h"
#include "tools/fd.h"

namespace lares::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPieceBytes = 1 << 16;
constexpr std::uint64_t kBytesMax = 4ull << 30;  // the daemon takes less, and says so

tl::unexpected<Error> failed(const std::string& what, int error) {
  return tl::unexpected(Error{fmt::format("{}: {}", what, std::strerror(error))});
}

Result<std::string> temporary_directory() {
  std::error_code ec;
  const fs::path found = fs::temp_directory_path(ec);
  if (!ec) return found.string();
  return tl::unexpected(Error{fmt::format(
      "find a directory for a temporary file: {}; set TMPDIR to one that is there", ec.message())});
}

tools::Fd nameless_file(const std::string& directory) {
  tools::Fd file(::open(directory.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
  if (file || errno != EOPNOTSUPP) return file;
  std::string name = directory + "/lares-session-XXXXXX";
  file = tools::Fd(::mkostemp(name.data(), O_CLOEXEC));
  if (file) ::unlink(name.c_str());
  return file;
}

// 0, or the error; `reading` says which of the two it was.
int copy(int from, int to, bool& reading) {
  std::vector<char> piece(kPieceBytes);
  for (std::uint64_t copied = 0;;) {
    const ssize_t n = ::read(from, piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    reading = n < 0;
    if (n <= 0) return n < 0 ? errno : 0;
    if ((copied += static_cast<std::uint64_t>(n)) > kBytesMax) return EFBIG;
    if (const int error = tools::write_all(
            to, std::string_view(piece.data(), static_cast<std::size_t>(n))))
      return error;
  }
}

}  // namespace

PassingFile::~PassingFile() {
  std::error_code ignored;
  if (!directory_.empty()) fs::remove_all(directory_, ignored);
}

Result<> PassingFile::make() {
  const auto temporary = temporary_directory();
  if (!temporary) return tl::unexpected(temporary.error());
  std::string name = *temporary + "/lares-session-XXXXXX";
  if (!::mkdtemp(name.data()))
    return failed(fmt::format("make a temporary directory in {}", *temporary), errno);
  directory_ = name;
  return {};
}

Result<> PassingFile::pour(const std::string& to) const {
  const tools::Fd in(::open(path().c_str(), O_RDONLY | O_CLOEXEC));
  if (!in) return failed("read " + path(), errno);
  const tools::Fd out(to.empty() ? ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
                                 : ::open(to.c_str(), O_WRONLY | O_CLOEXEC));
  const std::string what = "write " + (to.empty() ? "standard output" : to);
  if (!out) return failed(what, errno);
  bool reading = false;
  const int error = copy(in.get(), out.get(), reading);
  if (error == 0) return {};
  if (reading) return failed("read " + path(), error);
  if (!to.empty())
    return tl::unexpected(
        Error{fmt::format("{}: {}; name another file", what, std::strerror(error))});
  note_write_error(error);
  return {};
}

Result<tools::Fd> drained(const std::string& from) {
  const std::string what = "read " + (from == "-" ? "standard input" : from);
  const tools::Fd in(from == "-" ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                 : ::open(from.c_str(), O_RDONLY | O_CLOEXEC));
  if (!in) return failed(what, errno);
  const auto temporary = temporary_directory();
  if (!temporary) return tl::unexpected(temporary.error());
  tools::Fd out = nameless_file(*temporary);
  if (!out) return failed(fmt::format("make a temporary file in {}", *temporary), errno);
  bool reading = false;
  const int error = copy(in.get(), out.get(), reading);
  if (error == 0) return out;
  return failed(reading ? what : fmt::format("{} into a file in {}", what, *temporary), error);
}

std::string path_of(const tools::Fd& file) {
  return fmt::format("/proc/{}/fd/{}", ::getpid(), file.get());
}

bool is_passage(const std::string& path) {
  std::error_code ec;
  const auto type = fs::status(path, ec).type();
  return !ec && (type == fs::file_type::fifo || type == fs::file_type::character ||
                 type == fs::file_type::socket);
}

}  // namespace lares::cli
