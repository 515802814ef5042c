// A session whose tokens this daemon's model cannot read, for they are another model's, or more
// than its context holds: what was said in it is told as text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/session/journal.h"
#include "daemon/session/turn_log.h"
#include "daemon/turn/transcript.h"
#include "engine/engine.h"

namespace lares::daemon {

inline constexpr std::size_t kRetoldBytesMax = 64u << 10;  // the newest ...
inline constexpr std::int64_t kRetoldShare = 4;  // ... or one for so many tokens of the context
// What people are told.
inline constexpr std::string_view kRetold =
    "this conversation was held with another model, or in a longer context: the model reads what "
    "was said in it as text, without calls and their results";

enum class Words {
  known,
  too_many,
  foreign,  // they do not mean to this model what they meant to the one that they were written for
};
// `vocabulary`: the engine's. Journals of earlier versions do not say which theirs is: those tokens
// are the engine's if they begin with the head of its prompts.
Words words_of(const Transcript& transcript, const engine::Engine& engine,
               std::string_view vocabulary);

struct Retelling {
  std::string journal;
  std::uint64_t journal_bytes = 0;
  std::set<std::int64_t> turns;    // of which it is told
  std::vector<std::string> words;  // that the user wrote before them
  std::size_t bytes_max = 0;
};
// Of all turns before this one.
Retelling retelling(const Journal& journal, const TurnLog& log, std::int64_t turn_id,
                    std::int64_t n_context);
// What the user wrote and the model answered, for the model, with an empty line behind it; empty:
// nothing, or the journal cannot be read. Blocks on the disk; any thread.
std::string retold(const Retelling& what);

}  // namespace lares::daemon
