// Running untrusted commands: what they may see and use, and their whole process tree's death.
// Knows no agent.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <tl/expected.hpp>

namespace lares::sandbox {

namespace asio = boost::asio;

enum class Errc { unavailable, refused, broken, cancelled };
struct Error {
  Errc code;
  std::string message;
};
template <class T = void>
using Result = tl::expected<T, Error>;

enum class Backend {
  native,
  bubblewrap,
  none
};  // none: the user opted out; commands run with the user's own rights

// Of a shell with all its jobs, by the machine: test runners start workers by its cores, and a
// worker of Node.js is some ten threads.
inline constexpr int kTasksMin = 4096, kTasksPerCore = 64;
inline constexpr std::uint64_t kMemoryBytesMin = 4ull << 30;
inline constexpr std::uint64_t kMemoryShare = 4;  // a quarter of the machine's, if that is more
int tasks_max();
std::uint64_t memory_bytes_max();

struct Limits {
  std::uint64_t file_bytes = 1ull << 30;  // RLIMIT_FSIZE
  // Of the whole tree: by the kernel where a control group is delegated, else watched
  std::uint64_t memory_bytes = memory_bytes_max();
  int n_processes = tasks_max();  // threads count, each as one
  int n_open_files = 4096;
  // Of the worktree's file system, looked at four times a second: what a command's processes may
  // take, net, and what they must leave free (two percent if that is more, up to 10 GiB; half of
  // what was free, if that is less). 0: without that bound.
  std::uint64_t growth_bytes = 20ull << 30, growth_inodes = 2'000'000, free_bytes = 1ull << 30;
  std::uint64_t cpu_seconds = 12 * 3600;  // RLIMIT_CPU: of one process, all its threads together
};

// What a command asked of the network, and the answer.
struct NetworkDecision {
  std::string host;
  std::uint16_t port = 0;
  bool allowed = false;
  std::string why;  // when it was not, or when allowed and not reached
};
// On the executor of spawn()'s caller
using OnNetwork = std::function<void(const NetworkDecision&)>;

struct Policy {
  std::string root;  // the worktree: the only writable host path
  // Below root, shown but not writable (".git" always is, and shown without credentials)
  std::vector<std::string> readonly;
  std::vector<std::string> hidden;  // below root, shown empty (secrets); found by sensitive_paths.h
  // Directories of whoever runs the commands (its sessions, tokens, settings), absolute and
  // wherever they lie: below root hidden as secrets are, elsewhere empty. In one that holds root,
  // root is all there is. What is not there is passed over.
  std::vector<std::string> own;
  bool worktree_readonly = false;
  // Hosts that commands may reach by HTTP(S), from the user and never from a file in the worktree:
  // "NAME" or "ADDRESS" (ports 80 and 443), "NAME:PORT", "*.NAME.TLD". Through a proxy alone
  // (HTTP_PROXY and the like; proxy.h has its limits): no other protocol and no names inside.
  // Private and own addresses only where listed themselves. Empty: no network. Native backend only.
  std::vector<std::string> network_allow;
  OnNetwork on_network;  // may be empty
  Limits limits;
};

struct Probe {
  Backend backend = Backend::none;  // the best that works here
  bool works = false;
  std::string why;  // when it does not: one line per missing layer, each with what to do
  // "user namespace", "PID namespace", "mounts", "proc", "network", "seccomp"; and "Landlock ABI
  // 7", where there is one. What holds, also when that is not enough.
  std::vector<std::string> layers, notes;
  // When it does not work: the layer at which the native backend stopped, "" when it is none of
  // them
  std::string missing;
};

// How the memory of a command's whole tree is held to its limit.
struct Containment {
  // The kernel does; else it is added up four times a second, and a burst between two looks gets
  // through
  bool by_cgroup = false;
  std::string text;  // for people: where, or why not and what to do
};
// Of the commands of the process `pid`, 0 being this one. Changes nothing: a group is taken with
// the first command.
Containment containment(int pid = 0);

// Runs the launcher on a scratch directory and checks that what must be denied is denied. Takes
// about 50 ms; cache it.
asio::awaitable<Probe> probe(std::string launcher);

struct Exit {
  bool exited = false;  // else killed by `signal`
  int code = 0, signal = 0;
};

// A running command with its own PID namespace. Destroying it kills everything in it.
class Process {
 public:
  virtual ~Process() = default;
  // None of its processes is left but the command, which is the program it was; in doubt, false
  virtual bool alone() const = 0;
  virtual int pid() const = 0;  // of the launcher, on the host
  // For each of `pids`, which are numbers inside: the host's numbers of that process and of what
  // runs below it, that one first. Empty: there is none, or it is of a namespace that the command
  // made. Looks at all that runs in it once.
  virtual std::vector<std::vector<int>> trees_of(const std::vector<int>& pids) const = 0;
  virtual asio::posix::stream_descriptor& in() = 0;   // to its stdin
  virtual asio::posix::stream_descriptor& out() = 0;  // from its stdout and stderr, joined
  virtual asio::awaitable<Exit> wait() = 0;           // once
  virtual void kill() = 0;  // the whole tree, at once; wait() then returns
  // Shows these, absolute paths, as empty from now on, as Policy::hidden does: below the root, and
  // elsewhere where a command sees them. What is gone is passed over. On an error perhaps none is
  // hidden: only a new sandbox can then. With Backend::none nothing is, and that is no error. One
  // call at a time.
  virtual asio::awaitable<Result<>> hide(std::vector<std::string> paths) = 0;
  // What was read-only in the worktree, and what is gone from git configurations, is so again:
  // these are other files now, for somebody has saved them. Otherwise as hide().
  virtual asio::awaitable<Result<>> keep(std::vector<std::string> paths) = 0;
};

// Those below a process, as the host numbers them, each before its children; what this process
// cannot see is not among them.
std::vector<int> descendants_of(int pid);

struct Command {
  std::vector<std::string> argv;   // argv[0] is looked up in PATH inside
  std::string cwd;                 // absolute, inside root
  std::vector<std::string> env;    // NAME=value, added to the scrubbed environment
  bool keeps_environment = false;  // with Backend::none: added to this process's own instead
};

// Errors: the launcher is missing, the backend does not work here, the policy is refused (root is
// "/", $HOME, ...), or it was cancelled before the command ran: nothing is left of it then.
asio::awaitable<Result<std::unique_ptr<Process>>> spawn(std::string launcher, Backend backend,
                                                        Policy policy, Command command);

}  // namespace lares::sandbox
