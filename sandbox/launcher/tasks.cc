#include "sandbox/launcher/tasks.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "sandbox/launcher/sys.h"

namespace lares::sandbox::launcher {
namespace {

constexpr std::size_t kChildrenBytesMax = 1 << 20;
constexpr unsigned kExiting = 0x4;  // PF_EXITING of proc_pid_stat(5)'s flags

bool share_descriptors(pid_t a, pid_t b) {
  return ::syscall(SYS_kcmp, a, b, KCMP_FILES, 0, 0) == 0;
}

}  // namespace

std::vector<pid_t> tasks_of(pid_t process) {
  std::vector<pid_t> out;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(
      ::opendir(fmt::format("/proc/{}/task", process).c_str()), ::closedir);
  while (const dirent* entry = dir ? ::readdir(dir.get()) : nullptr)
    if (entry->d_name[0] != '.') out.push_back(::atoi(entry->d_name));
  return out;
}

std::string task_path(pid_t process, pid_t task) {
  return fmt::format("/proc/{}/task/{}", process, task);
}

std::vector<pid_t> children_of(const std::string& task) {
  std::vector<pid_t> out;
  const Fd file(::open((task + "/children").c_str(), O_RDONLY | O_CLOEXEC));
  const auto text = file ? read_file(file.get(), kChildrenBytesMax) : "";
  for (const char* at = text.c_str(); *at;) {
    char* end;
    const long child = ::strtol(at, &end, 10);
    if (end == at || child <= 0) break;
    out.push_back(static_cast<pid_t>(child));
    at = *end == ' ' ? end + 1 : end;
  }
  return out;
}

std::vector<pid_t> descendants_of(pid_t top) {
  std::vector<pid_t> out = {top};
  for (std::size_t i = 0; i < out.size(); ++i)
    for (const pid_t task : tasks_of(out[i]))
      for (const pid_t child : children_of(task_path(out[i], task))) out.push_back(child);
  out.erase(out.begin());
  return out;
}

std::vector<pid_t> one_for_each_table(const std::vector<pid_t>& tasks) {
  std::vector<pid_t> out;
  for (const pid_t task : tasks)
    if (std::none_of(out.begin(), out.end(),
                     [&](pid_t known) { return share_descriptors(known, task); }))
      out.push_back(task);
  return out;
}

bool is_ending(pid_t process, pid_t task) {
  const auto text = text_of(task_path(process, task) + "/stat");
  const auto after_name = text.rfind(')');  // which may hold anything
  unsigned flags = 0;
  return after_name == text.npos ||
         ::sscanf(text.c_str() + after_name + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) != 1 ||
         (flags & kExiting) != 0;
}

}  // namespace lares::sandbox::launcher
