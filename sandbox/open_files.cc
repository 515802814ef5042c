#include "sandbox/open_files.h"

#include <sys/resource.h>

namespace lares::sandbox {
namespace {

// The limit is the process's, and so is what it was: every child of every thread gets that one.
rlim_t usual = RLIM_INFINITY;
bool raised = false;

}  // namespace

void raise_open_files() {
  rlimit limit{};
  if (raised || ::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  usual = before, raised = true;
}

void usual_open_files() {
  rlimit limit{};
  if (!raised || ::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = usual < limit.rlim_max ? usual : limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace lares::sandbox
