#include "tools/workspace/watcher.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "tools/git/impatience.h"
#include "tools/git/kept_view.h"
#include "tools/git/view.h"
#include "tools/workspace/rooted_fs.h"
#include "tools/workspace/rules.h"

namespace lares::tools {
namespace asio = boost::asio;
namespace {

constexpr std::uint32_t kEvents = IN_CREATE | IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB |
                                  IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF |
                                  IN_MOVE_SELF;
constexpr std::uint32_t kHow = IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK;
constexpr int kNewDepthMax = 64;  // of directories that come at once

std::string watches_allowed() {
  std::string n;
  std::ifstream("/proc/sys/fs/inotify/max_user_watches") >> n;
  return n.empty() ? "unknown" : n;
}

std::string_view parent_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? "" : path.substr(0, slash);
}

}  // namespace

struct WatchPlan::State {
  std::vector<std::string> directories;  // in bytewise order, each once: parents come first
  // Of these, the ones whose parent is none of them. No event says that another has their name now
  std::vector<std::size_t> alone;
  std::shared_ptr<KeptView> kept;
  std::optional<GitView> git;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (git) kept->give_back(std::move(*git));
  }
};

WatchPlans::WatchPlans(const std::string& root) : git_(std::make_shared<KeptView>(root)) {}

WatchPlan WatchPlans::watch(std::vector<std::string> directories) const {
  auto state = std::make_unique<WatchPlan::State>();
  std::ranges::sort(directories);
  directories.erase(std::ranges::unique(directories).begin(), directories.end());
  for (std::size_t i = 0; i < directories.size(); ++i) {
    if (directories[i].empty() ||
        !std::ranges::binary_search(directories, parent_of(directories[i])))
      state->alone.push_back(i);
  }
  state->directories = std::move(directories);
  state->kept = git_;
  if (auto view = git_->take()) state->git = std::move(*view);
  return WatchPlan(std::move(state));
}

WatchPlan::WatchPlan(std::unique_ptr<State> state) : state_(std::move(state)) {}
WatchPlan::~WatchPlan() = default;
WatchPlan::WatchPlan(WatchPlan&&) noexcept = default;
WatchPlan& WatchPlan::operator=(WatchPlan&&) noexcept = default;

struct Watcher::State : std::enable_shared_from_this<State> {
  State(asio::any_io_executor executor, std::string r, OnChange change, OnNote note,
        WatcherLimits l)
      : root(std::move(r)),
        on_change(std::move(change)),
        on_note(std::move(note)),
        limits(l),
        inotify(executor),
        quiet(executor) {}

  void open();
  void receive();
  void handle(const char* bytes, std::size_t n);
  void handle(const inotify_event& event, std::string_view name);
  void watch(WatchPlan::State& plan);
  enum class Ask : std::uint8_t { no, again, first };
  std::vector<Ask> keep_only(const std::vector<std::string>& directories);
  enum class Added { as_before, anew, not_there, full };
  Added add(const std::string& directory);
  void add_new(const std::string& directory, int depth);
  using Watches = std::map<std::string, int>;
  Watches::iterator drop(Watches::iterator watched);
  void drop_below(const std::string& directory);
  void forget(int wd);
  void changed(const std::string& path);
  void arm();
  void report();
  void note(const std::string& line);
  bool ignored(const std::string& path, bool directory);

  const std::string root;
  OnChange on_change;
  OnNote on_note;
  const WatcherLimits limits;
  asio::posix::stream_descriptor inotify;
  asio::steady_timer quiet;
  bool stopped = false, incomplete = false, storm = false, everything = false;
  bool lost = false;  // events, and with them which name is whose
  std::chrono::steady_clock::time_point storm_end;
  std::set<std::string> paths;
  std::unordered_map<int, std::string> directory_of;  // by watch descriptor
  Watches watches;
  std::vector<int> unnamed;  // watches whose directory lost its name to another
  std::size_t n_asked = 0;
  std::set<std::string> notes;
  std::optional<GitView> git;
  alignas(inotify_event) std::array<char, 64 << 10> buffer;
};

void Watcher::State::open() {
  const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (fd < 0) {
    incomplete = true;
    note(fmt::format(
        "watch {}: {}; changes are seen at the next turn only (fs.inotify.max_user_instances)",
        root, std::strerror(errno)));
    return;
  }
  inotify.assign(fd);
  receive();
}

void Watcher::State::receive() {
  inotify.async_read_some(
      asio::buffer(buffer),
      [self = shared_from_this()](const boost::system::error_code& error, std::size_t n) {
        if (self->stopped || error) return;
        self->handle(self->buffer.data(), n);
        if (!self->stopped) self->receive();
      });
}

void Watcher::State::handle(const char* bytes, std::size_t n) {
  for (std::size_t at = 0; at + sizeof(inotify_event) <= n;) {
    inotify_event event;
    std::memcpy(&event, bytes + at, sizeof event);
    const char* name = bytes + at + sizeof event;
    handle(event, std::string_view(name, ::strnlen(name, event.len)));
    at += sizeof event + event.len;
  }
}

void Watcher::State::handle(const inotify_event& event, std::string_view name) {
  if (event.mask & IN_Q_OVERFLOW) {
    everything = lost = true;
    return arm();
  }
  const auto found = directory_of.find(event.wd);
  if (found == directory_of.end()) return;  // of a watch that was removed meanwhile
  const std::string directory = found->second;
  if (event.mask & IN_IGNORED) return forget(event.wd);
  if (event.mask & (IN_DELETE_SELF | IN_MOVE_SELF)) {
    if (directory.empty()) changed("");
    return;  // below the root, its parent says so too
  }
  if (name.empty() || names_git_directory(name)) return;
  const std::string path = directory.empty() ? std::string(name)
                                             : directory + "/" + std::string(name);
  const bool is_directory = event.mask & IN_ISDIR;
  if (is_directory && (event.mask & (IN_ATTRIB | IN_MODIFY | IN_CLOSE_WRITE))) return;
  if (is_directory && (event.mask & (IN_MOVED_FROM | IN_DELETE))) drop_below(path);
  if (ignored(path, is_directory)) return;
  if (is_directory && (event.mask & (IN_CREATE | IN_MOVED_TO))) add_new(path, 0);
  changed(path);
}

bool Watcher::State::ignored(const std::string& path, bool directory) {
  if (directory && is_product_directory(std::string_view(path).substr(path.rfind('/') + 1)))
    return true;
  if (!git || watches.contains(path)) return false;
  for (std::size_t end = 0; end != path.npos; end = path.find('/', end + 1)) {
    const std::string rules = root + "/" + (end == 0 ? "" : path.substr(0, end) + "/") +
                              ".gitignore";
    if (!GitView::can_read_rules(AT_FDCWD, rules.c_str())) return false;
  }
  const git::Impatience here;  // nobody else runs while this thread waits
  return git->ignored(path, directory);
}

// A watch follows its directory, not its name. So a name that is watched already is asked for again
// only where it may be another directory's by now. What the events of its parent say about it was,
// or will be, followed in handle(): whichever is the last of them, the name is looked up after it.
// That leaves names whose parent is not watched, those below a directory that is another one
// itself, and all of them after events were lost. (And a mount over a directory, which nothing
// tells of.)
void Watcher::State::watch(WatchPlan::State& plan) {
  if (!inotify.is_open()) return;
  if (plan.git) git.swap(plan.git);  // a view is one thread's: who made the plan has it no longer
  const auto& directories = plan.directories;
  std::vector<Ask> ask = keep_only(directories);
  const auto again_from = [&](std::size_t i, std::string_view below) {
    for (; i < ask.size() && directories[i].starts_with(below); ++i)
      if (ask[i] == Ask::no) ask[i] = Ask::again;
  };
  if (std::exchange(lost, false)) again_from(0, "");
  for (const std::size_t i : plan.alone)
    if (ask[i] == Ask::no) ask[i] = Ask::again;
  incomplete = false;
  for (std::size_t i = 0; i < ask.size(); ++i) {
    if (ask[i] == Ask::no || (incomplete && ask[i] == Ask::first)) continue;
    if (const Added added = add(directories[i]); added == Added::as_before || added == Added::full)
      continue;
    const std::string below = directories[i].empty() ? "" : directories[i] + "/";
    again_from(std::ranges::lower_bound(directories, below) - directories.begin(), below);
  }
  for (const int wd : std::exchange(unnamed, {}))
    if (!directory_of.contains(wd)) ::inotify_rm_watch(inotify.native_handle(), wd);
}

// Stops watching all others.
std::vector<Watcher::State::Ask> Watcher::State::keep_only(
    const std::vector<std::string>& directories) {
  std::vector<Ask> out(directories.size(), Ask::first);
  auto it = watches.begin();
  for (std::size_t i = 0; i < directories.size(); ++i) {
    int order = 1;
    while (it != watches.end() && (order = it->first.compare(directories[i])) < 0) it = drop(it);
    if (it == watches.end() || order != 0) continue;
    out[i] = Ask::no;
    ++it;
  }
  while (it != watches.end()) it = drop(it);
  return out;
}

Watcher::State::Added Watcher::State::add(const std::string& directory) {
  const std::string path = directory.empty() ? root : root + "/" + directory;
  if (watches.size() >= limits.directories_max && !watches.contains(directory)) {
    errno = ENOSPC;
  } else if (const int wd = ::inotify_add_watch(inotify.native_handle(), path.c_str(),
                                                kEvents | kHow);
             ++n_asked, wd >= 0) {
    const auto before = watches.find(directory);
    if (before != watches.end() && before->second == wd) return Added::as_before;
    if (before != watches.end()) {
      directory_of.erase(before->second);
      unnamed.push_back(before->second);  // until its new name is found, if it has one here
    }
    // A directory that was moved keeps its watch under its new name.
    if (const auto other = directory_of.find(wd); other != directory_of.end())
      watches.erase(other->second);
    watches[directory] = wd;
    directory_of[wd] = directory;
    return Added::anew;
  }
  if (errno != ENOSPC && errno != ENOMEM) return Added::not_there;  // or not ours to read
  incomplete = true;
  note(
      fmt::format("watch {}: {} directories are watched and no more can be; changes elsewhere are "
                  "seen at the next turn only "
                  "(fs.inotify.max_user_watches is {})",
                  root, watches.size(), watches_allowed()));
  return Added::full;
}

// With what came in it before the watch did.
void Watcher::State::add_new(const std::string& directory, int depth) {
  if (depth >= kNewDepthMax || add(directory) == Added::full) return;
  const int fd = ::open((root + "/" + directory).c_str(),
                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR* entries = fd < 0 ? nullptr : ::fdopendir(fd);
  if (!entries) {
    if (fd >= 0) ::close(fd);
    return;
  }
  while (const dirent* entry = ::readdir(entries)) {
    const std::string name = entry->d_name;
    if (name == "." || name == ".." || names_git_directory(name)) continue;
    struct stat st {};
    const std::string path = directory + "/" + name;
    if (::fstatat(fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (ignored(path, S_ISDIR(st.st_mode))) continue;
    changed(path);
    if (S_ISDIR(st.st_mode)) add_new(path, depth + 1);
  }
  ::closedir(entries);
}

Watcher::State::Watches::iterator Watcher::State::drop(Watches::iterator watched) {
  ::inotify_rm_watch(inotify.native_handle(), watched->second);
  directory_of.erase(watched->second);
  return watches.erase(watched);
}

void Watcher::State::drop_below(const std::string& directory) {
  const std::string below = directory + "/";
  for (auto it = watches.lower_bound(directory); it != watches.end();) {
    if (it->first != directory && !it->first.starts_with(below)) {
      if (it->first > below) break;
      ++it;
      continue;
    }
    it = drop(it);
  }
}

void Watcher::State::forget(int wd) {
  const auto found = directory_of.find(wd);
  if (const auto watched = watches.find(found->second);
      watched != watches.end() && watched->second == wd) {
    watches.erase(watched);
  }
  directory_of.erase(found);
}

void Watcher::State::changed(const std::string& path) {
  if (!everything) paths.insert(path);
  everything = everything || path.empty() || paths.size() > limits.paths_max;
  if (everything) paths.clear();
  arm();
}

void Watcher::State::arm() {
  const auto now = std::chrono::steady_clock::now();
  if (!storm) storm_end = now + limits.storm_max;
  storm = true;
  quiet.expires_at(std::min(now + limits.quiet, storm_end));
  quiet.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    if (!error && !self->stopped && self->storm &&
        self->quiet.expiry() <= std::chrono::steady_clock::now()) {
      self->report();
    }
  });
}

void Watcher::State::report() {
  TreeChange change{everything || incomplete, {paths.begin(), paths.end()}};
  storm = everything = false;
  paths.clear();
  on_change(change);
}

void Watcher::State::note(const std::string& line) {
  // One line for a limit, however often and at whatever number of directories it is met.
  if (notes.insert(line.substr(0, line.find("; "))).second && on_note) on_note(line);
}

Watcher::Watcher(asio::any_io_executor executor, std::string root, OnChange on_change,
                 OnNote on_note, WatcherLimits limits)
    : state_(std::make_shared<State>(std::move(executor), std::move(root), std::move(on_change),
                                     std::move(on_note), limits)) {
  state_->open();
}

Watcher::~Watcher() {
  state_->stopped = true;
  boost::system::error_code ignored;
  state_->inotify.close(ignored);
  state_->quiet.cancel();
}

void Watcher::watch(WatchPlan plan) { state_->watch(*plan.state_); }
std::size_t Watcher::n_watched() const { return state_->watches.size(); }
std::size_t Watcher::n_asked() const { return state_->n_asked; }

}  // namespace lares::tools
