#include "kernels/cgroups.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

namespace lares::kernels {
namespace {

// A list of names between commas, or one of it, as it can be found in another.
std::string listed(std::string_view names) {
  std::string out(1, ',');
  out += names;
  return out += ',';
}

constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();

std::string text_of(const std::string& path) {
  std::ostringstream out;
  if (std::ifstream in(path); in) out << in.rdbuf();
  return out.str();
}

// "-1", "max" and what is not there are no number.
std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() ? std::optional(out) : std::nullopt;
}

// Behind `key` in lines of "key number".
std::uint64_t number_behind(const std::string& text, std::string_view key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(key)) return number(std::string_view(line).substr(key.size())).value_or(0);
  return 0;
}

struct Group {
  std::string directory;
  bool v2;
};

// This process's groups with a controller's files, the innermost first. A container may show a
// group's path as the host has it while its mount begins at the group: the directories that are not
// there say nothing, and the mount's own, which comes last, is the group's.
std::vector<Group> groups(const CgroupPlaces& places, std::string_view controller) {
  std::vector<Group> out;
  const auto add = [&](const std::string& mount, std::string path, bool v2) {
    for (;;) {
      while (!path.empty() && path.back() == '/') path.pop_back();
      out.push_back({mount + path, v2});
      if (path.empty()) return;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  };
  std::istringstream lines(text_of(places.membership));
  // "4:cpu,cpuacct:/user.slice", "0::/user.slice"
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':'),
                      second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string names = line.substr(first + 1, second - first - 1),
                      path = line.substr(second + 1);
    if (names.empty()) {
      add(places.mounts, path, true);
      add(places.mounts + "/unified", path, true);
    } else if (listed(names).find(listed(controller)) != std::string::npos) {
      add(places.mounts + "/" + names, path, false);
      if (names != controller) add(places.mounts + "/" + std::string(controller), path, false);
    }
  }
  return out;
}

}  // namespace

int cgroup_cpus(const CgroupPlaces& places) {
  std::uint64_t least = kNone;
  for (const Group& group : groups(places, "cpu")) {
    std::optional<std::uint64_t> quota, period;
    if (group.v2) {  // "200000 100000", "max 100000"
      const std::string text = text_of(group.directory + "/cpu.max");
      quota = number(text);
      if (const std::size_t blank = text.find(' '); blank != std::string::npos)
        period = number(std::string_view(text).substr(blank + 1));
    } else {
      quota = number(text_of(group.directory + "/cpu.cfs_quota_us"));
      period = number(text_of(group.directory + "/cpu.cfs_period_us"));
    }
    if (quota && *quota > 0 && period && *period > 0)
      least = std::min(least, (*quota + *period - 1) / *period);
  }
  return least == kNone
             ? 0
             : static_cast<int>(std::min<std::uint64_t>(least, std::numeric_limits<int>::max()));
}

std::uint64_t cgroup_memory_left(const CgroupPlaces& places) {
  std::uint64_t least = kNone;
  for (const Group& group : groups(places, "memory")) {
    const auto most =
        number(text_of(group.directory + (group.v2 ? "/memory.max" : "/memory.limit_in_bytes")));
    const auto used = number(
        text_of(group.directory + (group.v2 ? "/memory.current" : "/memory.usage_in_bytes")));
    if (!most || !used) continue;
    const std::string stat = text_of(group.directory + "/memory.stat"),
                      of = group.v2 ? "" : "total_";
    const std::uint64_t files = number_behind(stat, of + "inactive_file ") +
                                number_behind(stat, of + "active_file ");
    const std::uint64_t held = *used - std::min(*used, files);
    least = std::min(least, *most > held ? *most - held : 0);
  }
  return least;
}

}  // namespace lares::kernels
