// What a turn came to, read back from its session's journal: it holds whoever watched, or nobody. A
// journal may be long: what reads it here runs on any thread, and not on that of the sockets.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "daemon/session/session.h"
#include "daemon/shown/changes.h"

namespace lares::daemon {

struct TurnReport {
  std::int64_t turn_id = 0;
  std::string reason, message;  // of its end; empty: it runs, or never began
  std::string answer;           // the text after the last call
  shown::Changes changes;
  // Calls that did not run because nobody was there to allow them
  std::vector<std::string> unanswered;
  protocol::Usage usage;
};

// A session as it is now, and its journal as far as it reaches now.
struct Recorded {
  explicit Recorded(const Session& session)
      : info(session.info()), path(session.journal().path()), bytes(session.journal().bytes()) {}
  protocol::SessionInfo info;
  std::string path;
  std::uint64_t bytes;
};
// The error is one line: the journal cannot be read.
template <class T>
using Read = tl::expected<T, std::string>;

// Of this turn; 0: of the last there is.
Read<TurnReport> report_of(const Recorded& session, std::int64_t turn_id);

// What all its turns changed, as far as their calls told.
Read<shown::Changes> changes_of(const Recorded& session);
struct ChangedFile {
  std::string path, diff;
  std::int64_t n_added = 0, n_deleted = 0;
};
std::vector<ChangedFile> files_of(const shown::Changes& changes);  // in path order

// What was said and done in it, as text; of a long one the beginning is left out, and that is said.
Read<std::string> log_of(const Recorded& session, std::size_t bytes_max);

}  // namespace lares::daemon
