#include "tools/workspace/tree_listing.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>
#include <set>
#include <utility>

#include "tools/atomic_file.h"
#include "tools/fd.h"
#include "tools/git/impatience.h"
#include "tools/git/kept_view.h"
#include "tools/workspace/directory_looks.h"
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

Listed::Kind kind_of(mode_t mode) {
  if (S_ISREG(mode)) return Listed::Kind::file;
  return S_ISLNK(mode) ? Listed::Kind::symlink : Listed::Kind::special;
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

bool is_git_directory(const std::string& path) {
  const auto has = [&](const char* name) { return ::access((path + name).c_str(), F_OK) == 0; };
  return has("/HEAD") && (has("/commondir") || (has("/objects") && has("/refs")));
}

// As git has it: what is called .git and is neither such a directory nor leads to one, as one that
// was left behind, makes no repository.
bool is_repository(const std::string& git_entry) {
  constexpr std::string_view kLeadsTo = "gitdir: ";
  struct stat st {};
  if (::stat(git_entry.c_str(), &st) != 0) return false;
  if (S_ISDIR(st.st_mode)) return is_git_directory(git_entry);
  if (!S_ISREG(st.st_mode)) return false;
  const Fd file(::open(git_entry.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  std::string text(kLeadsTo.size() + PATH_MAX, '\0');
  const ssize_t n = file ? ::read(file.get(), text.data(), text.size()) : -1;
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  if (!text.starts_with(kLeadsTo)) return false;
  text.erase(0, kLeadsTo.size());
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  return is_git_directory(
      text.starts_with('/') ? text : git_entry.substr(0, git_entry.rfind('/') + 1) + text);
}

}  // namespace

// One listing. Names are in order in every directory, so that a bound always leaves out the same
// files.
class TreeWalk {
 public:
  TreeWalk(TreeLister& lister, const RootedFs& fs, const GitView& git, DirectoryLooks& looks,
           const TrackedFiles& tracked)
      : lister_(lister),
        limits_(lister.limits_),
        fs_(fs),
        git_(git),
        looks_(looks),
        unread_(tracked.unread),
        tracked_(tracked.files),
        seen_(tracked_.size()) {}

  Tree run() {
    enter("", {tracked_.begin(), tracked_.end()},
          {1, git_.rules_stamp(), git_.attributes_outside()});
    add_hidden_tracked();
    if (!std::ranges::is_sorted(tree_.files, {}, &Listed::path))
      std::ranges::sort(tree_.files, {}, &Listed::path);
    say_what_is_left_out();
    std::ranges::sort(tree_.entered, {}, &ListedDirectory::path);
    std::ranges::sort(tree_.directories);
    const auto [first, last] = std::ranges::unique(tree_.directories);
    tree_.directories.erase(first, last);
    lister_.verdicts_ = std::move(verdicts_);
    return std::move(tree_);
  }

 private:
  using Verdict = TreeLister::Verdict;
  using Said = TreeLister::Said;
  using TrackedAt = std::vector<Tracked>::const_iterator;
  // Of what git tracks: what lies below one directory. `at` goes on with its names.
  struct Below {
    TrackedAt at, end;
  };
  // What git said and says of one directory's names.
  struct Answers {
    std::vector<Said> before, now;
    std::size_t at = 0;  // in before
  };
  struct Question {
    const std::string& name;
    bool directory, ignored, attributes;  // the last two: what is asked
  };
  struct Place {
    int depth;
    std::uint64_t rules;
    bool attributes;  // some file of them says something of it
  };

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
      lines.push_back("not seen: files that git tracks though it ignores them: " + unread_);
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
  // Names come in order.
  Verdict verdict(const std::string& path, const Question& asked, std::uint64_t rules,
                  Answers& answers) {
    if (!git_.has_repository() || rules == kNoRules || (!asked.ignored && !asked.attributes))
      return {};
    const std::uint64_t key = mixed(mixed(rules, asked.directory),
                                    2 * asked.ignored + asked.attributes);
    auto& [before, now, at] = answers;
    while (at < before.size() &&
           comes_before(before[at].name, before[at].directory, asked.name, asked.directory))
      ++at;
    if (at < before.size() && before[at].name == asked.name &&
        before[at].directory == asked.directory && before[at].verdict.rules == key) {
      now.push_back(std::move(before[at++]));
      return now.back().verdict;
    }
    Verdict out{key, asked.ignored && git_.ignored(path, asked.directory), {}};
    if (asked.attributes && !out.ignored) out.attributes = git_.attributes(path);
    now.push_back({asked.name, asked.directory, out});
    return out;
  }

  static TrackedAt find(const Below& below, const std::string& path) {
    if (below.at == below.end || below.at->path == path) return below.at;
    const auto at = std::ranges::lower_bound(below.at, below.end, path, {}, &Tracked::path);
    return at != below.end && at->path == path ? at : below.end;
  }
  static Below below_directory(const Below& below, const std::string& prefix) {
    const auto begin = std::ranges::lower_bound(below.at, below.end, prefix, {}, &Tracked::path);
    return {begin, std::ranges::partition_point(begin, below.end, [&](const Tracked& tracked) {
              return tracked.path.starts_with(prefix);
            })};
  }

  struct Names {
    std::vector<const DirectoryEntry*> all;
    std::string git_entry;  // what may make it a repository of its own
    bool own = false;
  };
  Names names_in(const DirectoryLook& look, const std::string& prefix, const Below& tracked) {
    Names out;
    out.all.reserve(look.entries.size());
    for (const DirectoryEntry& entry : look.entries) {
      const std::string_view name = entry.name;
      if (names_git_directory(name)) {
        out.git_entry = entry.name;
        continue;
      }
      if (++n_entries_ > limits_.entries_max) break;
      out.own |= name == kOwnMark && find(tracked, prefix + entry.name) == tracked.end;
      if (is_temporary_name(name)) {
        if (tree_.temporaries.size() < kTemporariesMax)
          tree_.temporaries.push_back(prefix + entry.name);
        continue;
      }
      out.all.push_back(&entry);
    }
    return out;
  }

  void enter(const std::string& own, const Below& tracked, Place place) {
    const DirectoryLook& look = looks_.take(own);
    if (look.error != 0) {
      n_closed_ += look.error != ENOENT && look.error != ENOTDIR && look.error != ELOOP;
      return;
    }
    const std::string prefix = own.empty() ? "" : own + "/";
    const Names names = names_in(look, prefix, tracked);
    if (!names.git_entry.empty() && !own.empty() && git_.has_repository() &&
        is_repository(fs_.root() + "/" + prefix + names.git_entry)) {
      // A repository of its own, known to the index or not: git does not look into it either.
      tree_.files.push_back({own, Listed::Kind::submodule, {}, {}});
      return;
    }
    if (names.own && !own.empty()) return;
    tree_.directories.push_back(own);
    tree_.entered.push_back({own, look.mode});
    for (const DirectoryEntry* const entry : names.all) {
      if (entry->name != ".gitignore" && entry->name != ".gitattributes") continue;
      place.attributes |= entry->name == ".gitattributes";
      if (place.rules != kNoRules) place.rules = mixed(place.rules, entry->stamp);
      const std::string file = fs_.root() + "/" + prefix + entry->name;
      if (!GitView::can_read_rules(AT_FDCWD, file.c_str())) place.rules = kNoRules;
    }
    Answers answers;
    if (const auto before = lister_.verdicts_.find(own); before != lister_.verdicts_.end())
      answers.before = std::move(before->second);
    Below ahead = tracked;
    for (const DirectoryEntry* const entry : names.all) {
      if (!entry->is_directory())
        add(*entry, prefix, ahead, place, answers);
      else if (const auto at = find(tracked, prefix + entry->name);
               at != tracked.end && at->submodule)  // checked out or not
        tree_.files.push_back({at->path, Listed::Kind::submodule, {}, {}});
      else
        enter_below(entry->name, prefix, ahead, place, answers);
    }
    if (!answers.now.empty()) verdicts_[own] = std::move(answers.now);
  }

  void enter_below(const std::string& name, const std::string& prefix, Below& tracked,
                   const Place& place, Answers& answers) {
    const std::string path = prefix + name;
    if (n_entries_ > limits_.entries_max ||
        verdict(path, {name, true, true, false}, place.rules, answers).ignored)
      return;
    if (is_product_directory(name)) {
      if (git_.has_repository() && tree_.products.size() < kProductsMax)
        tree_.products.push_back(path);
      return;
    }
    if (place.depth >= limits_.depth_max) {
      too_deep_.insert(path);
      return;
    }
    const Below below = below_directory(tracked, path + "/");
    enter(path, below, {place.depth + 1, place.rules, place.attributes});
    tracked.at = below.end;
  }

  void add(const DirectoryEntry& entry, const std::string& prefix, Below& tracked,
           const Place& place, Answers& answers) {
    std::string path = prefix + entry.name;
    const auto at = find(tracked, path);
    const bool known = at != tracked.end;
    if (known) {
      seen_[static_cast<std::size_t>(at - tracked_.begin())] = true;
      tracked.at = at + 1;
    }
    const Verdict said = verdict(path, {entry.name, false, !known, place.attributes}, place.rules,
                                 answers);
    if (!said.ignored)
      tree_.files.push_back(
          {std::move(path), kind_of(entry.stamp.mode), entry.stamp, said.attributes});
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
      tree_.files.push_back({path, kind_of(st.st_mode), stamp_of(st),
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
  DirectoryLooks& looks_;
  const std::string unread_;
  const std::vector<Tracked>& tracked_;
  std::vector<bool> seen_;
  TreeLister::Verdicts verdicts_;  // of this listing; the last one's, as far as they hold
  std::unordered_map<std::string, bool> real_, askable_;
  std::set<std::string> too_deep_;
  std::size_t n_entries_ = 0, n_closed_ = 0, n_walked_ = 0;
  Tree tree_;
};

TreeLister::TreeLister(std::string root, TreeLimits limits)
    : root_(std::move(root)),
      limits_(limits),
      looks_(std::make_unique<DirectoryLooks>(limits_.entries_max + 1)) {}
TreeLister::~TreeLister() = default;
TreeLister::TreeLister(TreeLister&&) noexcept = default;

// Whoever writes an index puts another file in its place, whose stamp is another once the clock
// has gone on.
Result<std::shared_ptr<const TrackedFiles>> TreeLister::tracked(const GitView& git) {
  const std::string path = git.index_path();
  const std::int64_t now = now_ns();
  struct stat st {};
  const bool there = !path.empty() && ::stat(path.c_str(), &st) == 0;
  const FileStamp stamp = stamp_of(st);
  if (there && index_ && index_->path == path && index_->prefix == git.prefix() &&
      index_->stamp == stamp)
    return index_->tracked;
  index_.reset();
  auto read = git.tracked();
  if (!read) return tl::unexpected(std::move(read.error()));
  auto out = std::make_shared<const TrackedFiles>(std::move(*read));
  if (there && stamp.ctime_ns < now - kRacyNs) index_ = {path, git.prefix(), stamp, out};
  return out;
}

Result<Tree> TreeLister::list() {
  const auto fs = RootedFs::open(root_);
  if (!fs) return broken(fs.error());
  const git::Impatience here;  // once, and not for every path that git is asked about
  auto git = git_ ? git_->again() : GitView::open(root_);
  if (!git) return tl::unexpected(git.error());
  git_ = std::move(*git);
  const auto known = tracked(*git_);
  if (!known) return tl::unexpected(known.error());
  const auto plain = PlainTree::open(root_);
  const auto root = plain ? plain->open_directory("") : tl::unexpected(plain.error());
  if (!root) return broken(fmt::format("list {}: {}", root_, std::strerror(root.error())));
  looks_->begin(*plain);
  looks_->ahead(directories_);
  Tree out = TreeWalk(*this, *fs, *git_, *looks_, **known).run();
  looks_->end();
  directories_ = out.directories;
  return out;
}

Result<Tree> list_tree(KeptView& git) {
  auto view = git.take();
  if (!view) return tl::unexpected(view.error());
  TreeLister lister(git.root());
  lister.git_ = std::move(*view);
  auto out = lister.list();
  git.give_back(std::move(*lister.git_));
  return out;
}

}  // namespace lares::tools
