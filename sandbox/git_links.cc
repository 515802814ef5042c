#include "sandbox/git_links.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "sandbox/below.h"
#include "sandbox/control_paths.h"

namespace lares::sandbox {
namespace {

namespace fs = std::filesystem;

constexpr int kDepthMax = 64;  // of directories in a git directory: a branch's name has some
constexpr std::size_t kStoresMax = 64;
// Of a git directory, those of which git opens what they hold by name.
constexpr std::array<std::string_view, 11> kRead = {
    "info",         "logs",      "refs",     "worktrees", "reftable", "rebase-apply",
    "rebase-merge", "sequencer", "branches", "remotes",   "rr-cache"};
constexpr std::array<std::string_view, 2> kReadOfObjects = {"info", "pack"};

bool is_moved_aside(std::string_view name) {
  const auto end = name.find_last_not_of("0123456789");
  if (end != name.npos && name[end] == '.' && end + 1 < name.size()) name = name.substr(0, end);
  return name.ends_with(kQuarantined);
}

class Look {
 public:
  Look(int root, const std::string& root_path,
       const std::function<bool(const std::string&)>& is_kept)
      : root_(root), root_path_(root_path), is_kept_(is_kept) {}

  void git_dir(const std::string& dir) {
    entries(dir, [&](const std::string& name, const std::string& path) {
      if (name == "objects") return objects(path);
      const bool read = std::ranges::find(kRead, name) != kRead.end();
      if (!read && name != "modules") return;
      walked_.clear();  // else what two names lead to would be told of the first alone
      within(path, [&] { read ? all(path, 0) : modules(path, 0); });
    });
  }
  GitLinks take() { return std::move(out_); }

 private:
  // Whatever leads astray in there is told of `path`, unless it is part of such a one already.
  template <class Looks>
  void within(const std::string& path, Looks looks) {
    const bool outermost = whole_.empty();
    if (outermost) whole_ = path;
    looks();
    if (outermost) whole_.clear();
  }

  // `on_directory` takes name and path, those of where a link leads in the worktree too: git reads
  // on there as here. What is astray then is told of the link, for the rest may be anybody's.
  template <class OnDirectory>
  void entries(const std::string& dir, OnDirectory on_directory) {
    const Fd opened = open_below(root_, dir, O_RDONLY | O_DIRECTORY);
    if (!opened) return;
    for_entries(opened, [&](const std::string& name, unsigned char type) {
      if (out_.beyond || ++n_entries_ > kGitEntriesMax) return !(out_.beyond = true);
      struct stat status;
      const auto path = join(dir, name);
      if (type == DT_UNKNOWN && stat_of(root_, path, status))
        type = S_ISDIR(status.st_mode) ? DT_DIR : S_ISLNK(status.st_mode) ? DT_LNK : DT_REG;
      if (type == DT_DIR) on_directory(name, path);
      if (type == DT_LNK && (!whole_.empty() || !is_moved_aside(name)))
        if (const auto to = link(path)) within(path, [&] { on_directory(name, *to); });
      return true;
    });
  }

  void all(const std::string& dir, int depth) {
    if (!walked_.insert(dir).second) return;  // by a link that leads back
    if (depth > kDepthMax) {
      out_.beyond = true;
      return;
    }
    entries(dir, [&](const std::string&, const std::string& path) { all(path, depth + 1); });
  }

  // A submodule's name may have slashes in it.
  void modules(const std::string& dir, int depth) {
    if (!walked_.insert(dir).second) return;
    if (depth > kDepthMax) {
      out_.beyond = true;
      return;
    }
    entries(dir, [&](const std::string&, const std::string& path) {
      struct stat status;
      if (stat_of(root_, join(path, "HEAD"), status))
        out_.modules.push_back(path);
      else
        modules(path, depth + 1);
    });
  }

  void objects(const std::string& dir) {
    if (!stores_.insert(dir).second) return;
    entries(dir, [&](const std::string& name, const std::string& path) {
      if (std::ranges::find(kReadOfObjects, name) != kReadOfObjects.end())
        entries(path, [](const std::string&, const std::string&) {});
    });
    alternates(dir);
  }

  void alternates(const std::string& objects_dir) {
    const auto path = join(objects_dir, "info/alternates");
    struct stat status;
    if (!stat_of(root_, path, status)) return;
    const auto text = text_of(root_, path);
    if (!text) return add(path, "object stores to borrow from that cannot be read as a file");
    for (std::string_view rest = *text; !rest.empty();) {
      const auto end = std::min(rest.find('\n'), rest.size());
      const std::string line(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (line.empty() || line[0] == '#') continue;
      bool there = false;
      // Git reads quoted ones, and libgit2 takes "x" for one below the working directory of whoever
      // opens it: no one writes these.
      const bool plain = line[0] == '/' || line[0] == '.';
      const auto store = plain ? leads(root_, root_path_, objects_dir, line, there) : std::nullopt;
      if (!store || stores_.size() > kStoresMax)
        return add(path, "another repository's objects, out of the worktree");
      if (there && !is_kept_(*store)) objects(*store);
    }
  }

  // Where it leads, if to something in the worktree that commands can change.
  std::optional<std::string> link(const std::string& path) {
    std::error_code failed;
    const auto to = fs::read_symlink(fs::path(root_path_) / path, failed).native();
    if (failed) return std::nullopt;  // gone, or another thing by now: that is for the next look
    bool there = false;
    auto target = leads(root_, root_path_, parent_of(path), to, there);
    if (!target)
      add(path, "a git directory's link out of the worktree");
    else if (there && is_kept_(*target))
      add(path, "a git directory's link to what commands cannot change");
    else if (there)
      return target;
    return std::nullopt;
  }

  void add(const std::string& path, std::string why) {
    out_.astray.push_back({whole_.empty() ? path : whole_, std::move(why)});
  }

  const int root_;
  const std::string& root_path_;
  const std::function<bool(const std::string&)>& is_kept_;
  std::size_t n_entries_ = 0;
  std::string whole_;  // what is to go with all that is in it, where git obeys any name
  std::set<std::string> stores_, walked_;  // the latter as part of whole_
  GitLinks out_;
};

}  // namespace

GitLinks find_git_links(int root, const std::string& root_path, const std::string& dir,
                        const std::function<bool(const std::string&)>& is_kept) {
  Look look(root, root_path, is_kept);
  look.git_dir(dir);
  return look.take();
}

}  // namespace lares::sandbox
