#include "daemon/cli/own_worktree.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kTitleColumns = 60;

// Directories that programs make, which git is told to ignore as a rule, and without which the
// tests of many a repository do not run.
constexpr std::string_view kMadeByPrograms[] = {"node_modules", ".venv",  "venv",   "env",
                                                "vendor",       "target", "build",  "dist",
                                                ".tox",         ".nox",   "_build", "Pods"};
constexpr std::size_t kDirectoriesLookedAt = 1000;  // of the top, for those below them

void add_lacking(const fs::path& there, const fs::path& here, const fs::path& below,
                 std::vector<std::string>& out) {
  std::error_code ec;
  for (const std::string_view name : kMadeByPrograms) {
    const fs::path path = below / name;
    if (fs::is_directory(there / path, ec) && !fs::exists(fs::symlink_status(here / path, ec)))
      out.push_back(path.string());
  }
}

}  // namespace

Result<protocol::WorktreeCreated> create_in_worktree(Link& link, protocol::SessionCreate request,
                                                     const std::string& prompt) {
  // What is piped in, and where the person stands, comes behind an empty line.
  const std::size_t begin = std::min(prompt.find_first_not_of(" \t\r\n"), prompt.size());
  const std::string task = prompt.substr(
      begin, std::min(prompt.find("\n\n", begin) - begin, std::size_t{4} * kTitleColumns));
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

std::string worktree_lacks(const protocol::WorktreeCreated& made) {
  const fs::path there = made.worktree_of, here = made.session.root;
  std::vector<std::string> lacking;
  add_lacking(there, here, "", lacking);
  std::error_code ec;
  std::size_t n = 0;
  for (fs::directory_iterator at(there, ec), end; !ec && at != end && ++n <= kDirectoriesLookedAt;
       at.increment(ec)) {
    std::error_code unknown;
    // Those that git has, so that nothing within what is lacking is named again.
    const fs::path name = at->path().filename();
    if (at->is_directory(unknown) && !at->is_symlink(unknown) &&
        fs::is_directory(here / name, unknown))
      add_lacking(there, here, name, lacking);
  }
  if (lacking.empty()) return "";
  std::ranges::sort(lacking);
  const char* const it = lacking.size() > 1 ? "them" : "it";
  const std::string names = printable(fmt::format("{}", fmt::join(lacking, ", ")));
  return fmt::format(
      "git does not keep {}, so the worktree lacks {}: what needs {} fails there until a command "
      "makes {}",
      names, it, it, it);
}

}  // namespace lares::cli
