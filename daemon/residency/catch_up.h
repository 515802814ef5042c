// A session pinned to an epoch and a version, and what it is told before its next turn.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/residency/overlay.h"

namespace lares::daemon {

// Its epoch is that of its view: a rebase changes nothing for it.
struct Pinned {
  explicit Pinned(const Overlay& overlay) : view(overlay.view()), version(overlay.version()) {}

  View view;              // what it was shown: base, overlay, updates, its own edits
  std::uint64_t version;  // as of which
  // ResidentTree::version(), of the files that the view was last compared with; 0: of none that is
  // known
  std::uint64_t files = 0;
};

// One <workspace-update from= to=> with what changed since `session.version` and was not written by
// the session itself, each file against what this session was last shown of it; "" when there is
// nothing to tell. `to` is the version of `now`, and `wrote` what the session wrote since its last
// update, in order: with text, or with nothing but a path what it deleted. At most kEventTokensMax
// tokens. `among`: TellOptions; what the session wrote is among them.
std::string catch_up(Pinned& session, const tools::Workspace& now, std::uint64_t to,
                     std::span<const tools::SourceFile> wrote, const CountTokens& count,
                     const std::vector<std::string>* among = nullptr);

// The notices of an update; any other text as it is.
std::string_view inside_update(std::string_view text);

}  // namespace lares::daemon
