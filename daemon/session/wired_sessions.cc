#include "daemon/session/wired_sessions.h"

#include <filesystem>
#include <system_error>
#include <utility>

namespace lares::daemon {
namespace {

// As sessions' roots are named: without links.
std::string worktrees_below(const std::string& state_dir) {
  std::error_code ec;
  return std::filesystem::weakly_canonical(state_dir, ec).string() + "/worktrees";
}

}  // namespace

WiredSessions::WiredSessions(SessionWorld world, asio::thread_pool& trees,
                             std::int64_t resident_tokens, KeptLimits limits)
    : stores(world.state_dir + "/prefixes"),
      records(worktrees_below(world.state_dir)),
      residents({.io = world.io,
                 .disk = &trees,
                 .host = world.host,
                 .log = world.log,
                 .store_dir = stores,
                 .tokens_max = resident_tokens,
                 .worktree_of =
                     [this](const std::string& root) {
                       const auto record = records.find(root);
                       return record ? record->worktree_of : "";
                     }}),
      checkpoints(
          trees,
          {.directory = world.state_dir + "/snapshots",
           .store_of = [this](const std::string& root) { return records.store_of(root); },
           .keep = [this](const tools::Snapshot& snapshot) { return records.needs(snapshot); }}),
      worktrees(trees, checkpoints, records),
      sessions(
          [&] {
            world.residents = &residents;
            world.checkpoints = &checkpoints;
            world.worktrees = &worktrees;
            return std::move(world);
          }(),
          limits) {}

}  // namespace lares::daemon
