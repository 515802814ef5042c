// What the store asks of a file system, and no more: so that a test can stand in for one that
// crashes, tears writes or is full. Errors are errno values. Paths are absolute.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <tl/expected.hpp>

namespace lares::daemon::store {

template <class T = void>
using DiskResult = tl::expected<T, int>;

class File {  // closed when destroyed
 public:
  virtual ~File() = default;
  // Direct files take offsets, lengths and memory that are multiples of kDiskAlign. Short counts
  // are possible, 0 is the file's end.
  virtual DiskResult<std::size_t> read(std::span<std::byte> into, std::uint64_t offset) const = 0;
  virtual DiskResult<std::size_t> write(std::span<const std::byte> bytes, std::uint64_t offset) = 0;
  // Sets space aside, if the file system can; ENOSPC where it has none.
  virtual DiskResult<> reserve(std::uint64_t bytes) = 0;
  virtual DiskResult<> sync() = 0;  // the data, and the size that reading it back needs
  virtual DiskResult<std::uint64_t> size() const = 0;
};

struct BlockRead {
  const File* file;
  std::uint64_t offset;  // a multiple of kDiskAlign, as is bytes
  std::uint32_t bytes;   // at most kBlockBytes
};
inline constexpr std::uint32_t kBlockBytes = 1 << 20;
inline constexpr int kReadsInFlight = 32;

struct DirEntry {
  std::string name;
  bool directory = false;
  std::uint64_t bytes = 0;
};

class Disk {
 public:
  virtual ~Disk() = default;
  enum class Cache {
    direct,
    buffered
  };  // direct: past the page cache where the file system allows that
  // 0600; EEXIST when there is one
  virtual DiskResult<std::unique_ptr<File>> create(const std::string& path, Cache cache) = 0;
  // To read
  virtual DiskResult<std::unique_ptr<File>> open(const std::string& path, Cache cache) = 0;
  // Over a file of that name
  virtual DiskResult<> rename(const std::string& from, const std::string& to) = 0;
  virtual DiskResult<> unlink(const std::string& path) = 0;
  // 0700, also when it is there; ENOTDIR, EPERM when it is not ours
  virtual DiskResult<> make_dir(const std::string& path) = 0;
  // After it the names in the directory are durable
  virtual DiskResult<> sync_dir(const std::string& path) = 0;
  virtual DiskResult<std::vector<DirEntry>> list(const std::string& path) = 0;
  // Held until the result is destroyed; EWOULDBLOCK while another has it.
  virtual DiskResult<std::unique_ptr<File>> lock(const std::string& path) = 0;

  // Reads all blocks, up to kReadsInFlight of them at a time, and hands them over in order:
  // `on_block` has the bytes of `blocks[i]` for the time of the call (fewer where the file ends),
  // or an error. It returns false to end early.
  using OnBlock = std::function<bool(std::size_t i, DiskResult<std::span<const std::byte>> bytes)>;
  virtual void read_blocks(std::span<const BlockRead> blocks, const OnBlock& on_block);
};

struct RealDiskOptions {
  bool direct = true;    // O_DIRECT
  bool io_uring = true;  // else, and where the kernel refuses it, threads
};
std::unique_ptr<Disk> real_disk(const RealDiskOptions& options);

// All of it, or an error; what is missing at the file's end is not one.
DiskResult<std::size_t> read_full(const File& file, std::span<std::byte> into,
                                  std::uint64_t offset);
DiskResult<> write_full(File& file, std::span<const std::byte> bytes, std::uint64_t offset);

}  // namespace lares::daemon::store
