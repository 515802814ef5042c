// The disk side of a resident repository: what of its bases is kept for the next start, brought
// back at this one, and held against the engine now and then. Each call may come from any thread;
// the disk is used in turn.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <tl/expected.hpp>

#include "daemon/log.h"
#include "daemon/on_disk_pool.h"
#include "daemon/residency/keeper.h"
#include "daemon/resident/beginnings.h"
#include "daemon/resident/tree.h"

namespace lares::daemon {

class KeptPrefixes : public std::enable_shared_from_this<KeptPrefixes> {
 public:
  // Of the repository at `root`, in a folder of its own below `stores`; empty: nothing is kept.
  KeptPrefixes(asio::thread_pool& pool, const Log& log, std::string stores, std::string root);

  // Opens the store and reads what the last daemon left; only the first call does. take_restored()
  // then gives it, once. A store that could not be opened is opened by tend(), when it can be.
  asio::awaitable<void> restore(const engine::Engine& engine, std::int64_t tokens_max);
  std::optional<Keeper::Restored> take_restored();
  void not_wanted(const std::string& why);  // what was restored is of no use

  // Those whose prefixes are kept; of no others is anything written.
  void bases(const std::vector<NumberedBase>& bases);
  // Written soon
  void keep(const engine::PrefixRef& prefix, const std::shared_ptr<const Base>& base);

  // Before `base` is evaluated: what of it is on the disk and not in `all` goes there.
  asio::awaitable<void> resume(std::shared_ptr<const Base> base, std::shared_ptr<Beginnings> all);

  // To be called every few minutes: of `all` that is evaluated what the disk refused is offered
  // again, what nothing needs is deleted, and the store is marked as used.
  asio::awaitable<void> tend(std::shared_ptr<const Beginnings> all);

  // For scrubbing: the base whose prefixes are on the disk, and how its tokens are cut there.
  struct OnDisk {
    std::shared_ptr<const Base> base;  // null: none
    std::vector<Keeper::Kept> extents;
  };
  asio::awaitable<OnDisk> on_disk();
  // As Keeper::compare, if `base` is still the one on disk; else nothing is compared and nothing
  // differs.
  asio::awaitable<tl::expected<void, std::string>> compare(std::shared_ptr<const Base> base,
                                                           engine::PrefixRef anew,
                                                           std::int64_t begin);

  Keeper::Usage usage() const;  // as it was noted last, so that nobody waits for the disk

 private:
  void lost(const std::string& why) const;
  void open();
  void read_what_was_left();
  void write(const std::vector<std::pair<engine::PrefixRef, std::shared_ptr<const Base>>>& some);
  void resume_now(const std::shared_ptr<const Base>& base, Beginnings& all);
  void offer_again(const Beginnings& all);
  void said(const tl::expected<void, std::string>& done) const;
  std::vector<NumberedBase> wanted() const;
  void note_usage();

  DiskStrand strand_;  // what follows, up to mutex_, is used on it
  const Log& log_;
  const std::string stores_, root_, directory_;
  const engine::Engine* engine_ = nullptr;  // once restore() was called, and with it
  std::int64_t tokens_max_ = 0;
  std::unique_ptr<Keeper> keeper_;  // null: nothing is kept
  std::string why_closed_;          // as it was said last

  mutable std::mutex mutex_;  // of what follows
  std::optional<Keeper::Restored> restored_;
  Keeper::Usage usage_;
  std::vector<NumberedBase> bases_;
  std::vector<std::pair<engine::PrefixRef, std::shared_ptr<const Base>>> to_keep_;
};

}  // namespace lares::daemon
