// What directories of a worktree hold: names, and what stat says of them. Nearly all of a listing's
// time goes here, and the kernel can do it for several threads at once. Names are remembered: they
// are read again where the directory itself was changed, and its files are looked at every time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tools/workspace/file_stamp.h"
#include "tools/workspace/plain_tree.h"

namespace lares::tools {

struct DirectoryEntry {
  std::string name;
  FileStamp stamp;  // of a directory its mode alone
  bool is_directory() const { return S_ISDIR(stamp.mode); }
};
// git's order of names in a tree: a directory's counts with its '/', so that a walk in this order
// meets files in the order of their paths.
bool comes_before(std::string_view a, bool a_is_directory, std::string_view b, bool b_is_directory);

struct DirectoryLook {
  std::vector<DirectoryEntry> entries;  // in that order
  int error = 0;                        // errno; then there are none
  std::uint32_t mode = 0;               // of the directory
};

class DirectoryLooks {
 public:
  // No directory is read beyond `entries_max` names.
  explicit DirectoryLooks(std::size_t entries_max) : entries_max_(entries_max) {}

  // What was looked at before is old from now on.
  void begin(const PlainTree& tree);
  // Looks at these now, for take(). Only hurries.
  void ahead(const std::vector<std::string>& directories);
  const DirectoryLook& take(const std::string& directory);  // until end()
  void end();  // forgets the directories that nobody took since begin()

  std::size_t n_read() const {
    return n_read_;
  }  // since begin(): directories whose names were read

 private:
  struct Known {
    DirectoryLook look;
    FileStamp stamp;                      // of the directory, when its names were read
    bool steady = false;                  // as long as that is its stamp, these are its names
    std::uint64_t looked = 0, taken = 0;  // by the number of begin()
  };
  void look(const std::string& directory, Known& known);
  bool look_again(int directory, Known& known) const;
  void read(int directory, Known& known);

  PlainTree tree_;
  const std::size_t entries_max_;
  std::uint64_t round_ = 0;
  std::uint64_t device_ = 0;  // where directories may be steady; 0: nowhere
  std::unordered_map<std::string, Known> known_;
  std::atomic<std::size_t> n_read_ = 0;
};

}  // namespace lares::tools
