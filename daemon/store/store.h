// The prefixes of one engine on disk: extents of tokens with their pages, and manifests that name a
// chain of them. Made so that a crash at any moment loses at most what was not yet committed, and
// so that damaged or foreign bytes only ever shorten what comes back.
//   DIR/ LOCK  CURRENT  epochs/epoch-000042.man  ext/ab/<chain_out>.ext  quarantine/
// Pages and frontiers are the engine's own bytes, which the store does not look into. One thread at
// a time.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "daemon/store/chain_hash.h"
#include "daemon/store/disk.h"
#include "daemon/store/manifest.h"

namespace lares::daemon::store {

struct OpenExtent;  // extent_reader.h
struct FileFault;   // draft.h

enum class Errc {
  locked,  // another daemon has the store
  disk,  // the disk refused; nothing is written until `Options::retry` has passed, and serving need
         // not end
  paused,    // that time has not passed; said once already
  over_cap,  // it does not fit under bytes_max
  bad_argument,
  not_found,
  damaged,  // what is on disk is not what was written
};
struct Error {
  Errc code;
  std::string message;  // what was attempted, on what, why it failed, what to do
};
template <class T = void>
using Result = tl::expected<T, Error>;

using Clock = std::chrono::steady_clock;

struct Options {
  std::uint64_t bytes_max = 0;             // of all files in the store; 0: no cap
  std::chrono::seconds grace{600};         // what nothing reaches any more is deleted after this
  std::chrono::seconds retry{60};          // after the disk refused
  std::shared_ptr<Disk> disk;              // null: the real one
  std::function<Clock::time_point()> now;  // null: Clock::now
};

struct ExtentInput {
  std::uint64_t pos0 = 0;  // tokens before it
  Hash256 chain_in;        // chain_begin(fingerprint) at 0, else chain_out of the extent before
  std::span<const engine::Token> tokens;  // as extent_format.h allows; pages are counted from pos0
  // One per kPageTokens begun; all of one size but a last one of fewer tokens
  std::span<const std::span<const std::byte>> pages;
  std::span<const std::byte> frontier;  // after the last token
};

// Where a restore puts what it reads. All are called in order from the first extent to the last,
// from within restore().
struct Receiver {
  std::function<void(const Manifest&)> begin;  // what will be tried, before any of it
  // Memory of exactly `bytes`, or none for what is not wanted. What is put there counts only once
  // `valid` names its extent.
  std::function<std::span<std::byte>(std::size_t extent, std::uint32_t page, std::size_t bytes)>
      page;
  std::function<std::span<std::byte>(std::size_t extent, std::size_t bytes)> frontier;
  std::function<void(std::size_t extent, std::span<const engine::Token> tokens)> valid;
};
struct Restored {
  std::optional<Manifest> manifest;  // none: nothing usable was committed
  std::size_t n_extents = 0;         // of its extents that are valid, from the first
  std::uint64_t n_tokens = 0;        // in them
  std::vector<std::string> lost;     // a line each: what is not used and why
};

// What a scrub holds against what is stored: false where the bytes are not those.
struct Compare {
  std::function<bool(std::uint32_t page, std::span<const std::byte> stored)> page;
  std::function<bool(std::span<const std::byte> stored)> frontier;
};
struct ScrubReport {
  std::vector<engine::Token> tokens;
  std::vector<std::uint32_t> pages_differ;
  bool frontier_differs = false;
};

struct GcReport {
  std::size_t n_epochs = 0, n_extents = 0;  // deleted
  std::uint64_t bytes = 0;
  std::size_t n_waiting = 0;  // unreachable, within the grace period
};

struct Usage {
  std::uint64_t bytes = 0, bytes_max = 0, quarantine_bytes = 0;
  std::size_t n_extents = 0, n_epochs = 0, n_quarantined = 0;
};

class Store {
 public:
  // Makes the directory where there is none (its parent must be there), private to the user. Fails
  // when another daemon has it.
  static Result<std::unique_ptr<Store>> open(const std::string& directory,
                                             const Hash256& fingerprint, Options options);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // A line for each thing that a person may want to know of opening: unfinished files removed,
  // damage seen.
  const std::vector<std::string>& notes() const { return notes_; }

  // Its chain_out, durable from here on. One that is there already is not written again. Kept until
  // a commit names it or forget().
  Result<Hash256> put_extent(const ExtentInput& input);
  void forget(const Hash256& chain_out);  // it will not be committed; gc() may have it
  bool has(const Hash256& chain_out) const { return extents_.contains(chain_out); }

  // Makes this chain, in order, and the payload what restore() gives back; returns the epoch. After
  // an error restore() gives what it gave before, or, where only the very last sync failed, either;
  // nothing is deleted until a later commit succeeds.
  Result<std::uint64_t> commit(std::span<const Hash256> chain, std::span<const std::byte> payload);

  // What the last commit left, as far as it is whole. Never fails: it only shortens, and says why.
  Restored restore(const Receiver& receiver);

  // Extents that no commit need name, in order from a chain's first; those before `n_skip` are not
  // read. What is read is kept until a commit names it or forget(). As restore(), and
  // Receiver::begin is not called.
  Restored read(std::span<const Hash256> chain, std::size_t n_skip, const Receiver& receiver);

  // One extent against bytes computed anew. Damage quarantines it; a difference in sound bytes is
  // only reported.
  Result<ScrubReport> scrub(const Hash256& chain_out, const Compare& compare);

  // A pinned epoch is kept, its extents with it, as long as this process has it pinned.
  Result<> pin(std::uint64_t epoch);
  void unpin(std::uint64_t epoch);

  // Deletes what neither CURRENT, the epoch before, a pinned one nor an extent put and not yet
  // committed needs, once it has been seen so for the grace period.
  Result<GcReport> gc();
  // What restore() gave or left is of no use to anybody, until the next commit: it goes too where
  // there would be no room else.
  void not_wanted() { wanted_ = false; }
  Usage usage() const;
  std::uint64_t epoch() const { return current_; }  // 0: nothing is committed

 private:
  struct Link {  // of an extent to the one before
    Hash256 chain_in;
    std::uint64_t pos0 = 0;
    std::uint32_t n_tokens = 0;
  };
  struct KnownExtent {
    std::uint64_t bytes = 0;
    bool fresh = false;        // put, or named in a commit that failed, and in no commit since
    std::optional<Link> link;  // when its file has been looked into
    std::optional<Clock::time_point> unreachable_since;
  };
  struct KnownEpoch {
    std::uint64_t bytes = 0, parent = 0;
    std::vector<Hash256> extents;  // none when the manifest cannot be read
    bool readable = false, ours = false;
    std::optional<Clock::time_point> unreachable_since;
  };

  Store(std::string directory, const Hash256& fingerprint, Options options);
  std::string extent_directory(const Hash256& chain_out) const;
  std::string extent_path(const Hash256& chain_out) const;
  std::string manifest_path(std::uint64_t epoch) const;

  // store_open.cc
  tl::expected<void, std::string> sync_root();
  tl::expected<Manifest, FileFault> load_manifest(std::uint64_t epoch, const Hash256* expected);
  Result<> prepare();
  Result<> sweep(const std::string& directory, std::vector<DirEntry>* kept);
  Result<> scan();
  void find_current();

  // store.cc
  Error refused(std::string_view attempted, const std::string& why);  // and pauses
  std::optional<Error> paused(std::string_view attempted) const;
  Result<> make_extent_directory(const Hash256& chain_out, std::string_view attempted);
  Result<std::vector<ExtentRef>> link_chain(std::span<const Hash256> chain,
                                            std::string_view attempted);

  // store_restore.cc
  std::optional<Manifest> choose_manifest(std::vector<std::string>& lost);
  std::string quarantine(const std::string& path);  // where it is now, for a line
  void read_chain(std::span<const ExtentRef> refs, Hash256 before, const Receiver& receiver,
                  Restored& out);
  std::optional<FileFault> read_extents(const std::vector<OpenExtent>& opened, std::size_t first,
                                        const Receiver& receiver, Restored& out);
  std::string drop(const Hash256& chain_out, const FileFault& fault);  // what was done, for a line

  // store_gc.cc
  std::set<Hash256> extents_of(const std::set<std::uint64_t>& epochs) const;
  std::set<std::uint64_t> reachable_epochs() const;
  std::string why_nothing_may_be_deleted() const;
  bool delete_epoch(std::uint64_t epoch);
  bool forget_current();
  bool delete_extent(const Hash256& chain_out);
  bool delete_oldest_quarantined();
  Result<> make_room(std::uint64_t bytes, std::string_view attempted);

  std::string directory_;
  Hash256 fingerprint_;
  Options options_;
  std::shared_ptr<Disk> disk_;
  std::unique_ptr<File> lock_;
  std::vector<std::string> notes_;
  std::map<Hash256, KnownExtent> extents_;
  std::map<std::uint64_t, KnownEpoch> epochs_;
  std::map<std::string, std::uint64_t> quarantined_;  // name, bytes; the names sort by age
  // Their names are known to survive a crash, and what is renamed into them is synced
  std::set<std::string> durable_directories_;
  std::multiset<std::uint64_t> pins_;
  std::uint64_t current_ = 0, last_epoch_ = 0, n_quarantined_ = 0;
  std::uint64_t restored_ = 0;  // the epoch that restore() gave back, until the next commit
  bool wanted_ = true;          // see not_wanted()
  bool root_durable_ = false;   // the store's own directory and those in it
  std::optional<Current> current_file_;  // as it is on disk, when it can be read
  std::string current_damage_;           // why not, when there is one
  // Renamed into place, but whether that survives a crash is not known
  bool current_uncertain_ = false;
  std::optional<Clock::time_point> paused_until_;
};

}  // namespace lares::daemon::store
