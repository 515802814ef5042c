#include "tools/workspace/tree_listing.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>
#include <utility>

#include "tools/atomic_file.h"
#include "tools/workspace/own_files.h"
#include "tools/workspace/rooted_fs.h"
#include "tools/workspace/rules.h"

namespace lares::tools {
namespace {

// As a stamp of rules: a file on the way cannot be read without risk, so that git is asked nothing
// and nothing is ignored.
constexpr std::uint64_t kNoRules = 0;
constexpr std::size_t kTemporariesMax = 1000, kProductsMax = 1000;

tl::unexpected<Error> broken(std::string message) {
  return tl::unexpected(Error{Errc::broken, std::move(message)});
}

Listed::Kind kind_of(const struct stat& st) {
  if (S_ISREG(st.st_mode)) return Listed::Kind::file;
  return S_ISLNK(st.st_mode) ? Listed::Kind::symlink : Listed::Kind::special;
}

int depth_of(std::string_view path) { return 1 + static_cast<int>(std::ranges::count(path, '/')); }

std::string first_levels(const std::string& path, int n) {
  std::size_t end = path.find('/');
  while (--n > 0 && end != std::string::npos) end = path.find('/', end + 1);
  return path.substr(0, end);
}

std::string grouped(std::size_t n) {  // 3,112
  if (n < 1000) return fmt::format("{}", n);
  return fmt::format("{},{:03}", grouped(n / 1000), n % 1000);
}
std::string counted(std::size_t n, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", grouped(n), n == 1 ? one : many);
}

}  // namespace

// One listing. Names are sorted in every directory, so that a bound always leaves out the same
// files.
class TreeWalk {
 public:
  TreeWalk(TreeLister& lister, const RootedFs& fs, const GitView& git, TrackedFiles tracked)
      : lister_(lister),
        limits_(lister.limits_),
        fs_(fs),
        git_(git),
        unread_(std::move(tracked.unread)),
        tracked_(std::move(tracked.files)),
        seen_(tracked_.size()) {}

  Tree run(Fd root) {
    enter(std::move(root), "", 1, git_.rules_stamp(), git_.attributes_outside());
    add_hidden_tracked();
    std::ranges::sort(tree_.files, {}, &Listed::path);
    say_what_is_left_out();
    std::ranges::sort(tree_.directories);
    const auto [first, last] = std::ranges::unique(tree_.directories);
    tree_.directories.erase(first, last);
    lister_.verdicts_ = std::move(verdicts_);
    return std::move(tree_);
  }

 private:
  using Verdict = TreeLister::Verdict;

  void say_what_is_left_out() {
    auto& lines = tree_.left_out;
    if (tree_.files.size() > limits_.files_max) {
      lines.push_back(fmt::format("not seen: {} beyond the first {}",
                                  counted(tree_.files.size() - limits_.files_max, "file", "files"),
                                  grouped(limits_.files_max)));
      tree_.files.resize(limits_.files_max);
      tree_.cut = true;
    }
    if (!unread_.empty())
      lines.push_back("not seen: files that git tracks though it ignores them, for " + unread_);
    if (!too_deep_.empty()) {
      lines.push_back(fmt::format("not seen: {} more than {} levels deep",
                                  counted(too_deep_.size(), "directory", "directories"),
                                  limits_.depth_max));
    }
    if (n_closed_ > 0) {
      lines.push_back(
          fmt::format("could not be read: {}", counted(n_closed_, "directory", "directories")));
    }
    if (n_entries_ > limits_.entries_max) {
      tree_.cut = true;
      lines.push_back(
          fmt::format("the listing stopped after {} entries", grouped(limits_.entries_max)));
    }
  }

  // What git says of an untracked path, from memory while the rules that reach it are the same.
  Verdict verdict(const std::string& path, bool directory, std::uint64_t rules, bool asks_ignored,
                  bool asks_attributes) {
    if (!git_.has_repository() || rules == kNoRules || (!asks_ignored && !asks_attributes))
      return {};
    const std::uint64_t key = mixed(mixed(rules, directory), 2 * asks_ignored + asks_attributes);
    if (auto known = lister_.verdicts_.find(path);
        known != lister_.verdicts_.end() && known->second.rules == key) {
      return verdicts_.insert(lister_.verdicts_.extract(known)).position->second;
    }
    Verdict out{key, asks_ignored && git_.ignored(path, directory), {}};
    if (asks_attributes && !out.ignored) out.attributes = git_.attributes(path);
    return verdicts_.emplace(path, out).first->second;
  }

  // The index of a tracked path, or -1.
  std::ptrdiff_t tracked_index(const std::string& path) const {
    const auto at = std::ranges::lower_bound(tracked_, path, {}, &Tracked::path);
    return at != tracked_.end() && at->path == path ? at - tracked_.begin() : -1;
  }

  struct Names {
    std::vector<std::string> all;
    bool ignore_file = false, attributes_file = false, repository = false, own = false;
  };
  Names names_in(DIR* dir, const std::string& prefix) {
    Names out;
    while (const dirent* entry = ::readdir(dir)) {
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (names_git_directory(name)) {
        out.repository = true;
        continue;
      }
      if (++n_entries_ > limits_.entries_max) break;
      out.own |= name == kOwnMark && tracked_index(prefix + std::string(name)) < 0;
      out.ignore_file |= name == ".gitignore";
      out.attributes_file |= name == ".gitattributes";
      if (is_temporary_name(name)) {
        if (tree_.temporaries.size() < kTemporariesMax)
          tree_.temporaries.push_back(prefix + std::string(name));
        continue;
      }
      out.all.emplace_back(name);
    }
    std::ranges::sort(out.all);
    return out;
  }

  void enter(Fd fd, const std::string& prefix, int depth, std::uint64_t rules, bool attributes) {
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(fd.get()), ::closedir);
    if (!dir) return;
    fd.release();  // the stream closes it
    const Names names = names_in(dir.get(), prefix);
    const std::string own = prefix.empty() ? "" : prefix.substr(0, prefix.size() - 1);
    if (names.repository && !prefix.empty() && git_.has_repository()) {
      // A repository of its own, known to the index or not: git does not look into it either.
      tree_.files.push_back({own, Listed::Kind::submodule, {}, {}});
      return;
    }
    if (names.own && !prefix.empty()) return;
    tree_.directories.push_back(own);
    struct stat st {};
    const auto add_rules = [&](const char* name) {
      if (::fstatat(::dirfd(dir.get()), name, &st, AT_SYMLINK_NOFOLLOW) == 0 && rules != kNoRules)
        rules = mixed(rules, stamp_of(st));
      if (!GitView::can_read_rules(::dirfd(dir.get()), name)) rules = kNoRules;
    };
    if (names.ignore_file) add_rules(".gitignore");
    if (names.attributes_file) add_rules(".gitattributes");
    attributes |= names.attributes_file;
    for (const std::string& name : names.all) {
      if (::fstatat(::dirfd(dir.get()), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
      if (S_ISDIR(st.st_mode)) {
        enter_below(::dirfd(dir.get()), name, prefix, depth, rules, attributes);
      } else {
        add(prefix + name, st, rules, attributes);
      }
    }
  }

  void enter_below(int dir, const std::string& name, const std::string& prefix, int depth,
                   std::uint64_t rules, bool attributes) {
    const std::string path = prefix + name;
    if (const auto at = tracked_index(path); at >= 0 && tracked_[at].submodule) {  // checked out or
                                                                                   // not
      tree_.files.push_back({path, Listed::Kind::submodule, {}, {}});
      return;
    }
    if (n_entries_ > limits_.entries_max || verdict(path, true, rules, true, false).ignored) return;
    if (is_product_directory(name)) {
      if (git_.has_repository() && tree_.products.size() < kProductsMax)
        tree_.products.push_back(path);
      return;
    }
    if (depth >= limits_.depth_max) {
      too_deep_.insert(path);
      return;
    }
    Fd fd(::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) {
      n_closed_ += errno != ENOENT && errno != ENOTDIR;
      return;
    }
    enter(std::move(fd), path + "/", depth + 1, rules, attributes);
  }

  void add(std::string path, const struct stat& st, std::uint64_t rules, bool attributes) {
    const auto at = tracked_index(path);
    if (at >= 0) seen_[at] = true;
    const Verdict said = verdict(path, false, rules, at < 0, attributes);
    if (!said.ignored)
      tree_.files.push_back({std::move(path), kind_of(st), stamp_of(st), said.attributes});
  }

  // Whether git would find the tracked files of `directory` there: no part of it is a symlink.
  bool is_real_directory(const std::string& directory) {
    if (directory.empty()) return true;
    if (const auto known = real_.find(directory); known != real_.end()) return known->second;
    const std::size_t slash = directory.rfind('/');
    struct stat st {};
    const bool real = is_real_directory(slash == std::string::npos ? ""
                                                                   : directory.substr(0, slash)) &&
                      fs_.lstat(directory, st) && S_ISDIR(st.st_mode);
    return real_[directory] = real;
  }

  // Tracked files where the walk does not go: below ignored directories and those that tools fill.
  void add_hidden_tracked() {
    for (std::size_t i = 0; i < tracked_.size(); ++i) {
      const std::string& path = tracked_[i].path;
      if (seen_[i] || tracked_[i].submodule) continue;
      const std::size_t slash = path.rfind('/');
      const std::string directory = slash == std::string::npos ? "" : path.substr(0, slash);
      // In a directory that was walked it was not there, or, on a file system that folds case,
      // under another name.
      if (walked(directory) || is_temporary_name(std::string_view(path).substr(slash + 1)))
        continue;
      struct stat st {};
      if (!is_real_directory(directory) || !fs_.lstat(path, st) || S_ISDIR(st.st_mode)) continue;
      if (depth_of(path) > limits_.depth_max) {
        too_deep_.insert(first_levels(path, limits_.depth_max));
        continue;
      }
      tree_.directories.push_back(directory);
      tree_.files.push_back({path, kind_of(st), stamp_of(st),
                             can_ask_below(directory) ? git_.attributes(path) : Attributes()});
    }
  }
  bool can_ask_below(const std::string& directory) {
    if (const auto known = askable_.find(directory); known != askable_.end()) return known->second;
    const auto can_read = [&](const char* name) {
      struct stat st {};
      const std::string path = directory.empty() ? name : directory + "/" + name;
      return !fs_.lstat(path, st) ||
             GitView::can_read_rules(AT_FDCWD, (fs_.root() + "/" + path).c_str());
    };
    const std::size_t slash = directory.rfind('/');
    const bool above = directory.empty() ||
                       can_ask_below(slash == std::string::npos ? "" : directory.substr(0, slash));
    return askable_[directory] = above && can_read(".gitignore") && can_read(".gitattributes");
  }
  bool walked(const std::string& directory) {
    if (n_walked_ == 0) {
      n_walked_ = tree_.directories.size();
      std::sort(tree_.directories.begin(), tree_.directories.end());
    }
    return std::binary_search(tree_.directories.begin(),
                              tree_.directories.begin() + static_cast<std::ptrdiff_t>(n_walked_),
                              directory);
  }

  TreeLister& lister_;
  const TreeLimits& limits_;
  const RootedFs& fs_;
  const GitView& git_;
  const std::string unread_;
  const std::vector<Tracked> tracked_;
  std::vector<bool> seen_;
  std::unordered_map<std::string, Verdict> verdicts_;  // of this listing; the last one's, as far as
                                                       // they hold
  std::unordered_map<std::string, bool> real_, askable_;
  std::set<std::string> too_deep_;
  std::size_t n_entries_ = 0, n_closed_ = 0, n_walked_ = 0;
  Tree tree_;
};

TreeLister::TreeLister(std::string root, TreeLimits limits)
    : root_(std::move(root)), limits_(limits) {}

Result<Tree> TreeLister::list() {
  const auto fs = RootedFs::open(root_);
  if (!fs) return broken(fs.error());
  const auto git = GitView::open(root_);
  if (!git) return tl::unexpected(git.error());
  auto tracked = git->tracked();
  if (!tracked) return tl::unexpected(std::move(tracked.error()));
  Fd root(::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) return broken(fmt::format("list {}: {}", root_, std::strerror(errno)));
  return TreeWalk(*this, *fs, *git, std::move(*tracked)).run(std::move(root));
}

}  // namespace lares::tools
