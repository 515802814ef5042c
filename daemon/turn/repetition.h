// How a model gets stuck: its token stream becomes periodic, it makes the same call again and
// again, or an edit that it took back before.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/engine.h"

namespace lares::daemon {

inline constexpr std::size_t kPeriodWindow = 4096;  // tokens looked at
// Shorter runs occur in honest text (tables, rules, blank padding)
inline constexpr std::size_t kPeriodTokensMin = 192;
// Of a call's arguments: files have grids of zeros. And of what a client bounds by itself
inline constexpr std::size_t kWrittenPeriodTokensMin = 2048;
inline constexpr std::size_t kPeriodRepeatsMin = 4;
inline constexpr std::size_t kPeriodCheckEvery = 64;  // tokens; a check is linear in the window

struct Period {
  std::size_t length = 0;   // tokens in one period
  std::size_t covered = 0;  // tokens at the end that are periodic
};
// The smallest period the end of `tokens` has had for at least `tokens_min` tokens and
// kPeriodRepeatsMin repeats.
std::optional<Period> find_period(std::span<const engine::Token> tokens,
                                  std::size_t tokens_min = kPeriodTokensMin);

inline constexpr int kCallsRemind = 3, kCallsRemindAgain = 5, kCallsStop = 8;
inline constexpr int kDiskStop = 3;  // calls that fail because nothing can be written

inline constexpr std::string_view kTestTool = "test";

// Counts identical calls of a turn. A call that may have changed something makes every other call
// worth repeating, so it resets their counts, but not its own: test, edit, test, edit is work;
// test, test, test is not.
class CallCounter {
 public:
  // `arguments` is JSON text; key order and blanks do not matter. Returns how often this call was
  // made, this time included.
  int count(const std::string& name, const std::string& arguments, bool mutates);

  // After a call that failed, or that could have changed something and did not: how often this one
  // came to this very result since something was changed, whatever lay between. That others may
  // change something is not enough here: edit, undo, test, edit, undo, test on a full disk is no
  // work, nor are two commands in turn that only look.
  int in_vain(const std::string& name, const std::string& arguments, const std::string& result);
  // The same, of one that failed because nothing can be written: one is like another.
  int failed_by_disk() { return ++n_by_disk_; }
  void changed() { in_vain_.clear(), n_by_disk_ = 0; }

 private:
  std::map<std::string, int> counts_, in_vain_;
  int n_by_disk_ = 0;
};

// What the edits of a turn made of files, and took back. The same text does what it did then,
// however the edit is written that makes it.
class VainEdits {
 public:
  // After a call that may have changed something; `ok`: it did what it was asked. `made`: the text
  // of the file behind it, where that was foreseen (foreseen_edit.h); the edit is else known by its
  // arguments.
  void made(const std::string& tool, const nlohmann::json& arguments,
            const std::optional<std::string>& made, bool ok);
  // An edit of `path` that would make this of it.
  bool contain(const std::string& path, const std::string& text) const;

 private:
  struct Edit {
    std::string path, what;  // what: the name of the text (tools::blob_sha), or the arguments
  };
  std::string among_those_in_place(const std::string& path, const std::string& what) const;

  std::vector<Edit> in_place_;
  std::set<std::string> vain_;  // each with those that were in place then
};

// What the model is told after the results of the `n`-th identical call; empty when nothing.
std::string call_reminder(const std::string& name, int n);
inline constexpr std::string_view kDiskReminder =
    "Nothing can be written here, and trying again does not change that; no more calls are taken. "
    "Say what you know, what is left to do, and what the user has to do about the disk first.";

}  // namespace lares::daemon
