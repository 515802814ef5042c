// A file system in memory that can lose power: what is written is durable only once its file is
// synced, what is named only once its directory is. It can fail or die at any operation, and
// remembers what it was asked.
#pragma once

#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "daemon/store/disk.h"

namespace lares::daemon::store::test {

using Bytes = std::vector<std::byte>;
using Files = std::map<std::string, Bytes>;  // by path

struct Fault {
  enum class Kind { none, die, error, short_write };
  Kind kind = Kind::none;
  std::size_t at = 0;    // the operation, counted from 1, that it happens to
  int error = 0;         // errno value
  bool lasting = false;  // all operations from then on, not that one alone
  std::string only;      // count and fail only operations that read so in log(); empty: all
};

// What a loss of power keeps of that which was not synced.
enum class Keep {
  none,
  all,
  some
};  // some: each sector of a write and each change of a directory or not, by chance

class CrashDisk final : public Disk {
 public:
  CrashDisk();
  explicit CrashDisk(const Files& files);  // all of it durable

  void plan(const Fault& fault);  // counting from here
  std::size_t n_operations() const { return n_; }
  const std::vector<std::string>& log() const { return log_; }
  bool dead() const { return dead_; }
  void fail_reads(int error, std::size_t after) { read_error_ = error, reads_left_ = after; }

  void lose_power(Keep keep, unsigned seed);  // and start again
  // And start again: what was written is there, what was not synced still is not
  void kill_process();
  Files files() const;

  DiskResult<std::unique_ptr<File>> create(const std::string& path, Cache cache) override;
  DiskResult<std::unique_ptr<File>> open(const std::string& path, Cache cache) override;
  DiskResult<> rename(const std::string& from, const std::string& to) override;
  DiskResult<> unlink(const std::string& path) override;
  DiskResult<> make_dir(const std::string& path) override;
  DiskResult<> sync_dir(const std::string& path) override;
  DiskResult<std::vector<DirEntry>> list(const std::string& path) override;
  DiskResult<std::unique_ptr<File>> lock(const std::string& path) override;

 private:
  friend class CrashFile;
  struct Write {
    std::uint64_t offset;
    Bytes bytes;
  };
  struct Node {
    bool directory = false;
    Bytes live, durable;
    std::vector<Write> unsynced;
  };
  using NodePtr = std::shared_ptr<Node>;
  struct Dir {
    std::map<std::string, NodePtr> live, durable;
    std::vector<std::map<std::string, NodePtr>> unsynced;  // names set together; null: removed
  };
  static void apply(Bytes& to, std::uint64_t offset, std::span<const std::byte> bytes);
  void change(const std::string& dir, const std::map<std::string, NodePtr>& names);
  NodePtr find(const std::string& path) const;
  // Counts an operation; the error that it ends with, or 0. *shorten: a write takes only a part.
  int step(const std::string& what, bool* shorten = nullptr);

  std::map<std::string, Dir> dirs_;
  std::set<std::string> locks_;
  std::shared_ptr<int> life_ = std::make_shared<int>(0);  // a lock of an earlier life means nothing
  Fault fault_;
  std::size_t n_ = 0;
  bool dead_ = false;
  std::vector<std::string> log_;
  int read_error_ = 0;
  std::size_t reads_left_ = 0;
};

}  // namespace lares::daemon::store::test
