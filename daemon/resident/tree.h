// A repository as its sessions see it: the base they begin with, what changed since, and the base
// to come. Blocks on the disk; one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "daemon/protocol/protocol.h"
#include "daemon/residency/compose.h"
#include "daemon/residency/keeper.h"
#include "daemon/residency/overlay.h"
#include "daemon/residency/rebase.h"
#include "tools/git/change_rates.h"
#include "tools/workspace/scanner.h"

namespace lares::daemon {

class EngineHost;

struct NumberedBase {
  std::shared_ptr<const Base> base;
  std::uint64_t epoch = 0;
};

class ResidentTree {
 public:
  struct World {
    EngineHost* host = nullptr;   // its engine is ready when the tree is looked at
    std::int64_t tokens_max = 0;  // of a base
    std::function<std::int64_t(const Base&)> evaluated;  // tokens of it
    // The one that sessions begin with now, then the one to come. `ahead`: the tokens that every
    // session begins with now, what changed since the base included; null where nothing did.
    std::function<void(const std::vector<NumberedBase>&, std::shared_ptr<const Base> ahead)>
        on_bases;
    // Whether what on_bases told of this one is still so; false: it was given up
    std::function<bool(const Base&)> wanted;
    // What an earlier daemon left, to begin with
    std::function<std::optional<Keeper::Restored>()> take_kept;
    // Prefixes of the base that on_bases just told of
    std::function<void(std::vector<engine::PrefixRef>)> on_brought_back;
    std::function<void(const std::string& why)> on_lost;  // what was kept is of no use
  };
  ResidentTree(std::string root, World world)
      : root_(std::move(root)), world_(std::move(world)), scanner_({.root = root_, .limits = {}}) {}

  // Base and overlay as the working tree is now. Where there is none yet it begins with what was
  // kept, else with what is rendered. `anew`: for a session that begins, which a base without an
  // overlay serves best.
  tl::expected<void, std::string> bring_up_to_date(bool anew);

  // Once it was brought up to date.
  const std::shared_ptr<const Base>& base() const { return base_; }
  std::shared_ptr<const Base> next() const { return next_ ? next_->base : nullptr; }
  const std::shared_ptr<const Base>& ahead() const { return ahead_; }
  const Overlay& overlay() const { return *overlay_; }
  const CountTokens& count() const { return count_; }
  std::vector<std::string> directories() const { return scanner_.directories(); }
  const tools::Workspace& files() const { return scanner_.files(); }
  std::uint64_t version() const { return version_; }  // of the files; no other tree has the same
  // What of the files is another since that version, in bytewise order; nullopt: that is not known.
  std::optional<std::vector<std::string>> changed_since(std::uint64_t version) const;

  // But for what is evaluated
  void describe(protocol::RepoPrefixResult& report, bool with_files) const;

 private:
  tl::expected<void, std::string> scan();
  ComposeOptions options() const;
  Composer composer();
  void begin_with(const tools::Workspace& now);
  std::string why_unfit(const Base& kept) const;
  void keep_up(const tools::Workspace& now, bool anew);
  bool at_once(const tools::Workspace& now);
  void switch_over(const tools::Workspace& now);
  void tell_bases();
  std::shared_ptr<const Base> make_ahead() const;
  void describe_files(protocol::RepoPrefixResult& report) const;

  const std::string root_;
  const World world_;
  // From one version of the files to the next.
  struct Step {
    std::uint64_t from = 0;
    std::vector<std::string> changed;
  };
  tools::Scanner scanner_;
  std::uint64_t version_ = 0;
  std::deque<Step> steps_;      // the last ones
  std::size_t n_in_steps_ = 0;  // paths
  tools::ChangeRates rates_;
  std::vector<engine::Token> head_;
  std::unique_ptr<TokenCache> cache_;
  CountTokens count_;
  std::uint64_t epoch_ = 0;
  std::shared_ptr<const Base> base_;
  std::optional<Overlay> overlay_;
  std::uint64_t advanced_ = 0;   // the version of the files that the overlay has
  std::optional<Rebased> next_;  // takes over once its base is evaluated
  std::shared_ptr<const Base> ahead_;
  std::uint64_t told_version_ = 0;  // of the overlay, in ahead_
  std::chrono::steady_clock::time_point changed_ = std::chrono::steady_clock::now();
};

}  // namespace lares::daemon
