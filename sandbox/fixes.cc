#include "sandbox/fixes.h"

#include <fstream>

#include <fmt/format.h>

namespace lares::sandbox {
namespace {

// The sysctl's value, or "" where this kernel has none of that name.
std::string sysctl(const char* path) {
  std::ifstream file(path);
  std::string value;
  file >> value;
  return value;
}

std::string user_namespaces(const std::string& launcher) {
  if (sysctl("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1")
    return fmt::format(
        "AppArmor forbids it to programs without a profile: write `abi <abi/4.0>, include "
        "<tunables/global> profile lares-sandbox "
        "{} flags=(unconfined) {{ userns, }}` to /etc/apparmor.d/lares-sandbox and run "
        "`apparmor_parser -r "
        "/etc/apparmor.d/lares-sandbox`, or `apt install bubblewrap`",
        launcher);
  if (sysctl("/proc/sys/kernel/unprivileged_userns_clone") == "0")
    return "run `sysctl -w kernel.unprivileged_userns_clone=1` as root";
  if (sysctl("/proc/sys/user/max_user_namespaces") == "0")
    return "run `sysctl -w user.max_user_namespaces=10000` as root";
  return "in a container, start it with `--security-opt seccomp=unconfined --security-opt "
         "apparmor=unconfined` or on a host that "
         "allows user namespaces; elsewhere a kernel with CONFIG_USER_NS is needed";
}

}  // namespace

std::string fix_for(std::string_view layer, const std::string& launcher) {
  if (layer == "user namespace") return user_namespaces(launcher);
  if (layer == "mounts")
    return "Linux 5.12 or newer is needed (mount_setattr); where that is there and mounts are "
           "forbidden, `apt install bubblewrap`";
  if (layer == "proc")
    return "the container hides parts of /proc, so that the kernel refuses a new one: start it "
           "with `--security-opt "
           "systempaths=unconfined`";
  if (layer == "network") return "a kernel with CONFIG_NET_NS is needed";
  if (layer == "seccomp") return "a kernel with CONFIG_SECCOMP_FILTER is needed";
  if (layer == "identity") return "start laresd as an ordinary user who owns the worktree";
  if (layer == "bubblewrap") return "run `apt install bubblewrap`";
  if (layer == "cgroup")
    return "its control group has been taken away; restart laresd, so that it looks again";
  return {};
}

}  // namespace lares::sandbox
