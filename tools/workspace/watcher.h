// Says soon that something below the root changed, by inotify. It only hurries: what changed is the
// scanner's to find out, and a change that is missed here is found by the next scan.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace lares::tools {

class KeptView;

struct WatcherLimits {
  std::chrono::milliseconds quiet{300};       // after the last event of a storm
  std::chrono::milliseconds storm_max{3000};  // a storm that goes on is reported this often
  std::size_t paths_max = 4096;               // of one storm; beyond it, everything
  std::size_t directories_max = 500'000;      // a watch costs the kernel about 1 KiB
};

struct TreeChange {
  bool everything = false;  // more changed than is known: scan all
  // Relative to the root, in bytewise order: files, and directories that came or went
  std::vector<std::string> paths;
};

// What is to be watched, and what git says of what comes there.
class WatchPlan {
 public:
  ~WatchPlan();
  WatchPlan(WatchPlan&&) noexcept;
  WatchPlan& operator=(WatchPlan&&) noexcept;

 private:
  friend class WatchPlans;
  friend class Watcher;
  struct State;
  explicit WatchPlan(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Makes them for one root, where one may wait for the disk; on any thread. What a watcher has asked
// of git it leaves to a later plan, so that not every one opens the repository.
class WatchPlans {
 public:
  explicit WatchPlans(const std::string& root);
  // `directories`: Scanner::directories, relative to the root.
  WatchPlan watch(std::vector<std::string> directories) const;

 private:
  std::shared_ptr<KeptView> git_;
};

// On the executor's thread, which is also the one it is used and destroyed on.
class Watcher {
 public:
  using OnChange = std::function<void(const TreeChange&)>;
  // What it does without, once for each reason
  using OnNote = std::function<void(const std::string& line)>;

  Watcher(boost::asio::any_io_executor executor, std::string root, OnChange on_change,
          OnNote on_note = OnNote(), WatcherLimits limits = WatcherLimits());
  ~Watcher();  // no call comes afterwards

  // Watches exactly these directories. Those that come later below them are watched at once unless
  // git ignores them; a call after the next scan sets that right where it was wrong. Costs the
  // kernel nothing for those that are watched already, but for the few that may have been replaced
  // unseen.
  void watch(WatchPlan plan);
  std::size_t n_watched() const;
  std::size_t n_asked() const;  // how often the kernel was asked to watch one

 private:
  struct State;
  std::shared_ptr<State> state_;  // the pending operations hold it too
};

}  // namespace lares::tools
