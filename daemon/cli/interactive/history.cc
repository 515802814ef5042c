#include "daemon/cli/interactive/history.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools/atomic_file.h"

namespace lares::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kDirectory = "history";

using Json = nlohmann::json;

// One JSON value a line, so that an entry of many lines is one of the file: a string, or where
// something was pasted {"text", "pasted": [[begin, size]...]}.
std::string line_of(const std::string& entry, const std::vector<Pasted>& pasted) {
  Json line = entry;
  if (!pasted.empty()) {
    line = {{"text", entry}, {"pasted", Json::array()}};
    for (const Pasted& each : pasted)
      line["pasted"].push_back(Json::array({each.begin, each.size}));
  }
  return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// None at all where one of them makes no sense.
std::vector<Pasted> pasted_from(const Json& list, std::size_t entry_size) {
  std::vector<Pasted> out;
  std::size_t at = 0;
  if (!list.is_array()) return out;
  for (const Json& each : list) {
    if (!each.is_array() || each.size() != 2 || !each[0].is_number_unsigned() ||
        !each[1].is_number_unsigned())
      return {};
    const Pasted one{each[0].get<std::size_t>(), each[1].get<std::size_t>()};
    if (one.begin < at || one.begin > entry_size || one.size > entry_size - one.begin) return {};
    at = one.begin + one.size;
    out.push_back(one);
  }
  return out;
}

}  // namespace

std::string History::path_of(const std::string& state_dir, const std::string& root) {
  // FNV-1a; two repositories of one name have a history each
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : root) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return fmt::format("{}/{}/{}-{:016x}", state_dir, kDirectory,
                     fs::path(root).filename().string().substr(0, 64), hash);
}

History::History(std::string path) : path_(std::move(path)) {
  load();
  std::error_code ec;
  if (const auto size = fs::file_size(path_, ec); !ec && size > kHistoryFileBytesMax)
    shorten_file();
}

void History::load() {
  std::ifstream in(path_, std::ios::binary);
  for (std::string line; std::getline(in, line);) {
    if (line.size() > 6 * kHistoryEntryBytesMax) continue;
    const auto entry = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    const bool marked = entry.is_object() && entry.contains("text") && entry["text"].is_string();
    if (!entry.is_string() && !marked) continue;
    entries_.push_back((marked ? entry["text"] : entry).get<std::string>());
    pasted_.push_back(marked ? pasted_from(entry.value("pasted", Json()), entries_.back().size())
                             : std::vector<Pasted>());
  }
  drop_oldest();
}

void History::drop_oldest() {
  if (entries_.size() <= kHistoryEntriesMax) return;
  const auto n = static_cast<std::ptrdiff_t>(entries_.size() - kHistoryEntriesMax);
  entries_.erase(entries_.begin(), entries_.begin() + n);
  pasted_.erase(pasted_.begin(), pasted_.begin() + n);
}

// What other sessions add meanwhile is lost; the lock keeps two from doing this at once.
void History::shorten_file() {
  std::size_t bytes = 0, from = entries_.size();
  while (from > 0 && (bytes += line_of(entries_[from - 1], pasted_[from - 1]).size()) <=
                         kHistoryFileBytesMax / 2)
    --from;
  std::string text;
  for (std::size_t i = from; i < entries_.size(); ++i) text += line_of(entries_[i], pasted_[i]);
  const std::string fresh = path_ + ".new";
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return;
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0 && ::ftruncate(fd, 0) == 0 &&
      tools::write_all(fd, text) == 0)
    ::rename(fresh.c_str(), path_.c_str());
  ::close(fd);
}

Result<> History::add(const std::string& entry, const std::vector<Pasted>& pasted) {
  if (entry.size() > kHistoryEntryBytesMax || (!entries_.empty() && entries_.back() == entry))
    return {};
  entries_.push_back(entry);
  pasted_.push_back(pasted);
  drop_oldest();
  const std::string directory = fs::path(path_).parent_path().string();
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
    return tl::unexpected(
        Error{fmt::format("remember the prompt: create {}: {}", directory, std::strerror(errno))});
  const int fd = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
                        0600);
  if (fd < 0)
    return tl::unexpected(
        Error{fmt::format("remember the prompt: open {}: {}", path_, std::strerror(errno))});
  const bool written = tools::write_all(fd, line_of(entry, pasted)) == 0;
  const int error = errno;
  ::close(fd);
  if (!written)
    return tl::unexpected(
        Error{fmt::format("remember the prompt: write {}: {}", path_, std::strerror(error))});
  return {};
}

}  // namespace lares::cli
