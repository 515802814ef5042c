#include "daemon/cli/own_worktree.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

constexpr int kTitleColumns = 60;

}  // namespace

Result<protocol::WorktreeCreated> create_in_worktree(Link& link, protocol::SessionCreate request,
                                                     const std::string& prompt) {
  // What is piped in, and where the person stands, comes behind an empty line.
  const std::string task = prompt.substr(
      0, std::min(prompt.find("\n\n"), std::size_t{4} * kTitleColumns));
  request.title = clip(one_line(task), kTitleColumns, "");
  protocol::WorktreeCreate create;
  create.create = std::move(request), create.worktree = true;
  return link.call<protocol::WorktreeCreated>(create, kFilesTimeout);
}

std::string worktree_told(const protocol::WorktreeCreated& made) {
  return fmt::format(
      "works in {}, on the branch {}; `lares apply {}` brings what it does into your worktree",
      made.session.root, made.branch, made.session.session_id);
}

}  // namespace lares::cli
