// The repositories this daemon keeps resident, by their root.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/resident/resident.h"

namespace lares::daemon {

// Of several, the one longest not asked for goes first; sessions that run keep theirs.
inline constexpr std::size_t kResidentsMax = 8;
// And of worktrees made for sessions, which share their repository's pages
inline constexpr std::size_t kWorktreeResidentsMax = 16;
// Of the machine's memory, their pages may take one part in so many
inline constexpr std::uint64_t kResidentMemoryShare = 4;

class Residents {
 public:
  explicit Residents(ResidentWorld world) : world_(std::move(world)) {}

  // Made when there is none. Whoever holds it works with it: it is not given up for others.
  std::shared_ptr<Resident> of(const std::string& root);
  std::shared_ptr<Resident> find(const std::string& root) const;  // null: none
  std::vector<std::shared_ptr<Resident>> all() const;
  void forget(const std::string& root) { residents_.erase(root); }  // the directory is to go

 private:
  struct Entry {
    std::shared_ptr<Resident> resident;
    std::size_t asked = 0;
  };
  // Somebody may still work with one, and its store is not to be had twice
  std::map<std::string, std::weak_ptr<Resident>> let_go_;
  struct Held;
  std::string origin_to_enter(const std::string& root) const;
  std::shared_ptr<Held> enter(const std::string& root);
  void let_go(std::map<std::string, Entry>::iterator which);
  void let_go_given_up(const std::string& root);
  void let_go_beyond(std::size_t n_max, bool worktrees);

  ResidentWorld world_;
  std::map<std::string, Entry> residents_;
  std::size_t asked_ = 0;
};

}  // namespace lares::daemon
