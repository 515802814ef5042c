#include "daemon/shown/changes.h"

#include <algorithm>
#include <optional>

#include "tools/file_patch.h"
#include "tools/text.h"
#include "tools/tool.h"

namespace lares::shown {

void Changes::add(const daemon::protocol::Item& item) {
  for (const auto& change : item.changes) {
    const auto [at, fresh] = spans_.try_emplace(change.path, Span{change.before, change.after});
    if (!fresh) at->second.last = change.after;
    all_.push_back(change);
  }
  const bool changed_nothing = !item.snapshot.empty() && item.snapshot == item.snapshot_after;
  if (item.changes_untold && !changed_nothing) complete_ = false;
}

std::vector<std::string> Changes::net() const {
  std::vector<std::string> paths;
  for (const auto& [path, span] : spans_) {
    if (span.first.empty() || span.first != span.last) paths.push_back(path);
  }
  return paths;
}

std::vector<daemon::protocol::FileChange> Changes::of(const std::string& path) const {
  std::vector<daemon::protocol::FileChange> kept;
  for (const auto& change : all_) {
    if (change.path != path) continue;
    const auto same = std::find_if(kept.begin(), kept.end(), [&](const auto& k) {
      return !change.after.empty() && k.before == change.after;
    });
    if (same == kept.end())
      kept.push_back(change);
    else
      kept.erase(same, kept.end());
  }
  return kept;
}

std::string as_patch(const daemon::protocol::FileChange& change) {
  static const std::string kEmpty = tools::blob_sha("");
  const auto mode = [](const std::string& content) {
    return content == tools::kNoFile ? std::nullopt : std::optional(tools::kPlainFile);
  };
  const auto empty = [](const std::string& content) {
    return content == tools::kNoFile || content == kEmpty;
  };
  if (change.diff.empty() && !(empty(change.before) && empty(change.after))) return "";
  return tools::file_patch(change.path, change.diff, mode(change.before), mode(change.after));
}

}  // namespace lares::shown
