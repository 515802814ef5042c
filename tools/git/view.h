// What git says about the paths below one directory: which are tracked, ignored, generated,
// vendored. It reads the index and the ignore files only, never a file's content, so a touched tree
// costs no more than an untouched one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tools/tool.h"

struct git_repository;

namespace lares::tools {

struct Tracked {
  std::string path;  // relative to the root
  bool submodule = false;
};

struct TrackedFiles {
  std::vector<Tracked> files;  // in bytewise order
  std::string unread;          // why there are none, where the index cannot be read
};

enum class Says : std::uint8_t { nothing, yes, no };
struct Attributes {
  // Linguist-generated, linguist-vendored
  Says generated = Says::nothing, vendored = Says::nothing;
  bool operator==(const Attributes&) const = default;
};

class GitView {
 public:
  // Without a repository around the root, or where the repository ignores the root or keeps its
  // files elsewhere, the view is of no repository. An error where there is one that cannot be read,
  // belongs to another user, or is the root itself (bare).
  static Result<GitView> open(const std::string& root);
  // The same once more: this one again, where the repository and its configuration are the same
  // still. libgit2 1.5 loses some 4 KB for each entry of a configuration when it opens a repository
  // of format 1 (a partial clone's, say).
  Result<GitView> again() const;

  bool has_repository() const { return handle_ != nullptr; }
  git_repository* repository() const;
  const std::string& prefix() const {
    return prefix_;
  }  // of the root inside the worktree: "" or "sub/dir/"

  Result<TrackedFiles> tracked() const;
  std::string index_path() const;  // what that is read from; "" where there is no repository
  bool ignored(const std::string& path, bool directory) const;
  Attributes attributes(const std::string& path) const;
  // Changes when ignore rules or attributes outside the tree do: .git/info, the user's own, the
  // configuration.
  std::uint64_t rules_stamp() const;
  bool attributes_outside() const;  // in .git/info or above the root

  // Whether libgit2 may be made to read this file of rules: it would wait for ever at a FIFO, and
  // take all of a huge one into memory. True where there is none.
  static bool can_read_rules(int directory, const char* name);

 private:
  struct Handle;
  Result<GitView> checked() const;
  std::vector<std::string> rule_files_outside() const;

  std::string root_;
  std::shared_ptr<Handle> handle_;
  std::string prefix_;
};

}  // namespace lares::tools
