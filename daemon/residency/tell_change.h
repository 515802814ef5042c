// One file that is not as its reader knows it: found, and put into words.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/residency/tell.h"

namespace lares::daemon {

struct Change {
  std::string path;
  std::string from;                         // of a rename, which changes both
  const tools::SourceFile* file = nullptr;  // now; null: it is gone
  Seen before, after;                       // `after`: once `text` was read

  Notice::Kind kind = Notice::Kind::full;
  std::string text;  // "" when no words can show it
  std::int64_t n_tokens = 0;
};

// In path order, content-equal renames already paired. `among`: TellOptions.
std::vector<Change> find_changes(const View& view, const tools::Workspace& now,
                                 const std::vector<std::string>* among = nullptr);

// Fills in the words, the cheapest that show it. What costs more than `tokens_max` may go without.
void put_into_words(Change& change, const View& view, const CountTokens& count,
                    std::int64_t tokens_max);

// As hidden: what is known of the file is that it is not as before.
Seen hidden(const Change& change, const View& view);

}  // namespace lares::daemon
