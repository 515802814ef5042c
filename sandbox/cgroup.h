// Control groups, where the host delegates a v2 subtree to us: limits on the whole tree of a
// command that no process of it can leave.
//
//   DIR                  delegated to this process's user (systemd: Delegate=yes), holding nobody
//                        once it is taken
//   DIR/lares-daemon     this process, for a group with limits below it may not hold processes
//                        itself
//   DIR/lares-PID-N      one command
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "sandbox/sandbox.h"

namespace lares::sandbox {

inline constexpr std::string_view kDaemonGroup = "lares-daemon", kCommandGroup = "lares-";
// Of 1 to 10000, 100 being everybody's: the model decodes on the same cores
inline constexpr int kCpuWeight = 20;

struct Delegation {
  std::string dir;  // where groups for commands are made; "" when nowhere
  bool memory = false, processes = false, cpu = false;  // what they can limit
  std::string why;  // when nowhere or not all: what is missing, and what to do
  bool limits() const { return memory || processes; }
};

// The directory of the v2 group named in `cgroup` (of /proc/PID/cgroup) under the mount in
// `mountinfo`; "" when there is none.
std::string group_directory(std::string_view mountinfo, std::string_view cgroup);

// What the process `pid`, whose group is `dir`, could use. Changes nothing.
Delegation look_at_group(const std::string& dir, int pid);

// The same, made so: moves `pid` and all that it started to the leaf, turns the controllers on,
// removes what dead daemons left.
Delegation take_group(const std::string& dir, int pid);

// take_group() of this process's own, once.
const Delegation& delegation();

// One command's group. Destroying it kills what is in it and removes it.
class Group {
 public:
  // The error is a line for people.
  static tl::expected<std::unique_ptr<Group>, std::string> make(const Delegation& in,
                                                                const Limits& limits);
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  const std::string& dir() const { return dir_; }
  void kill() const;  // every process in it, at once

 private:
  explicit Group(std::string dir) : dir_(std::move(dir)) {}
  std::string dir_;
};

}  // namespace lares::sandbox
