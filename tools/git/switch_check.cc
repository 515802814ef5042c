#include "tools/git/switch_check.h"

#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "tools/git/filtered.h"
#include "tools/git/text.h"
#include "tools/git/tree_diff.h"

namespace lares::tools::git {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kNamedMax = 100;  // of the files that are in the way

using Entry = Owned<git_tree_entry, git_tree_entry_free>;

// The file, link or submodule at `path`; null where there is none, be it for a directory.
Entry entry_at(const git_tree* tree, const std::string& path) {
  git_tree_entry* raw = nullptr;
  Entry found(git_tree_entry_bypath(&raw, tree, path.c_str()) == 0 ? raw : nullptr);
  if (found && git_tree_entry_type(raw) == GIT_OBJECT_TREE) found.reset();
  return found;
}

bool is_same(const git_index_entry* staged, const git_tree_entry* entry) {
  if (!staged || !entry) return !staged && !entry;
  return git_oid_equal(&staged->id, git_tree_entry_id(entry)) &&
         staged->mode == static_cast<std::uint32_t>(git_tree_entry_filemode(entry));
}

bool is_empty(const std::string& directory) {
  std::error_code ec;
  const auto about = fs::symlink_status(directory, ec);
  return !fs::is_directory(about) || fs::is_empty(directory, ec);
}

bool was_submodule(const git_diff_delta& delta) {
  return delta.old_file.mode == GIT_FILEMODE_COMMIT && delta.new_file.mode != GIT_FILEMODE_COMMIT;
}

// Where a directory lies at `path`, which libgit2 deletes for the file or the link that comes
// there: what is in it and `from` does not have, ignored files too.
void add_foreign(const git_tree* from, const std::string& workdir, const std::string& path,
                 std::vector<std::string>* out) {
  std::error_code ec;
  if (!fs::is_directory(fs::symlink_status(workdir + path, ec))) return;
  fs::recursive_directory_iterator at(workdir + path, ec);
  if (ec) return out->push_back(path);  // it cannot be looked into
  while (at != fs::recursive_directory_iterator() && out->size() < kNamedMax) {
    const std::string name = at->path().string().substr(workdir.size());
    if (at->path().filename() == ".git") {  // of a repository: one name is enough
      at.disable_recursion_pending();
      out->push_back(name);
    } else if (!fs::is_directory(at->symlink_status(ec)) && !entry_at(from, name))
      out->push_back(name);
    at.increment(ec);
    if (ec) return out->push_back(path);
  }
}

// Entries of the index below `path`, where a file or a link comes, that `from` does not have so.
void add_staged_below(git_index* index, const git_tree* from, const std::string& path,
                      std::vector<std::string>* out) {
  std::size_t at = 0;
  if (git_index_find_prefix(&at, index, (path + "/").c_str()) != 0) return;
  for (; at < git_index_entrycount(index); ++at) {
    const git_index_entry* staged = git_index_get_byindex(index, at);
    if (!std::string_view(staged->path).starts_with(path + "/")) return;
    if (!is_same(staged, entry_at(from, staged->path).get())) out->emplace_back(staged->path);
  }
}

// Whether such an attribute comes with the switch itself.
bool brings(git_repository* repo, const git_diff_file& file, std::string_view attribute) {
  const std::string_view path = file.path;
  if (path != ".gitattributes" && !path.ends_with("/.gitattributes")) return false;
  git_blob* raw = nullptr;
  if (git_blob_lookup(&raw, repo, &file.id) != 0) return false;  // it goes
  const Owned<git_blob, git_blob_free> blob(raw);
  return std::string_view(static_cast<const char*>(git_blob_rawcontent(raw)), git_blob_rawsize(raw))
             .find(attribute) != std::string_view::npos;
}

}  // namespace

GitResult<std::size_t> check_way(const Opened& opened, const Request& request, git_tree* from,
                                 git_tree* to) {
  git_repository* repo = opened.repo.get();
  const git_diff_options options = GIT_DIFF_OPTIONS_INIT;
  const auto diff = diff_trees(repo, from, to, options);
  if (!diff) return tl::unexpected("switch: " + diff.error());
  git_diff* const raw = diff->get();
  const Filters filters(repo);
  git_odb* raw_odb = nullptr;
  if (git_repository_odb(&raw_odb, repo) != 0) return tl::unexpected("switch: " + last_error());
  const Owned<git_odb, git_odb_free> odb(raw_odb);
  const char* const directory = git_repository_workdir(repo);
  const std::string workdir = directory ? directory : "";
  std::vector<std::string> in_the_way;
  const std::size_t n = git_diff_num_deltas(raw);
  for (std::size_t i = 0; i < n; ++i) {
    const std::string path = git_diff_get_delta(raw, i)->new_file.path;
    if (!path.starts_with(opened.prefix)) {
      return tl::unexpected(
          fmt::format("switch: it would change {}, outside the directory of this session, {}; ask "
                      "the user to switch",
                      path, opened.prefix));
    }
    const git_diff_delta& delta = *git_diff_get_delta(raw, i);
    const git_diff_file& file = delta.new_file;
    if (was_submodule(delta) && !is_empty(workdir + path)) {
      // libgit2 would delete all that lies in it, with the commits that are nowhere else.
      return tl::unexpected(
          fmt::format("switch: {} is a submodule that {} does not have, whose directory would be "
                      "deleted, nothing was done; {}",
                      path, request.rev, by_git(request, "git switch " + request.rev)));
    }
    if (file.mode != GIT_FILEMODE_COMMIT && !git_oid_is_zero(&file.id))
      add_foreign(from, workdir, path, &in_the_way);
    if (!other_encoding(repo, GIT_ATTR_CHECK_FILE_THEN_INDEX, path.c_str()).empty() ||
        brings(repo, file, "working-tree-encoding=")) {
      return tl::unexpected(
          fmt::format("switch: {} is written in another encoding than it is stored in (the "
                      "attribute working-tree-encoding), which is not converted here; {}",
                      path, by_git(request, "git switch " + request.rev)));
    }
    // libgit2 would write a large file's pointer in its place.
    constexpr unsigned kFlags = GIT_ATTR_CHECK_FILE_THEN_INDEX;
    if (!filters.filter_of(path.c_str(), Filters::Way::out, kFlags).empty() ||
        brings(repo, file, "filter=")) {
      return tl::unexpected(
          fmt::format("switch: {} is written through a filter, a program that is not run here; ask "
                      "the user to switch with git",
                      path));
    }
    // It would end half-way, with the files of both branches.
    if (file.mode != GIT_FILEMODE_COMMIT && !git_oid_is_zero(&file.id) &&
        git_odb_exists(raw_odb, &file.id) == 0) {
      return tl::unexpected(
          fmt::format("switch: {} is not here as it is there, for this is a partial clone or a "
                      "damaged one, nothing was done; ask the user to switch with git, which "
                      "fetches it",
                      path));
    }
  }
  if (in_the_way.empty()) return n;
  return tl::unexpected(
      fmt::format("switch: {} would be deleted with the directory, which is a file or a link on "
                  "{}, nothing was done; move what is to be kept elsewhere first",
                  few_of(in_the_way), request.rev));
}

GitResult<> check_staged(git_repository* repo, git_index* index, git_tree* from, git_tree* to) {
  if (git_index_has_conflicts(index))
    return tl::unexpected(
        std::string("switch: there are merge conflicts (U or AA in status), nothing was done"));
  const git_diff_options options = GIT_DIFF_OPTIONS_INIT;
  const auto diff = diff_trees(repo, from, to, options);
  if (!diff) return tl::unexpected("switch: " + diff.error());
  std::vector<std::string> lost;
  for (std::size_t i = 0; i < git_diff_num_deltas(diff->get()); ++i) {
    const std::string path = git_diff_get_delta(diff->get(), i)->new_file.path;
    const git_index_entry* staged = git_index_get_bypath(index, path.c_str(), /*stage=*/0);
    const Entry old = entry_at(from, path), now = entry_at(to, path);
    const bool is_named = !lost.empty() && lost.back() == path;  // another kind of file: two deltas
    if (!is_named && !is_same(staged, old.get()) && !is_same(staged, now.get()))
      lost.push_back(path);
    if (now) add_staged_below(index, from, path, &lost);
  }
  if (lost.empty()) return {};
  return tl::unexpected(
      fmt::format("switch: what is staged of {} would be lost, nothing was done; commit it first, "
                  "or put it aside",
                  few_of(lost)));
}

}  // namespace lares::tools::git
