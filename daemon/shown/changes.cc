#include "daemon/shown/changes.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>

#include "tools/file_patch.h"
#include "tools/text.h"
#include "tools/tool.h"

namespace lares::shown {
namespace {

constexpr std::string_view kGitHead = "diff --git ";

bool is_of_mode(const daemon::protocol::FileChange& change) {
  return change.before == change.after && change.diff.starts_with(kGitHead);
}

}  // namespace

bool names_all(const daemon::protocol::Item& item) {
  const bool changed_nothing = !item.snapshot.empty() && item.snapshot == item.snapshot_after;
  return !item.changes_untold || !item.changes.empty() || changed_nothing;
}

void Changes::add(const daemon::protocol::Item& item) {
  for (const auto& change : item.changes) {
    const auto [at, fresh] = spans_.try_emplace(change.path, Span{change.before, change.after});
    if (!fresh) at->second.last = change.after;
    all_.push_back(change);
  }
  if (!names_all(item)) complete_ = false;
}

std::vector<std::string> Changes::net() const {
  std::set<std::string_view> of_another_mode;  // there are two
  for (const auto& change : all_)
    if (is_of_mode(change) && !of_another_mode.insert(change.path).second)
      of_another_mode.erase(change.path);
  std::vector<std::string> paths;
  for (const auto& [path, span] : spans_) {
    if (span.first.empty() || span.first != span.last || of_another_mode.contains(path))
      paths.push_back(path);
  }
  return paths;
}

std::vector<daemon::protocol::FileChange> Changes::of(const std::string& path) const {
  std::vector<daemon::protocol::FileChange> kept;
  for (const auto& change : all_) {
    if (change.path != path) continue;
    const auto same = std::find_if(kept.begin(), kept.end(), [&](const auto& k) {
      return !change.after.empty() && k.before == change.after &&
             is_of_mode(k) == is_of_mode(change);
    });
    if (same == kept.end())
      kept.push_back(change);
    else
      kept.erase(same, kept.end());
  }
  return kept;
}

std::string as_patch(const daemon::protocol::FileChange& change) {
  if (change.diff.starts_with(kGitHead)) return change.diff;
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
