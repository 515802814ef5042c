// What the worktree holds now, written to the store: a file is read again only when its stamp is
// another one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tools/snapshots/kept_out.h"
#include "tools/snapshots/store.h"
#include "tools/snapshots/tree.h"
#include "tools/workspace/file_stamp.h"
#include "tools/workspace/plain_tree.h"

namespace lares::tools {

class TreeLister;
struct ListedDirectory;

struct SnapshotScan {
  git_oid tree{};
  Snapshot about;  // all but id, label and time
  SnapshotDirectories directories;
  bool whole() const { return about.incomplete.empty(); }
};

class SnapshotScanner {
 public:
  SnapshotScanner(std::string root, SnapshotLimits limits);
  ~SnapshotScanner();
  SnapshotScanner(SnapshotScanner&&) noexcept;

  // Under the store's lock.
  SnapshotResult<SnapshotScan> scan(SnapshotStore& store);
  // As the last scan, and what lies at these paths too, whatever the rules say.
  SnapshotResult<SnapshotScan> scan_with(SnapshotStore& store,
                                         const std::vector<std::string>& paths);

  // Whether the file on disk still is what the last scan has at `path`; mode 0 in the scan: whether
  // there is nothing.
  enum class Still { same, gone, other };
  Still still(const PlainTree& files, const std::string& path) const;
  // Whether what is called `at` by now has the bytes and the mode that the last scan has at `path`.
  bool has(const PlainTree& files, const std::string& path, const std::string& at) const;
  const PlainTree& files() const { return *files_; }
  KeptOut& kept_out() { return kept_out_; }       // at the last scan
  std::size_t n_read() const { return n_read_; }  // files, in the last scan

 private:
  struct Known {
    FileStamp stamp;
    TreeEntry entry;
    bool racy = false;
  };
  static const std::string& path_of(const Known& file) { return file.entry.path; }
  const Known* find(const std::string& path) const;
  // `before`: of the last scan, null where that has none.
  void add(SnapshotStore& store, const std::string& path, const FileStamp& stamp,
           std::int64_t started, Known* before);
  bool read(SnapshotStore& store, const std::string& path, std::int64_t started, Known& out);
  void leave_out(const std::string& path, std::string why);
  void not_kept(const std::string& path, const std::string& why);
  void sweep(const std::vector<std::string>& temporaries) const;
  SnapshotResult<SnapshotScan> finish(SnapshotStore& store);

  std::string root_, generation_;
  SnapshotLimits limits_;
  std::unique_ptr<TreeLister> lister_;
  std::unique_ptr<PlainTree> files_;
  KeptOut kept_out_;
  std::vector<Known> known_, now_;  // of the last scan and of this one, in bytewise path order
  TreeWriter trees_;
  std::vector<ListedDirectory> entered_;  // in the last scan
  SnapshotScan scan_;
  std::size_t n_read_ = 0;
};

unsigned snapshot_mode(const struct stat& st);

}  // namespace lares::tools
