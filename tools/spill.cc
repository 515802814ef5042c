#include "tools/spill.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <vector>

#include <fmt/format.h>

namespace lares::tools {

std::string outputs_dir(const std::string& state_dir) { return state_dir + "/outputs"; }

SpillFile SpillFile::make(const std::string& state_dir, std::string_view tool) {
  namespace fs = std::filesystem;
  SpillFile out;
  if (state_dir.empty()) return out;
  std::error_code ec;
  const std::string dir = outputs_dir(state_dir);
  fs::create_directories(dir, ec);
  ::chmod(dir.c_str(), 0700);
  // Names end in a number that grows, so the order of names within a tool is the order of time.
  std::vector<std::pair<long, fs::path>> there;
  for (auto it = fs::directory_iterator(dir, ec); !ec && it != fs::directory_iterator();
       it.increment(ec)) {
    const std::string stem = it->path().stem().string();
    const std::size_t dash = stem.rfind('-');
    if (dash != std::string::npos)
      there.emplace_back(std::strtol(stem.c_str() + dash + 1, nullptr, 10), it->path());
  }
  std::sort(there.begin(), there.end());
  long number = there.empty() ? 1 : there.back().first + 1;
  for (std::size_t i = 0; i + kFilesMax <= there.size(); ++i) fs::remove(there[i].second, ec);
  for (int tries = 0; tries < 100 && !out.fd_; ++tries, ++number) {
    out.path_ = fmt::format("{}/{}-{:04}.txt", dir, tool, number);
    out.fd_ =
        Fd(::open(out.path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!out.fd_ && errno != EEXIST) break;
  }
  if (!out.fd_) out.path_.clear();
  return out;
}

void SpillFile::append(std::string_view text) {
  if (!fd_) return;
  const std::uint64_t room = kBytesMax - std::min(kBytesMax, n_written_);
  const std::string_view fits = text.substr(0, room);
  n_dropped_ += text.size() - fits.size();
  for (std::string_view rest = fits; !rest.empty();) {
    const ssize_t n = ::write(fd_.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {  // a full disk: the result itself does not depend on this file
      n_dropped_ += rest.size();
      break;
    }
    rest.remove_prefix(static_cast<std::size_t>(n));
    n_written_ += static_cast<std::uint64_t>(n);
  }
}

}  // namespace lares::tools
