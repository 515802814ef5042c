#include "daemon/session/found_changes.h"

#include <utility>

#include "daemon/utf8.h"
#include "tools/tool.h"

namespace lares::daemon {

tl::expected<std::vector<protocol::FileChange>, std::string> find_changes(
    tools::Snapshots& snapshots, const std::string& from, const std::string& to) {
  const auto between = snapshots.compare(from, to);
  if (!between) return tl::unexpected(between.error());
  std::vector<protocol::FileChange> files;
  if (between->size() > kFoundFilesMax) return files;
  const auto named = [](const std::string& content) {
    return content.empty() ? std::string(tools::kNoFile) : content;
  };
  std::size_t room = kFoundDiffsBytesMax;
  std::uint64_t bytes_to_read = kFoundBytesReadMax;
  for (const auto& change : *between) {
    protocol::FileChange& file = files.emplace_back();
    file.path = change.path;
    file.before = named(change.before), file.after = named(change.after);
    const std::uint64_t bytes = change.bytes_before + change.bytes_after;
    if (bytes > bytes_to_read || room == 0) continue;
    bytes_to_read -= bytes;
    const auto diff = snapshots.diff(from, to, change.path, kFoundDiffBytesMax);
    if (!diff) return tl::unexpected(diff.error());
    std::string text = valid_utf8(*diff);
    if (text.size() > room) continue;
    room -= text.size();
    file.diff = std::move(text);
  }
  return files;
}

}  // namespace lares::daemon
