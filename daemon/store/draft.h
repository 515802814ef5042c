// A file that gets its name when it is complete and durable: NAME.tmp is written and synced,
// renamed, and its directory synced. A draft that fails anywhere is removed; it is never synced a
// second time, for the kernel may have dropped what it could not write.
#pragma once

#include <memory>
#include <span>
#include <string>

#include <tl/expected.hpp>

#include "daemon/store/disk.h"

namespace lares::daemon::store {

// What the disk refused, for whoever tells a person. error is an errno value.
struct DiskFailure {
  std::string attempted;  // "sync /…/x.ext.tmp"
  int error = 0;
  std::string text() const;  // with the reason
};

// Why a file cannot be used, and what that says of it.
struct FileFault {
  enum class Kind {
    damaged,  // its bytes are wrong, or the device cannot give them back: it goes to quarantine
    missing,
    unreadable,  // for now: too many open files, no memory, no permission. It stays where it is
  };
  Kind kind = Kind::damaged;
  std::string why;  // "its header's checksum is wrong"
};
FileFault fault_of(int error);  // of an errno value that opening or reading ended with

inline constexpr std::string_view kDraftSuffix = ".tmp";

class Draft {
 public:
  static tl::expected<Draft, DiskFailure> create(Disk& disk, const std::string& directory,
                                                 const std::string& name, Disk::Cache cache,
                                                 std::uint64_t bytes);
  Draft(Draft&& other) noexcept;
  Draft& operator=(Draft&&) = delete;
  ~Draft();

  tl::expected<void, DiskFailure> append(std::span<const std::byte> bytes);
  // After success the file is there after any crash. A failure of the last step, the directory's
  // sync, leaves the file under its name, and *named says so: whether it survives a crash is then
  // not known.
  tl::expected<void, DiskFailure> publish(bool* named);

 private:
  Draft(Disk& disk, std::string directory, const std::string& name);
  DiskFailure failed(std::string_view what, int error) const;

  Disk* disk_;
  std::string directory_, path_, part_;
  std::unique_ptr<File> file_;  // null once closed
  std::uint64_t at_ = 0;
  bool exists_ = false;  // part_, which is then ours to remove
};

// Small files, whole.
tl::expected<void, DiskFailure> publish_file(Disk& disk, const std::string& directory,
                                             const std::string& name,
                                             std::span<const std::byte> bytes, bool* named);
tl::expected<std::vector<std::byte>, DiskFailure> read_file(Disk& disk, const std::string& path,
                                                            std::uint64_t bytes_max);

}  // namespace lares::daemon::store
