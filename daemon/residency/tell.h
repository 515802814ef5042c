// Bringing a reader up to date: what to append to its prompt so that it knows the workspace as it
// is now.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/residency/notice.h"
#include "daemon/residency/view.h"

namespace lares::daemon {

using CountTokens = std::function<std::int64_t(std::string_view)>;

// Of one event, before the next turn can begin
inline constexpr std::int64_t kEventTokensMax = 16'384;
// tokens: a file so short is shown whole, which reads better
inline constexpr std::int64_t kFullTextBelow = 400;
// One in so many of an event's tokens may say "not shown"
inline constexpr std::int64_t kMarkersShare = 4;
inline constexpr std::int64_t kLastMarkerTokens = 32;  // enough for "anything may have changed"

struct Entry {
  Notice::Kind kind = Notice::Kind::full;
  std::string path;  // of `not_shown` perhaps a directory
  std::string text;  // as appended
  std::int64_t n_tokens = 0;
  std::uint64_t version = 0;  // of the overlay, once it was appended
};

struct TellOptions {
  // Exceeded by kLastMarkerTokens at most, whatever changed
  std::int64_t tokens_max = kEventTokensMax;
  // Says again of a hidden file that it changed: the reader may have read it in between.
  bool repeat_hidden = false;
  // In bytewise order: no other file changed since the view was last told of what there is. Null:
  // any may have.
  const std::vector<std::string>* among = nullptr;
};

struct Told {
  std::vector<Entry> entries;  // in path order
  // Files that are not as they were, told or silently still hidden
  std::vector<std::string> changed;
};

// Afterwards `view` is what the reader knows once it has read the entries.
Told tell(View& view, const tools::Workspace& now, const CountTokens& count,
          const TellOptions& options);

}  // namespace lares::daemon
