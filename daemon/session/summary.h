// What is listed of a session that nobody works with, in a file beside its journal: neither the
// daemon's start nor its memory has to do with how long such journals are. It holds for a journal
// of just the length it names, and for the version of the daemon that wrote it; else the journal is
// read. Blocks on the disk, for a moment.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/protocol/protocol.h"

namespace lares::daemon {

inline constexpr std::string_view kJournalSuffix = ".journal", kSummarySuffix = ".summary";

// Each by the path of the journal. A summary that cannot be written is none.
std::optional<protocol::SessionInfo> read_summary(const std::string& journal);
void write_summary(const std::string& journal, std::uint64_t journal_bytes,
                   const protocol::SessionInfo& info);
void remove_summary(const std::string& journal);

}  // namespace lares::daemon
