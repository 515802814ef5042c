// What the model has read and said in a session, as token ids: only ever appended to, or, when the
// context is full, begun anew with a summary in place of the conversation (shorten.h).
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"

namespace lares::daemon {

struct Transcript {
  // Ends with an answer's end-of-sentence token between turns; empty before the first
  std::vector<engine::Token> ids;
  // Of the last answer's calls, in order, while the model has not read them
  std::vector<std::string> results;
  std::string vocabulary;  // of what the ids mean, a hash; empty: nobody wrote it down
  // Where the repository was when the model last heard of it; empty: where the session is
  std::string root = {};
};

// Stands for the result of a call that the death of the daemon cut off.
inline constexpr std::string_view kUnknownOutcome =
    "Lares was stopped before this call was finished: whether it did anything is unknown. Look "
    "before you go on.";

}  // namespace lares::daemon
