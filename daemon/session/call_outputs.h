// What the calls of a session's last answer came to, as its facts tell it: for a transcript that
// has the answer and not its results.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "daemon/protocol/protocol.h"

namespace lares::daemon {

// "3.14": an item's number in its turn; 0: another kind of id, as what the daemon itself adds to a
// turn has.
std::int64_t item_number(const protocol::Item& item);

class CallOutputs {
 public:
  void appended(bool any_ids, bool any_results);  // to the transcript
  void begun(const protocol::Item& item);
  void completed(const protocol::Item& item);
  void forget() { outputs_.clear(); }
  // Puts what is known in place of kUnknownOutcome, where all of `results` are that. False: nothing
  // is known.
  bool fill(std::vector<std::string>& results) const;

 private:
  // Of calls that ran or were rejected since the last prompt. Calls of one answer have consecutive
  // numbers and run in order, so the first that is known is the first there was.
  std::map<std::int64_t, std::string> outputs_;
};

}  // namespace lares::daemon
