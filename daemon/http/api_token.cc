#include "daemon/http/api_token.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "daemon/state_dir.h"
#include "tools/fd.h"

namespace lares::daemon {
namespace {

constexpr std::size_t kTokenLength = 48;  // hexadecimal digits: 192 bits
constexpr std::size_t kTokenBytesMin = 16, kTokenBytesMax = 4096;

tl::unexpected<std::string> failed(const char* what, const std::string& path,
                                   std::string_view why) {
  return tl::unexpected(
      fmt::format("{} the API token {}: {}; mend it, or remove the file and a new one is made",
                  what, path, why));
}

tl::expected<std::string, std::string> read_token(int fd, const std::string& path) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return failed("read", path, std::strerror(errno));
  if (!S_ISREG(st.st_mode) || st.st_uid != ::geteuid() || (st.st_mode & 077) != 0)
    return failed("read", path,
                  "it must be a file of this user's that nobody else can read (0600)");
  std::string text(kTokenBytesMax, '\0');
  const ssize_t n = ::read(fd, text.data(), text.size());
  if (n < 0) return failed("read", path, std::strerror(errno));
  text.resize(static_cast<std::size_t>(n));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  const bool printable = std::all_of(text.begin(), text.end(),
                                     [](char c) { return c > ' ' && c < '\x7f'; });
  if (text.size() < kTokenBytesMin || !printable)
    return failed("read", path,
                  fmt::format("it must hold one word of {} or more letters, digits and signs",
                              kTokenBytesMin));
  return text;
}

}  // namespace

tl::expected<std::string, std::string> api_token(const std::string& state_dir) {
  const std::string path = state_dir + "/api-token";
  const tools::Fd there(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (there) return read_token(there.get(), path);
  if (errno != ENOENT) return failed("open", path, std::strerror(errno));
  const std::string token = random_hex(kTokenLength), line = token + "\n";
  const tools::Fd made(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!made) return failed("make", path, std::strerror(errno));
  if (::write(made.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    const std::string why = std::strerror(errno);
    ::unlink(path.c_str());
    return failed("write", path, why);
  }
  return token;
}

}  // namespace lares::daemon
