// System calls a command cannot make: filter/make_filter.cc has the list.
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <iterator>
#include <span>
#include <string_view>

#include "sandbox/launcher/lockdown.h"
#include "sandbox/launcher/sys.h"

namespace lares::sandbox::launcher {
namespace {

constexpr sock_filter kProgram[] = {
#include "system_call_filter.inc"
};
constexpr sock_filter kSharedProgram[] = {
#include "system_call_filter_shared.inc"
};
static_assert(std::size(kProgram) <= BPF_MAXINSNS && std::size(kSharedProgram) <= BPF_MAXINSNS);

// As teams have it, so that all files are the group's.
std::span<const sock_filter> program_for(const Spec& spec) {
  struct stat root;
  const bool shared = ::stat(spec.root.c_str(), &root) == 0 && (root.st_mode & S_ISGID) != 0;
  return shared ? std::span<const sock_filter>(kSharedProgram) : kProgram;
}

}  // namespace

void filter_system_calls(const Spec& spec) {
  const auto rows = program_for(spec);
  const sock_fprog program{static_cast<unsigned short>(rows.size()),
                           const_cast<sock_filter*>(rows.data())};
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    fail_errno("seccomp", "install the filter");
}

int export_filter(const Spec& spec) {
  const int file = ::memfd_create("lares-seccomp", 0);
  if (file < 0) fail_errno("seccomp", "memfd_create");
  const auto rows = std::as_bytes(program_for(spec));
  if (!write_all(file, std::string_view(reinterpret_cast<const char*>(rows.data()), rows.size())) ||
      ::lseek(file, 0, SEEK_SET) != 0)
    fail_errno("seccomp", "write the filter");
  return file;
}

}  // namespace lares::sandbox::launcher
