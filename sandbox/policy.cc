#include "sandbox/policy.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <string_view>
#include <thread>

#include <fmt/format.h>

#include "sandbox/network.h"
#include "sandbox/user_home.h"

namespace lares::sandbox {
namespace {

// Variables of the caller that a build may need and that hold no secrets. PATH is handled apart.
constexpr std::array kPassedOn = {"LANG",         "LANGUAGE",   "TZ",          "JAVA_HOME",
                                  "GOPATH",       "GOROOT",     "RUSTUP_HOME", "CARGO_HOME",
                                  "NVM_DIR",      "VOLTA_HOME", "PYENV_ROOT",  "VIRTUAL_ENV",
                                  "CONDA_PREFIX", "PNPM_HOME",  "SDKMAN_DIR"};

constexpr std::array<std::pair<const char*, const char*>, 9> kFixed = {{
    {"TERM", "dumb"},
    {"CI", "1"},
    {"NO_COLOR", "1"},
    {"PAGER", "cat"},
    {"GIT_PAGER", "cat"},
    {"GIT_TERMINAL_PROMPT", "0"},
    {"GIT_OPTIONAL_LOCKS", "0"},  // `git status` would refresh the index, which is read-only inside
    {"SHELL", "/bin/bash"},
    {"DEBIAN_FRONTEND", "noninteractive"},
}};

bool below_or_same(const std::string& path, const std::string& top) {
  if (top == "/") return true;
  return path == top ||
         (path.size() > top.size() && path.starts_with(top) && path[top.size()] == '/');
}

// Absolute, no "." or "..", no double or trailing slash: what the launcher resolves component by
// component.
bool is_clean(const std::string& path) {
  if (path.empty() || path[0] != '/' || path.find('\0') != std::string::npos) return false;
  if (path == "/") return true;
  for (std::size_t start = 1; start <= path.size();) {
    const auto end = std::min(path.find('/', start), path.size());
    const auto part = std::string_view(path).substr(start, end - start);
    if (part.empty() || part == "." || part == "..") return false;
    start = end + 1;
  }
  return true;
}

// Only absolute entries: "." or "bin" in PATH would be searched below whatever directory a command
// changes to. Those by a link in what no command sees (fnm's, in /run/user) as what they lead to.
std::string clean_path() {
  std::string out;
  const char* value = ::getenv("PATH");
  std::string_view rest = value ? value : "";
  while (!rest.empty()) {
    const auto end = std::min(rest.find(':'), rest.size());
    std::string entry(rest.substr(0, end));
    std::error_code failed;
    if (entry.starts_with("/run/") || entry.starts_with("/tmp/"))
      if (const auto real = std::filesystem::canonical(entry, failed); !failed) entry = real;
    if (entry.starts_with('/')) out.append(out.empty() ? "" : ":").append(entry);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return out.empty() ? "/usr/local/bin:/usr/bin:/bin" : out;
}

// Programs read one or the other spelling; Node.js only with its own switch.
std::vector<std::string> proxy_environment() {
  const auto proxy = fmt::format("http://127.0.0.1:{}", kProxyPort);
  std::vector<std::string> out = {"NODE_USE_ENV_PROXY=1"};
  for (const char* name : {"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"})
    out.push_back(fmt::format("{}={}", name, proxy));
  for (const char* name : {"NO_PROXY", "no_proxy"})
    out.push_back(fmt::format("{}=localhost,127.0.0.1,::1", name));
  return out;
}

// Package managers ask a network that is not there again and again, npm for 75 s, before they look
// into their caches or say so. Once is enough; pip keeps the reason to itself without a second try.
std::vector<std::string> offline_environment() {
  return {"npm_config_prefer_offline=true", "npm_config_fetch_retries=0", "PIP_RETRIES=1"};
}

Error refused(std::string message) { return {Errc::refused, std::move(message)}; }

Result<> check_root(const std::string& root, const std::string& home) {
  if (!is_clean(root))
    return tl::unexpected(
        refused(fmt::format("sandbox root '{}': not an absolute, normalised path", root)));
  if (root == "/")
    return tl::unexpected(
        refused("sandbox root '/': the whole system would be writable; use the project's folder"));
  if (!home.empty() && below_or_same(home, root))
    return tl::unexpected(refused(fmt::format(
        "sandbox root '{}': it is or contains the home directory {}; use the project's own folder",
        root, home)));
  for (const char* system :
       {"/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/proc", "/sys", "/dev", "/boot", "/var",
        "/run", "/tmp", "/home", "/opt", "/var/tmp", "/dev/shm"})
    if (root == system)
      return tl::unexpected(refused(fmt::format(
          "sandbox root '{}': a system directory; use the project's own folder", root)));
  for (const char* top : {"/proc", "/sys", "/dev"})
    if (below_or_same(root, top) && !below_or_same(root, "/dev/shm"))
      return tl::unexpected(refused(fmt::format(
          "sandbox root '{}': below {}, which is private inside the sandbox", root, top)));
  std::error_code failed;
  const auto resolved = std::filesystem::canonical(root, failed);
  if (failed)
    return tl::unexpected(refused(fmt::format("sandbox root '{}': {}", root, failed.message())));
  if (resolved.native() != root)
    return tl::unexpected(refused(
        fmt::format("sandbox root '{}': goes through a symbolic link; pass the resolved path {}",
                    root, resolved.native())));
  if (!std::filesystem::is_directory(resolved, failed))
    return tl::unexpected(refused(fmt::format("sandbox root '{}': not a directory", root)));
  return {};
}

// This process's own, as it is, and `extra`, which comes before it.
std::vector<std::string> own_environment(const std::vector<std::string>& extra) {
  std::vector<std::string> out;
  for (char** entry = ::environ; entry && *entry; ++entry) {
    const std::string_view text = *entry, name = text.substr(0, text.find('=') + 1);
    if (!name.empty() &&
        std::ranges::none_of(extra, [&](const auto& other) { return other.starts_with(name); }))
      out.emplace_back(text);
  }
  out.insert(out.end(), extra.begin(), extra.end());
  return out;
}

}  // namespace

Error too_many_covers(std::size_t n) {
  return refused(fmt::format(
      "sandbox policy: {} files and directories are to be hidden (secrets, by their names) or kept "
      "read-only (.git), at most {} can be (kCoversMax); work in a smaller directory",
      n, kCoversMax));
}

int tasks_max() {
  return std::max(kTasksMin, kTasksPerCore * static_cast<int>(std::thread::hardware_concurrency()));
}

std::uint64_t memory_bytes_max() {
  const long pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page <= 0) return kMemoryBytesMin;
  return std::max(kMemoryBytesMin, static_cast<std::uint64_t>(pages) *
                                       static_cast<std::uint64_t>(page) / kMemoryShare);
}

std::vector<std::string> environment(Backend backend, const std::string& home,
                                     const std::vector<std::string>& extra) {
  std::map<std::string, std::string> variables;
  variables["PATH"] = clean_path();
  for (char** entry = ::environ; entry && *entry; ++entry)
    if (const std::string_view text = *entry; text.starts_with("LC_"))
      if (const auto equals = text.find('='); equals != text.npos)
        variables[std::string(text.substr(0, equals))] = text.substr(equals + 1);
  for (const char* name : kPassedOn)
    if (const char* value = ::getenv(name)) variables[name] = value;
  if (!variables.contains("LANG") && !variables.contains("LC_ALL")) variables["LANG"] = "C.UTF-8";
  for (const auto& [name, value] : kFixed) variables[name] = value;
  const char* user = ::getenv("USER");
  variables["USER"] = variables["LOGNAME"] = user && *user && std::string_view(user) != "root"
                                                 ? user
                                                 : "user";
  variables["HOME"] = home.empty() ? "/tmp/home" : home;
  if (backend == Backend::none) {
    if (home.empty()) variables["HOME"] = "/";
    for (const char* name : {"USER", "LOGNAME", "TMPDIR", "SHELL"})
      if (const char* value = ::getenv(name)) variables[name] = value;
  } else {
    variables["TMPDIR"] = "/tmp";
    variables["HUSKY"] = "0";  // `npm install` would end in its failure to write git's hooks
  }
  for (const auto& entry : extra)
    if (const auto equals = entry.find('='); equals != entry.npos && equals > 0)
      variables[entry.substr(0, equals)] = entry.substr(equals + 1);
  std::vector<std::string> out;
  for (const auto& [name, value] : variables) out.push_back(name + "=" + value);
  return out;
}

Result<Spec> compile(Backend backend, const Policy& policy, const Command& command) {
  const auto home = user_home();
  if (auto fine = check_root(policy.root, home); !fine)
    return tl::unexpected(std::move(fine.error()));
  if (command.argv.empty() || command.argv[0].empty())
    return tl::unexpected(refused("sandbox command: no program given"));
  if (!is_clean(command.cwd) || !below_or_same(command.cwd, policy.root))
    return tl::unexpected(refused(
        fmt::format("sandbox cwd '{}': not inside the worktree {}", command.cwd, policy.root)));
  if (policy.hidden.size() + policy.readonly.size() > kCoversMax)
    return tl::unexpected(too_many_covers(policy.hidden.size() + policy.readonly.size()));
  Spec spec;
  spec.backend = backend == Backend::bubblewrap ? "bubblewrap"
                 : backend == Backend::none     ? "none"
                                                : "native";
  spec.root = policy.root;
  spec.cwd = command.cwd;
  spec.home = home;
  spec.worktree_readonly = policy.worktree_readonly;
  // Relative entries are meant below the root.
  const auto add = [&](const std::vector<std::string>& paths,
                       std::vector<std::string>& out) -> Result<> {
    for (const auto& path : paths) {
      const auto full = !path.empty() && path[0] == '/' ? path : policy.root + "/" + path;
      if (!is_clean(full) || !below_or_same(full, policy.root) || full == policy.root)
        return tl::unexpected(
            refused(fmt::format("sandbox policy: '{}' is not a path below {}", path, policy.root)));
      out.push_back(full);
    }
    return {};
  };
  if (auto fine = add(policy.readonly, spec.readonly); !fine)
    return tl::unexpected(std::move(fine.error()));
  if (auto fine = add(policy.hidden, spec.hidden); !fine)
    return tl::unexpected(std::move(fine.error()));
  for (const auto& path : policy.own) {
    if (!is_clean(path) || path == "/" || path == policy.root)
      return tl::unexpected(
          refused(fmt::format("sandbox policy: '{}', which no command may see, is not a directory "
                              "of its own; keep it elsewhere",
                              path)));
    (below_or_same(path, policy.root) ? spec.hidden : spec.emptied).push_back(path);
  }
  const auto& limits = policy.limits;
  if (limits.n_processes < 2 || limits.n_open_files < 16 || limits.file_bytes == 0 ||
      limits.memory_bytes == 0 || limits.cpu_seconds == 0)
    return tl::unexpected(
        refused("sandbox limits: need at least 2 processes, 16 open files, and non-zero file "
                "bytes, memory bytes and CPU seconds"));
  spec.file_bytes = limits.file_bytes;
  spec.memory_bytes = limits.memory_bytes;
  spec.n_processes = static_cast<std::uint64_t>(limits.n_processes);
  spec.growth_bytes = limits.growth_bytes;
  spec.growth_inodes = limits.growth_inodes;
  spec.free_bytes = limits.free_bytes;
  spec.cpu_seconds = limits.cpu_seconds;
  spec.n_open_files = static_cast<std::uint64_t>(limits.n_open_files);
  for (const auto& text : command.argv)
    if (text.find('\0') != text.npos)
      return tl::unexpected(refused("sandbox command: an argument contains a NUL byte"));
  for (const auto& text : command.env)
    if (text.find('\0') != text.npos || text.find('=') == text.npos || text[0] == '=')
      return tl::unexpected(
          refused(fmt::format("sandbox environment: '{}' is not NAME=value", text.substr(0, 80))));
  if (auto hosts = AllowList::parse(policy.network_allow); !hosts)
    return tl::unexpected(std::move(hosts.error()));
  spec.network = backend == Backend::native && !policy.network_allow.empty();
  spec.argv = command.argv;
  auto extra = spec.network               ? proxy_environment()
               : backend == Backend::none ? std::vector<std::string>()
                                          : offline_environment();
  extra.insert(extra.end(), command.env.begin(), command.env.end());
  spec.env = command.keeps_environment && backend == Backend::none
                 ? own_environment(extra)
                 : environment(backend, home, extra);
  return spec;
}

}  // namespace lares::sandbox
