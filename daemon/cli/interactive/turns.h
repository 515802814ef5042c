// The turns of a session, as one picks among them to go back.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/client/error.h"
#include "daemon/client/link.h"

namespace lares::cli {

struct Turn {
  std::int64_t turn_id = 0, began_ms = 0;
  std::string prompt;       // as it is typed: a question with its /ask
  std::size_t n_files = 0;  // that its calls changed
};

// Those that are part of the session now, oldest first: what was rewound is not, unless that was
// taken back.
Result<std::vector<Turn>> turns_of(Link& link, const std::string& session_id);

}  // namespace lares::cli
