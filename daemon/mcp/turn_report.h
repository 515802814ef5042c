// What a turn came to, read back from its session's journal: it holds whoever watched, or nobody.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/cli/changes.h"
#include "daemon/session.h"

namespace lares::daemon {

struct TurnReport {
  std::int64_t turn_id = 0;
  std::string reason, message;  // of its end; empty: it runs, or never began
  std::string answer;           // the text after the last call
  cli::Changes changes;
  std::vector<std::string> unanswered;  // calls that did not run because nobody was there to allow them
  protocol::Usage usage;
};

// Of this turn; 0: of the last there is.
TurnReport report_of(const Session& session, std::int64_t turn_id);

// What all its turns changed, as far as their calls told.
cli::Changes changes_of(const Session& session);
struct ChangedFile {
  std::string path, diff;
  std::int64_t n_added = 0, n_deleted = 0;
};
std::vector<ChangedFile> files_of(const cli::Changes& changes);  // in path order

// What was said and done in it, as text; of a long one the beginning is left out, and that is said.
std::string log_of(const Session& session, std::size_t bytes_max);

}  // namespace lares::daemon
