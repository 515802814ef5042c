#include "tools/git/index.h"

#include <fmt/format.h>
#include <git2/sys/repository.h>

#include <string_view>
#include <utility>
#include <vector>

#include "tools/git/index_file.h"
#include "tools/git/objects.h"
#include "tools/git/text.h"

namespace lares::tools::git {
namespace {

GitResult<> put(git_index* index, const IndexEntry& entry) {
  git_index_entry about = entry.about;
  about.path = entry.path.c_str();
  if (git_index_add(index, &about) == 0) return {};
  return tl::unexpected(fmt::format("read the index: {}: {}", entry.path, last_error()));
}

// What lies below a directory that a sparse index does not enter.
GitResult<> put_tree(git_repository* repo, git_index* index, const IndexEntry& directory) {
  git_tree* raw = nullptr;
  if (git_tree_lookup(&raw, repo, &directory.about.id) != 0)
    return tl::unexpected(fmt::format("read the index: {}: {}", directory.path, last_error()));
  const Tree tree(raw);
  for (std::size_t i = 0; i < git_tree_entrycount(raw); ++i) {
    const IndexEntry below = entry_below(directory, git_tree_entry_byindex(raw, i));
    const auto done = below.is_directory() ? put_tree(repo, index, below) : put(index, below);
    if (!done) return done;
  }
  return {};
}

GitResult<Index> copy_of_index(git_repository* repo) {
  const auto entries = read_index_file(repo);
  if (!entries) return tl::unexpected(entries.error());
  git_index* raw = nullptr;
  if (git_index_new(&raw) != 0) return tl::unexpected(last_error());
  Index index(raw);
  for (const IndexEntry& entry : *entries) {
    const auto done = entry.is_directory() ? put_tree(repo, raw, entry) : put(raw, entry);
    if (!done) return tl::unexpected(done.error());
  }
  return index;
}

}  // namespace

GitResult<Index> index_of(git_repository* repo) {
  git_index* raw = nullptr;
  if (git_repository_index(&raw, repo) == 0) return Index(raw);
  auto copy = copy_of_index(repo);
  if (copy && git_repository_set_index(repo, copy->get()) != 0) return tl::unexpected(last_error());
  return copy;
}

std::string why_copied(git_repository* repo, git_index* index) {
  if (git_index_path(index)) return "";
  git_index* raw = nullptr;
  const std::string path = std::string(git_repository_path(repo)) + "index";
  if (git_index_open(&raw, path.c_str()) == 0) {
    git_index_free(raw);
    return "git's index was written anew meanwhile; try again";
  }
  const git_error* error = git_error_last();
  return of_index(error && error->message ? error->message : "");
}

void read_for_attributes(git_repository* repo) {
  git_index* raw = nullptr;
  if (git_repository_index(&raw, repo) == 0) {
    const Index index(raw);
    if (git_index_path(raw)) {
      (void)git_index_read(raw, /*force=*/0);  // as it was then, where that fails
      return;
    }
  }
  raw = nullptr;
  if (git_index_new(&raw) != 0) return;
  const Index index(raw);
  if (const auto entries = read_index_file(repo)) {
    for (const IndexEntry& entry : *entries)
      if (entry.path == ".gitattributes" || entry.path.ends_with("/.gitattributes"))
        (void)put(raw, entry);
  }
  (void)git_repository_set_index(repo, raw);
}

}  // namespace lares::tools::git
