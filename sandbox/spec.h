// What the launcher is told, as text: `key=value` records, each ended by a NUL. Paths and arguments
// cannot contain one, need no escaping and may be any bytes, which JSON would not allow.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace lares::sandbox {

// File descriptors the launcher is started with, besides 0 (the command's stdin) and 1, 2 (one
// pipe, its output).
inline constexpr int kSpecFd = 3;     // a memfd holding the encoded Spec
inline constexpr int kControlFd = 4;  // a stream socket, see below
inline constexpr std::size_t kSpecBytesMax = 8u << 20;
inline constexpr std::size_t kReplyBytesMax = 4096;

// On the control socket the launcher writes one line: "S<fact>,<fact>...\n" when the command is
// about to start, or "E<layer>\t<message>\n" before it exits with 125. The socket's end of file
// means: kill everything and exit. With allowed hosts, one byte goes before it, carrying the
// listener for the proxy.
inline constexpr char kReplyListener = 'N';
// Of the namespace's own loopback, where nobody else listens
inline constexpr std::uint16_t kProxyPort = 3128;
inline constexpr char kReplyStarted = 'S', kReplyFailed = 'E';
// Later the daemon may ask, a request at a time, that more be hidden: "C<bytes>\n" and as many
// bytes of absolute paths, each ended by a NUL. The answer is "C\n", or the line of a failure: then
// perhaps none of them is.
inline constexpr char kCover = 'C';
// Or, with "K" for "C", that these be read-only if they are not, and that git's configurations be
// shown without credentials.
inline constexpr char kKeep = 'K';
inline constexpr int kExitSetupFailed = 125, kExitNotFound = 127;

struct Spec {
  std::string backend;  // "native", "bubblewrap" or "none"
  std::string root, cwd, home;
  bool worktree_readonly = false;
  bool network = false;  // hand out a listener
  std::vector<std::string> readonly, hidden;
  std::vector<std::string> emptied;  // directories outside root; one may hold it
  std::uint64_t file_bytes = 0, memory_bytes = 0;
  std::uint64_t n_processes = 0, n_open_files = 0, cpu_seconds = 0;
  std::uint64_t growth_bytes = 0, growth_inodes = 0, free_bytes = 0;
  std::string cgroup;  // the command's own group, "" when there is none
  // Memory and number of processes are its business, nobody need watch them
  bool cgroup_limits = false;
  std::vector<std::string> argv, env;
};

std::string encode(const Spec& spec);
// error: the first record that makes no sense
tl::expected<Spec, std::string> decode(std::string_view text);

}  // namespace lares::sandbox
