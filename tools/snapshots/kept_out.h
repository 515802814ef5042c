// What a sparse checkout keeps out of a worktree: files that git has and the disk does not, so that
// a snapshot is without them, and says nothing about them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/git/index_file.h"
#include "tools/git/view.h"
#include "tools/snapshots/snapshots.h"
#include "tools/snapshots/tree.h"
#include "tools/workspace/file_stamp.h"

namespace lares::tools {

inline constexpr std::size_t kKeptOutMax = 10'000;  // names in a snapshot

class KeptOut {
 public:
  // As git's index has it now; nothing, where it is not a sparse checkout. `git` is of the root.
  // What `before` read of an index that is the same still is not read again: of 22,000 files 7 ms.
  static KeptOut of(const GitView& git, const KeptOut& before);

  // For a snapshot, in bytewise order. A directory that is kept out whole is one name that ends in
  // '/'. More than kKeptOutMax are none, and cut() is true.
  const std::vector<std::string>& names() const { return names_; }
  bool cut() const { return cut_; }
  const std::string& unread() const { return unread_; }  // why nothing is known of it

  // Going to `target`, files come that git keeps out now, or go that it kept out then: those that
  // git has as they are stay as they are, and are no part of it. Gives the paths that stay though
  // git has them otherwise.
  std::vector<std::string> pass(const Snapshot& target, std::vector<TreeDelta>& deltas);

 private:
  std::optional<git::IndexEntry> entry(const std::string& path) const;
  std::optional<git::IndexEntry> entry_in_tree(const std::string& path) const;
  bool is_away(const git::IndexEntry& entry) const;
  bool is_there(const std::string& path) const;
  bool has_as_it_lies(const git::IndexEntry& entry, const git_oid& bytes) const;
  void read_index(const KeptOut& before);
  void enter_what_is_there();
  void name_all();

  std::optional<GitView> git_;
  using Entries = std::vector<git::IndexEntry>;
  const Entries& entries() const { return *entries_; }
  static std::shared_ptr<const Entries> none();
  // In order, once they were read: as they are in the index, and with what lies there all the same.
  std::shared_ptr<const Entries> index_ = none(), entries_ = none();
  std::string index_path_;
  FileStamp index_stamp_;
  bool lasts_ = false;  // that stamp changes when the index does
  bool read_ = false, sparse_ = false;
  std::vector<std::string> names_;
  bool cut_ = false;
  std::string unread_;
};

// Whether such names hold the path.
bool names_hold(const std::vector<std::string>& names, const std::string& path);

}  // namespace lares::tools
