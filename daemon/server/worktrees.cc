// Worktrees made for sessions, for clients.
#include <optional>

#include <fmt/format.h>

#include "daemon/protocol/worktree_wire.h"
#include "daemon/repository.h"
#include "daemon/server/answers.h"
#include "daemon/server/server.h"
#include "daemon/session/worktrees.h"

namespace lares::daemon {

using namespace protocol;

asio::awaitable<Reply<Json>> Server::about_worktrees(std::string method, Json params) {
  if (method == WorktreeList::kMethod) {
    auto request = typed<WorktreeList>(method, params);
    if (!request) co_return tl::unexpected(request.error());
    const auto resolved = repository_root(request->root);
    // One that is gone still has worktrees
    std::string root = resolved ? resolved->root : request->root;
    auto finding_own = worktrees_.find(root);
    if (const auto own = co_await std::move(finding_own)) root = own->worktree_of;
    auto listing = worktrees_.all(std::move(root));
    const auto records = co_await std::move(listing);
    WorktreeListResult result;
    for (const WorktreeRecord& record : records) {
      auto looking = worktrees_.look_at(record);
      auto info = co_await std::move(looking);
      if (const auto about = sessions_.look(record.session_id))
        info.title = about->title, info.state = about->state, info.closed = about->closed;
      result.worktrees.push_back(std::move(info));
    }
    co_return to_json(std::move(result));
  }
  auto which = typed<SessionGet>(method, params);
  if (!which) co_return tl::unexpected(which.error());
  std::optional<AtWorktrees> at_it;
  if (method != WorktreeDiff::kMethod) at_it.emplace(*this);
  auto finding = sessions_.worktree(which->session_id);
  auto record = co_await std::move(finding);
  if (!record) co_return tl::unexpected(record.error());
  if (method == WorktreeDiff::kMethod) {
    const auto request = typed<WorktreeDiff>(method, params);
    if (!request) co_return tl::unexpected(request.error());
    auto reading = worktrees_.diff(*record, request->bytes_max);
    auto diff = co_await std::move(reading);
    if (diff && static_cast<std::size_t>(diff->diff.size()) > kLineBytesMax / 4)
      diff->diff.clear(), diff->cut = true;
    co_return answer(std::move(diff));
  }
  auto changing = change_worktree(std::move(method), std::move(params), std::move(*record));
  auto changed = co_await std::move(changing);
  co_return changed;
}

asio::awaitable<Reply<Json>> Server::change_worktree(std::string method, Json params,
                                                     WorktreeRecord record) {
  if (method == WorktreeApply::kMethod) {
    const auto request = typed<WorktreeApply>(method, params);
    if (!request) co_return tl::unexpected(request.error());
    const auto about = sessions_.look(request->session_id);
    if (about && about->turn_id != 0 && !request->undo)
      co_return no(Code::busy,
                   fmt::format("{}: session {} is at work; wait for it, or interrupt it", method,
                               about->session_id));
    auto applying = request->undo ? worktrees_.take_back(record, request->dry_run)
                                  : worktrees_.apply(record, request->dry_run);
    auto applied = co_await std::move(applying);
    co_return answer(std::move(applied));
  }
  if (method == WorktreeRemove::kMethod) {
    const auto request = typed<WorktreeRemove>(method, params);
    if (!request) co_return tl::unexpected(request.error());
    // Forks of it work there too; what runs, or begins meanwhile, would lose what it does.
    auto holding = sessions_.hold_still(record.root, request->force);
    const auto still = co_await std::move(holding);
    if (!still) {
      Error error = still.error();
      error.message.insert(0, method + ": ");
      co_return tl::unexpected(std::move(error));
    }
    residents_.forget(record.root);
    auto removing = worktrees_.remove(record, request->branch, request->force);
    auto removed = co_await std::move(removing);
    if (removed) (*still)->close_all();
    co_return answer(std::move(removed));
  }
  co_return no(Code::unknown_method, "there is no method " + method);
}

}  // namespace lares::daemon
