#include "sandbox/sensitive_paths.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "sandbox/git_named.h"
#include "sandbox/host_sockets.h"
#include "sandbox/kept_paths.h"
#include "sandbox/policy.h"
#include "sandbox/secret_names.h"
#include "sandbox/sensitive_tree.h"
#include "sandbox/start.h"

namespace lares::sandbox {
namespace {

namespace fs = std::filesystem;

// What git's own helper may store passwords in, where a .git is told to have it.
constexpr std::array kStores = {".git-credentials", "credentials"};
constexpr std::size_t kPointerBytes = 8192;  // of a .git file
// a stamp younger than this may hide a change of the same clock tick
constexpr std::int64_t kSettleNs = 20'000'000;

// Another one when a file was changed or replaced.
using Id = std::tuple<dev_t, ino_t, std::int64_t>;
Id id_of(const struct stat& status) {
  return {status.st_dev, status.st_ino,
          status.st_ctim.tv_sec * 1'000'000'000ll + status.st_ctim.tv_nsec};
}

bool is_settled(const Id& id) {
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  return std::get<2>(id) + kSettleNs < now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

struct Found {
  Id id;
  bool is_socket = false;
};
using Hidden = std::map<std::string, Found>;  // by absolute path

// Where the .git file `path` leads, when that is below `root`: a bare repository with its worktrees
// beside it, for one.
std::string git_dir_inside(const fs::path& path, const std::string& root) {
  std::ifstream file(path);
  std::string line(kPointerBytes, '\0');
  file.read(line.data(), static_cast<std::streamsize>(line.size()));
  line.resize(static_cast<std::size_t>(file.gcount()));
  line.resize(std::min(line.find('\n'), line.size()));
  if (!line.starts_with("gitdir: ")) return {};
  std::error_code failed;
  const auto target = fs::canonical(path.parent_path() / line.substr(8), failed).native();
  if (failed || !target.starts_with(root + "/") || target.starts_with(root + "/.git/"))
    return {};  // that is read-only as a whole
  // Of a linked worktree the repository itself matters, <repository>/worktrees/<name>.
  const auto worktrees = target.rfind("/worktrees/");
  return worktrees == target.npos || worktrees <= root.size() ? target
                                                              : target.substr(0, worktrees);
}

// In doubt, it does: unreadable to us, perhaps not to whom the command runs as.
bool file_holds_mark(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!file) return errno != ENOENT && errno != ENOTDIR && errno != ELOOP && errno != ENXIO;
  std::string text(kSecretMarkBytes, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const auto n = ::read(file.get(), text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return true;
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  return holds_secret_mark(std::string_view(text).substr(0, size));
}

}  // namespace

struct SensitivePaths::State {
  Result<Hidden> look(const Cancelled& cancelled) {
    const Fd dir(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!dir)
      return tl::unexpected(
          Error{Errc::broken, fmt::format("look for secrets in {}: {}", root, ::strerror(errno))});
    if (auto followed = follow(dir.get(), root, limits, cancelled, tree); !followed)
      return tl::unexpected(std::move(followed.error()));
    Hidden out;
    std::map<std::string, std::pair<Id, bool>> texts_now;
    for (const auto& [path, directory] : tree.directories) {
      const auto base = path.empty() ? root : root + "/" + path;
      if (directory.out_of_sight || directory.own) add(out, base);
      for (const auto& one : directory.noted) add(out, texts_now, one, base + "/" + one.name);
    }
    for (const char* name : kStores) add(out, root + "/.git/" + name);
    texts = std::move(texts_now);
    return out;
  }

  // Only what is there.
  static void add(Hidden& out, const std::string& path) {
    struct stat status;
    if (::lstat(path.c_str(), &status) == 0) out[path] = {id_of(status), S_ISSOCK(status.st_mode)};
  }

  void add(Hidden& out, std::map<std::string, std::pair<Id, bool>>& texts_now, const Noted& one,
           const std::string& path) {
    switch (one.kind) {
      case Noted::Kind::secret:
      case Noted::Kind::socket:
        return add(out, path);
      case Noted::Kind::fifo:
        if (writes_nothing) add(out, path);
        return;
      case Noted::Kind::by_text: {
        struct stat status;
        if (::lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return;
        const auto before = texts.find(path);
        const bool read = before != texts.end() && before->second.first == id_of(status);
        const bool secret = read ? before->second.second : file_holds_mark(path);
        if (read || is_settled(id_of(status))) texts_now[path] = {id_of(status), secret};
        if (secret) out[path] = {id_of(status)};
        return;
      }
      case Noted::Kind::link: {
        // The secret is what the link leads to; outside the root it is another's to hide.
        std::error_code failed;
        const auto target = fs::canonical(path, failed).native();
        if (!failed && target.starts_with(root + "/") &&
            (fs::is_regular_file(target, failed) || fs::is_directory(target, failed)))
          add(out, target);
        return;
      }
      case Noted::Kind::git:
        for (const char* name : kStores) add(out, path + "/" + name);
        return;
      case Noted::Kind::git_file:
        return;
    }
  }

  std::vector<std::string> readonly() const {
    std::set<std::string> out;
    for (const auto& [path, directory] : tree.directories) {
      for (const auto& one : directory.noted) {
        auto full = (path.empty() ? root : root + "/" + path) + "/" + one.name;
        if (one.kind == Noted::Kind::git_file) full = git_dir_inside(full, root);
        if (one.kind != Noted::Kind::git && one.kind != Noted::Kind::git_file) continue;
        if (!full.empty()) out.insert(std::move(full));
      }
    }
    add_named(root, out);
    for (const auto& [path, directory] : tree.directories)
      if (std::ranges::any_of(directory.noted, [](const auto& one) { return one.name == ".git"; }))
        add_named(path.empty() ? root : root + "/" + path, out);
    return {out.begin(), out.end()};
  }

  // What its git obeys besides, of the repository in `dir`.
  void add_named(const std::string& dir, std::set<std::string>& out) const {
    for (const auto& one : named_by_git(root, dir)) {
      std::error_code failed;
      auto target = fs::canonical(one.path, failed).native();
      if (!failed && target.starts_with(root + "/")) out.insert(std::move(target));
    }
  }

  std::map<std::string, KeptId> to_keep() const { return kept_paths(root, readonly()); }

  std::string root;
  SensitiveLimits limits;
  bool writes_nothing;
  SensitiveTree tree;
  std::map<std::string, std::pair<Id, bool>> texts;       // of files whose text decides
  Hidden known;                                           // hidden, or the sandbox's own
  std::set<std::string> hidden;                           // of `known`
  std::map<std::string, KeptId> kept;                     // since the sandbox began, or later
  std::map<std::string, KeptId> own;                      // the same, of what commands have made
  std::set<std::pair<std::string, std::string>> sockets;  // the host's, outside of the root
  std::size_t n_readonly = 0;
};

SensitivePaths::SensitivePaths(std::string root, SensitiveLimits limits, bool writes_nothing)
    : state_(std::make_unique<State>(
          State{std::move(root), limits, writes_nothing, {}, {}, {}, {}, {}, {}, {}})) {}
SensitivePaths::~SensitivePaths() = default;

Result<Sensitive> SensitivePaths::begin(const Cancelled& cancelled) {
  auto found = state_->look(cancelled);
  if (!found) return tl::unexpected(std::move(found.error()));
  Sensitive out;
  for (const auto& [path, what] : *found) out.hidden.push_back(path);
  out.readonly = state_->readonly();
  state_->known = std::move(*found);
  state_->hidden = {out.hidden.begin(), out.hidden.end()};
  state_->n_readonly = out.readonly.size();
  state_->kept = kept_paths(state_->root, out.readonly);
  state_->own.clear();
  state_->sockets = host_sockets_served();
  return out;
}

Result<SensitivePaths::Appeared> SensitivePaths::before_command(bool idle,
                                                                const Cancelled& cancelled) {
  auto found = state_->look(cancelled);
  if (!found) return tl::unexpected(std::move(found.error()));
  auto hidden = state_->hidden;
  std::erase_if(hidden, [&](const auto& path) { return !found->contains(path); });
  Appeared out;
  for (const auto& [path, what] : *found) {
    const auto before = state_->known.find(path);
    if (before != state_->known.end() && before->second.id == what.id) continue;
    if (what.is_socket && !idle && !state_->writes_nothing) continue;
    out.hidden.push_back(path);
    if (hidden.insert(path).second) out.fresh.push_back(path.substr(state_->root.size() + 1));
  }
  if (const auto n = hidden.size() + state_->n_readonly; n > kCoversMax)
    return tl::unexpected(too_many_covers(n));  // and the next call finds them again
  state_->known = std::move(*found);
  state_->hidden = std::move(hidden);
  auto sockets = host_sockets_served();
  for (const auto& one : sockets)
    if (!state_->sockets.contains(one) && !one.first.starts_with(state_->root + "/"))
      out.hidden.push_back(one.first);
  state_->sockets = std::move(sockets);
  for (auto& [path, id] : state_->kept) {
    KeptId now;
    if (!id_of_kept(path, now) || now == id) continue;
    id = now;
    out.replaced.push_back(path);
  }
  for (auto& [path, id] : state_->to_keep()) {
    if (const auto own = state_->own.find(path); own != state_->own.end() && own->second == id)
      continue;
    if (state_->kept.emplace(path, id).second) out.replaced.push_back(path), ++state_->n_readonly;
  }
  return out;
}

Result<> SensitivePaths::after_command(const Cancelled& cancelled) {
  auto found = state_->look(cancelled);
  if (!found) return tl::unexpected(std::move(found.error()));
  // What is hidden no command could change: that was somebody else, and it is to be hidden again.
  for (auto& [path, what] : *found)
    if (state_->hidden.contains(path))
      if (const auto before = state_->known.find(path); before != state_->known.end())
        what.id = before->second.id;
  state_->known = std::move(*found);
  state_->own = state_->to_keep();
  std::erase_if(state_->own, [&](const auto& one) { return state_->kept.contains(one.first); });
  return {};
}

Result<Sensitive> find_sensitive(const std::string& root, SensitiveLimits limits,
                                 const SensitivePaths::Cancelled& cancelled) {
  return SensitivePaths(root, limits).begin(cancelled);
}

}  // namespace lares::sandbox
