// Threads of a process. Each may have children and descriptors of its own, and run while the first
// waits, or has ended: what /proc tells below a process's number is of that first one alone.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace lares::sandbox::launcher {

std::vector<pid_t> tasks_of(pid_t process);  // the first one first; none: it is gone
std::string task_path(pid_t process, pid_t task);

// The processes that a thread has started, those that ended unwaited for among them. `task`: its
// task_path().
std::vector<pid_t> children_of(const std::string& task);
// All processes below `top`, each before its children.
std::vector<pid_t> descendants_of(pid_t top);

// Of `tasks` one for each table of descriptors; of a kernel that does not tell (kcmp(2)) all.
std::vector<pid_t> one_for_each_table(const std::vector<pid_t>& tasks);

// It has given back its memory, and with it the right to look at it; what else it holds is next.
bool is_ending(pid_t process, pid_t task);

}  // namespace lares::sandbox::launcher
