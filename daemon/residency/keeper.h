// Keeps the evaluated beginnings of a repository's base on disk, and brings them back. Blocks on
// the disk; one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "daemon/residency/base.h"
#include "daemon/store/store.h"
#include "engine/engine.h"

namespace lares::daemon {

// Bytes on disk where no cap is given: bases of Options::base_tokens_max, the frontiers as a
// quarter of their pages.
inline constexpr std::uint64_t kBasesKept = 4, kKeptBytesMin = 1u << 30;
// Where a prefix that is kept may end: the last of a base at the base's last multiple of kKeptStep,
// all before it at multiples of kKeptPageTokens, none more than kKeptStepMax behind the one before.
inline constexpr std::int64_t kKeptStep = 128, kKeptPageTokens = 256, kKeptStepMax = 16'384;

class Keeper {
 public:
  struct Options {
    std::uint64_t bytes_max = 0;               // 0: see kBasesKept
    std::int64_t base_tokens_max = 256 << 10;  // ComposeOptions::tokens_max
    // TokenCacheOptions::tokenizer_id: a base of another is not brought back
    std::string tokenizer_id;
    std::shared_ptr<store::Disk> disk;              // null: the real one
    std::function<store::Clock::time_point()> now;  // null: Clock::now
  };

  // The store below `directory`, whose parent is there, of this engine, which outlives the keeper
  // and has its text. An error is one line; the caller goes on without.
  static tl::expected<std::unique_ptr<Keeper>, std::string> open(const std::string& directory,
                                                                 const engine::Engine& engine,
                                                                 Options options);

  struct Restored {
    // As it was kept. Files that are not shown in full have no text.
    std::shared_ptr<const Base> base;
    std::uint64_t epoch = 0;  // the caller's own
    // Ascending, at least one; each the beginning of base->tokens
    std::vector<engine::PrefixRef> prefixes;
    std::vector<std::string> lost;  // lost()
  };
  // What was committed last, before anything is kept. Nothing, or nothing usable: none. Where
  // extents are damaged the base is whole and the prefixes end before them: what follows is to be
  // evaluated and kept again, under `base`. Pages are read into the prefixes' own memory. Relies on
  // PrefixBuilder::finish() leaving the builder as it is, pages and all, so that it gives a prefix
  // at the end of every extent.
  std::optional<Restored> restore();
  // What restore() gave is not what sessions begin with: it gives way where the base that is kept
  // next has no room beside it.
  void not_wanted();
  const std::vector<std::string>& lost() const {
    return lost_;
  }  // of the last restore() or resume(), a line each: what is not used and why
  const std::vector<std::string>& notes() const { return store_->notes(); }  // of open()

  // To be called before a base is evaluated: it is kept from here on, and what an earlier daemon
  // had kept of it and not committed, or of another that begins alike, is given back, ascending,
  // behind what the caller has (`known`, of the base, ascending). It is looked for by the tokens'
  // hashes at the places that next_end(position) names. Empty: there is no more than known.
  std::vector<engine::PrefixRef> resume(const std::shared_ptr<const Base>& base,
                                        std::uint64_t epoch,
                                        std::span<const engine::PrefixRef> known,
                                        const std::function<std::int64_t(std::int64_t)>& next_end);

  // A beginning of the base, in ascending order; see kKeptStep. What is on the disk already is not
  // written again, be it from a base before that began alike; so ends may lie before those that are
  // kept. The one at the base's last multiple of kKeptStep commits all of it. A base that another
  // follows before that is forgotten. What the disk refuses is said once for a base and tried again
  // with the next call, so nothing is lost by going on.
  tl::expected<void, std::string> keep(const engine::PrefixRef& prefix,
                                       const std::shared_ptr<const Base>& base,
                                       std::uint64_t epoch);

  // To be called every few minutes: tries again what the disk refused, commits what there is of a
  // base where no other is committed, and deletes what no base has needed for a while.
  tl::expected<void, std::string> tend();

  // Tokens [begin, end) of the base that was kept or restored last.
  struct Kept {
    std::int64_t begin = 0, end = 0;
  };
  std::vector<Kept> kept() const;                                          // extents, in order
  const std::shared_ptr<const Base>& base() const { return chain_.base; }  // null: none yet
  // What is on disk from token `begin` of it to where `anew` ends, byte by byte against `anew`,
  // which was evaluated for this. The error: what differs; or the file is damaged, and then it and
  // what follows it are to be kept again. Sound bytes that differ stay: whether they or the engine
  // are wrong is not known here.
  tl::expected<void, std::string> compare(const engine::Prefix& anew, std::int64_t begin);

  struct Usage {
    std::uint64_t bytes = 0, bytes_max = 0;
    std::int64_t n_tokens = 0;  // on disk of the base that was kept or restored last
    bool committed = false;     // and all that can be of it, so that restore() gives it back
  };
  Usage usage() const;

 private:
  struct Extent {
    store::Hash256 name;
    std::int64_t end = 0;  // in the base's tokens
  };
  // Of a base, the extents from its beginning that are on the disk.
  struct Chain {
    std::shared_ptr<const Base> base;
    std::vector<Extent> extents;
    std::int64_t end() const { return extents.empty() ? 0 : extents.back().end; }
  };

  Keeper(std::unique_ptr<store::Store> store, const engine::Engine& engine, Options options,
         const store::Hash256& fingerprint)
      : store_(std::move(store)),
        engine_(engine),
        options_(std::move(options)),
        fingerprint_(fingerprint) {}
  std::size_t n_shared(const Chain& chain, const Base& with) const;
  void begin(const std::shared_ptr<const Base>& base, std::uint64_t epoch);
  Chain on_disk_of(const std::function<std::int64_t(std::int64_t)>& next_end) const;
  void forget(std::size_t first);
  store::Result<> put(const engine::Prefix& prefix);
  store::Result<> commit();
  bool is_worth_committing() const;
  tl::expected<void, std::string> write(bool unfinished);

  std::unique_ptr<store::Store> store_;
  const engine::Engine& engine_;
  const Options options_;
  const store::Hash256 fingerprint_;
  std::vector<std::string> lost_;
  Chain chain_;      // of the base that is being kept
  Chain committed_;  // what restore() would give
  std::uint64_t epoch_ = 0;
  bool is_committed_ = false;               // chain_, with its base and epoch
  std::vector<engine::PrefixRef> waiting_;  // to be written behind chain_
  std::optional<store::Errc> said_;         // what the caller knows of this base
};

}  // namespace lares::daemon
