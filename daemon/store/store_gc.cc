// What is deleted, when: after a grace period what nothing reaches, and before that what the cap
// has no room for.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "daemon/store/store.h"

namespace lares::daemon::store {

std::set<std::uint64_t> Store::reachable_epochs() const {
  std::set<std::uint64_t> out(pins_.begin(), pins_.end());
  out.insert(current_);
  out.insert(restored_);
  if (const auto known = epochs_.find(current_); known != epochs_.end())
    out.insert(known->second.parent);
  return out;
}

std::set<Hash256> Store::extents_of(const std::set<std::uint64_t>& epochs) const {
  std::set<Hash256> out;
  for (const auto& [epoch, known] : epochs_)
    if (epochs.contains(epoch)) out.insert(known.extents.begin(), known.extents.end());
  for (const auto& [name, known] : extents_)
    if (known.fresh) out.insert(name);
  return out;
}

std::string Store::why_nothing_may_be_deleted() const {
  if (current_uncertain_)
    return "whether CURRENT survives a crash is not known; the next commit settles it";
  if (!current_damage_.empty())
    return fmt::format("CURRENT cannot be used ({}); the next commit settles it", current_damage_);
  return {};
}

bool Store::delete_epoch(std::uint64_t epoch) {
  if (!disk_->unlink(manifest_path(epoch))) return false;
  epochs_.erase(epoch);
  return true;
}

// Its manifest is then one like the others; the name goes first, for what CURRENT names is to be
// there.
bool Store::forget_current() {
  if (const auto gone = disk_->unlink(directory_ + "/CURRENT"); !gone && gone.error() != ENOENT)
    return false;
  if (!disk_->sync_dir(directory_)) return false;
  current_ = restored_ = 0;
  current_file_.reset();
  return true;
}

bool Store::delete_extent(const Hash256& chain_out) {
  if (!disk_->unlink(extent_path(chain_out))) return false;
  extents_.erase(chain_out);
  return true;
}

bool Store::delete_oldest_quarantined() {
  if (quarantined_.empty()) return false;
  const std::string name = quarantined_.begin()->first;
  quarantined_.erase(quarantined_.begin());  // also when it cannot be removed: this is tried once
  return disk_->unlink(directory_ + "/quarantine/" + name).has_value();
}

Result<> Store::pin(std::uint64_t epoch) {
  if (!epochs_.contains(epoch))
    return tl::unexpected(
        Error{Errc::not_found,
              fmt::format("pin epoch {} of {}: it is not in the store", epoch, directory_)});
  pins_.insert(epoch);
  return {};
}

void Store::unpin(std::uint64_t epoch) {
  if (const auto pin = pins_.find(epoch); pin != pins_.end()) pins_.erase(pin);
}

Usage Store::usage() const {
  Usage out;
  out.bytes_max = options_.bytes_max;
  for (const auto& [name, bytes] : quarantined_) out.quarantine_bytes += bytes;
  out.bytes = out.quarantine_bytes;
  for (const auto& [name, known] : extents_) out.bytes += known.bytes;
  for (const auto& [epoch, known] : epochs_) out.bytes += known.bytes;
  out.n_extents = extents_.size();
  out.n_epochs = epochs_.size();
  out.n_quarantined = quarantined_.size();
  return out;
}

Result<GcReport> Store::gc() {
  if (auto why = why_nothing_may_be_deleted(); !why.empty())
    return tl::unexpected(
        Error{Errc::damaged, fmt::format("clean the store {}: {}", directory_, why)});
  const auto now = options_.now();
  GcReport report;
  // Whether it goes now; else when it was first seen unreachable is kept.
  const auto due = [&](bool reachable, std::optional<Clock::time_point>& since) {
    if (reachable) return since.reset(), false;
    if (!since) since = now;
    if (now - *since >= options_.grace) return true;
    ++report.n_waiting;
    return false;
  };
  const auto keep = reachable_epochs();
  const auto needed = extents_of(keep);
  std::vector<std::uint64_t> old_epochs;
  for (auto& [epoch, known] : epochs_)
    if (due(keep.contains(epoch), known.unreachable_since)) old_epochs.push_back(epoch);
  std::vector<Hash256> old_extents;
  for (auto& [name, known] : extents_)
    if (due(needed.contains(name), known.unreachable_since)) old_extents.push_back(name);
  for (const std::uint64_t epoch : old_epochs) {
    const auto bytes = epochs_[epoch].bytes;
    if (!delete_epoch(epoch)) continue;
    ++report.n_epochs;
    report.bytes += bytes;
  }
  for (const Hash256& name : old_extents) {
    const auto bytes = extents_[name].bytes;
    if (!delete_extent(name)) continue;
    ++report.n_extents;
    report.bytes += bytes;
  }
  return report;
}

Result<> Store::make_room(std::uint64_t bytes, std::string_view attempted) {
  const auto fits = [&] {
    return options_.bytes_max == 0 || usage().bytes + bytes <= options_.bytes_max;
  };
  const auto full = [&](const std::string& why) {
    return tl::unexpected(
        Error{Errc::over_cap,
              fmt::format("{}: {} more bytes to the {} of {} do not fit the cap of {}{}; end the "
                          "daemon and delete that directory, and what it has is evaluated again",
                          attempted, bytes, usage().bytes, directory_, options_.bytes_max, why)});
  };
  while (!fits() && delete_oldest_quarantined()) {
  }
  if (fits()) return {};
  if (auto why = why_nothing_may_be_deleted(); !why.empty()) return full(", and " + why);
  // Epochs go from the oldest on, each with what only it has; first of all what none has.
  const auto drop_unneeded = [&] {
    std::set<std::uint64_t> left;
    for (const auto& [epoch, known] : epochs_) left.insert(epoch);
    const auto needed = extents_of(left);
    std::vector<Hash256> unneeded;
    for (const auto& [name, known] : extents_)
      if (!needed.contains(name)) unneeded.push_back(name);
    for (const Hash256& name : unneeded) {
      if (fits()) return;
      (void)delete_extent(name);
    }
  };
  const auto drop_epochs = [&] {
    auto keep = std::set<std::uint64_t>(pins_.begin(), pins_.end());
    keep.insert(current_);
    keep.insert(restored_);
    std::vector<std::uint64_t> epochs;
    for (const auto& [epoch, known] : epochs_)
      if (!keep.contains(epoch)) epochs.push_back(epoch);
    for (const std::uint64_t epoch : epochs) {
      if (fits()) return;
      if (delete_epoch(epoch)) drop_unneeded();
    }
  };
  drop_unneeded();
  drop_epochs();
  if (!fits() && !wanted_ && forget_current()) drop_epochs();
  if (fits()) return {};
  return full(", and nothing more can go");
}

}  // namespace lares::daemon::store
