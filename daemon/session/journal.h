// A session's journal: an append-only file of checksummed frames, each one JSON text.
//   file  = "lares-journal 1\n" frame*
//   frame = u32 n, u32 crc32c(payload), payload[n]      little-endian
// Opening repairs a torn tail: everything from the first bad frame on is copied to a file beside it
// and cut off.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace lares::daemon {

inline constexpr std::string_view kJournalMagic = "lares-journal 1\n";
inline constexpr std::uint32_t kFrameBytesMax = 64u << 20;  // a million token ids are 7 MB

class Journal {
 public:
  struct Repair {
    std::uint64_t bytes_cut = 0;  // 0: the file was whole
    std::string kept_in;          // where they are now
    std::string why;
  };
  using OnFrame = std::function<void(std::size_t index, std::string_view payload)>;

  // A new file; fails if there is one.
  static tl::expected<Journal, std::string> create(const std::string& path);
  // Reads every good frame in order, then is ready to append.
  static tl::expected<Journal, std::string> open(const std::string& path, const OnFrame& on_frame);

  Journal(Journal&& other) noexcept;
  Journal& operator=(Journal&& other) noexcept;
  ~Journal();

  // One write(2): after it returns the frame survives the death of this process, after sync() that
  // of the machine. A failed append leaves the file as it was; if even that cannot be had, every
  // later append fails too.
  tl::expected<void, std::string> append(std::string_view payload);
  // Frames of so many bytes in all will fit behind the last, or why not. Where the file system
  // cannot promise that, nobody knows.
  tl::expected<void, std::string> reserve(std::uint64_t bytes) const;
  // Any thread; may take as long as the disk does. Once it has failed it fails until write_again()
  // has succeeded: the kernel takes what it could not write for written from then on, and a second
  // sync would tell of a success that there was not.
  tl::expected<void, std::string> sync() const;
  // Any thread, beside an append too. After a failed sync: writes anew all that no sync before it
  // is known to have brought to the disk, and syncs that. Fails where every append does. Else
  // nothing.
  tl::expected<void, std::string> write_again() const;

  tl::expected<std::string, std::string> read(std::size_t index) const;
  // The good frames of the first `bytes` of a file that may be in use. Any thread.
  static tl::expected<void, std::string> scan(const std::string& path, std::uint64_t bytes,
                                              const OnFrame& on_frame);
  std::size_t size() const { return frames_.size(); }
  std::uint64_t bytes() const;
  const Repair& repair() const { return repair_; }
  const std::string& path() const { return path_; }

 private:
  struct Frame {
    std::uint64_t offset;  // of the payload
    std::uint32_t n, crc;
  };
  struct Extent;
  Journal(std::string path, int fd);
  tl::expected<void, std::string> load(const OnFrame& on_frame);
  tl::expected<void, std::string> cut_tail(std::string_view contents, std::uint64_t good,
                                           std::string why);

  std::string path_;
  int fd_ = -1;
  std::unique_ptr<Extent> extent_;  // where the frames end, and how far they are on the disk
  std::vector<Frame> frames_;
  Repair repair_;
};

// CRC-32C (Castagnoli), as in iSCSI and ext4.
std::uint32_t crc32c(std::string_view bytes);

}  // namespace lares::daemon
