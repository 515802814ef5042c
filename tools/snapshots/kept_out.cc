#include "tools/snapshots/kept_out.h"

#include <sys/stat.h>

#include <git2/sys/repository.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "tools/git/index.h"

namespace lares::tools {

std::shared_ptr<const KeptOut::Entries> KeptOut::none() {
  static const auto none = std::make_shared<const Entries>();
  return none;
}

KeptOut KeptOut::of(const GitView& git, const KeptOut& before) {
  KeptOut out;
  if (!git.has_repository()) return out;
  out.git_ = git;
  out.sparse_ = git::is_sparse(git.repository());
  if (!out.sparse_) return out;
  out.read_index(before);
  out.enter_what_is_there();
  out.name_all();
  return out;
}

void KeptOut::read_index(const KeptOut& before) {
  if (std::exchange(read_, true) || !git_) return;
  (void)git_repository_set_index(git_->repository(), nullptr);  // a copy would be of an earlier one
  struct stat st {};
  index_path_ = git_->index_path();
  const std::int64_t now = now_ns();
  const bool there = ::stat(index_path_.c_str(), &st) == 0;
  index_stamp_ = stamp_of(st);
  if (there && before.lasts_ && before.index_path_ == index_path_ &&
      before.index_stamp_ == index_stamp_) {
    index_ = entries_ = before.index_;
    lasts_ = true;
    return;
  }
  auto entries = git::read_index_file(git_->repository());
  if (!entries) {
    unread_ = std::move(entries.error());
    return;
  }
  index_ = entries_ = std::make_shared<const Entries>(std::move(*entries));
  lasts_ = there && index_stamp_.ctime_ns < now - kRacyNs;
}

// A sparse index has an entry for a directory that it does not enter. Where one lies there all the
// same, git looks at each file of it.
void KeptOut::enter_what_is_there() {
  if (std::ranges::none_of(entries(), &git::IndexEntry::is_directory)) return;
  const auto is_to_enter = [&](const git::IndexEntry& entry) {
    struct stat st {};
    std::string path = git_repository_workdir(git_->repository()) + entry.path;
    path.pop_back();  // with its '/' a link would be followed
    return entry.is_directory() && ::lstat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
  };
  std::vector<git::IndexEntry> out;
  std::vector<git::IndexEntry> todo;  // the last one is next
  for (const git::IndexEntry& entry : entries()) {
    todo.push_back(entry);
    while (!todo.empty()) {
      git::IndexEntry next = std::move(todo.back());
      todo.pop_back();
      git_tree* raw = nullptr;
      if (!is_to_enter(next) ||
          git_tree_lookup(&raw, git_->repository(), &next.about.id) != 0) {  // not fetched
        out.push_back(std::move(next));
        continue;
      }
      const git::Tree tree(raw);
      for (std::size_t i = git_tree_entrycount(raw); i-- > 0;)
        todo.push_back(git::entry_below(next, git_tree_entry_byindex(raw, i)));
    }
  }
  entries_ = std::make_shared<const Entries>(std::move(out));
}

std::optional<git::IndexEntry> KeptOut::entry(const std::string& path) const {
  if (!git_) return std::nullopt;
  const std::string name = git_->prefix() + path;
  const auto at = std::ranges::lower_bound(entries(), name, {}, &git::IndexEntry::path);
  if (at != entries().end() && at->path == name) return *at;
  return entry_in_tree(name);
}

// Of a file in a directory that is one entry.
std::optional<git::IndexEntry> KeptOut::entry_in_tree(const std::string& path) const {
  for (std::size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string directory = path.substr(0, slash + 1);
    const auto at = std::ranges::lower_bound(entries(), directory, {}, &git::IndexEntry::path);
    if (at == entries().end() || at->path != directory) continue;
    git_tree* raw = nullptr;
    if (git_tree_lookup(&raw, git_->repository(), &at->about.id) != 0) return std::nullopt;
    const git::Tree tree(raw);
    git_tree_entry* found = nullptr;
    if (git_tree_entry_bypath(&found, raw, path.c_str() + slash + 1) != 0) return std::nullopt;
    const git::Owned<git_tree_entry, git_tree_entry_free> owned(found);
    git::IndexEntry out = git::entry_below(*at, found);
    out.path = path;
    return out;
  }
  return std::nullopt;
}

bool KeptOut::is_there(const std::string& path) const {
  struct stat st {};
  return ::lstat((git_repository_workdir(git_->repository()) + path).c_str(), &st) == 0;
}

bool KeptOut::is_away(const git::IndexEntry& entry) const {
  return sparse_ && entry.is_marked_out() && !is_there(entry.path);
}

// The bytes, or what a filter of git's own (line ends) makes of them.
bool KeptOut::has_as_it_lies(const git::IndexEntry& entry, const git_oid& bytes) const {
  if (git_oid_equal(&entry.about.id, &bytes)) return true;
  if (!git::index_of(git_->repository())) return false;
  unsigned status = 0;
  constexpr unsigned kChanged = GIT_STATUS_WT_NEW | GIT_STATUS_WT_MODIFIED | GIT_STATUS_WT_DELETED |
                                GIT_STATUS_WT_TYPECHANGE | GIT_STATUS_WT_RENAMED |
                                GIT_STATUS_WT_UNREADABLE;
  return git_status_file(&status, git_->repository(), entry.path.c_str()) == 0 &&
         (status & kChanged) == 0;
}

void KeptOut::name_all() {
  std::vector<std::string> away;
  std::unordered_set<std::string> entered;  // directories with a file that is not kept out
  const std::string& prefix = git_->prefix();
  std::string directory;  // of the last one that was looked for, and whether it lies there
  bool there = true;
  const auto lies_away = [&](const git::IndexEntry& entry) {
    if (!entry.is_marked_out()) return false;
    const std::string above = entry.path.substr(0,
                                                entry.path.rfind('/', entry.path.size() - 2) + 1);
    if (above != directory) {
      there = above.empty() || is_there(above);
      directory = above;
    }
    return !there || is_away(entry);
  };
  for (const git::IndexEntry& entry : entries()) {
    const std::string_view path = entry.path;
    if (!path.starts_with(prefix)) continue;
    std::string name(path.substr(prefix.size()));
    if (lies_away(entry)) {
      away.push_back(std::move(name));
      continue;
    }
    for (std::size_t slash = name.rfind('/'); slash != std::string::npos && slash > 0;
         slash = name.rfind('/', slash - 1))
      if (!entered.insert(name.substr(0, slash + 1)).second) break;
  }
  for (const std::string& path : away) {
    std::string name = path;
    for (std::size_t slash = path.find('/'); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
      name = path.substr(0, slash + 1);
      if (!entered.contains(name)) break;
      name = path;
    }
    if (!names_.empty() && names_.back() == name) continue;
    if (names_.size() == kKeptOutMax) {
      names_.clear();
      cut_ = true;
      return;
    }
    names_.push_back(std::move(name));
  }
}

std::vector<std::string> KeptOut::pass(const Snapshot& target, std::vector<TreeDelta>& deltas) {
  std::vector<std::string> stay;
  if (!sparse_ && target.kept_out.empty()) return stay;
  read_index({});  // of a worktree that is none, going to be as one that is
  std::erase_if(deltas, [&](const TreeDelta& delta) {
    if (delta.mode_before && delta.mode_after) return false;
    const auto known = entry(delta.path);
    if (!known) return false;
    if (delta.mode_after)
      return is_away(*known) && git_oid_equal(&known->about.id, &delta.after) != 0;
    // Marked still: it was written over what is kept out, and goes again.
    if (known->is_marked_out() || !names_hold(target.kept_out, delta.path)) return false;
    if (has_as_it_lies(*known, delta.before)) return true;
    stay.push_back(delta.path);
    return false;
  });
  return stay;
}

bool names_hold(const std::vector<std::string>& names, const std::string& path) {
  for (std::size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1))
    if (std::ranges::binary_search(names, path.substr(0, slash + 1))) return true;
  return std::ranges::binary_search(names, path);
}

}  // namespace lares::tools
