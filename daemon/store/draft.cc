#include "daemon/store/draft.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace lares::daemon::store {

std::string DiskFailure::text() const {
  return fmt::format("{}: {}", attempted, std::strerror(error));
}

FileFault fault_of(int error) {
  using enum FileFault::Kind;
  if (error == ENOENT) return {missing, "there is no such file"};
  return {error == EIO ? damaged : unreadable,
          fmt::format("it cannot be read: {}", std::strerror(error))};
}

Draft::Draft(Disk& disk, std::string directory, const std::string& name)
    : disk_(&disk),
      directory_(std::move(directory)),
      path_(directory_ + "/" + name),
      part_(path_ + std::string(kDraftSuffix)) {}

Draft::Draft(Draft&& other) noexcept
    : disk_(other.disk_),
      directory_(std::move(other.directory_)),
      path_(std::move(other.path_)),
      part_(std::move(other.part_)),
      file_(std::move(other.file_)),
      at_(other.at_),
      exists_(std::exchange(other.exists_, false)) {}

Draft::~Draft() {
  file_.reset();
  if (exists_) (void)disk_->unlink(part_);  // what stays is swept away at the next open
}

DiskFailure Draft::failed(std::string_view what, int error) const {
  return {fmt::format("{} {}", what, part_), error};
}

tl::expected<Draft, DiskFailure> Draft::create(Disk& disk, const std::string& directory,
                                               const std::string& name, Disk::Cache cache,
                                               std::uint64_t bytes) {
  Draft draft(disk, directory, name);
  auto file = disk.create(draft.part_, cache);
  // Of a draft that could not be removed when it failed; the store's lock says it is ours
  if (!file && file.error() == EEXIST) {
    (void)disk.unlink(draft.part_);
    file = disk.create(draft.part_, cache);
  }
  if (!file) return tl::unexpected(draft.failed("create", file.error()));
  draft.exists_ = true;
  draft.file_ = std::move(*file);
  if (auto reserved = draft.file_->reserve(bytes); !reserved)
    return tl::unexpected(draft.failed("set space aside for", reserved.error()));
  return draft;
}

tl::expected<void, DiskFailure> Draft::append(std::span<const std::byte> bytes) {
  if (auto written = write_full(*file_, bytes, at_); !written)
    return tl::unexpected(failed("write", written.error()));
  at_ += bytes.size();
  return {};
}

tl::expected<void, DiskFailure> Draft::publish(bool* named) {
  *named = false;
  if (auto synced = file_->sync(); !synced) return tl::unexpected(failed("sync", synced.error()));
  file_.reset();
  if (auto renamed = disk_->rename(part_, path_); !renamed)
    return tl::unexpected(failed("rename", renamed.error()));
  exists_ = false;
  *named = true;
  if (auto synced = disk_->sync_dir(directory_); !synced)
    return tl::unexpected(DiskFailure{"sync " + directory_, synced.error()});
  return {};
}

tl::expected<void, DiskFailure> publish_file(Disk& disk, const std::string& directory,
                                             const std::string& name,
                                             std::span<const std::byte> bytes, bool* named) {
  *named = false;
  auto draft = Draft::create(disk, directory, name, Disk::Cache::buffered, bytes.size());
  if (!draft) return tl::unexpected(std::move(draft.error()));
  if (auto written = draft->append(bytes); !written) return written;
  return draft->publish(named);
}

tl::expected<std::vector<std::byte>, DiskFailure> read_file(Disk& disk, const std::string& path,
                                                            std::uint64_t bytes_max) {
  const auto file = disk.open(path, Disk::Cache::buffered);
  if (!file) return tl::unexpected(DiskFailure{"open " + path, file.error()});
  const auto size = (*file)->size();
  if (!size) return tl::unexpected(DiskFailure{"read " + path, size.error()});
  if (*size > bytes_max)
    return tl::unexpected(DiskFailure{"read " + path, EIO});  // nothing of ours is so long: damaged
  std::vector<std::byte> out(*size);
  const auto n = read_full(**file, out, 0);
  if (!n) return tl::unexpected(DiskFailure{"read " + path, n.error()});
  out.resize(*n);
  return out;
}

}  // namespace lares::daemon::store
