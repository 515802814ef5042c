#include "tools/snapshots/kept_out.h"

#include <sys/stat.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace lares::tools {

KeptOut KeptOut::of(const std::string& root) {
  KeptOut out;
  auto git = GitView::open(root);
  if (!git || !git->has_repository()) return out;
  out.git_ = std::move(*git);
  out.sparse_ = git::is_sparse(out.git_.repository());
  if (!out.sparse_) return out;
  out.read_index();
  if (out.index_) out.name_all();
  return out;
}

void KeptOut::read_index() {
  git_index* raw = nullptr;
  if (!index_ && git_.has_repository() && git_repository_index(&raw, git_.repository()) == 0)
    index_.reset(raw);
}

const git_index_entry* KeptOut::entry(const std::string& path) const {
  return index_ ? git_index_get_bypath(index_.get(), (git_.prefix() + path).c_str(), 0) : nullptr;
}

bool KeptOut::is_away(const git_index_entry* entry) const {
  return sparse_ && git::is_kept_out(git_.repository(), index_.get(), entry->path);
}

// The bytes, or what a filter of git's own (line ends) makes of them.
bool KeptOut::has_as_it_lies(const git_index_entry* entry, const git_oid& bytes) const {
  if (git_oid_equal(&entry->id, &bytes)) return true;
  unsigned status = 0;
  constexpr unsigned kChanged = GIT_STATUS_WT_NEW | GIT_STATUS_WT_MODIFIED | GIT_STATUS_WT_DELETED |
                                GIT_STATUS_WT_TYPECHANGE | GIT_STATUS_WT_RENAMED |
                                GIT_STATUS_WT_UNREADABLE;
  return git_status_file(&status, git_.repository(), entry->path) == 0 && (status & kChanged) == 0;
}

void KeptOut::name_all() {
  std::vector<std::string> away;
  std::unordered_set<std::string> entered;  // directories with a file that is not kept out
  const std::string& prefix = git_.prefix();
  for (std::size_t i = 0; i < git_index_entrycount(index_.get()); ++i) {
    const git_index_entry* entry = git_index_get_byindex(index_.get(), i);
    const std::string_view path = entry->path;
    if (!path.starts_with(prefix)) continue;
    std::string name(path.substr(prefix.size()));
    if (is_away(entry)) {
      away.push_back(std::move(name));
      continue;
    }
    for (std::size_t slash = name.rfind('/'); slash != std::string::npos && slash > 0;
         slash = name.rfind('/', slash - 1))
      if (!entered.insert(name.substr(0, slash + 1)).second) break;
  }
  std::ranges::sort(away);  // with core.ignorecase the index has an order of its own
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
  read_index();  // of a worktree that is none, going to be as one that is
  std::erase_if(deltas, [&](const TreeDelta& delta) {
    if (delta.mode_before && delta.mode_after) return false;
    const git_index_entry* known = entry(delta.path);
    if (!known) return false;
    if (delta.mode_after) return is_away(known) && git_oid_equal(&known->id, &delta.after) != 0;
    // Marked still: it was written over what is kept out, and goes again.
    if ((known->flags_extended & GIT_INDEX_ENTRY_SKIP_WORKTREE) != 0 ||
        !names_hold(target.kept_out, delta.path))
      return false;
    if (has_as_it_lies(known, delta.before)) return true;
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
