#include "sandbox/host_sockets.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string_view>

#include <fmt/format.h>

namespace lares::sandbox {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLinesMax = 20'000;
constexpr int kDescriptorsMax = 65'536;      // of the whole host, looked at for owners
constexpr unsigned long kAccepts = 0x10000;  // the kernel's SO_ACCEPTCON
constexpr unsigned long kStream = 1;
constexpr std::string_view kSocket = "socket:[";
constexpr std::array<std::string_view, 6> kPrivate = {"/run/",     "/var/run/", "/tmp/",
                                                      "/var/tmp/", "/dev/",     "/home/"};

template <class OnNumber>
void for_numbers(const std::string& path, OnNumber on_number) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
  while (const dirent* entry = dir ? ::readdir(dir.get()) : nullptr)
    if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') on_number(entry->d_name);
}

// `relative`: by inode. Every process that holds one of them may be the one that has bound it.
void add_relative(const std::map<std::string, std::string, std::less<>>& relative,
                  std::vector<HostSocket>& out) {
  int left = kDescriptorsMax;
  for_numbers("/proc", [&](const char* process) {
    const auto descriptors = fmt::format("/proc/{}/fd", process);
    for_numbers(descriptors, [&](const char* number) {
      char target[64];
      if (--left < 0) return;
      const auto n = ::readlink(fmt::format("{}/{}", descriptors, number).c_str(), target,
                                sizeof target);
      const std::string_view text(target, static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
      if (!text.starts_with(kSocket)) return;
      const auto found =
          relative.find(text.substr(kSocket.size(), text.size() - kSocket.size() - 1));
      if (found == relative.end()) return;
      std::error_code failed;
      const auto at = fs::read_symlink(fmt::format("/proc/{}/cwd", process), failed);
      if (!failed)
        out.push_back({(at / found->second).lexically_normal().native(), found->first, true});
    });
  });
}

}  // namespace

std::vector<HostSocket> host_sockets() {
  std::vector<HostSocket> out;
  std::map<std::string, std::string, std::less<>> relative;
  std::ifstream table("/proc/net/unix");
  std::string line;
  for (std::size_t n = 0; n < kLinesMax && std::getline(table, line); ++n) {
    unsigned long flags = 0, type = 0, inode = 0;
    int path = 0;
    if (::sscanf(line.c_str(), "%*s %*s %*s %lx %lx %*s %lu %n", &flags, &type, &inode, &path) !=
            3 ||
        path == 0 || static_cast<std::size_t>(path) >= line.size())
      continue;
    // Of a stream every connection has its server's path.
    const bool served = type != kStream || (flags & kAccepts) != 0;
    auto name = line.substr(static_cast<std::size_t>(path));
    if (name[0] == '/')
      out.push_back({std::move(name), std::to_string(inode), served});
    else if (name[0] != '@' && served)  // that is no file
      relative.emplace(std::to_string(inode), std::move(name));
  }
  if (!relative.empty()) add_relative(relative, out);
  return out;
}

std::set<std::pair<std::string, std::string>> host_sockets_served() {
  std::set<std::pair<std::string, std::string>> out;
  for (auto& one : host_sockets())
    if (one.served &&
        std::ranges::none_of(kPrivate, [&](auto place) { return one.path.starts_with(place); }))
      out.emplace(std::move(one.path), std::move(one.inode));
  return out;
}

}  // namespace lares::sandbox
