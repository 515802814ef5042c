// Opening: the directory and its lock, what an earlier process left unfinished, what is there.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "daemon/store/draft.h"
#include "daemon/store/store.h"

namespace lares::daemon::store {
namespace {

constexpr std::string_view kExtentSuffix = ".ext";
// Header, table and one payload: what a manifest's file may have.
constexpr std::uint64_t kManifestBytesMax = kPayloadBytesMax + kManifestExtentsMax * 64 + 4096;

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Store::Store(std::string directory, const Hash256& fingerprint, Options options)
    : directory_(std::move(directory)),
      fingerprint_(fingerprint),
      options_(std::move(options)),
      disk_(options_.disk ? options_.disk : std::shared_ptr<Disk>(real_disk({}))) {
  if (!options_.now) options_.now = [] { return Clock::now(); };
}

Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::open(const std::string& directory, const Hash256& fingerprint,
                                           Options options) {
  std::string path = directory;
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  if (!path.starts_with('/') || path == "/")
    return tl::unexpected(
        Error{Errc::bad_argument,
              fmt::format("open the store \"{}\": an absolute path below / is needed", directory)});
  std::unique_ptr<Store> store(new Store(path, fingerprint, std::move(options)));
  if (auto ready = store->prepare(); !ready) return tl::unexpected(std::move(ready.error()));
  if (auto seen = store->scan(); !seen) return tl::unexpected(std::move(seen.error()));
  store->find_current();
  return store;
}

std::string Store::extent_directory(const Hash256& chain_out) const {
  return fmt::format("{}/ext/{}", directory_, to_hex(chain_out).substr(0, 2));
}
std::string Store::extent_path(const Hash256& chain_out) const {
  return fmt::format("{}/{}{}", extent_directory(chain_out), to_hex(chain_out), kExtentSuffix);
}
std::string Store::manifest_path(std::uint64_t epoch) const {
  return fmt::format("{}/epochs/{}", directory_, manifest_name(epoch));
}

Result<> Store::prepare() {
  const auto failed = [&](std::string_view what, const std::string& path, int error) {
    return tl::unexpected(
        Error{Errc::disk, fmt::format("open the store {}: {} {}: {}; the prefix will not survive a "
                                      "restart until that is mended",
                                      directory_, what, path, std::strerror(error))});
  };
  if (auto made = disk_->make_dir(directory_); !made)
    return failed("make", directory_, made.error());
  auto lock = disk_->lock(directory_ + "/LOCK");
  if (!lock && (lock.error() == EWOULDBLOCK || lock.error() == EAGAIN))
    return tl::unexpected(
        Error{Errc::locked, fmt::format("open the store {}: another daemon holds its LOCK; end "
                                        "that one, or name another directory",
                                        directory_)});
  if (!lock) return failed("lock", directory_ + "/LOCK", lock.error());
  lock_ = std::move(*lock);
  for (const char* name : {"/epochs", "/ext", "/quarantine"})
    if (auto made = disk_->make_dir(directory_ + name); !made)
      return failed("make", directory_ + name, made.error());
  // A process that was killed may have left a CURRENT whose name is not yet durable. Until it is,
  // nothing may be deleted: a crash could bring back the one before. Reading needs no such care.
  if (auto synced = sync_root(); !synced) {
    current_uncertain_ = true;
    notes_.push_back(fmt::format("{}; nothing is deleted until a commit succeeds", synced.error()));
  }
  return {};
}

tl::expected<void, std::string> Store::sync_root() {
  if (root_durable_) return {};
  for (const auto& path : {parent_of(directory_), directory_})
    if (auto synced = disk_->sync_dir(path); !synced)
      return tl::unexpected(fmt::format("sync {}: {}", path, std::strerror(synced.error())));
  root_durable_ = true;
  return {};
}

Result<> Store::sweep(const std::string& directory, std::vector<DirEntry>* kept) {
  auto entries = disk_->list(directory);
  if (!entries)
    return tl::unexpected(
        Error{Errc::disk, fmt::format("open the store {}: list {}: {}", directory_, directory,
                                      std::strerror(entries.error()))});
  for (DirEntry& entry : *entries) {
    if (entry.directory || !entry.name.ends_with(kDraftSuffix)) {
      kept->push_back(std::move(entry));
      continue;
    }
    const std::string path = directory + "/" + entry.name;
    if (auto gone = disk_->unlink(path); !gone)
      notes_.push_back(
          fmt::format("remove the unfinished {}: {}", path, std::strerror(gone.error())));
    else
      notes_.push_back(fmt::format("removed the unfinished {}, {} bytes", path, entry.bytes));
  }
  return {};
}

Result<> Store::scan() {
  std::vector<DirEntry> root, epochs, fans, quarantined;
  if (auto ok = sweep(directory_, &root); !ok) return ok;
  if (auto ok = sweep(directory_ + "/epochs", &epochs); !ok) return ok;
  if (auto ok = sweep(directory_ + "/quarantine", &quarantined); !ok) return ok;
  if (auto ok = sweep(directory_ + "/ext", &fans); !ok) return ok;
  for (const DirEntry& entry : quarantined) {
    quarantined_[entry.name] = entry.bytes;
    n_quarantined_ = std::max<std::uint64_t>(n_quarantined_,
                                             std::strtoull(entry.name.c_str(), nullptr, 10));
  }
  for (const DirEntry& fan : fans) {
    if (!fan.directory) continue;
    std::vector<DirEntry> extents;
    if (auto ok = sweep(directory_ + "/ext/" + fan.name, &extents); !ok) return ok;
    for (const DirEntry& entry : extents) {
      if (entry.directory || !entry.name.ends_with(kExtentSuffix)) continue;
      const auto hash = from_hex(
          std::string_view(entry.name).substr(0, entry.name.size() - kExtentSuffix.size()));
      if (hash && entry.name.starts_with(fan.name)) extents_[*hash].bytes = entry.bytes;
    }
  }
  for (const DirEntry& entry : epochs) {
    const std::uint64_t epoch = entry.directory ? 0 : epoch_of_manifest_name(entry.name);
    if (epoch == 0) continue;
    last_epoch_ = std::max(last_epoch_, epoch);
    KnownEpoch& known = epochs_[epoch];
    known.bytes = entry.bytes;
    const auto manifest = load_manifest(epoch, nullptr);
    if (!manifest) {
      notes_.push_back(fmt::format("read {}: {}", manifest_path(epoch), manifest.error().why));
      continue;
    }
    known.readable = true;
    known.ours = manifest->fingerprint == fingerprint_;
    known.parent = manifest->parent;
    for (const ExtentRef& e : manifest->extents) known.extents.push_back(e.chain_out);
  }
  return {};
}

tl::expected<Manifest, FileFault> Store::load_manifest(std::uint64_t epoch,
                                                       const Hash256* expected) {
  const auto bytes = read_file(*disk_, manifest_path(epoch), kManifestBytesMax);
  const auto damaged = [](std::string why) {
    return tl::unexpected(FileFault{FileFault::Kind::damaged, std::move(why)});
  };
  if (!bytes) return tl::unexpected(fault_of(bytes.error().error));
  if (expected && hash256(*bytes) != *expected)
    return damaged("it is not the one that CURRENT names");
  auto manifest = decode_manifest(*bytes);
  if (!manifest) return damaged(std::move(manifest.error()));
  if (manifest->epoch != epoch)
    return damaged(fmt::format("it is that of epoch {}", manifest->epoch));
  return std::move(*manifest);
}

void Store::find_current() {
  const std::string path = directory_ + "/CURRENT";
  const auto line = read_file(*disk_, path, kCurrentBytesMax);
  if (line) {
    const auto decoded =
        decode_current({reinterpret_cast<const char*>(line->data()), line->size()});
    if (decoded)
      current_file_ = *decoded;
    else
      current_damage_ = decoded.error();
  } else if (line.error().error != ENOENT) {
    current_damage_ = fmt::format("it cannot be read: {}", std::strerror(line.error().error));
  }
  if (current_file_) {
    last_epoch_ = std::max(last_epoch_, current_file_->epoch);
    if (const auto manifest = load_manifest(current_file_->epoch, &current_file_->manifest);
        manifest) {
      current_ = current_file_->epoch;
      return;
    } else {
      current_damage_ = fmt::format("the {} that it names: {}", manifest_name(current_file_->epoch),
                                    manifest.error().why);
    }
  }
  if (!current_damage_.empty())
    notes_.push_back(fmt::format("read {}: {}; nothing is deleted until a commit succeeds", path,
                                 current_damage_));
  // The newest that is whole was durable with its extents before anything could name it, so it may
  // stand in.
  for (const auto& [epoch, known] : epochs_)
    if (known.readable && known.ours) current_ = epoch;
}

}  // namespace lares::daemon::store
