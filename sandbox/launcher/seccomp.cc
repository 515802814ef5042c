// System calls a command cannot make: filter/make_filter.cc has the list.
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <iterator>
#include <string_view>

#include "sandbox/launcher/lockdown.h"
#include "sandbox/launcher/sys.h"

namespace lares::sandbox::launcher {
namespace {

constexpr sock_filter kProgram[] = {
#include "system_call_filter.inc"
};
static_assert(std::size(kProgram) <= BPF_MAXINSNS);

}  // namespace

void filter_system_calls() {
  const sock_fprog program{static_cast<unsigned short>(std::size(kProgram)),
                           const_cast<sock_filter*>(kProgram)};
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    fail_errno("seccomp", "install the filter");
}

int export_filter() {
  const int file = ::memfd_create("lares-seccomp", 0);
  if (file < 0) fail_errno("seccomp", "memfd_create");
  if (!write_all(file,
                 std::string_view(reinterpret_cast<const char*>(kProgram), sizeof kProgram)) ||
      ::lseek(file, 0, SEEK_SET) != 0)
    fail_errno("seccomp", "write the filter");
  return file;
}

}  // namespace lares::sandbox::launcher
