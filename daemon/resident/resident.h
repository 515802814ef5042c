// One repository, resident: what its sessions begin with and are told. The tree is looked at on the
// disk pool, one at a time; everything else happens on the io executor.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <tl/expected.hpp>

#include "daemon/engine_host.h"
#include "daemon/log.h"
#include "daemon/on_disk_pool.h"
#include "daemon/residency/catch_up.h"
#include "daemon/residency/shown_record.h"
#include "daemon/resident/background.h"
#include "daemon/resident/beginnings.h"
#include "daemon/resident/kept.h"
#include "daemon/resident/tree.h"
#include "tools/workspace/watcher.h"

namespace lares::daemon {

// What of the repository may stand before a session, where nothing else is said; a model with a
// shorter context gives half of it.
inline constexpr std::int64_t kResidentTokens = 256 << 10;
inline constexpr std::chrono::minutes kTendEvery{5};  // the store, and rebases that wait for quiet

struct ResidentWorld {
  asio::any_io_executor io;
  asio::thread_pool* disk = nullptr;
  EngineHost* host = nullptr;
  const Log* log = nullptr;
  std::string store_dir;  // what is evaluated is kept below it, and brought back; empty: it is not
  std::int64_t tokens_max = kResidentTokens;
  std::chrono::milliseconds tend_every = kTendEvery;
  // The repository that a worktree was made from; empty: none. May be null
  std::function<std::string(const std::string& root)> worktree_of;
};

// A file that a session's tools wrote (blob: SHA-1 of git's blob) or deleted (blob empty).
struct Written {
  std::string path, blob;
};

class Resident : public std::enable_shared_from_this<Resident> {
 public:
  // `of`: of a worktree made for a session, the repository it was made from. It begins with that
  // one's base and what is evaluated of it.
  static std::shared_ptr<Resident> make(ResidentWorld world, std::string root,
                                        std::shared_ptr<Resident> of = nullptr);
  ~Resident();

  struct Beginning {
    std::shared_ptr<const Base> base;
    // Notices for the first user turn; empty: the base shows everything as it is
    std::string overlay;
    std::shared_ptr<Pinned> pinned;  // what the session knows then
    // As scanned just now: those whose text the session is shown, and those that may instruct it
    tools::Workspace files;
  };
  // What a session begins with: the base, rendered if there is none, and what changed up to now.
  // The engine is ready.
  asio::awaitable<tl::expected<Beginning, std::string>> begin();

  struct Update {
    std::string text;  // a <workspace-update>; empty: nothing changed that the session did not
                       // write
    std::vector<std::string> changed;  // the files it tells of
    tools::Workspace files;            // of these, those that there are
  };
  asio::awaitable<tl::expected<Update, std::string>> catch_up(std::shared_ptr<Pinned> session,
                                                              std::vector<Written> wrote);

  struct PinnedAgain {
    std::shared_ptr<Pinned> pinned;
    // false: its base is gone, and anything may have changed since it was shown
    bool base_known = false;
  };
  // Of a session whose daemon has died, and what it had been shown since its base. `unsure`: that
  // is not known, whatever its base.
  asio::awaitable<tl::expected<PinnedAgain, std::string>> pin_again(
      std::shared_ptr<const std::vector<engine::Token>> ids, WasShown shown, bool unsure = false);

  std::shared_ptr<SharedBeginning> shared() { return beginnings_; }
  // What is evaluated, and who works with it; what was given up comes back with the next look.
  const std::shared_ptr<Beginnings>& beginnings() const { return beginnings_; }
  const std::string& root() const { return root_; }
  bool is_worktree() const { return of_ != nullptr; }
  const std::shared_ptr<Resident>& made_from() const { return of_; }  // null: it is no worktree
  std::uint64_t page_bytes() const;                                   // in memory

  asio::awaitable<protocol::RepoPrefixResult> report(bool with_files);
  asio::awaitable<bool> scrub();  // false: nothing is kept on disk

 private:
  Resident(ResidentWorld world, std::string root, std::shared_ptr<Resident> of);
  std::optional<Keeper::Restored> lend();
  std::int64_t tokens_max() const;
  void make_tree();
  void publish();
  bool has_begun();
  std::shared_ptr<const Base> base();
  bool lacks_its_base();
  asio::awaitable<void> look_at_files();
  template <class Look>
  asio::awaitable<std::invoke_result_t<Look, ResidentTree&>> up_to_date(bool anew, Look look);
  void watch(tools::WatchPlan plan);
  asio::awaitable<void> hurry();
  asio::awaitable<void> hurry_once();
  static asio::awaitable<void> tend(std::weak_ptr<Resident> weak, ResidentWorld world);

  ResidentWorld world_;
  const std::string root_;
  const std::shared_ptr<Resident> of_;
  const std::shared_ptr<KeptPrefixes> kept_;
  const std::shared_ptr<Beginnings> beginnings_;
  const std::shared_ptr<Background> background_;
  DiskStrand strand_;                   // of tree_
  std::unique_ptr<ResidentTree> tree_;  // made when the engine is there
  int n_looking_ = 0;
  int n_hurrying_ = 0;        // at most 1
  bool hurry_again_ = false;  // something changed since the look that is under way was asked for
  // Of what follows: the tree as it was last, so that who asks need not wait for it
  std::mutex published_mutex_;
  protocol::RepoPrefixResult published_;
  std::shared_ptr<const Base> base_, ahead_, next_;
  const tools::WatchPlans plans_;
  std::unique_ptr<tools::Watcher> watcher_;
  bool tended_ = false;
};

}  // namespace lares::daemon
