// One repository, resident: the base every session begins with, what changed since, and the work that keeps both current. The scanner,
// the base and the overlay are used on the disk pool, one at a time; what was evaluated comes from the engine's thread; everything else
// happens on the io executor.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <tl/expected.hpp>

#include "daemon/beginnings.h"
#include "daemon/engine_host.h"
#include "daemon/log.h"
#include "daemon/residency/catch_up.h"
#include "daemon/residency/compose.h"
#include "daemon/residency/keeper.h"
#include "daemon/residency/rebase.h"
#include "tools/scanner.h"
#include "tools/watcher.h"

namespace lares::daemon {

// What of the repository may stand before a session, at most; a model with a shorter context gives half of it.
inline constexpr std::int64_t kResidentTokens = 256 << 10;

struct ResidentWorld {
  asio::any_io_executor io;
  asio::thread_pool* disk = nullptr;
  EngineHost* host = nullptr;
  const Log* log = nullptr;
  std::string store_dir;          // what is evaluated is kept below it, and brought back; empty: it is not
};

// A file that a session's tools wrote (blob: SHA-1 of git's blob) or deleted (blob empty).
struct Written {
  std::string path, blob;
};

class Resident : public std::enable_shared_from_this<Resident> {
 public:
  static std::shared_ptr<Resident> make(ResidentWorld world, std::string root);
  ~Resident();

  struct Beginning {
    std::shared_ptr<const Base> base;
    std::string overlay;                     // notices for the first user turn; empty: the base shows everything as it is
    std::shared_ptr<Pinned> pinned;          // what the session knows then
    tools::Workspace files;                  // as scanned just now
  };
  // What a session begins with: the base, rendered if there is none, and what changed up to now. The engine is ready.
  asio::awaitable<tl::expected<Beginning, std::string>> begin();

  struct Update {
    std::string text;                   // a <workspace-update>; empty: nothing changed that the session did not write
    std::vector<std::string> changed;   // the files it tells of
    tools::Workspace files;
  };
  asio::awaitable<tl::expected<Update, std::string>> catch_up(std::shared_ptr<Pinned> session, std::vector<Written> wrote);

  // Of a session whose daemon has died: what it had been shown since its base, by path.
  struct Shown {
    std::string path, blob;
    bool text = false;  // exactly; else it knows that it does not
  };
  struct PinnedAgain {
    std::shared_ptr<Pinned> pinned;
    bool base_known = false;  // false: its base is gone, and anything may have changed since it was shown
  };
  asio::awaitable<tl::expected<PinnedAgain, std::string>> pin_again(std::shared_ptr<const std::vector<engine::Token>> ids, std::vector<Shown> shown);

  std::shared_ptr<SharedBeginning> shared() { return beginnings_; }
  const std::string& root() const { return root_; }
  std::uint64_t page_bytes() const;  // in memory

  asio::awaitable<protocol::RepoPrefixResult> report(bool with_files);

 private:
  Resident(ResidentWorld world, std::string root);
  struct Tree;  // what only the disk pool touches
  tl::expected<tools::Workspace, std::string> scan(Tree& tree);
  tl::expected<tools::Workspace, std::string> bring_up_to_date(Tree& tree, bool anew);
  void begin_with(Tree& tree, const tools::Workspace& now);
  bool bring_back(Tree& tree);
  void keep_up(Tree& tree, const tools::Workspace& now, bool anew);
  void keep_bases(const Tree& tree);
  bool at_once(Tree& tree, const tools::Workspace& now);
  void switch_over(Tree& tree, const tools::Workspace& now);
  void keep(const engine::PrefixRef& prefix, const std::shared_ptr<const Base>& base);
  void write_kept();
  void work();
  asio::awaitable<void> work_in_background();
  asio::awaitable<bool> evaluate(std::shared_ptr<const Base> base);
  void watch(const std::vector<std::string>& directories);
  asio::awaitable<void> hurry();

  ResidentWorld world_;
  const std::string root_;
  std::shared_ptr<Beginnings> beginnings_;
  std::unique_ptr<Tree> tree_;
  std::mutex tree_mutex_;
  // Under kept_mutex_, and written on the disk pool, in the order they came.
  std::mutex kept_mutex_, keeper_mutex_;
  std::vector<std::pair<engine::PrefixRef, std::shared_ptr<const Base>>> to_keep_;
  std::unique_ptr<Keeper> keeper_;  // under keeper_mutex_; null: nothing is kept
  std::map<std::shared_ptr<const Base>, std::uint64_t> epochs_;  // under kept_mutex_: of the bases whose prefixes are kept
  std::atomic<std::chrono::steady_clock::time_point> tended_{std::chrono::steady_clock::time_point{}};
  std::unique_ptr<tools::Watcher> watcher_;
  bool working_ = false, more_ = false;  // in the background; something that it has not looked at
};

}  // namespace lares::daemon
