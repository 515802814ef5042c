#include "sandbox/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <mutex>
#include <sstream>
#include <vector>

#include <fmt/format.h>

#include "sandbox/start.h"

namespace lares::sandbox {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFileBytesMax = 1 << 20;  // mountinfo of a busy host is the largest
constexpr int kAncestorsMax = 64;
constexpr const char* kFix =
    "start laresd with `systemd-run --user --scope -p Delegate=yes laresd`, or as a unit with "
    "Delegate=yes";

std::string read(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string out;
  char buffer[8192];
  for (ssize_t n;
       file && out.size() < kFileBytesMax && (n = ::read(file.get(), buffer, sizeof buffer)) > 0;)
    out.append(buffer, static_cast<std::size_t>(n));
  return out;
}

// False with errno set. One write, which is what these files expect.
bool write(const std::string& path, const std::string& text) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::vector<std::string> words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(word);
  return out;
}

bool has(const std::vector<std::string>& all, std::string_view word) {
  return std::find(all.begin(), all.end(), word) != all.end();
}

// mountinfo writes blanks, tabs, newlines and backslashes as octal.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                               (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

int parent_of(int pid) {
  const auto status = read(fmt::format("/proc/{}/status", pid));
  const auto at = status.find("PPid:");
  return at == status.npos ? 0 : std::atoi(status.c_str() + at + 5);
}

bool descends_from(int process, int ancestor) {
  for (int depth = 0; depth < kAncestorsMax && process > 0; ++depth, process = parent_of(process))
    if (process == ancestor) return true;
  return false;
}

// The kernel's own root group may hold processes beside groups with limits; it alone has no type.
bool is_top(const std::string& dir) { return ::access((dir + "/cgroup.type").c_str(), F_OK) != 0; }

bool is_leaf(const std::string& dir) { return fs::path(dir).filename() == kDaemonGroup; }

void note_controllers(Delegation& out, const std::vector<std::string>& names) {
  out.memory = has(names, "memory");
  out.processes = has(names, "pids");
  out.cpu = has(names, "cpu");
  if (!out.memory)
    out.why = fmt::format("the control group {} has no memory controller for groups below it; {}",
                          out.dir, kFix);
}

// Where groups would go, or why nowhere. `ours`: who has to move there.
Delegation look(const std::string& group, int pid, std::vector<std::string>& ours) {
  Delegation out;
  if (group.empty()) {
    out.why = "no control groups of version 2 are mounted here";
    return out;
  }
  const std::string dir = is_leaf(group) ? fs::path(group).parent_path().native() : group;
  if (::access(dir.c_str(), W_OK) != 0 || ::access((dir + "/cgroup.procs").c_str(), W_OK) != 0 ||
      ::access((dir + "/cgroup.subtree_control").c_str(), W_OK) != 0) {
    out.why = fmt::format("the control group {} is not delegated: {}; {}", dir, ::strerror(errno),
                          kFix);
    return out;
  }
  if (!is_top(dir)) {
    for (const auto& member : words(read(dir + "/cgroup.procs"))) {
      const int other = std::atoi(member.c_str());
      if (!descends_from(other, pid)) {
        out.why = fmt::format("the control group {} is shared with other processes, as {}; {}", dir,
                              member, kFix);
        return out;
      }
      ours.push_back(member);
    }
  }
  out.dir = dir;
  return out;
}

// Of daemons that are gone; one that still has processes stays.
void remove_leftovers(const std::string& dir) {
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(dir, failed)) {
    const auto name = entry.path().filename().native();
    const int pid = name.starts_with(kCommandGroup) ? std::atoi(name.c_str() + kCommandGroup.size())
                                                    : 0;
    if (pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH) ::rmdir(entry.path().c_str());
  }
}

// Our own groups whose last processes were still being counted when they ended.
class Unremoved {
 public:
  void add(const std::string& dir) {
    const std::lock_guard lock(mutex_);
    dirs_.push_back(dir);
  }
  void try_again() {
    const std::lock_guard lock(mutex_);
    std::erase_if(
        dirs_, [](const std::string& dir) { return ::rmdir(dir.c_str()) == 0 || errno == ENOENT; });
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> dirs_;
};
Unremoved& unremoved() {
  static Unremoved all;
  return all;
}

}  // namespace

std::string group_directory(std::string_view mountinfo, std::string_view cgroup) {
  std::string group;
  std::istringstream groups{std::string(cgroup)}, mounts{std::string(mountinfo)};
  for (std::string line; std::getline(groups, line);)
    if (line.starts_with("0::")) group = line.substr(3);
  if (group.empty() || group[0] != '/' || group.find("/..") != group.npos)
    return {};  // outside of our namespace
  for (std::string line; std::getline(mounts, line);) {
    // ID PARENT MAJOR:MINOR ROOT MOUNT_POINT OPTIONS [...] - TYPE SOURCE OPTIONS
    const auto fields = words(line);
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() < 6 || dash == fields.end() || dash + 1 == fields.end() ||
        dash[1] != "cgroup2")
      continue;
    const auto root = unescaped(fields[3]);
    std::string below = group;
    if (root != "/") {
      if (group != root && !group.starts_with(root + "/")) continue;
      below = group.substr(root.size());
    }
    return unescaped(fields[4]) + (below == "/" ? "" : below);
  }
  return {};
}

Delegation look_at_group(const std::string& group, int pid) {
  std::vector<std::string> ours;
  auto out = look(group, pid, ours);
  if (!out.dir.empty())
    note_controllers(out, words(read(out.dir + (is_leaf(group) ? "/cgroup.subtree_control"
                                                               : "/cgroup.controllers"))));
  return out;
}

Delegation take_group(const std::string& group, int pid) {
  std::vector<std::string> ours;
  auto out = look(group, pid, ours);
  if (out.dir.empty()) return out;
  const auto leaf = fmt::format("{}/{}", out.dir, kDaemonGroup);
  if (!ours.empty() && ::mkdir(leaf.c_str(), 0755) != 0 && errno != EEXIST) {
    out.why = fmt::format("make the control group {}: {}", leaf, ::strerror(errno));
    out.dir.clear();
    return out;
  }
  for (const auto& member : ours)
    write(leaf + "/cgroup.procs", member);  // who has ended meanwhile needs no move
  const auto offered = words(read(out.dir + "/cgroup.controllers"));
  // What failed is not there below
  for (const char* name : {"memory", "pids", "cpu"})
    if (has(offered, name)) write(out.dir + "/cgroup.subtree_control", fmt::format("+{}", name));
  note_controllers(out, words(read(out.dir + "/cgroup.subtree_control")));
  remove_leftovers(out.dir);
  return out;
}

const Delegation& delegation() {
  static const Delegation found = take_group(
      group_directory(read("/proc/self/mountinfo"), read("/proc/self/cgroup")), ::getpid());
  return found;
}

Containment containment(int pid) {
  if (pid == 0) pid = ::getpid();
  const auto dir = group_directory(read("/proc/self/mountinfo"),
                                   read(fmt::format("/proc/{}/cgroup", pid)));
  const auto found = look_at_group(dir, pid);
  Containment out;
  out.by_cgroup = !found.dir.empty() && found.memory;
  if (out.by_cgroup)
    out.text = fmt::format("the kernel limits memory{} of a command's processes together, below {}",
                           found.processes ? " and number" : "", found.dir);
  else
    out.text = fmt::format(
        "memory of a command's processes is added up four times a second, and a burst between two "
        "looks is not stopped; {}",
        found.why);
  return out;
}

tl::expected<std::unique_ptr<Group>, std::string> Group::make(const Delegation& in,
                                                              const Limits& limits) {
  static std::atomic<unsigned> n{0};
  unremoved().try_again();
  const auto dir = fmt::format("{}/{}{}-{}", in.dir, kCommandGroup, ::getpid(), ++n);
  if (::mkdir(dir.c_str(), 0755) != 0)
    return tl::unexpected(fmt::format("make the control group {}: {}", dir, ::strerror(errno)));
  std::unique_ptr<Group> out(new Group(dir));
  struct Setting {
    bool there, must;
    const char* file;
    std::string value;
  };
  const std::array settings = {
      Setting{in.memory, true, "memory.max", std::to_string(limits.memory_bytes)},
      Setting{in.memory, false, "memory.swap.max", "0"},  // absent where the kernel has no swap
      Setting{in.memory, true, "memory.oom.group", "1"},
      Setting{in.processes, true, "pids.max", std::to_string(limits.n_processes)},
      Setting{in.cpu, false, "cpu.weight", std::to_string(kCpuWeight)}};
  for (const auto& setting : settings)
    if (setting.there && !write(fmt::format("{}/{}", dir, setting.file), setting.value) &&
        setting.must)
      return tl::unexpected(fmt::format("write {} to {}/{}: {}", setting.value, dir, setting.file,
                                        ::strerror(errno)));
  return out;
}

void Group::kill() const { write(dir_ + "/cgroup.kill", "1"); }

Group::~Group() {
  if (::rmdir(dir_.c_str()) == 0) return;
  kill();
  if (::rmdir(dir_.c_str()) != 0) unremoved().add(dir_);
}

}  // namespace lares::sandbox
