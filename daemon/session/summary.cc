#include "daemon/session/summary.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <system_error>

#include "daemon/protocol/wire.h"
#include "daemon/version.h"
#include "tools/atomic_file.h"
#include "tools/fd.h"

namespace lares::daemon {

namespace fs = std::filesystem;
using protocol::Json;

namespace {

constexpr std::size_t kSummaryBytesMax = 64 << 10;

std::string summary_of(const std::string& journal) {
  return journal.substr(0, journal.size() - kJournalSuffix.size()) + std::string(kSummarySuffix);
}

}  // namespace

std::optional<protocol::SessionInfo> read_summary(const std::string& journal) {
  std::string text(kSummaryBytesMax, '\0');
  std::ifstream in(summary_of(journal), std::ios::binary);
  if (!in) return std::nullopt;
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  const Json file = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto is = [&](const char* key, const Json& value) {
    return file.is_object() && file.contains(key) && file[key] == value;
  };
  std::error_code ec;
  const std::uintmax_t bytes = fs::file_size(journal, ec);
  if (ec || !is("version", kVersion) || !is("bytes", bytes) || !file.contains("session"))
    return std::nullopt;
  auto info = protocol::from_json<protocol::SessionInfo>(file["session"]);
  if (!info || info->session_id != fs::path(journal).stem().string()) return std::nullopt;
  return std::move(*info);
}

void write_summary(const std::string& journal, std::uint64_t journal_bytes,
                   const protocol::SessionInfo& info) {
  const Json file = {
      {"version", kVersion}, {"bytes", journal_bytes}, {"session", protocol::to_json(info)}};
  const std::string text = protocol::dump(file) + "\n", path = summary_of(journal);
  // Neither synced nor renamed into place: what a crash leaves of it is no JSON, or an older state
  // of a journal that was of another length.
  const tools::Fd fd(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (fd && tools::write_all(fd.get(), text) != 0) ::unlink(path.c_str());
}

void remove_summary(const std::string& journal) { ::unlink(summary_of(journal).c_str()); }

}  // namespace lares::daemon
