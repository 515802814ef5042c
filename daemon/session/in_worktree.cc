// Sessions in worktrees of their own: made with them, found by them, held still while they go.
#include <algorithm>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "daemon/on_disk_pool.h"
#include "daemon/repository.h"
#include "daemon/session/facts.h"
#include "daemon/session/sessions.h"
#include "daemon/session/worktrees.h"

namespace lares::daemon {

using protocol::Code;

asio::awaitable<Reply<Sessions::InWorktree>> Sessions::create_in_worktree(
    protocol::SessionCreate request, std::function<bool()> given_up) {
  if (const auto wrong = wrong_setting(request.settings); !wrong.empty()) {
    co_return tl::unexpected(refusal(protocol::Code::invalid_params, wrong));
  }
  const auto root = repository_root(request.root);
  if (!root) co_return tl::unexpected(refusal(protocol::Code::not_found, root.error()));
  if (const auto why = why_no_session(root->root); !why.empty())
    co_return tl::unexpected(refusal(protocol::Code::invalid_params, why));
  auto making = world_.worktrees->make(root->root, fresh_session_id(), request.title);
  auto made = co_await std::move(making);
  if (!made) co_return tl::unexpected(made.error());
  protocol::SessionInfo info{.session_id = made->session_id, .root = made->root};
  auto session = given_up && given_up()
                     ? Reply<std::shared_ptr<Session>>(tl::unexpected(
                           refusal(protocol::Code::internal, "whoever asked for it has left")))
                     : make(request, std::move(info));
  if (!session) {
    world_.log->event("worktree_taken_back",
                      {{"session", made->session_id}, {"why", session.error().message}});
    auto removing = world_.worktrees->remove(*made, /*branch=*/true, /*force=*/true);
    (void)co_await std::move(removing);
    co_return tl::unexpected(session.error());
  }
  co_return InWorktree{*session, std::move(*made)};
}

asio::awaitable<void> Sessions::take_back(InWorktree made) {
  const std::string id = made.session->info().session_id;
  made.session->close();
  co_await made.session->ended();
  auto removing = world_.worktrees->remove(made.worktree, /*branch=*/true, /*force=*/true);
  if (const auto removed = co_await std::move(removing); !removed)
    world_.log->event("worktree_stays", {{"session", id}, {"why", removed.error().message}});
}

asio::awaitable<void> Sessions::take_back_unfinished(std::vector<WorktreeRecord> known) {
  for (const WorktreeRecord& record : known) {
    const auto works_there = [&](const auto& each) {
      return each.first == record.session_id || each.second.about().root == record.root;
    };
    const bool applied = !record.applied.before.empty() || !record.earlier.empty();
    if (applied || std::ranges::any_of(sessions_, works_there)) continue;
    // Whoever comes to it while this one looks and removes
    auto holding = hold_still(record.root, /*force=*/false);
    const auto still = co_await std::move(holding);
    if (!still) {
      world_.log->event("worktree_stays",
                        {{"session", record.session_id}, {"why", still.error().message}});
      continue;
    }
    // One that could not be read is there all the same
    const auto look = [journal = journal_of(record.session_id)] {
      std::error_code ec;
      return std::filesystem::exists(journal, ec) || ec;
    };
    const bool has_journal = co_await on_disk_pool(*world_.disk, look);
    if (has_journal || std::ranges::any_of(sessions_, works_there)) continue;
    auto removing = world_.worktrees->remove_unused(record);
    const auto removed = co_await std::move(removing);
    if (!removed) {
      world_.log->event("worktree_stays",
                        {{"session", record.session_id}, {"why", removed.error().message}});
      continue;
    }
    (*still)->close_all();
    world_.log->event("worktree_taken_back",
                      {{"session", record.session_id}, {"why", "no session was made for it"}});
  }
}

asio::awaitable<Reply<WorktreeRecord>> Sessions::worktree(std::string id) {
  const auto about = look(id);
  auto listing = world_.worktrees->all("");
  auto unowned = co_await std::move(listing);
  std::erase_if(unowned, [&](const WorktreeRecord& record) {
    const std::string& of = record.session_id;
    const bool named = of == id || (id.size() >= kIdBeginningMin && of.starts_with(id));
    return !named || sessions_.contains(of);
  });
  if (unowned.empty() || (about && about->session_id == id)) {
    if (!about) co_return tl::unexpected(about.error());
    auto finding = world_.worktrees->find(about->root);
    auto found = co_await std::move(finding);
    co_return found;
  }
  const auto first = sessions_.lower_bound(id);
  if (unowned.size() > 1 || (first != sessions_.end() && first->first.starts_with(id)))
    co_return tl::unexpected(
        refusal(Code::not_found,
                fmt::format("more than one session begins with {}; give more of its id", id)));
  co_return std::move(unowned.front());
}

// ---- held still

Sessions::Still::Still(Sessions& sessions, std::string root)
    : sessions_(sessions), root_(std::move(root)) {
  sessions_.world_.worktrees->hold(root_);
}

Sessions::Still::~Still() {
  sessions_.world_.worktrees->let_go(root_);
  for (const auto& [id, kept] : sessions_.sessions_)
    if (kept.session && kept.session->info().root == root_) kept.session->resume();
}

void Sessions::Still::close_all() {
  for (const auto& [id, kept] : sessions_.sessions_) {
    if (!kept.session || kept.session->info().root != root_) continue;
    kept.session->withdraw_all();
    kept.session->close();
  }
}

asio::awaitable<Reply<std::unique_ptr<Sessions::Still>>> Sessions::hold_still(std::string root,
                                                                              bool force) {
  if (world_.worktrees->is_held(root))
    co_return tl::unexpected(
        refusal(Code::busy, fmt::format("another request is at the sessions in {}", root)));
  auto still = std::make_unique<Still>(*this, root);
  std::vector<std::string> ids;
  for (const auto& [id, kept] : sessions_)
    if (kept.about().root == root && (kept.session || !kept.info.closed)) ids.push_back(id);
  for (const std::string& id : ids) {
    auto opening = open(id);
    const auto session = co_await std::move(opening);
    if (!session) co_return tl::unexpected(session.error());
    still->keep(*session);
    if (force) (*session)->close();
    if (force) co_await (*session)->ended();
    // What cannot be written says nothing of a rewinding, which soon comes to its end; tests do not
    const auto at_it = [&] { return (*session)->running() || (*session)->testing(); };
    if (!at_it() && !(*session)->failure().empty()) co_await (*session)->ended();
    const bool works = at_it() || ((*session)->failure().empty() && !(*session)->ended_well());
    if (works)
      co_return tl::unexpected(refusal(
          Code::busy, fmt::format("session {} is at work; wait for it, or interrupt it", id)));
  }
  co_return std::move(still);
}

}  // namespace lares::daemon
