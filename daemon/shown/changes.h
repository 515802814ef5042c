// Which files a turn changed: as its edits told, and as was found behind its commands.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "daemon/protocol/protocol.h"

namespace lares::shown {

class Changes {
 public:
  void add(const daemon::protocol::Item& item);                                  // a completed one
  const std::vector<daemon::protocol::FileChange>& all() const { return all_; }  // in order
  // Paths whose content at the end is another than at the beginning: an edit that was taken back
  // does not count.
  std::vector<std::string> net() const;
  // The changes of one path without those that were taken back later: where the content is one that
  // it was before, what lies between is left out.
  std::vector<daemon::protocol::FileChange> of(const std::string& path) const;
  // False: a command ran that may have changed other files too.
  bool complete() const { return complete_; }

 private:
  struct Span {
    std::string first, last;  // FileChange::before of the first change, ::after of the last
  };
  std::vector<daemon::protocol::FileChange> all_;
  std::map<std::string, Span> spans_;
  bool complete_ = true;
};

// Whether a call's item names every file that it may have changed.
bool names_all(const daemon::protocol::Item& item);

// As a part of a patch that `git apply` takes; "" where there is no text to show.
std::string as_patch(const daemon::protocol::FileChange& change);

}  // namespace lares::shown
