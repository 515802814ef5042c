// The files below a root that git would track, by one walk that looks at no content.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "tools/git/view.h"
#include "tools/tool.h"
#include "tools/workspace/file_stamp.h"

namespace lares::tools {

class DirectoryLooks;
class KeptView;

struct TreeLimits {
  std::size_t files_max = 200'000;      // the first ones in bytewise path order
  int depth_max = 64;                   // components of a path
  std::size_t entries_max = 1'000'000;  // looked at, ignored ones included
};

struct Listed {
  enum class Kind : std::uint8_t { file, symlink, special, submodule };
  std::string path;  // relative to the root
  Kind kind = Kind::file;
  FileStamp stamp;
  Attributes attributes;
};

struct ListedDirectory {
  std::string path;        // relative to the root
  std::uint32_t mode = 0;  // as stat has it
};

struct Tree {
  std::vector<Listed> files;             // in bytewise path order
  std::vector<std::string> directories;  // the ones that hold them or may come to; "" is the root
  // Of these, the ones that were entered: all but those of tracked files that git ignores. In
  // bytewise path order.
  std::vector<ListedDirectory> entered;
  std::vector<std::string> left_out;  // one line for each bound that was met
  bool cut = false;                   // files_max or entries_max was
  // Directories that were not entered for their name alone, where git would have
  std::vector<std::string> products;
  // Of an atomic write under way, or left by a crash; the first thousand
  std::vector<std::string> temporaries;
};

// Tracked, or untracked and not ignored, whatever .gitignore says below a directory that tools fill
// (node_modules, ...). Without git every file outside such directories. Symlinks and other
// repositories are listed and not entered; what is Lares's own (tools/workspace/own_files.h) is not
// listed, unless git tracks it.
class TreeLister {
 public:
  explicit TreeLister(std::string root, TreeLimits limits = TreeLimits());
  ~TreeLister();
  TreeLister(TreeLister&&) noexcept;
  // What git answered is remembered while no rule changed: asking costs about 10 us a path, a stat
  // 1 us. So is its index while that did not.
  Result<Tree> list();
  const GitView& git() const { return *git_; }  // that was asked in the last listing

 private:
  friend class TreeWalk;
  friend Result<Tree> list_tree(KeptView& git);
  struct Verdict {
    std::uint64_t rules = 0;
    bool ignored = false;
    Attributes attributes;
  };
  struct Said {
    std::string name;
    bool directory = false;
    Verdict verdict;
  };
  // By directory, in the order of comes_before()
  using Verdicts = std::unordered_map<std::string, std::vector<Said>>;
  struct Index {
    std::string path, prefix;
    FileStamp stamp;
    std::shared_ptr<const TrackedFiles> tracked;
  };
  Result<std::shared_ptr<const TrackedFiles>> tracked(const GitView& git);

  std::string root_;
  TreeLimits limits_;
  Verdicts verdicts_;
  std::optional<GitView> git_;
  std::optional<Index> index_;
  std::vector<std::string> directories_;  // of the last listing
  std::unique_ptr<DirectoryLooks> looks_;
};

// The same once, below the root of `git`. Whoever lists now and then, and keeps no lister for it,
// keeps that, so that not every listing opens the repository.
Result<Tree> list_tree(KeptView& git);

}  // namespace lares::tools
