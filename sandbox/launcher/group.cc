#include "sandbox/launcher/group.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

namespace lares::sandbox::launcher {

CommandGroup CommandGroup::open(const Spec& spec) {
  CommandGroup out;
  if (spec.cgroup.empty()) return out;
  out.members_ = Fd(::open((spec.cgroup + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  if (!out.members_) fail_errno("cgroup", "open {}/cgroup.procs", spec.cgroup);
  // Absent without that controller
  out.events_ = Fd(::open((spec.cgroup + "/memory.events").c_str(), O_RDONLY | O_CLOEXEC));
  return out;
}

void CommandGroup::join() const {
  if (!members_) return;
  if (!write_all(members_.get(), "0")) fail_errno("cgroup", "enter the control group");
}

bool CommandGroup::out_of_memory() const {
  if (!events_ || ::lseek(events_.get(), 0, SEEK_SET) != 0) return false;
  const auto text = read_file(events_.get(), 4096);
  const auto at = text.find("oom_kill ");
  return at != text.npos && ::atoll(text.c_str() + at + 9) > 0;
}

}  // namespace lares::sandbox::launcher
